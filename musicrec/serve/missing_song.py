"""Why a song is not in the published list of another song, in words."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow.compute as pc

from musicrec.errors import ConfigError, SchemaError
from musicrec.serve.comparable_songs import Vectors, read_vectors
from musicrec.serve.lookup import SimilarTable
from musicrec.serve.song_facts import facts_of
from musicrec.serve.tag_scores import options
from musicrec.settings import SimilarSettings, resolve
from musicrec.store.store import Store

if TYPE_CHECKING:
    from musicrec.similarity.explain import Verdict
    from musicrec.similarity.songs import Songs

WORDS = {
    "genre": "it is of another genre",
    "min_score": "it is less similar",
    "duplicate_score": "it is that similar and equally long",
    "no_same_artist": "it is by the same artist",
    "no_duplicates": "it is a clip or copy of the same recording",
    "hubness": "it is not among the most similar songs, which alone are ranked anew",
}
HOLD = {"max_per_artist": "by its artist", "max_per_album": "of its album", "no_duplicates": "a clip or copy of it"}


class MissingSong(NamedTuple):
    """Where a song ranks for another song, and why it is not in the list."""

    song: str
    other: str
    rank: int  # by similarity alone, from 1
    n_others: int
    similarity: float
    score: float  # by which the list is ranked
    shares: dict[str, float]  # what each of several spaces contributes to the cosine
    rule: str  # setting of similar that kept it out; n: the list was full; empty if it is in the list
    why: str  # the same in words


def why_not(out: str, song: str, other: str) -> MissingSong:
    """Return why a song is not in another song's list, by the published table and the vectors it was made of.

    Parameters
    ----------
    out : str
        OUT.
    song, other : str
        Ids or names of the song whose list it is, and of the song that is not in it.

    Raises
    ------
    ConfigError
        Both are the same song.
    UnknownTrack
        A song is not in the table; the message says why.
    SchemaError
        The table was made of vectors that are no longer published.
    """
    from musicrec.similarity import explain

    table, store = SimilarTable(out), Store(out)
    pair = [table.song(name).track_id for name in (song, other)]
    if pair[0] == pair[1]:
        raise ConfigError(f"{pair[0]} cannot be in its own list; name another song")
    footer = store.footer("similar")
    _check(store, footer["lineage"].get("made_of", {}))
    settings = resolve(SimilarSettings, footer["settings"])
    vectors = read_vectors(store, settings.space)
    ids = vectors.names["track_id"]
    row, place = (pc.index(ids, track_id).as_py() for track_id in pair)
    songs = facts_of(store, vectors, settings)
    verdict = explain.why_not(vectors.matrix, songs, settings, row, place)
    return MissingSong(
        song=pair[0],
        other=pair[1],
        rank=verdict.rank,
        n_others=verdict.n_others,
        similarity=verdict.similarity,
        score=verdict.score,
        shares=_shares(vectors, row, place),
        rule=verdict.kept_out_by,
        why=(
            _by_tag(songs, settings, place)
            if verdict.kept_out_by in ("require_tag", "exclude_tag")
            else _in_words(verdict, settings, [ids[i].as_py() for i in verdict.instead])
        ),
    )


def _check(store: Store, made_of: Mapping[str, str]) -> None:
    """Raise SchemaError unless the vectors that the table was made of are published."""
    for name, fingerprint in made_of.items():
        if not store.exists(name) or store.footer(name)["fingerprint"] != fingerprint:
            raise SchemaError(
                f"{store.out / 'similar'} was not made of the published {name}, so its ranks cannot be found again; "
                f"run: musicrec similar {store.out}"
            )


def _shares(vectors: Vectors, row: int, place: int) -> dict[str, float]:
    if len(vectors.widths) < 2:
        return {}
    products = vectors.matrix[row].astype(np.float64) * vectors.matrix[place]
    starts = np.cumsum([0, *vectors.widths.values()])[:-1]
    return dict(zip(vectors.widths, np.add.reduceat(products, starts).tolist(), strict=True))


def _by_tag(songs: "Songs", settings: SimilarSettings, row: int) -> str:
    """Return the first rule for a tag that a song breaks, and the song's score, in words."""
    from musicrec.similarity.tag_rules import broken

    rule = int(np.flatnonzero(broken(songs, settings)[row])[0])
    assert songs.tags is not None  # or it would break none
    score = songs.tags[row, rule]
    return f"{options(settings)[rule]}: {'it has no tags' if np.isnan(score) else f'its score is {score:.3f}'}"


def _in_words(verdict: "Verdict", settings: SimilarSettings, instead: list[str]) -> str:
    name, value = verdict.kept_out_by, getattr(settings, verdict.kept_out_by or "n")
    option = f"--{name.replace('_', '-')}{'' if value is True else f' {value}'}"
    if not name:
        return "it is in the list"
    if name == "n":
        return f"the list is full: its {settings.n} songs end with {instead[0]}, and this one ranks lower"
    if instead:
        return f"{option}: the list holds {', '.join(instead)}, {HOLD[name]}"
    return f"{option}: {WORDS[name]}"
