"""The demo catalog keeps its promises: good songs are good, broken files are broken, nothing is written twice."""

import re

import av
import numpy as np
import pytest
import soundfile as sf
from scipy.signal import correlate
from tinytag import TinyTag

from musicrec import audio
from musicrec.errors import ConfigError
from musicrec.stages.catalog.synthetic import ODD_SONGS, STYLES, render, write_catalog

SMALL = {"songs_per_style": 2, "seconds": 1.0}
EMPTY = "synthetic-chirp/synthetic-chirp-empty.mp3"
CUT_MP3 = "synthetic-gears/synthetic-gears-cut.mp3"
CUT_WAV = "synthetic-glass/synthetic-glass-cut.wav"
TEXT = "synthetic-hum/synthetic-hum-text.mp3"
SILENT = "synthetic-rain/synthetic-rain-silent.flac"
SAMPLE = "synthetic-reeds/synthetic-reeds-sample.wav"
BROKEN = {EMPTY, CUT_MP3, CUT_WAV, TEXT, SILENT, SAMPLE}
USUAL = {".wav", ".flac", ".ogg", ".mp3"}
ODD = {  # codec and container of the songs that show whether FFmpeg's decoders work
    ".m4a": ("aac", "mov"),
    ".aac": ("aac", "aac"),
    ".opus": ("opus", "ogg"),
    ".wma": ("wmav2", "asf"),
    ".webm": ("opus", "matroska"),
}
UNREAD = {".webm"}  # whose tags tinytag does not read


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def good_songs(folder):
    return [path for path in files(folder) if path.relative_to(folder).as_posix() not in BROKEN]


def tags(folder):
    return {path: TinyTag.get(path) for path in good_songs(folder) if path.suffix not in UNREAD}


def rendered(path):
    """What a song of the small catalog was made from, mixed down; drawn as the catalog draws it."""
    index = [f"synthetic-{style.name}" for style in STYLES].index(path.parent.name)
    number = re.fullmatch(r"synthetic-\w+-(\d\d)", path.stem)
    rng = np.random.default_rng((0, index, int(number[1]) if number else 0))
    seconds = SMALL["seconds"] * rng.uniform(0.8, 1.2)
    with av.open(path) as file:
        context = file.streams.audio[0].codec_context
        rate, n_channels = context.sample_rate, context.layout.nb_channels
    samples = render(STYLES[index], rng, seconds, rate) * (0.8 if n_channels == 2 else 1)  # the right is softer
    return audio.resample(samples, rate, 22_050)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "songs"
    assert write_catalog(folder, **SMALL) == 2 * len(STYLES) + len(ODD_SONGS) + len(BROKEN)
    return folder


def test_one_folder_a_style(catalog):
    assert len(files(catalog)) == 2 * len(STYLES) + len(ODD_SONGS) + len(BROKEN)
    assert {path.name for path in catalog.iterdir()} == {f"synthetic-{style.name}" for style in STYLES}
    assert len(STYLES) == 12


def test_it_says_synthetic_wherever_it_shows(catalog):
    for path in files(catalog):
        assert path.name.startswith("synthetic-")
        assert path.parent.name.startswith("synthetic-")
    for path, tag in tags(catalog).items():
        assert tag.title.startswith(f"Synthetic {path.parent.name.removeprefix('synthetic-')} ")
        assert tag.artist.startswith("Synthetic artist ")
        assert tag.album.startswith("Synthetic album ")
    for path in set(good_songs(catalog)) - tags(catalog).keys():
        assert b"Synthetic artist " in path.read_bytes()


def test_an_artist_stays_in_one_style(tmp_path):
    write_catalog(tmp_path, songs_per_style=3, seconds=0.5)
    styles_of = {}
    for path, tag in tags(tmp_path).items():
        styles_of.setdefault(tag.artist, set()).add(path.parent.name)
    assert len(styles_of) == 3 * len(STYLES)
    assert all(len(styles) == 1 for styles in styles_of.values())


def test_usual_songs_are_of_every_format_rate_and_number_of_channels(catalog):
    infos = [sf.info(path) for path in good_songs(catalog) if path.suffix in USUAL]
    assert {info.format for info in infos} == {"WAV", "FLAC", "OGG", "MP3"}
    assert {info.samplerate for info in infos} == {22_050, 44_100}
    assert {info.channels for info in infos} == {1, 2}


def test_one_song_more_in_each_odd_format_in_a_style_of_its_own(catalog):
    odd = [path for path in good_songs(catalog) if path.suffix not in USUAL]
    assert sorted(path.suffix for path in odd) == sorted(ODD)
    assert len({path.parent for path in odd}) == len(ODD)
    for path in odd:
        with av.open(path) as file:
            name = file.streams.audio[0].codec_context.codec.canonical_name
            assert (name, file.format.name.split(",")[0]) == ODD[path.suffix]


