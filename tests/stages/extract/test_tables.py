"""The tables of extract that are made when asked for: segments, images, mel96."""

import io
import json
import shutil
from pathlib import Path

import librosa
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import soundfile as sf

from extracting import SETTINGS, assert_as_fresh, assert_same, new_out, own_source, tables
from musicrec import audio, features
from musicrec.settings import CatalogSettings, ExtractSettings
from musicrec.stages.catalog.stage import catalog
from musicrec.stages.extract.stage import extract, extract_track
from musicrec.stages.extract.track_rows import Wanted
from musicrec.store.store import Store


@pytest.fixture(scope="module")
def segmented(synthetic: Path, ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Store:
    source, _ = own_source(synthetic, tmp_path_factory.mktemp("segmented"))
    shutil.copy(synthetic / "synthetic-hum/synthetic-hum-text.mp3", source)
    store = new_out(source.parent / "out", source)
    extract(store, ExtractSettings(segment_s=0.7, feature_sets=("iiitd41",)))
    return store


def test_segments_are_the_features_of_consecutive_slices_of_the_clip(segmented: Store) -> None:
    segments = segmented.read("segments").to_pandas()
    assert segments[["track_id", "segment"]].equals(
        segments[["track_id", "segment"]].sort_values(["track_id", "segment"])
    )
    uris = dict(zip(*segmented.read("tracks", ["track_id", "uri"]).to_pydict().values(), strict=True))
    assert set(segments.track_id) == set(segmented.read("features")["track_id"].to_pylist())
    for track_id, rows in segments.groupby("track_id"):
        y = audio.load(uris[track_id])
        length = 15_435  # 0.7 s
        assert len(rows) == len(y) // length >= 3
        assert rows.segment.tolist() == list(range(len(rows)))
        np.testing.assert_allclose(rows.start_s, 0.7 * rows.segment, rtol=1e-6)
        last = rows.iloc[-1]
        expected = features.extract(y[int(last.segment) * length :][:length], 22050, "iiitd41")
        assert list(expected) == segments.columns[3:].tolist()
        np.testing.assert_allclose(last[list(expected)].astype("float64"), list(expected.values()), rtol=1e-6)


def test_segments_stay_what_they_are_when_a_song_is_added(segmented: Store, synthetic: Path, tmp_path: Path) -> None:
    shutil.copytree(segmented.out.parent, tmp_path / "copy", symlinks=True)
    store, source = Store(tmp_path / "copy/out"), tmp_path / "copy/synthetic"
    catalog(store, CatalogSettings(source=str(source)), force=True)
    before = store.read("segments").to_pandas()
    shutil.copy(next((synthetic / "synthetic-bells").glob("*-01.*")), source)
    catalog(store, CatalogSettings(source=str(source)))
    settings = ExtractSettings(segment_s=0.7, feature_sets=("iiitd41",))
    assert extract(store, settings).fresh == 1
    after = store.read("segments").to_pandas()
    added = after.track_id.str.contains("bells")
    assert 3 <= added.sum() <= 6
    pd.testing.assert_frame_equal(after[~added].reset_index(drop=True), before, check_exact=True)


def test_a_table_no_longer_asked_for_goes_and_comes_back(segmented: Store, tmp_path: Path) -> None:
    shutil.copytree(segmented.out, tmp_path / "out", symlinks=True)
    store = Store(tmp_path / "out")
    before = tables(store)
    extract(store, ExtractSettings(feature_sets=("iiitd41",)), force=True)
    assert not store.exists("segments")
    assert not (store.out / "_versions/segments").exists()
    del before["segments"]
    without = tables(store)
    for table in (before, without):
        del table["outcomes"]  # other settings, other fingerprints
    assert_same(without, before)
    extract(store, ExtractSettings(segment_s=0.7, feature_sets=("iiitd41",)), force=True)
    assert_same(tables(store), tables(segmented))


def test_any_table_may_be_a_large_one(
    segmented: Store, synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ExtractSettings(segment_s=0.7, feature_sets=("iiitd41",))
    shutil.copytree(segmented.out.parent, tmp_path / "copy", symlinks=True)
    store, source = Store(tmp_path / "copy/out"), tmp_path / "copy/synthetic"
    shutil.copy(next((synthetic / "synthetic-bells").glob("*-01.*")), source / "synthetic-added.wav")
    catalog(store, CatalogSettings(source=str(source)), force=True)
    names = ("features", "segments", "mel")
    before = [len(list((store.out / name).glob("*.parquet"))) for name in names]
    with monkeypatch.context() as patch:
        patch.setattr("musicrec.store.table_spec.LARGE_BYTES", 0)
        extract(store, settings)
    assert [len(list((store.out / name).glob("*.parquet"))) for name in names] == [n + 1 for n in before]
    fresh = new_out(tmp_path / "fresh", source)
    extract(fresh, settings)
    found, expected = tables(store), tables(fresh)
    for both in (found, expected):
        both["segments"] = both["segments"].sort_values(["track_id", "segment"], ignore_index=True)
        both["features"] = both["features"].sort_values("track_id", ignore_index=True)
    assert_same(found, expected)


@pytest.mark.parametrize("segment_s", [0.05, -1.0, 30.5])
def test_segments_too_short_or_longer_than_the_clip_are_refused(segment_s: float) -> None:
    with pytest.raises(ValueError, match=r"expected 0, or 0\.1 s to the 30 s of the clip"):
        ExtractSettings(segment_s=segment_s)


def test_images_are_pngs_of_the_clip(synthetic: Path, tmp_path: Path, ray_session: None) -> None:
    images = pytest.importorskip("musicrec.features.images")
    from PIL import Image

    source, songs = own_source(synthetic, tmp_path)
    store = new_out(tmp_path / "out", source)
    extract(store, ExtractSettings(images=True))
    table = store.read("images").to_pandas()
    assert table.track_id.tolist() == store.read("features")["track_id"].to_pylist()
    for row in table.itertuples():
        for png in (row.spectrogram, row.waveform):
            image = Image.open(io.BytesIO(png))
            assert (image.format, image.convert("RGB").size) == ("PNG", (256, 256))
    y = audio.load(str(songs[0]))
    first = table.set_index("track_id").loc[songs[0].relative_to(source).as_posix()]
    assert first.waveform == images.to_png(images.waveform_image(y))
    assert first.spectrogram == images.to_png(images.spectrogram_image(features.mel(y, 22050)))


def mel96_by_librosa(y: np.ndarray) -> np.ndarray:
    low = librosa.resample(y, orig_sr=22_050, target_sr=12_000, res_type="soxr_hq")[:349_440]
    power = librosa.feature.melspectrogram(y=low, sr=12_000, n_fft=512, hop_length=256, n_mels=96)
    return librosa.power_to_db(power, ref=np.max)


def test_mel96_is_librosas_mel_of_the_clip_at_12_khz(synthetic: Path, tmp_path: Path, ray_session: None) -> None:
    source, songs = own_source(synthetic, tmp_path)
    noise = np.random.default_rng(0).normal(size=32 * 22_050) * np.linspace(0.001, 0.3, 32 * 22_050)
    sf.write(source / "long.wav", noise, 22_050)
    store = new_out(tmp_path / "out", source)
    extract(store, ExtractSettings(mel96=True))
    table = store.read("mel96").to_pandas().set_index("track_id")
    assert set(table.index) == set(store.read("mel")["track_id"].to_pylist())
    assert table.loc["long.wav", "n_frames"] == 1366
    for path in [source / "long.wav", *songs[:2]]:
        stored = table.loc[path.relative_to(source).as_posix()]
        expected = mel96_by_librosa(audio.load(str(path)))
        assert stored.n_frames == expected.shape[1]
        rounding = np.spacing(np.abs(expected).astype(np.float16)).astype(np.float32) / 2
        assert (np.abs(stored.mel.astype(np.float32).reshape(96, -1) - expected) <= rounding + 1e-2).all()
    lineage = store.footer("mel96")["lineage"]
    assert lineage == {"sample_rate": 12_000, "n_fft": 512, "hop_length": 256, "n_mels": 96}
    for part in (store.out / "mel96").glob("*.parquet"):
        assert json.loads(pq.read_metadata(part).metadata[b"musicrec"])["lineage"] == lineage


@pytest.mark.thorough
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_mel96_has_its_length_and_range_whatever_the_clip(tmp_path: Path, rate: int) -> None:
    settings = ExtractSettings(mel96=True, sample_rate=rate, feature_sets=("gtzan57",))
    rng = np.random.default_rng(0)
    for seconds, n_frames in [(0.1, 1 + 1200 // 256), (29.1, 1 + 349_200 // 256), (29.12, 1366), (30.5, 1366)]:
        sf.write(tmp_path / "a.wav", 0.1 * rng.normal(size=round(seconds * 44_100)), 44_100)
        (row,) = extract_track(Wanted("a", str(tmp_path / "a.wav"), ""), settings)["mel96"]
        assert (row["n_frames"], row["mel"].shape) == (n_frames, (96 * n_frames,))
        assert (row["mel"].max(), row["mel"].min() >= -80) == (0, True)


def test_mel96_goes_when_it_is_no_longer_asked_for(synthetic: Path, tmp_path: Path, ray_session: None) -> None:
    source, _ = own_source(synthetic, tmp_path)
    store = new_out(tmp_path / "out", source)
    extract(store, ExtractSettings(mel96=True))
    extract(store, SETTINGS, force=True)
    assert not store.exists("mel96")
    assert_as_fresh(store, source, tmp_path / "fresh")
