"""The compiled kernels against NumPy, SciPy and librosa, on shapes and values that clips do not have."""

import itertools
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from numba.core.errors import TypingError
from scipy.ndimage import median_filter

from musicrec.errors import ConfigError
from musicrec.features import fourier, hpss, kernels
from musicrec.features.median import GROUP, group_of_medians
from musicrec.simd.lanes import (
    LANES,
    CompiledFiles,
    as_in,
    bits,
    exponent,
    kernel,
    lane_sum,
    less,
    load,
    maximum,
    minimum,
    significand,
    spread,
    sqrt,
    store,
    transpose,
)
from musicrec.simd.memory import empty

RATE, N_FFT, HOP = 22_050, 2048, 512


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


# --- compiled functions on disk ---------------------------------------------------------------------------------------


def test_processes_that_compile_at_the_same_time_do_not_mix_up_their_functions(tmp_path):
    """Each writes what it compiled for its own types; a later one finds each under its own."""
    start = Barrier(8)

    def compile_some(process):
        files = CompiledFiles(str(tmp_path), "function", "state")
        start.wait()
        for number in range(50):
            files.save((process, number), f"{number} of {process}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(compile_some, range(8)))
    later = CompiledFiles(str(tmp_path), "function", "state")
    for process, number in itertools.product(range(8), range(50)):
        assert later.load((process, number)) == f"{number} of {process}"
    assert later.load((8, 0)) is None
    assert CompiledFiles(str(tmp_path), "function", "another state").load((0, 0)) is None


# --- lanes ------------------------------------------------------------------------------------------------------------


@kernel
def _arithmetic(x, y, out):
    a, b = load(x, 0), load(y, 0)
    results = (
        (a + b, a - b, a * b, a / b),
        (a + 1.5, 2 - a, a * np.float64(0.1), 1 / a),
        (minimum(a, b), maximum(a, b), less(a, b), less(a, 0.25)),
        (sqrt(a * a), spread(np.float32(3)), exponent(sqrt(a * a)), significand(sqrt(a * a))),
    )
    row = 0
    for four in results:
        for result in four:
            store(out, row, result)
            row += 1


def test_arithmetic_of_lanes_is_numpys():
    x, y = noise(1, LANES, seed=1), noise(1, LANES, seed=2)
    out = np.empty((16, LANES), np.float32)
    _arithmetic(x, y, out)
    (a,), (b,), tenth = x, y, np.float32(0.1)
    significands, exponents = np.frexp(np.abs(a))
    expected = [
        a + b, a - b, a * b, a / b,
        a + np.float32(1.5), 2 - a, a * tenth, 1 / a,
        np.minimum(a, b), np.maximum(a, b), a < b, a < 0.25,
        np.abs(a), np.full(LANES, 3), exponents - 1, significands * 2,
    ]  # fmt: skip
    np.testing.assert_array_equal(out, np.array(expected, np.float32))


@kernel
def _reductions(x, exact):
    return lane_sum(load(x, 0)), bits(less(load(x, 0), 0)), lane_sum(as_in(exact, load(x, 0)) * 0.1)


def test_reductions_of_lanes_are_numpys():
    x = noise(1, LANES)
    total, below, tenth = _reductions(x, np.empty(0))
    assert total == pytest.approx(x.sum(dtype=np.float64), rel=1e-15)
    assert [below >> lane & 1 for lane in range(LANES)] == [int(v < 0) for v in x[0]]
    assert tenth == pytest.approx(
        0.1 * x.sum(dtype=np.float64), rel=1e-14
    )  # in float64: 0.1 was not rounded to float32


@kernel
def _transpose(source, at, stride, target, to, target_stride):
    transpose(source, at, stride, target, to, target_stride)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 40), st.integers(1, 60), st.integers(0, 40), st.integers(LANES, 60))
def test_a_tile_is_transposed_from_any_place_and_stride(at, stride, to, target_stride):
    source, target = noise(2000), np.zeros(2000, np.float32)
    _transpose(source, at, stride, target, to, target_stride)
    tile = np.array([source[at + i * stride : at + i * stride + LANES] for i in range(LANES)])
    for i, column in enumerate(tile.T):
        np.testing.assert_array_equal(target[to + i * target_stride :][:LANES], column)


