"""FMA's feature set has the columns of its public table, and librosa's values, function by function."""

import subprocess
import sys
from types import SimpleNamespace

import librosa
import numpy as np
import pandas as pd
import pytest
import scipy.stats
import soundfile as sf

from musicrec import features
from musicrec.features import tonal

RATE = 22_050
SIZES = {
    "chroma_stft": 12, "chroma_cqt": 12, "chroma_cens": 12, "tonnetz": 6, "mfcc": 20, "rmse": 1, "zcr": 1,
    "spectral_centroid": 1, "spectral_bandwidth": 1, "spectral_contrast": 7, "spectral_rolloff": 1,
}  # fmt: skip
STATISTICS = {
    "mean": np.mean, "std": np.std, "skew": scipy.stats.skew, "kurtosis": scipy.stats.kurtosis,
    "median": np.median, "min": np.min, "max": np.max,
}  # fmt: skip
SHAPES = ("skew", "kurtosis")
REAL = ("classical/classical.00000.wav", "metal/metal.00000.wav", "pop/pop.00000.wav")

pytestmark = [pytest.mark.thorough, pytest.mark.filterwarnings("ignore:n_fft=", "ignore:Trying to estimate tuning")]


def tone(hz: float, s: float = 3.0):
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(round(s * RATE)) / RATE)).astype(np.float32)


def noise(n: int):
    return np.random.default_rng(0).normal(scale=0.1, size=n).astype(np.float32)


@pytest.fixture(scope="module")
def clip(data):
    """Reads an untouched 30 s original of GTZAN."""
    return lambda name: sf.read(data / "gtzan" / name, dtype="float32")[0]


def rows_by_librosa(y, rate: int = RATE) -> dict:
    """What FMA's script computes, one call of librosa a feature, with the twelve bins an octave that it means."""
    magnitude = np.abs(librosa.stft(y))
    cqt = np.abs(librosa.cqt(y, sr=rate, hop_length=512, bins_per_octave=12, n_bins=84, tuning=None))
    cens = librosa.feature.chroma_cens(C=cqt, n_chroma=12, n_octaves=7, bins_per_octave=12)
    mel = librosa.feature.melspectrogram(sr=rate, S=magnitude**2)
    return {
        "chroma_stft": librosa.feature.chroma_stft(S=magnitude**2, sr=rate, n_chroma=12),
        "chroma_cqt": librosa.feature.chroma_cqt(C=cqt, n_chroma=12, n_octaves=7, bins_per_octave=12),
        "chroma_cens": cens,
        "tonnetz": librosa.feature.tonnetz(chroma=cens),
        "mfcc": librosa.feature.mfcc(S=librosa.power_to_db(mel), n_mfcc=20),
        "rmse": librosa.feature.rms(S=magnitude),
        "zcr": librosa.feature.zero_crossing_rate(y, frame_length=2048, hop_length=512),
        "spectral_centroid": librosa.feature.spectral_centroid(S=magnitude, sr=rate),
        "spectral_bandwidth": librosa.feature.spectral_bandwidth(S=magnitude, sr=rate),
        "spectral_contrast": librosa.feature.spectral_contrast(S=magnitude, sr=rate, n_bands=6),
        "spectral_rolloff": librosa.feature.spectral_rolloff(S=magnitude, sr=rate),
    }


def assert_librosas(y, rate: int = RATE) -> list[str]:
    """Compare all columns; return those whose shape was not compared, because the row moves by rounding only."""
    mine, compared, still = features.extract(y, rate, "fma518"), set(), []
    for quantity, values in rows_by_librosa(y, rate).items():
        rows = values.astype(np.float64)
        scale = np.abs(rows).max()
        for statistic, function in STATISTICS.items():
            for i, row in enumerate(rows):
                name = f"{quantity}_{statistic}_{i + 1:02}"
                compared.add(name)
                if statistic not in SHAPES:
                    assert mine[name] == pytest.approx(function(row), rel=1e-5, abs=1e-5 * scale), name
                elif row.std() > 1e-3 * scale:
                    assert mine[name] == pytest.approx(function(row), rel=1e-3, abs=1e-3), name
                else:
                    still.append(name)
    assert compared == mine.keys()
    return still


# --- columns ----------------------------------------------------------------------------------------------------------


def test_columns_are_those_of_fmas_table_in_its_order():
    table = pd.MultiIndex.from_tuples(
        (name, statistic, f"{i + 1:02}") for name, n in SIZES.items() for statistic in STATISTICS for i in range(n)
    ).sort_values()
    names = features.feature_names("fma518")
    assert names == ["_".join(levels) for levels in table]
    assert len(set(names)) == 518


def test_no_column_of_one_set_is_taken_for_that_of_another():
    first = set(features.feature_names(["iiitd41", "gtzan57"]))
    assert first.isdisjoint(features.feature_names("fma518"))


