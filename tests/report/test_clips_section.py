"""Waveforms and spectrograms of a few songs of the catalog, whatever has become of their files."""

import base64

import numpy as np
import pyarrow as pa
import pytest

from musicrec.audio.encode import encode
from musicrec.errors import DecodeError
from musicrec.report.clips_section import N_CLIPS, clips
from musicrec.schemas import TRACKS, Reason
from report_catalog import Catalog
from report_page import page_of

pytestmark = pytest.mark.thorough  # draws

RATE = 22_050
HTML = "<img src=x onerror=alert(1)>"


class WithSound(Catalog):
    """A synthetic OUT whose songs are tones, each of its own pitch; some files may be gone."""

    def sound(self, gone=()):
        folder = self.store.out / "music"
        folder.mkdir(exist_ok=True)
        rows = []
        for i, (track_id, genre) in enumerate(zip(self.ids, self.genres, strict=True)):
            path = folder / f"{i} #1 100%?.wav"
            if track_id not in gone:
                path.write_bytes(encode(np.sin(np.arange(RATE) * (0.05 + i / 50)).astype(np.float32), RATE, "wav"))
            rows.append({"track_id": track_id, "uri": str(path), "title": HTML if i == 0 else None, "genre": genre})
        self.put("tracks", pa.Table.from_pylist(rows, TRACKS), self.catalog)
        self.outcomes()
        return self


@pytest.fixture
def catalog(tmp_path):
    return WithSound(tmp_path / "out", 6, ["blues", "jazz"])


def named(store):
    return [song["track_id"] for song in clips(store)["songs"]]


def test_songs_are_drawn_by_a_seed_and_from_all_genres_first(catalog):
    store = catalog.sound().store
    assert named(store) == named(store)
    assert len(named(store)) == N_CLIPS
    genres = [song["genre"] for song in clips(store)["songs"]]
    assert set(genres[:2]) == {"blues", "jazz"}
    assert set(named(store)) <= set(catalog.good)  # those that extract has decoded


def test_a_clip_is_drawn_from_the_song_itself(catalog):
    images = [base64.b64decode(song["image"].partition(",")[2]) for song in clips(catalog.sound().store)["songs"]]
    assert len(set(images)) == N_CLIPS
    assert all(b"image/png" in image and b"<path" in image for image in images)


def test_songs_that_are_gone_leave_their_place_to_others(catalog):
    first = named(catalog.sound().store)[0]
    again = WithSound(catalog.store.out.parent / "again", 6, ["blues", "jazz"]).sound(gone=[first])
    found = clips(again.store)
    assert first not in [song["track_id"] for song in found["songs"]]
    assert len(found["songs"]) == N_CLIPS
    assert len(found["problems"]) == 1


def test_where_all_files_are_gone_the_page_says_so(catalog):
    text = page_of(catalog.sound(gone=catalog.ids).store).text
    assert "4 songs that were drawn cannot be decoded now" in text


@pytest.mark.parametrize(("reason", "tried"), [(Reason.UNREADABLE, 1), (Reason.MISSING, 4)])
def test_a_server_that_does_not_answer_is_asked_once(catalog, monkeypatch, reason, tried):
    asked = []

    def load(uri, **_):
        asked.append(uri)
        raise DecodeError(reason, "the server does not answer")

    monkeypatch.setattr("musicrec.report.clips_section.audio.load", load)
    catalog.sound()
    tracks = catalog.store.read("tracks").to_pylist()
    tracks = [{**track, "uri": f"https://example.org/{i}.mp3"} for i, track in enumerate(tracks)]
    catalog.put("tracks", pa.Table.from_pylist(tracks, TRACKS), catalog.catalog)
    assert clips(catalog.store)["songs"] == []
    assert len(asked) == tried


def test_before_a_song_is_decoded_there_is_no_section(catalog):
    catalog.tracks()
    assert clips(catalog.store) is None
    catalog.outcomes(("catalog",))
    assert "#clips" not in page_of(catalog.store).addresses