def test_arrays_for_lanes_begin_at_a_cache_line():
    for shape, dtype in (((3, 5), np.float32), ((7,), np.float64)):
        x = empty(*shape, dtype=dtype)
        assert (x.shape, x.dtype, x.ctypes.data % 64, x.flags.c_contiguous) == (shape, dtype, 0, True)


def test_memory_is_used_again_only_when_no_view_of_it_is_left():
    first = empty(300_000)
    address, view = first.ctypes.data, first[1000:]
    del first
    assert empty(300_000).ctypes.data != address
    del view
    assert address in [x.ctypes.data for x in [empty(300_000) for _ in range(3)]]


# --- medians ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [17, 31, 43])
def test_medians_are_those_of_sorting_also_with_equal_values_zeros_and_infinities(window):
    medians = group_of_medians(window)

    @njit
    def call(x, out):
        medians(x, 0, LANES, out, 0, LANES)

    n = window + GROUP - 1
    samples = [noise(n, LANES), np.abs(noise(n, LANES)) ** 9, np.round(noise(n, LANES)), np.zeros((n, LANES))]
    samples.append(np.where(noise(n, LANES) > 1, np.inf, noise(n, LANES)))
    for x in (sample.astype(np.float32) for sample in samples):
        out = np.empty((GROUP, LANES), np.float32)
        call(x, out)
        np.testing.assert_array_equal(out, [np.median(x[i : i + window], axis=0) for i in range(GROUP)])


# --- Fourier ----------------------------------------------------------------------------------------------------------