def test_features_are_named_without_loading_what_computes_them():
    code = (
        "import sys; from musicrec import features; from musicrec.features import images; "
        "assert len(features.feature_names('fma518')) == 518; "
        "print(sorted({'librosa', 'numba', 'scipy', 'matplotlib', 'PIL'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REAL)
def test_features_of_a_real_clip_are_librosas(clip, name):
    assert assert_librosas(clip(name)) == []


def test_features_of_half_a_second_are_librosas(clip):
    assert assert_librosas(clip(REAL[1])[: RATE // 2]) == []


def test_features_at_another_rate_are_librosas():
    assert assert_librosas(noise(2 * 44_100), rate=44_100) == []


def test_features_of_noise_are_librosas():
    assert assert_librosas(noise(3 * RATE)) == []


def test_features_of_a_pure_tone_are_librosas():
    still = assert_librosas(tone(440.0))
    assert {name for name in still if name.startswith(("mfcc", "rmse", "zcr", "spectral_contrast"))} == set()


def test_several_sets_give_what_each_gives_alone():
    y, sets = noise(RATE), list(features.FEATURE_SETS)
    together = features.extract(y, RATE, sets)
    assert list(together) == features.feature_names(sets)
    for feature_set in sets:
        alone = features.extract(y, RATE, feature_set)
        assert {name: together[name] for name in alone} == alone


def test_a_single_feature_has_the_value_it_has_in_its_set():
    y = noise(RATE)
    expected, analysis = features.extract(y, RATE, "fma518"), features.analyse(y, RATE)
    for feature in features.FEATURE_SETS["fma518"][::37]:
        assert feature.value(analysis) == expected[feature.name]


@pytest.mark.parametrize("rate", [16_000, RATE, 44_100])
@pytest.mark.parametrize(
    "y",
    [noise(RATE // 10), np.zeros(RATE), np.full(RATE, 0.5), np.zeros(RATE // 10), np.ones(1), np.ones(2)],
    ids=["a tenth of a second", "silence", "direct current", "short silence", "one sample", "two samples"],
)
def test_features_of_poor_clips_are_finite(y, rate):
    values = features.extract(y.astype(np.float32), rate, "fma518")
    assert np.isfinite(np.array(list(values.values()), np.float32)).all()


def statistic_of(rows, statistic: str):
    """Each row's statistic, by way of the twenty columns of mfcc."""
    names = [f"mfcc_{statistic}_{i + 1:02}" for i in range(20)]
    return [f.value(SimpleNamespace(mfcc=rows)) for f in features.FEATURE_SETS["fma518"] if f.name in names]


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("n_frames", [2, 3, 100, 1293])
def test_statistics_are_numpys_and_scipys(statistic, n_frames):
    rng = np.random.default_rng(n_frames)
    rows = (rng.exponential(size=(20, n_frames)) - np.arange(20)[:, None]).astype(np.float32)
    theirs = STATISTICS[statistic](rows.astype(np.float64), axis=1)
    np.testing.assert_allclose(statistic_of(rows, statistic), theirs, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("value", [0.0, 0.1, -500.0])
def test_a_row_that_moves_by_no_more_than_rounding_has_the_shape_that_fmas_table_gives_to_a_constant(value):
    rows = np.full((20, 100), value, np.float32)
    rows[1::2, ::3] = np.nextafter(rows[1::2, ::3], np.float32(value * 2))
    assert (rows[1].std() > 0) == (value != 0)
    assert set(statistic_of(rows, "skew")) == {0}
    assert set(statistic_of(rows, "kurtosis")) == {-3}


def test_rmse_of_fmas_table_is_larger_by_the_factor_we_state():
    y = noise(RATE)
    theirs = np.sqrt(np.mean(np.abs(librosa.stft(y)) ** 2, axis=0)).mean()
    assert theirs / features.extract(y, RATE, "fma518")["rmse_mean_01"] == pytest.approx(45.2, rel=2e-3)


# --- constant-Q transform ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [16_000, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000])
@pytest.mark.parametrize("tuning", [0.0, -0.5, 0.27])
def test_constant_q_is_librosas(rate, tuning):
    y = noise(50_001)
    theirs = np.abs(librosa.cqt(y, sr=rate, tuning=tuning))
    mine = tonal.constant_q(y, rate, tuning)
    assert mine.dtype == np.float32
    np.testing.assert_allclose(mine, theirs, rtol=0, atol=2e-6 * theirs.max())


@pytest.mark.parametrize("n", [2, 255, 511, 512, 513, 5000, 11_025])
def test_constant_q_of_a_short_clip_is_librosas(n):
    theirs = np.abs(librosa.cqt(noise(n), sr=RATE, tuning=0.0))
    np.testing.assert_allclose(tonal.constant_q(noise(n), RATE), theirs, rtol=0, atol=2e-6 * theirs.max())


@pytest.mark.parametrize("note", ["C1", "A4", "B7"])
def test_a_note_stands_in_its_own_bin_and_pitch_class(note):
    y = tone(librosa.note_to_hz(note))
    bin_ = librosa.note_to_midi(note) - librosa.note_to_midi("C1")
    inner = tonal.constant_q(y, RATE)[:, 40:-40]
    assert (inner.argmax(axis=0) == bin_).all()
    chroma = tonal.Tonal(features.analyse(y, RATE)).chroma_cqt[:, 40:-40]
    assert (chroma.argmax(axis=0) == bin_ % 12).all()
    assert (chroma.max(axis=0) == 1).all()


@pytest.mark.parametrize("cents", [-40, -13, 0, 7, 49])
def test_tuning_is_librosas_and_that_of_the_tone(cents):
    y = tone(440 * 2 ** (cents / 1200))
    analysis = features.analyse(y, RATE)
    mine = analysis.tuning_of_magnitude
    assert mine == librosa.estimate_tuning(y=y, sr=RATE)
    assert mine == pytest.approx(cents / 100, abs=0.03)


def test_the_tuning_of_silence_is_zero():
    assert features.analyse(np.zeros(RATE, np.float32), RATE).tuning_of_magnitude == 0
