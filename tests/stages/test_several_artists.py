"""A collection of six tag systems, with songs by two artists and compilations, from its files to lists and splits.

Whose song each is, and on which album, is known from what was written into the files, not from the readers under test:
Vorbis comments, ID3v2.4, iTunes' list, APEv2, Matroska's tags and ASF's.
"""

from collections import Counter
from itertools import combinations

import numpy as np
import pyarrow as pa
import pytest

from musicrec.models import held_out
from musicrec.models.dataset import folds
from musicrec.settings import CatalogSettings, ExtractSettings, SimilarSettings, TrainSettings
from musicrec.stages.catalog.stage import catalog
from musicrec.stages.extract.stage import extract
from musicrec.stages.model_inputs import load_training_set
from musicrec.stages.similar.stage import similar
from musicrec.store.store import Store
from tagged_files import ape, flac, id3, item, m4a, matroska_of, mp3, music, ogg_opus, text_frame

pytestmark = pytest.mark.thorough
N = 48
HOW = ("flac", "mp3", "m4a", "wv", "mka", "wma", "opus")


def facts(i: int) -> tuple[list[str], str, str | None]:
    """Artists, album and album artist of a song: every third is by two, every fourth on a compilation."""
    artists = [f"Artist {i % 11}", f"Artist {(3 * i + 1) % 11}"] if i % 3 == 0 else [f"Artist {i % 11}"]
    if i % 4 == 0:
        return list(dict.fromkeys(artists)), f"Sampler {i % 3}", "Various Artists"
    return list(dict.fromkeys(artists)), f"Album {i % 5}", artists[0]


def write(folder, i: int) -> str:
    artists, album, by = facts(i)
    how, genre = HOW[i % len(HOW)], "Jazz" if i % 2 else "Rock"
    path = folder / genre / f"{i:02d}.{how}"
    path.parent.mkdir(parents=True, exist_ok=True)
    pairs = [*(("ARTIST", a) for a in artists), ("ALBUM", album), ("ALBUMARTIST", by)]
    match how:
        case "flac":
            flac(path, pairs, seed=i)
        case "opus":
            ogg_opus(path, pairs, seed=i)
        case "mp3":
            flag = [text_frame("TCMP", "1")] if by == "Various Artists" else [text_frame("TPE2", by)]
            mp3(path, id3(text_frame("TPE1", *artists), text_frame("TALB", album), *flag), seed=i)
        case "m4a":
            m4a(path, item("©ART", *artists), item("©alb", album), item("aART", by), seed=i)
        case "wv":
            tag = ape([*(("Artist", a) for a in artists), ("Album", album), ("Album Artist", by)])
            path.write_bytes(music("wv", path, seed=i).read_bytes() + tag)
        case "mka":
            matroska_of(path, [*pairs[:-1], ("ALBUM_ARTIST", by)], seed=i)
        case "wma":
            more = {"Author": artists[1]} if len(artists) > 1 else {}
            music("asf", path, codec="wmav2", seed=i, artist=artists[0], album=album, album_artist=by, **more)
    return path.relative_to(folder).as_posix()


@pytest.fixture(scope="module")
def collection(tmp_path_factory, ray_session):
    folder = tmp_path_factory.mktemp("several")
    truth = {write(folder / "songs", i): facts(i) for i in range(N)}
    music("wav", folder / "songs" / "Rock" / "unknown.wav", seed=N)
    store = Store(folder / "out")
    store.create()
    counts = catalog(store, CatalogSettings(source=str(folder / "songs")))
    assert str(counts).endswith("; 1 song has no artist")
    extract(store, ExtractSettings(feature_sets=("iiitd41",)))
    return store, truth


def lists_of(store, **rules):
    settings = SimilarSettings(n=10, space=("features",), min_coverage=0, **rules)
    shown = str(similar(store, settings))
    table = store.read("similar").to_pandas().sort_values(["track_id", "rank"])
    return {song: own.tolist() for song, own in table.groupby("track_id")["similar_track_id"]}, shown


def test_no_list_breaks_a_rule(collection):
    store, truth = collection
    artists = {song: {*own[0]} for song, own in truth.items()} | {"Rock/unknown.wav": set()}
    albums = {song: own[1:] for song, own in truth.items()}
    lists, shown = lists_of(store, no_same_artist=True, max_per_artist=2, max_per_album=1)
    assert "1 song has no artist" in shown
    assert len(lists) >= N
    for song, own in lists.items():
        assert not any(artists[song] & artists[other] for other in own)
        assert max(Counter(a for other in own for a in artists[other]).values(), default=0) <= 2
        assert max(Counter(albums[other] for other in own if other in albums).values(), default=0) <= 1
    free, _ = lists_of(store)
    assert any(artists[song] & artists[other] for song, own in free.items() for other in own)


def test_no_split_has_an_artist_on_both_sides(collection):
    store, truth = collection
    songs = load_training_set(store, TrainSettings(model="logistic"))
    for test in (held_out(songs, 0.3, 0), *(test for _, test in folds(songs.y, songs.groups, 2, 0))):
        sides = [[truth[songs.track_ids[i]][0] for i in np.flatnonzero(side) if songs.track_ids[i] in truth]
                 for side in (test, ~test)]  # fmt: skip
        assert not set().union(*sides[0]) & set().union(*sides[1])


def test_the_albums_are_those_that_were_written(collection):
    store, truth = collection
    ids = store.read("tracks", ["track_id", "album_id"]).to_pydict()
    album_of = dict(zip(ids["track_id"], ids["album_id"], strict=True))
    for one, other in combinations(truth, 2):
        assert (album_of[one] == album_of[other]) == (truth[one][1:] == truth[other][1:])


def test_lists_are_made_anew_when_tags_are_read_better(collection):
    """As an OUT is by the first night after an update: the same songs, other artists."""
    store, _ = collection
    with_artists, _ = lists_of(store, no_same_artist=True)
    tracks = store.read("tracks")
    column = tracks.schema.get_field_index("artist_ids")
    field = tracks.schema.field(column)
    without = tracks.set_column(column, field, pa.array([[]] * tracks.num_rows, field.type))
    for changed in (without, tracks):
        version = store.new_version("tracks", CatalogSettings(source="/x"), "changed", columns=[])
        version.write_part(changed.replace_schema_metadata())
        store.publish(version)
        found, _ = lists_of(store, no_same_artist=True)
        assert (found == with_artists) == (changed is tracks)
