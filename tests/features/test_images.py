"""Pictures of clips: matplotlib's colours, the right way up, nothing lost; and the figure for people."""

import io
from itertools import pairwise

import librosa
import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image
from scipy.signal import chirp

from musicrec import features
from musicrec.features import images
from musicrec.report.clip_figure import clip_figure
from musicrec.report.figures import data_uri

RATE = 22_050
SIZE = 256
PAPER = np.array(images.PAPER)


def mel_noise(n_mels: int, n_frames: int):
    return np.random.default_rng(n_frames).uniform(-80, 0, size=(n_mels, n_frames)).astype(np.float32)


def coloured(mel_db):
    """Colours of a mel-spectrogram by matplotlib alone, high bands on top."""
    levels = mpl.colors.Normalize(-80, 0)(mel_db[::-1])
    return mpl.colormaps["magma"](levels, bytes=True)[..., :3]


def levels_of(image):
    """Number of each pixel's colour in the colour map, whose red, green and blue name it."""
    numbers = {tuple(c): i for i, c in enumerate(mpl.colormaps["magma"](np.arange(256), bytes=True)[:, :3])}
    return np.array([[numbers[tuple(pixel)] for pixel in row] for row in image])


def triangle(n: int):
    """[256, n]: each pixel's weights of n cells, falling linearly to zero at one pixel, or one cell if that is more."""
    width = max(n / SIZE, 1)
    centres = (np.arange(SIZE) + 0.5) * n / SIZE
    weights = np.maximum(0, 1 - np.abs(np.arange(n) + 0.5 - centres[:, None]) / width)
    return weights / weights.sum(axis=1, keepdims=True)


# --- spectrogram ------------------------------------------------------------------------------------------------------


def test_a_mel_of_the_pictures_size_is_coloured_as_by_matplotlib():
    mel = (np.arange(SIZE * SIZE).reshape(SIZE, SIZE) % 256 + 0.5).astype(np.float32) / 256 * 80 - 80  # amid each level
    np.testing.assert_array_equal(images.spectrogram_image(mel), coloured(mel))


@pytest.mark.thorough
@pytest.mark.parametrize("shape", [(128, 1293), (128, 512), (20, 40), (512, 26_000), (1, 1), (128, 1), (40, 257)])
def test_other_sizes_are_resampled_linearly_and_nothing_is_passed_over(shape):
    mel = mel_noise(*shape)
    expected = triangle(shape[0]) @ mel.astype(np.float64) @ triangle(shape[1]).T
    image = images.spectrogram_image(mel)
    assert (image.shape, image.dtype) == ((SIZE, SIZE, 3), np.uint8)
    level = (expected[::-1] + 80) / 80 * 256
    assert np.abs(levels_of(image) + 0.5 - level).max() <= 0.51


def test_a_single_loud_frame_is_seen_in_a_long_clip():
    mel = np.full((128, 2560), -80, np.float32)
    mel[:, 1285] = 0
    level = levels_of(images.spectrogram_image(mel))
    np.testing.assert_array_equal(np.flatnonzero(level[0]), [128, 129])  # those whose triangles reach it
    assert level[0].argmax() == 128


def test_low_frequencies_are_at_the_bottom_and_time_runs_to_the_right():
    mel = np.full((4, 4), -80, np.float32)
    mel[0, 3] = 0
    level = levels_of(images.spectrogram_image(mel))
    assert level[-1, -1] == level.max() == 255
    assert level[0].max() == level[:, 0].max() == 0


def test_a_rising_chirp_is_a_rising_line():
    t = np.arange(5 * RATE) / RATE
    y = chirp(t, 200, t[-1], 10_000).astype(np.float32)
    level = levels_of(images.spectrogram_image(features.mel(y, RATE)))
    line = level.argmax(axis=0)[2:-2]
    assert all(after <= before for before, after in pairwise(line))
    assert line[0] > 220
    assert line[-1] < 12


def test_silence_has_one_colour():
    image = images.spectrogram_image(features.mel(np.zeros(RATE, np.float32), RATE))
    assert len(np.unique(image.reshape(-1, 3), axis=0)) == 1


def test_values_outside_the_range_are_shown_as_its_ends():
    beyond, ends = (np.repeat(np.array([[low], [high]]), 3, 1) for low, high in ((-200.0, 20.0), (-80.0, 0.0)))
    assert images.spectrogram_image(ends)[0, 0].tolist() == coloured(np.zeros((1, 1)))[0, 0].tolist()
    level = levels_of(images.spectrogram_image(beyond))
    assert (level.min(), level.max()) == (0, 255)


@pytest.mark.parametrize("change", [np.float16, np.float64, np.asfortranarray])
def test_type_and_layout_of_a_mel_do_not_matter(change):
    mel = mel_noise(128, 300).astype(np.float16).astype(np.float32)
    changed = mel.astype(change) if isinstance(change, type) else change(mel)
    np.testing.assert_array_equal(images.spectrogram_image(changed), images.spectrogram_image(mel))


@pytest.mark.parametrize("shape", [(128,), (128, 0), (0, 10), (1, 128, 10)])
def test_a_mel_without_cells_is_named(shape):
    with pytest.raises(ValueError, match=r"shape \(.*expected \[n_mels, n_frames\]"):
        images.spectrogram_image(np.zeros(shape, np.float32))


# --- waveform ---------------------------------------------------------------------------------------------------------


def bars(image):
    """Row of the first and of the last inked pixel of each column; everything between is inked as well."""
    inked = (image != PAPER).any(axis=2)
    top, bottom = inked.argmax(axis=0), SIZE - 1 - inked[::-1].argmax(axis=0)
    np.testing.assert_array_equal(inked.sum(axis=0), bottom - top + 1)
    return top, bottom


