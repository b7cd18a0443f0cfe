"""What models read of an OUT: unpacked tables are the tables; of what is missing, the option that makes it is said."""

import json
import math

import numpy as np
import pyarrow as pa
import pytest

from musicrec import features, schemas
from musicrec.errors import ConfigError, ModelError
from musicrec.features.images import to_png
from musicrec.models import with_defaults
from musicrec.settings import CatalogSettings, ExtractSettings, TrainSettings
from musicrec.stages import model_inputs
from musicrec.stages.model_inputs import (
    Packed,
    columns_of,
    input_of,
    load_training_set,
    read_songs,
    require_same_input,
    unpack,
)
from musicrec.store.store import Store

N, BANDS = 70, 4  # more than are unpacked at once
IDS = [f"s{(3 * i) % N:02d}" for i in range(N)]  # tables are in an order of their own
MADE = {"sample_rate": 12_000, "hop_length": 256, "n_mels": 96}


def spectrogram(track_id):
    n_frames = 1 + int(track_id[1:]) % 9
    draw = np.random.default_rng(int(track_id[1:]))
    return draw.uniform(-80, 0, (n_frames, BANDS)).astype(np.float16)


def picture(track_id):
    return np.random.default_rng(int(track_id[1:])).integers(0, 256, (6, 6, 3)).astype(np.uint8)


def publish(store, name, table, settings, fingerprint="x", **lineage):
    version = store.new_version(name, settings, fingerprint, **lineage)
    version.write_part(table)
    store.publish(version)


@pytest.fixture
def store(tmp_path):
    """An OUT with drawn tables: the stages before need not run."""
    store = Store(tmp_path / "out")
    store.create()
    settings = ExtractSettings(feature_sets=("iiitd41",))
    empty = dict.fromkeys(schemas.TRACKS.names)
    tracks = [empty | {"track_id": t, "genre": "ab"[int(t[1:]) % 2], "artist_id": t[1]} for t in sorted(IDS)]
    publish(store, "tracks", pa.Table.from_pylist(tracks, schemas.TRACKS), CatalogSettings(source="/music"))
    names = features.feature_names("iiitd41")
    X = np.array([[float(t[1:])] * len(names) for t in IDS], np.float32)
    publish(store, "features", pa.table([IDS, *X.T], schema=schemas.features_schema(names)), settings)
    mels = [spectrogram(t) for t in IDS]
    table = pa.table(
        {
            "track_id": IDS,
            "n_frames": [len(mel) for mel in mels],
            "mel": pa.array([mel.T.ravel() for mel in mels], pa.list_(pa.float16())),  # as extract has it: by band
        }
    )
    publish(store, "mel96", table, settings, **MADE)
    pictures = {"track_id": IDS, "spectrogram": [to_png(picture(t)) for t in IDS]}
    publish(store, "images", pa.table(pictures), settings)
    return store


def folder(store, table):
    return model_inputs._folder(store, table)


@pytest.mark.parametrize(("table", "of", "model"), [("mel96", spectrogram, "crnn"), ("images", picture, "cnn_image")])
def test_unpacked_songs_are_those_of_the_table(store, table, of, model):
    unpack(store, table)
    packed = Packed(folder(store, table))
    assert len(packed) == N
    for track_id, song in zip(IDS, packed, strict=True):
        assert song.dtype == of(track_id).dtype
        np.testing.assert_array_equal(song, of(track_id))
    loaded = load_training_set(store, with_defaults(TrainSettings(model=model)))
    assert loaded.track_ids == sorted(IDS)
    for track_id, song, label in zip(loaded.track_ids, loaded.X, loaded.y, strict=True):
        np.testing.assert_array_equal(song, of(track_id))
        assert "ab"[label] == "ab"[int(track_id[1:]) % 2]
    read = read_songs(store.read(table, columns_of({"reads": table})), {"reads": table})
    assert len(read) == N
    assert all(np.array_equal(song, of(track_id)) for track_id, song in zip(IDS, read, strict=True))


