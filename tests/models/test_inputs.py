"""What networks are given of a song: excerpts against brute force; reading ahead keeps order and errors."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musicrec.errors import ModelError
from musicrec.models.inference import apply
from musicrec.models.inputs import Chosen, Features, Pictures, Spectrograms, ahead, check, chunks, reader

BANDS = 3
LENGTHS = st.integers(1, 60)
IDENTITY = {"kind": "standardised", "fill": [7.0, 8.0], "floor": [None, None], "mean": [1.0, 2.0], "scale": [2.0, 4.0],
            "whiten": None}  # fmt: skip


def spectrogram(n_frames, start=0):
    """Every cell has a level of its own, from -80 dB on: an excerpt tells where it is from."""
    cells = np.arange(start, start + n_frames * BANDS, dtype=np.float32).reshape(n_frames, BANDS)
    return (cells / 4 - 80).astype(np.float16)  # quarters below 128 are exact


def in_db(example):
    return np.asarray(example) * 40 - 40


# --- excerpts -----------------------------------------------------------------------------------------------------


@given(LENGTHS, LENGTHS, st.integers(0, 99))
def test_an_excerpt_for_training_lies_within_the_song_and_a_short_song_is_repeated(n_frames, length, seed):
    song = spectrogram(n_frames)
    example = Spectrograms((length, BANDS), 1).example(song, np.random.default_rng(seed))
    assert example.shape == (length, BANDS)
    assert example.dtype == np.float32
    first = int((in_db(example)[0, 0] + 80) * 4 / BANDS)
    assert n_frames < length or first + length <= n_frames
    np.testing.assert_array_equal(in_db(example), [song[(first + i) % n_frames] for i in range(length)])
    assert first == 0 or n_frames > length


def test_excerpts_for_training_come_from_everywhere_in_the_song():
    song, draw = spectrogram(10), np.random.default_rng(0)
    firsts = {tuple(in_db(Spectrograms((8, BANDS), 1).example(song, draw))[0]) for _ in range(50)}
    assert firsts == {tuple(song[i].astype(float)) for i in range(3)}


@given(LENGTHS, LENGTHS, st.integers(1, 5))
def test_excerpts_for_testing_cover_the_song_from_end_to_end_at_even_distances(n_frames, length, windows):
    song = spectrogram(n_frames)
    examples = in_db(Spectrograms((length, BANDS), windows).examples(song))
    assert examples.shape[1:] == (length, BANDS)
    if n_frames <= length:
        np.testing.assert_array_equal(examples, [[song[i % n_frames] for i in range(length)]])
        return
    starts = ((examples[:, 0, 0] + 80) * 4 / BANDS).astype(int)
    for start, example in zip(starts, examples, strict=True):
        np.testing.assert_array_equal(example, song[start : start + length])
    assert len(examples) >= windows
    assert len(examples) == 1 or (starts[0], starts[-1]) == (0, n_frames - length)
    assert np.ptp(np.diff(starts)) <= 1 if len(starts) > 2 else True  # whole frames
    heard = {i for start in starts for i in range(start, start + length)}
    assert heard == set(range(n_frames))


def test_decibels_become_numbers_within_one_and_pictures_within_nought_and_one():
    song = np.array([[-80.0, -40.0, 0.0]], np.float16)
    np.testing.assert_array_equal(Spectrograms((1, 3), 1).examples(song), [[[-1, 0, 1]]])
    picture = np.array([[[0, 51, 255]]], np.uint8)
    np.testing.assert_allclose(Pictures((1, 1, 3)).examples(picture), [[[[0, 0.2, 1]]]])


def test_features_are_scaled_and_what_is_missing_is_filled_in():
    rows = Features((2,), IDENTITY).prepare(np.array([[3.0, 6.0], [np.nan, np.inf]], np.float32))
    np.testing.assert_array_equal(rows, [[1, 1], [3, 1.5]])


# --- forward passes -----------------------------------------------------------------------------------------------


@pytest.mark.thorough
@given(st.lists(LENGTHS, min_size=1, max_size=12), st.integers(1, 9), st.integers(1, 7))
def test_chunks_hold_every_example_of_every_song_in_order(lengths, windows, most):
    songs = [spectrogram(n) for n in lengths]
    read = Spectrograms((20, BANDS), windows)
    examples, counts = zip(*chunks(read, songs, most), strict=True)
    expected = [read.examples(song) for song in songs]
    np.testing.assert_array_equal(np.concatenate(examples), np.concatenate(expected))
    np.testing.assert_array_equal(np.concatenate(counts), [len(e) for e in expected])
    for chunk, songs_of in zip(examples, counts, strict=True):
        assert len(chunk) - songs_of[-1] < most  # a song is not divided, and no song more is held


@pytest.mark.thorough
@given(st.lists(LENGTHS, max_size=12), st.integers(1, 5))
def test_a_song_counts_by_the_mean_over_its_excerpts(lengths, windows):
    songs = [spectrogram(n, start=i) for i, n in enumerate(lengths)]
    read = Spectrograms((20, BANDS), windows)
    found = apply(lambda examples: examples.max(axis=1) ** 2, read, songs, BANDS)
    assert found.shape == (len(songs), BANDS)
    assert found.dtype == np.float32
    for song, row in zip(songs, found, strict=True):
        each = [np.max(example, axis=0).astype(float) ** 2 for example in read.examples(song)]
        np.testing.assert_allclose(row, np.mean(each, axis=0), rtol=1e-5, atol=1e-7)


def test_rows_of_features_pass_in_blocks():
    X = np.random.default_rng(0).normal(size=(10, 2)).astype(np.float32)
    read = Features((2,), IDENTITY)
    sizes = [len(block) for block, _ in chunks(read, X, 4)]
    assert sizes == [4, 4, 2]
    np.testing.assert_allclose(apply(lambda block: block, read, X, 2), (X - [1, 2]) / [2, 4], rtol=1e-6)


# --- songs --------------------------------------------------------------------------------------------------------


def test_the_reader_is_that_of_the_card():
    assert reader({"input": {"reads": "features", "shape": [2], "scaling": IDENTITY}}) == Features((2,), IDENTITY)
    assert reader({"input": {"reads": "images", "shape": [4, 4, 3]}}) == Pictures((4, 4, 3))
    for table in ("mel", "mel96"):
        card = {"input": {"reads": table, "shape": [9, 96], "windows": 5, "made_by": {}}}
        assert reader(card) == Spectrograms((9, 96), 5)


@pytest.mark.parametrize(
    ("song", "read"),
    [
        (np.zeros((50, 4)), Spectrograms((20, 3), 1)),
        (np.zeros(3), Spectrograms((20, 3), 1)),
        (np.zeros((50, 3, 1)), Spectrograms((20, 3), 1)),
        (np.zeros((8, 9, 3)), Pictures((8, 8, 3))),
        (np.zeros(40), Features((41,), {})),
    ],
)
def test_songs_of_another_shape_are_refused_in_one_line(song, read):
    with pytest.raises(ModelError, match="where the model reads") as refusal:
        check([song], read)
    assert "\n" not in str(refusal.value)
    assert str(song.shape) in str(refusal.value)


def test_spectrograms_of_any_length_pass_and_no_songs_too():
    check([np.zeros((1, 3)), np.zeros((500, 3))], Spectrograms((20, 3), 1))
    check([], Spectrograms((20, 3), 1))


def test_chosen_songs_are_the_rows_that_were_asked_for():
    songs = [spectrogram(n) for n in (1, 2, 3, 4)]
    chosen = Chosen(songs, np.array([3, 1]))
    assert [len(song) for song in chosen] == [4, 2]
    assert [len(song) for song in Chosen(chosen, np.array([1]))] == [2]


# --- reading ahead ------------------------------------------------------------------------------------------------


@pytest.mark.thorough
@given(st.lists(st.one_of(st.integers(), st.none())))
def test_reading_ahead_gives_the_same_items_in_the_same_order(items):
    assert list(ahead(iter(items))) == items


def test_the_next_item_is_made_while_one_is_used_and_no_more():
    made, second = [], threading.Event()

    def make():
        for i in range(5):
            made.append(i)
            if i == 1:
                second.set()
            yield i

    items = ahead(make())
    assert next(items) == 0
    assert second.wait(10)
    assert made == [0, 1]
    assert list(items) == [1, 2, 3, 4]


def test_an_error_while_reading_ahead_reaches_the_one_who_reads():
    def broken():
        yield 1
        raise OSError("no such song")

    items = ahead(broken())
    assert next(items) == 1
    with pytest.raises(OSError, match="no such song"):
        next(items)