def row_of(amplitude):
    return np.rint((1 - np.clip(amplitude, -1, 1)) / 2 * (SIZE - 1))


@pytest.mark.parametrize("n", [256, 257, 1000, 661_794])
def test_each_column_spans_its_samples(n):
    y = np.random.default_rng(n).normal(scale=0.4, size=n).astype(np.float32)
    image = images.waveform_image(y)
    assert (image.shape, image.dtype) == ((SIZE, SIZE, 3), np.uint8)
    parts = [y[c * n // SIZE : (c + 1) * n // SIZE] for c in range(SIZE)]
    assert sum(map(len, parts)) == n
    top, bottom = bars(image)
    np.testing.assert_array_equal(top, row_of(np.array([part.max() for part in parts])))
    np.testing.assert_array_equal(bottom, row_of(np.array([part.min() for part in parts])))


def test_silence_is_a_line_in_the_middle():
    top, bottom = bars(images.waveform_image(np.zeros(RATE, np.float32)))
    assert set(top) == set(bottom) == {128}


def test_a_clip_of_few_samples_repeats_them():
    top, bottom = bars(images.waveform_image(np.array([1.0, -1.0, 3.0, -3.0])))
    np.testing.assert_array_equal(top, bottom)
    np.testing.assert_array_equal(top, np.repeat([0, 255, 0, 255], 64))


def test_a_click_among_many_samples_is_seen():
    y = np.zeros(661_794, np.float32)
    y[330_900] = 1
    top, _ = bars(images.waveform_image(y))
    np.testing.assert_array_equal(np.flatnonzero(top == 0), [330_900 * SIZE // len(y)])


@pytest.mark.parametrize("shape", [(0,), (2, 100)])
def test_samples_that_are_none_or_of_several_channels_are_named(shape):
    with pytest.raises(ValueError, match=r"expected \[n_samples\]"):
        images.waveform_image(np.zeros(shape, np.float32))


# --- files ------------------------------------------------------------------------------------------------------------


def pictures():
    rng = np.random.default_rng(0)
    return {
        "spectrogram": images.spectrogram_image(mel_noise(128, 600)),
        "waveform": images.waveform_image(rng.normal(scale=0.3, size=RATE)),
        "one colour": np.full((SIZE, SIZE, 3), 7, np.uint8),
        "more than 256 colours": rng.integers(0, 256, size=(SIZE, SIZE, 3), dtype=np.uint8),
    }


@pytest.mark.parametrize("name", pictures())
def test_a_png_holds_the_picture_exactly(name):
    image = pictures()[name]
    png = images.to_png(image)
    np.testing.assert_array_equal(images.from_png(png), image)
    with Image.open(io.BytesIO(png)) as picture:  # as any reader sees it
        np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), image)
        assert picture.mode == ("RGB" if name.startswith("more") else "P")


def test_a_palette_makes_the_file_smaller():
    image = pictures()["spectrogram"]
    plain = io.BytesIO()
    Image.fromarray(image).save(plain, "PNG")
    assert len(images.to_png(image)) < 0.7 * len(plain.getvalue())


def test_the_same_clip_makes_the_same_file():
    for one, other in zip(pictures().values(), pictures().values(), strict=True):
        assert images.to_png(one) == images.to_png(other)


# --- figure for people ------------------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_a_figure_names_seconds_hertz_and_decibels():
    y = (0.5 * np.sin(2 * np.pi * 1000 * np.arange(2 * RATE) / RATE)).astype(np.float32)
    figure = clip_figure(y, RATE, features.mel(y, RATE))
    waveform, spectrogram, bar = figure.axes
    assert (waveform.get_ylabel(), bar.get_ylabel()) == ("amplitude", "level (dB)")
    assert (spectrogram.get_xlabel(), spectrogram.get_ylabel()) == ("time (s)", "frequency (Hz, mel scale)")
    assert waveform.get_xlim() == spectrogram.get_xlim() == (0, 2)
    assert data_uri(figure) == data_uri(clip_figure(y, RATE, features.mel(y, RATE)))


@pytest.mark.thorough
@pytest.mark.parametrize("hz", [250, 1000, 4000, 8000])
@pytest.mark.parametrize("n_mels", [40, 128])
def test_a_tone_stands_at_its_tick(hz, n_mels):
    y = (0.5 * np.sin(2 * np.pi * hz * np.arange(2 * RATE) / RATE)).astype(np.float32)
    _, spectrogram, _ = clip_figure(y, RATE, features.mel(y, RATE, n_mels=n_mels)).axes
    (image,) = spectrogram.images
    left, right, low, high = image.get_extent()
    loudest = image.get_array().mean(axis=1).argmax()
    (at,) = [t for t, text in zip(spectrogram.get_yticks(), spectrogram.get_yticklabels(), strict=True)
             if text.get_text() == f"{hz:,}"]  # fmt: skip
    band = (high - low) / n_mels
    assert low + (loudest + 0.5) * band == pytest.approx(at, abs=0.75 * band)
    centres = librosa.hz_to_mel(librosa.mel_frequencies(n_mels + 2, fmax=RATE / 2)[1:-1])
    np.testing.assert_allclose(low + (np.arange(n_mels) + 0.5) * band, centres)
    assert (left, right) == pytest.approx((-256 / RATE, (2 * RATE // 512 + 0.5) * 512 / RATE))


@pytest.mark.thorough
def test_a_figure_of_a_single_sample_is_drawn():
    y = np.ones(1, np.float32)
    assert data_uri(clip_figure(y, RATE, features.mel(y, RATE))).startswith("data:image/svg+xml")