@pytest.mark.thorough
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-6), (np.float64, 1e-13)])
@pytest.mark.parametrize("n_fft", [32, 64, 128, 512, 1024, 2048, 4096])
def test_the_transform_is_scipys_and_comes_back(n_fft, dtype, tolerance):
    hop, window = 3 * n_fft // 8, fourier.hann(n_fft)
    y = noise((LANES - 1) * hop + n_fft)
    frames = np.array([y[t * hop : t * hop + n_fft] * window for t in range(LANES)])
    plan = fourier.plan(window, dtype)
    re, im = np.zeros((2, n_fft // 2 + 1, LANES), dtype)
    back = fourier.plan(fourier.inverse_window(np.ones(n_fft)), dtype)
    sums = np.zeros(len(y), np.float32)
    _there_and_back(y, hop, plan, re, im, back.window, sums)
    expected, inner = np.fft.rfft(frames).T, slice(1, n_fft // 2)  # the real bins at both ends stand elsewhere
    assert np.abs(re + 1j * im - expected)[inner].max() < tolerance * np.abs(expected).max()
    added = np.zeros(len(y))
    for t, frame in enumerate(frames[:10]):
        added[t * hop : t * hop + n_fft] += frame
    assert np.abs(sums - added).max() < 1e-5


@kernel
def _there_and_back(y, hop, plan, re, im, window, sums):
    fourier.take_frames(y, 0, hop, plan)
    points, other_points = fourier.transform(plan.points, plan.other_points, plan.roots)
    half = len(re) - 1
    first_re, first_im = load(points, 0), load(points, 1)
    for k in range(1, half // 2 + 1):
        a_re, a_im, b_re, b_im = fourier.bins(points, plan.roots, k)
        store(re, k, a_re)
        store(im, k, a_im)
        store(re, half - k, b_re)
        store(im, half - k, b_im)
        fourier.set_bins(points, plan.roots, k, a_re, a_im, b_re, b_im)
    store(points, 0, first_re)
    store(points, 1, -1 * first_im)
    points, _ = fourier.transform(points, other_points, plan.roots)
    fourier.add_frames(points, window, plan.tile, sums, 0, hop, 10)


@pytest.mark.parametrize("n_fft", [0, 16, 1000, 3072])
def test_a_length_that_is_no_power_of_two_is_refused(n_fft):
    with pytest.raises(ConfigError, match=f"n_fft {n_fft}: expected a power of two"):
        fourier.plan(np.ones(n_fft), np.float32)


def test_every_bin_of_the_magnitude_is_right_however_loud_another_is():
    y = (0.5 + 1e-5 * noise(N_FFT + (LANES - 1) * HOP)).astype(np.float32)
    spectrum = empty(1, N_FFT // 2 + 1, LANES)
    kernels.magnitude(y, HOP, fourier.plan(fourier.hann(N_FFT), np.float64), spectrum)
    frames = np.array([y[t * HOP : t * HOP + N_FFT] * fourier.hann(N_FFT) for t in range(LANES)])
    np.testing.assert_allclose(spectrum[0], np.abs(np.fft.rfft(frames)).T, rtol=1e-6)


def test_an_array_that_is_not_contiguous_is_refused():
    with pytest.raises(TypingError, match="C-contiguous"):
        kernels.means_and_variances(noise(4, 40)[:, :20])


@pytest.mark.thorough
def test_a_kernel_is_compiled_anew_when_another_file_of_its_room_changes(tmp_path):
    room = Path(fourier.__file__).parent
    copy = tmp_path / "musicrec" / "features"
    shutil.copytree(room.parent, copy.parent, ignore=shutil.ignore_patterns("__pycache__"))
    script = (
        "import numpy as np; from musicrec.features import fourier, kernels\n"
        "x, plan = np.ones(47, np.float32), fourier.plan(np.ones(32), np.float32)\n"
        "print(fourier.__file__, kernels.autocorrelation_spectrum(x, 1, 32, plan).sum())"
    )

    def run():
        command = [sys.executable, "-c", script]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.split()

    place, before = run()
    assert place.startswith(str(tmp_path))
    source = (copy / "fourier.py").read_text()
    assert "even_re + odd_re" in source
    (copy / "fourier.py").write_text(source.replace("even_re + odd_re", "even_re - odd_re"))
    assert before != run()[1]


# --- harmonic part ----------------------------------------------------------------------------------------------------


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore:n_fft=")
@pytest.mark.parametrize("n", [1, 400, 600, 5_000, 16 * 512, 16 * 512 - 1, 40_000])
def test_the_harmonic_part_is_librosas_at_every_length(n):
    y = noise(n) + np.sin(np.arange(n) / 9).astype(np.float32)
    n_frames = 1 + n // HOP
    n_blocks = -(-n_frames // LANES)
    padded = np.pad(y, (N_FFT // 2, n_blocks * LANES * HOP + N_FFT - n))
    spectrum = empty(n_blocks, N_FFT // 2 + 1, LANES)
    kernels.magnitude(padded, HOP, fourier.plan(fourier.hann(N_FFT), np.float64), spectrum)
    part = hpss.harmonic(padded, n, spectrum, N_FFT, HOP)
    assert part.shape == (n,)
    np.testing.assert_allclose(part, harmonic_by_numpy(y), atol=1e-5)


def harmonic_by_numpy(y: np.ndarray) -> np.ndarray:
    """The harmonic part by librosa, with medians of mirrored windows: scipy's median filter is wrong at two frames."""
    spectrum = librosa.stft(y)
    magnitude = np.abs(spectrum)
    medians = [
        np.median(np.lib.stride_tricks.sliding_window_view(np.pad(magnitude, edges, "symmetric"), 31, axis), axis=-1)
        for axis, edges in ((1, ((0, 0), (15, 15))), (0, ((15, 15), (0, 0))))
    ]
    if magnitude.shape[1] > 2:
        np.testing.assert_array_equal(medians[0], median_filter(magnitude, (1, 31), mode="reflect"))
    mask = librosa.util.softmask(*medians, power=2, split_zeros=True)
    return librosa.istft(spectrum * mask, length=len(y))


# --- statistics -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 15, 16, 17, 1000])
@pytest.mark.parametrize("offset", [0, 1e4])
def test_means_and_variances_are_numpys(n, offset):
    x = noise(3, n) + np.float32(offset)
    means, variances = kernels.means_and_variances(x)
    np.testing.assert_allclose(means, x.mean(axis=1, dtype=np.float64), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(variances, x.var(axis=1, dtype=np.float64), rtol=1e-9, atol=1e-15)


def test_the_variance_of_a_constant_is_zero():
    means, variances = kernels.means_and_variances(np.full((1, 1000), 0.1, np.float32))
    assert (means[0], variances[0]) == (np.float32(0.1), 0)


@pytest.mark.parametrize("moved", [b"cmusicrec.no_such_module\nThing\n.", b"cmusicrec.simd.lanes\nNoSuchThing\n."])
def test_what_was_compiled_for_a_class_that_has_moved_since_is_compiled_again(tmp_path, moved):
    files = CompiledFiles(str(tmp_path), "kernel", "stamp")
    files.save("key", "compiled")
    assert files.load("key") == "compiled"
    (tmp_path / files._name("key")).write_bytes(moved)  # a pickle that names it
    assert files.load("key") is None
