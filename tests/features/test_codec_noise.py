"""Features are compared such that the file which a song is kept in matters little."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.extract.codecs import copies, write
from benchmarks.similar.distortions import RATE
from musicrec import audio, features
from musicrec.features import FEATURE_SETS
from musicrec.features.codec_noise import FILE, _columns, compared, reliability

NAMES = features.feature_names(list(FEATURE_SETS))


def test_every_feature_of_every_set_was_measured():
    assert list(_columns()) == NAMES, "measure a new set: python -m benchmarks.extract.codecs --set NAME --write"
    assert all(column.noise >= 0 and (column.floor is None or column.floor > 0) for column in _columns().values())


def test_positive_features_are_compared_by_their_logarithms_and_others_as_they_are():
    values = np.array([[0.5, 50.0, -3.0], [0.0, np.nan, 2.0]])
    found = compared(values, ["rms_mean", "spectral_contrast_var", "mfcc1_mean"])
    floor = _columns()["rms_mean"].floor
    np.testing.assert_allclose(found[0], [np.log(0.5), np.log(50.0), -3.0])
    np.testing.assert_allclose(found[1], [np.log(floor), np.nan, 2.0])
    assert compared(values[:, :1], ["my own"]).tolist() == values[:, :1].tolist()


@given(st.floats(1e-3, 1e3), st.floats(1.1, 10))
def test_a_column_weighs_the_less_the_less_it_varies_from_song_to_song(deviation, factor):
    names = ["spectral_contrast_var", "mel_spec1", "my own"]
    less, more = reliability(names, np.full(3, deviation)), reliability(names, np.full(3, factor * deviation))
    assert (less > 0).all()
    assert (less <= more).all()
    assert (more <= 1).all()
    assert less[2] == more[2] == 1
    noise = _columns()["spectral_contrast_var"].noise
    assert less[0] == pytest.approx(deviation**2 / (deviation**2 + noise**2))


@pytest.mark.thorough
def test_an_mp3_lies_nearer_to_its_song_than_the_bare_features_say(data):
    """The first of 12 songs of GTZAN, all others, and an mp3 of it whose highest band is empty."""
    names = features.feature_names("iiitd41")

    def row(y):
        values = features.evaluate(features.analyse(y, RATE), "iiitd41")
        return [values[name] for name in names]

    clips = [audio.load(str(path), sample_rate=RATE) for path in sorted((data / "gtzan").rglob("*.*"))[:48:4]]
    songs, mp3 = np.array([row(clip) for clip in clips]), np.array([row(copies()["mp3 96k"](clip)) for clip in clips])

    def cosine(songs, copy, weights):
        mean, deviation = songs.mean(axis=0), songs.std(axis=0)
        a, b = ((x - mean) / deviation * weights(deviation) for x in (songs, copy))
        return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)

    bare = cosine(songs, mp3, lambda deviation: 1.0)
    robust = cosine(compared(songs, names), compared(mp3, names), lambda deviation: reliability(names, deviation))
    assert np.mean(1 - robust) < 0.6 * np.mean(1 - bare)


def test_a_set_that_is_measured_alone_leaves_the_lines_of_others_as_they_are(tmp_path):
    file = tmp_path / "codec_noise.csv"
    file.write_bytes(FILE.read_bytes())
    before = file.read_text().splitlines()
    name = features.feature_names("iiitd41")[3]
    write(file, [name], [None], np.array([0.25]))
    after = file.read_text().splitlines()
    assert [b for a, b in zip(before, after, strict=True) if a != b] == [f"{name},,0.25"]
    assert [line.split(",")[0] for line in before] == [line.split(",")[0] for line in after]
