"""The loops of the feature extraction, compiled: each reads the spectrum once, frame by frame, and allocates little.

All arrays are float32 and C-contiguous; a spectrum is [n_frames, n_bins], so that a frame lies together in memory.
The values are those of the librosa functions named in each docstring, to rounding.
"""

import math

import numpy as np
from numba import njit

TINY = np.float32(np.finfo(np.float32).tiny)
FLATNESS_FLOOR = 1e-10  # librosa's amin: power below it counts as this much
LOGS_AT_ONCE = 8  # powers multiplied before one logarithm is taken: the product stays well inside float64

compiled = njit(fastmath={"contract", "reassoc", "arcp", "nsz"}, nogil=True, cache=True, error_model="numpy")
# A strict order of summation, where librosa's own running sum decides which bin is meant.
compiled_in_order = njit(nogil=True, cache=True, error_model="numpy")


@compiled
def centroid_and_bandwidth(magnitude, bin_hz):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """``spectral_centroid`` and ``spectral_bandwidth``, [n_frames] in Hz, of a magnitude spectrum."""
    n_frames, n_bins = magnitude.shape
    centroid, bandwidth = np.empty(n_frames, np.float32), np.empty(n_frames, np.float32)
    for t in range(n_frames):
        frame = magnitude[t]
        total, moment = np.float32(0), np.float32(0)
        for k in range(n_bins):
            total += frame[k]
            moment += np.float32(k) * frame[k]
        if total < TINY:
            total = np.float32(1)
        mean = moment / total
        spread = np.float32(0)
        for k in range(n_bins):
            distance = np.float32(k) - mean
            spread += frame[k] * distance * distance
        centroid[t] = mean * bin_hz
        bandwidth[t] = math.sqrt(spread / total) * bin_hz
    return centroid, bandwidth


@compiled_in_order
def rolloff_bin(magnitude, share):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """``spectral_rolloff``: first bin, int64 [n_frames], up to which a frame has `share` of its magnitude."""
    n_frames, n_bins = magnitude.shape
    bins = np.empty(n_frames, np.int64)
    running = np.empty(n_bins, np.float32)
    for t in range(n_frames):
        total = np.float32(0)
        for k in range(n_bins):
            total += magnitude[t, k]
            running[k] = total
        bins[t] = np.searchsorted(running, share * total)
    return bins


@compiled
def flatness(power):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """``spectral_flatness``: geometric over arithmetic mean of a power spectrum, [n_frames]."""
    n_frames, n_bins = power.shape
    result = np.empty(n_frames, np.float32)
    whole = n_bins - n_bins % LOGS_AT_ONCE
    for t in range(n_frames):
        frame = power[t]
        total, log = 0.0, 0.0
        for k in range(0, whole, LOGS_AT_ONCE):
            product = 1.0
            for i in range(LOGS_AT_ONCE):
                value = max(FLATNESS_FLOOR, np.float64(frame[k + i]))
                total += value
                product *= value
            log += math.log(product)
        for k in range(whole, n_bins):
            value = max(FLATNESS_FLOOR, np.float64(frame[k]))
            total += value
            log += math.log(value)
        result[t] = math.exp(log / n_bins) / (total / n_bins)
    return result


