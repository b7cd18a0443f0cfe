"""The report's waveforms and spectrograms of a few songs, decoded as the features were."""

from collections.abc import Iterator
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from musicrec import audio, features
from musicrec.errors import DecodeError
from musicrec.report.clip_figure import clip_figure
from musicrec.report.figures import data_uri
from musicrec.report.numbers import NO_GENRE, SEED
from musicrec.schemas import OK, Reason
from musicrec.settings import ExtractSettings
from musicrec.store.store import Store

Content = dict[str, Any]

N_CLIPS = 3
MOST_TRIED = 6  # songs, some of which may be gone


def clips(store: Store) -> Content | None:
    """Draw the clips of a few songs, each of another genre where there are several, drawn by an explicit seed.

    Returns
    -------
    dict or None
        None if no song has been decoded yet. Songs that cannot be decoded any more are counted.
    """
    songs = _decoded(store)
    if songs is None or not len(songs):
        return None
    settings = ExtractSettings(**store.settings.recorded("extract"))
    shown: list[Content] = []
    problems: list[str] = []
    for song in _in_turn(songs):
        try:
            shown.append(song | {"image": _image(song["uri"], settings)})
        except DecodeError as e:
            problems.append(e.detail)
            if e.reason == Reason.UNREADABLE and audio.is_remote(song["uri"]):
                break  # its server does not answer, and each song would be waited for
        if len(shown) == N_CLIPS:
            break
    return {"seed": SEED, "songs": shown, "problems": problems, "duration_s": settings.duration_s}


def _decoded(store: Store) -> pd.DataFrame | None:
    """Return the songs that extract has decoded, in order of id."""
    if not (store.exists("tracks") and store.exists("outcomes")):
        return None
    is_decoded = (pc.field("stage") == ExtractSettings.stage) & (pc.field("status") == OK)
    ids = store.read("outcomes", ["track_id"], is_decoded)["track_id"].combine_chunks()
    columns = ["track_id", "uri", "title", "artist", "genre"]
    return store.read("tracks", columns, pc.field("track_id").isin(pa.array(ids))).to_pandas().sort_values("track_id")


def _in_turn(songs: pd.DataFrame) -> Iterator[Content]:
    """Yield a few songs, first one of each genre, then a second one, and so on."""
    drawn = songs.sample(frac=1, random_state=SEED)
    turn = drawn.groupby(drawn["genre"].fillna(NO_GENRE)).cumcount()
    first = drawn.loc[turn.sort_values(kind="stable").index[:MOST_TRIED]]
    for song in first.astype(object).where(first.notna(), None).to_dict("records"):
        yield {str(column): value for column, value in song.items()}


def _image(uri: str, settings: ExtractSettings) -> str:
    clip = audio.load(uri, sample_rate=settings.sample_rate, offset_s=settings.offset_s, duration_s=settings.duration_s)
    return data_uri(clip_figure(clip, settings.sample_rate, features.mel(clip, settings.sample_rate)))