def test_features_come_in_the_order_of_their_songs(store):
    loaded = load_training_set(store, with_defaults(TrainSettings()))
    assert loaded.track_ids == sorted(IDS)
    np.testing.assert_array_equal(loaded.X, np.repeat(np.arange(N, dtype=np.float32)[:, None], 41, axis=1))


def test_unpacking_again_does_nothing_and_a_new_table_is_unpacked_anew(store):
    unpack(store, "mel96")
    rows = folder(store, "mel96") / "rows.bin"
    before = (rows.stat().st_mtime_ns, rows.stat().st_ino)
    unpack(store, "mel96")
    assert (rows.stat().st_mtime_ns, rows.stat().st_ino) == before
    publish(store, "mel96", store.read("mel96").slice(0, 3), ExtractSettings(), "y", **MADE)
    assert not folder(store, "mel96").exists()
    unpack(store, "mel96")
    assert len(Packed(folder(store, "mel96"))) == 3


def test_a_table_is_unpacked_whole_or_not_at_all(store, monkeypatch):
    decoded = model_inputs._decoded

    def stopped(rows, table):
        for i, song in enumerate(decoded(rows, table)):
            if i == 5:
                raise OSError(28, "No space left on device")
            yield song

    monkeypatch.setattr(model_inputs, "_decoded", stopped)
    with pytest.raises(OSError, match="No space"):
        unpack(store, "mel96")
    assert not folder(store, "mel96").exists()
    monkeypatch.undo()
    unpack(store, "mel96")
    assert len(Packed(folder(store, "mel96"))) == N


def test_of_two_that_unpack_at_once_one_wins_and_nothing_is_left_lying_about(store, monkeypatch):
    decoded = model_inputs._decoded

    def overtaken(rows, table):
        monkeypatch.undo()
        unpack(store, table)
        return decoded(rows, table)

    monkeypatch.setattr(model_inputs, "_decoded", overtaken)
    unpack(store, "mel96")
    assert [path.name for path in folder(store, "mel96").parent.iterdir()] == [folder(store, "mel96").name]
    assert len(Packed(folder(store, "mel96"))) == N


@pytest.mark.parametrize(
    ("table", "model", "option"), [("mel96", "cnn", "--mel96"), ("images", "cnn_image", "--images")]
)
def test_a_missing_table_is_said_with_the_option_that_makes_it(store, table, model, option):
    (store.out / table).unlink()
    with pytest.raises(ConfigError, match=f"has no {table}, which model {model} reads.* {option} ") as error:
        load_training_set(store, with_defaults(TrainSettings(model=model)))
    assert "\n" not in str(error.value)


def test_a_missing_feature_set_is_said(store):
    with pytest.raises(ConfigError, match="feature sets iiitd41; model mlp reads gtzan57"):
        load_training_set(store, TrainSettings(feature_set="gtzan57"))


def test_the_card_says_how_long_an_excerpt_is_in_frames(store):
    described = input_of(store, with_defaults(TrainSettings(model="crnn")))
    assert described == {"reads": "mel96", "shape": [1366, 96], "windows": 1, "made_by": MADE}  # of the publication
    short = input_of(store, with_defaults(TrainSettings(model="cnn", window_s=2.0)))
    assert short["shape"] == [1 + math.floor(2 * 12_000 / 256), 96]
    assert input_of(store, with_defaults(TrainSettings(model="cnn_image")))["shape"] == [256, 256, 3]
    features_of = input_of(store, with_defaults(TrainSettings()))
    assert features_of["shape"] == [41] == [len(features_of["feature_names"])]
    assert json.loads(json.dumps(described)) == described


def test_a_table_that_was_made_in_another_way_is_refused(store):
    card = {"model": "crnn", "input": input_of(store, with_defaults(TrainSettings(model="crnn")))}
    require_same_input(store, card)
    publish(store, "mel96", store.read("mel96"), ExtractSettings(), "y", **(MADE | {"hop_length": 512}))
    with pytest.raises(ModelError, match="hop_length 256, now 512; train it again"):
        require_same_input(store, card)