@compiled
def peaks_and_valleys(magnitude, bands, counts):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Means of the largest and smallest magnitudes of each band, as in ``spectral_contrast``; two [n_bands, n_frames].

    ``bands`` int64 [n_bands, 2]: first bin and last plus one. ``counts`` int64 [n_bands]: how many values are averaged.
    """
    n_frames = len(magnitude)
    peaks, valleys = np.empty((len(bands), n_frames), np.float32), np.empty((len(bands), n_frames), np.float32)
    least, most = np.empty(counts.max(), np.float32), np.empty(counts.max(), np.float32)
    for t in range(n_frames):
        for band in range(len(bands)):
            n = counts[band]
            least[:n], most[:n] = np.inf, -np.inf
            for k in range(bands[band, 0], bands[band, 1]):
                value = magnitude[t, k]
                if value < least[n - 1]:
                    i = n - 1
                    while i > 0 and least[i - 1] > value:
                        least[i] = least[i - 1]
                        i -= 1
                    least[i] = value
                if value > most[n - 1]:
                    i = n - 1
                    while i > 0 and most[i - 1] < value:
                        most[i] = most[i - 1]
                        i -= 1
                    most[i] = value
            low, high = np.float32(0), np.float32(0)
            for i in range(n):
                low += least[i]
                high += most[i]
            valleys[band, t], peaks[band, t] = low / n, high / n
    return peaks, valleys


@compiled
def energy_and_crossings(y, n_fft, hop_length, threshold):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """``rms`` (padded by zeros) and ``zero_crossing_rate`` (padded by the edge values) of centred frames, [n_frames].

    Each hop of samples is summed once and serves all frames it lies in; `n_fft` is a multiple of ``2 * hop_length``.
    """
    n = len(y)
    n_frames, hops = 1 + n // hop_length, n_fft // hop_length
    n_hops = n_frames + hops
    energy, crossings, at_start = np.zeros(n_hops), np.zeros(n_hops, np.int64), np.zeros(n_hops, np.int64)
    for h in range(-(-n // hop_length)):
        first, last = h * hop_length, min((h + 1) * hop_length, n)
        total = np.float32(0)
        for i in range(first, last):
            total += y[i] * y[i]
        changes = 0
        for i in range(max(first, 1), last):
            changes += (y[i] < -threshold) != (y[i - 1] < -threshold)
        if first > 0:
            at_start[h + hops // 2] = (y[first] < -threshold) != (y[first - 1] < -threshold)
        energy[h + hops // 2] = total
        crossings[h + hops // 2] = changes
    rms, rate = np.empty(n_frames, np.float32), np.empty(n_frames)
    for t in range(n_frames):
        rms[t] = math.sqrt(energy[t : t + hops].sum() / n_fft)
        rate[t] = (crossings[t : t + hops].sum() - at_start[t]) / n_fft  # a frame's first sample has none before it
    return rms, rate


@compiled_in_order
def spectral_peaks(power, first, last, threshold):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """``piptrack``: interpolated bin and power of every local maximum above `threshold` times its frame's largest.

    Bins `first` … `last` - 1 are searched. Two float32 arrays, in order of frame.
    """
    n_frames, n_bins = power.shape
    at, height = np.empty(n_frames * (last - first), np.float32), np.empty(n_frames * (last - first), np.float32)
    n = 0
    half = np.float32(0.5)
    for t in range(n_frames):
        frame = power[t]
        floor = np.float32(threshold) * frame.max()
        for k in range(max(first, 1), min(last, n_bins - 1)):
            x, before, after = frame[k], frame[k - 1], frame[k + 1]
            if x > floor and x > before and x >= after:
                curve, slope = after + before - 2 * x, (after - before) * half
                shift = np.float32(0) if abs(slope) >= abs(curve) else -slope / curve
                at[n], height[n] = k + shift, x + half * slope * shift
                n += 1
    return at[:n], height[:n]


@compiled
def filter_bank(power, starts, weights):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Weighted sums of power over the bins of each filter, [n_filters, n_frames].

    ``starts`` int64 [n_filters]: first bin. ``weights`` [n_filters, width]: of the bins from there on, zero at the end.
    """
    n_frames = len(power)
    n_filters, width = weights.shape
    bands = np.empty((n_filters, n_frames), np.float32)
    for t in range(n_frames):
        frame = power[t]
        for f in range(n_filters):
            total = np.float32(0)
            weight, inside = weights[f], frame[starts[f] : starts[f] + width]
            for i in range(width):
                total += weight[i] * inside[i]
            bands[f, t] = total
    return bands


@compiled
def soft_masked(spectrum, x, other):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """A spectrum times x² / (x² + other²), or one half where both are zero (``softmask``, power 2)."""
    n_frames, n_bins = x.shape
    masked = np.empty_like(spectrum)
    for t in range(n_frames):
        for k in range(n_bins):
            a, b = x[t, k] * x[t, k], other[t, k] * other[t, k]
            masked[t, k] = spectrum[t, k] * (a / (a + b) if a + b > 0 else np.float32(0.5))
    return masked


@compiled
def transposed(x):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Contiguous transpose, tile by tile so that rows and columns both stay in the cache."""
    n, m = x.shape
    tile = 32
    out = np.empty((m, n), x.dtype)
    for i0 in range(0, n, tile):
        for j0 in range(0, m, tile):
            for j in range(j0, min(j0 + tile, m)):
                for i in range(i0, min(i0 + tile, n)):
                    out[j, i] = x[i, j]
    return out