def test_good_songs_decode_to_what_was_rendered(catalog):
    """By the decoders that a run uses: as long, as loud, and note for note; codecs lose a little, and some are late."""
    for path in good_songs(catalog):
        samples, expected = audio.load(str(path)), rendered(path)
        assert len(samples) == pytest.approx(len(expected), abs=0.1 * 22_050), path.name
        loudness, wanted = (np.sqrt((x**2).sum()) for x in (samples, expected))
        assert 20 * np.log10(loudness / wanted) == pytest.approx(0, abs=1.5), path.name
        likeness = correlate(samples, expected, method="fft") / (loudness * wanted)
        assert likeness.max() > 0.8, path.name
        assert abs(likeness.argmax() - (len(expected) - 1)) < 0.05 * 22_050, path.name


@pytest.mark.parametrize("name", [EMPTY, CUT_MP3, TEXT])
def test_undecodable_files_are_undecodable(catalog, name):
    with pytest.raises(sf.LibsndfileError):
        sf.read(catalog / name)


def test_files_without_music_have_none(catalog):
    assert (catalog / EMPTY).stat().st_size == 0
    assert sf.info(catalog / CUT_WAV).frames == 0
    assert not sf.read(catalog / SILENT)[0].any()
    assert sf.info(catalog / SAMPLE).frames == 1


def test_odd_names(catalog):
    assert any(not path.name.isascii() for path in good_songs(catalog))
    (first, _), (second, _) = (sf.read(path) for path in catalog.glob("*/synthetic-interlude.flac"))
    assert not np.array_equal(first, second)


def test_second_call_writes_nothing(catalog):
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files(catalog)}
    assert write_catalog(catalog, **SMALL, seed=5) == 0
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files(catalog)} == before


def test_only_what_is_missing_is_written(tmp_path):
    own = tmp_path / "synthetic-bells" / "synthetic-bells-01.flac"
    own.parent.mkdir()
    own.write_bytes(b"somebody's file")
    n_written = write_catalog(tmp_path, songs_per_style=1, seconds=0.5)
    assert n_written == len(files(tmp_path)) - 1
    assert own.read_bytes() == b"somebody's file"
    assert write_catalog(tmp_path, songs_per_style=2, seconds=0.5) == len(STYLES)


@pytest.mark.thorough
def test_equal_seeds_give_equal_songs(catalog, tmp_path):
    write_catalog(tmp_path / "same", **SMALL)
    write_catalog(tmp_path / "other", **SMALL, seed=1)
    for path in good_songs(catalog):
        name = path.relative_to(catalog)
        samples, same, other = (audio.load(str(f / name)) for f in (catalog, tmp_path / "same", tmp_path / "other"))
        np.testing.assert_array_equal(samples, same)
        assert not np.array_equal(samples, other)


@pytest.mark.parametrize("style", STYLES, ids=lambda style: style.name)
def test_render(style):
    song = render(style, np.random.default_rng(0), 1.5, 8000)
    assert song.dtype == np.float32
    assert song.shape == (12_000,)
    assert np.abs(song).max() == pytest.approx(10 ** (-3 / 20), rel=1e-6)
    np.testing.assert_array_equal(song, render(style, np.random.default_rng(0), 1.5, 8000))
    assert not np.array_equal(song, render(style, np.random.default_rng(1), 1.5, 8000))


@pytest.mark.thorough
def test_styles_can_be_told_apart_but_not_always():
    songs_per_style, rng = 8, np.random.default_rng(0)
    songs = np.array([[render(style, rng, 2.0, 16_000) for _ in range(songs_per_style)] for style in STYLES])
    spectra = np.abs(np.fft.rfft(songs.reshape(len(STYLES), songs_per_style, -1, 1000)))[..., 1:]
    bands = np.log10(1e-4 + np.add.reduceat(spectra, np.unique(np.geomspace(1, 400, 20).astype(int)), axis=-1))
    features = np.concatenate([bands.mean(axis=2), bands.std(axis=2)], axis=-1)
    centres, others = features[:, ::2].mean(axis=1), features[:, 1::2]
    nearest = np.linalg.norm(others[:, :, None] - centres, axis=-1).argmin(axis=-1)
    accuracy = np.mean(nearest == np.arange(len(STYLES))[:, None])
    assert 0.4 < accuracy < 1  # chance is 0.08


@pytest.mark.parametrize("wrong", [{"songs_per_style": 0}, {"seconds": 0.1}, {"seconds": float("nan")}, {"seed": -1}])
def test_numbers_out_of_range(tmp_path, wrong):
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))} = .*expected at least"):
        write_catalog(tmp_path / "songs", **wrong)
    assert not (tmp_path / "songs").exists()


def test_a_file_is_no_folder(tmp_path):
    path = tmp_path / "song.wav"
    path.touch()
    with pytest.raises(ConfigError, match="is a file"):
        write_catalog(path)
