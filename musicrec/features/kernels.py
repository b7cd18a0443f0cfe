"""The loops of the feature extraction, compiled.

A magnitude spectrum stands in lanes: float32 [n_blocks, n_bins, LANES], where frame t is lane t % LANES of block
t // LANES. Results have a value for every lane of every block; those after the last frame mean nothing. The values are
those of the librosa functions named in each docstring, to rounding.
"""

import math

import numpy as np

from musicrec.features import fourier
from musicrec.simd.lanes import (
    LANES,
    as_in,
    bits,
    exponent,
    kernel,
    lane_sum,
    less,
    load,
    load_at,
    maximum,
    minimum,
    significand,
    spread,
    sqrt,
    store,
)

TINY = np.float32(np.finfo(np.float32).tiny)
FLATNESS_FLOOR = np.float32(1e-10)  # librosa's amin: power below it counts as this much
SIGNIFICANDS_AT_ONCE = 64  # multiplied before a logarithm is taken: each is below 2, so the product is below 2^64


@kernel
def magnitude(y, hop_length, plan, out):
    """Write ``abs(stft(...))`` of the frames that begin at sample 0, hop_length, … of `y`."""
    n_blocks, n_bins, _ = out.shape
    for block in range(n_blocks):
        fourier.take_frames(y, block * LANES * hop_length, hop_length, plan)
        points, _ = fourier.transform(plan.points, plan.other_points, plan.roots)
        _magnitudes(points, plan.roots, out, block * n_bins)


@kernel
def _magnitudes(points, roots, out, row):
    half = len(roots) // 2
    re, im = load(points, 0), load(points, 1)  # half the sum and half the difference of two real bins
    first, last = as_in(out, re + im), as_in(out, re - im)
    store(out, row, maximum(first, -1 * first))
    store(out, row + half, maximum(last, -1 * last))
    for k in range(1, half // 2 + 1):
        a_re, a_im, b_re, b_im = fourier.bins(points, roots, k)
        re, im = as_in(out, a_re), as_in(out, a_im)
        store(out, row + k, sqrt(re * re + im * im))
        re, im = as_in(out, b_re), as_in(out, b_im)
        store(out, row + half - k, sqrt(re * re + im * im))


@kernel
def centroid_bandwidth_rolloff(magnitude, share, centroid, bandwidth, rolloff):
    """Write ``spectral_centroid``, ``spectral_bandwidth`` and ``spectral_rolloff``, in bins, [n_blocks * LANES]."""
    n_blocks, n_bins, _ = magnitude.shape
    for block in range(n_blocks):
        row = block * n_bins
        total = moment = spread(np.float32(0))
        for k in range(n_bins):
            m = load(magnitude, row + k)
            total += m
            moment += m * k
        mean = moment / (total + less(total, TINY))
        enough = total * np.float32(share)
        running = spreading = below = spread(np.float32(0))
        for k in range(n_bins):
            m = load(magnitude, row + k)
            running += m
            below += less(running, enough)
            distance = k - mean
            spreading += m * distance * distance
        store(centroid, block, mean)
        store(bandwidth, block, sqrt(spreading / (total + less(total, TINY))))
        store(rolloff, block, below)


@kernel
def flatness(magnitude, out):
    """Write ``spectral_flatness``, the geometric over the arithmetic mean of the power, [n_blocks * LANES].

    Exponents are added and significands are multiplied, so that few logarithms are taken.
    """
    n_blocks, n_bins, _ = magnitude.shape
    products = np.empty(LANES, np.float32)
    for block in range(n_blocks):
        row = block * n_bins
        total = exponents = spread(np.float32(0))
        logarithm = np.zeros(LANES)
        for start in range(0, n_bins, SIGNIFICANDS_AT_ONCE):
            product = spread(np.float32(1))
            for k in range(start, min(start + SIGNIFICANDS_AT_ONCE, n_bins)):
                m = load(magnitude, row + k)
                power = maximum(m * m, FLATNESS_FLOOR)
                total += power
                exponents += exponent(power)
                product *= significand(power)
            store(products, 0, product)
            for lane in range(LANES):
                logarithm[lane] += math.log(products[lane])
        store(products, 0, exponents)
        store(out, block, total / n_bins)
        for lane in range(LANES):
            geometric = math.exp((logarithm[lane] + products[lane] * math.log(2.0)) / n_bins)
            out[block * LANES + lane] = geometric / out[block * LANES + lane]


@kernel
def peaks_and_valleys(magnitude, bands, counts, peaks, valleys):
    """Write the means of the largest and of the smallest magnitudes of each band (``spectral_contrast``), [n_bands, …].

    ``bands`` int64 [n_bands, 2]: first bin and last plus one. ``counts`` int64 [n_bands]: how many values are averaged.
    """
    n_blocks, n_bins, _ = magnitude.shape
    most, least = np.empty((counts.max(), LANES), np.float32), np.empty((counts.max(), LANES), np.float32)
    for block in range(n_blocks):
        for band in range(len(bands)):
            count = counts[band]
            for i in range(count):
                store(most, i, spread(np.float32(-np.inf)))
                store(least, i, spread(np.float32(np.inf)))
            for k in range(bands[band, 0], bands[band, 1]):
                high = low = load(magnitude, block * n_bins + k)
                for i in range(count):  # each value finds its place, and the one it displaces moves on
                    held = load(most, i)
                    store(most, i, maximum(held, high))
                    high = minimum(held, high)
                    held = load(least, i)
                    store(least, i, minimum(held, low))
                    low = maximum(held, low)
            high = low = spread(np.float32(0))
            for i in range(count):
                high += load(most, i)
                low += load(least, i)
            store(peaks, band * n_blocks + block, high / count)
            store(valleys, band * n_blocks + block, low / count)


@kernel
def filter_bank(magnitude, squared, starts, widths, weights, out):
    """Write weighted sums of power or magnitude over the bins of each filter, [n_filters, n_blocks * LANES].

    ``starts``, ``widths`` int64 [n_filters]: first bin, and number of bins. ``weights`` [n_filters, widest].
    """
    n_blocks, n_bins, _ = magnitude.shape
    for block in range(n_blocks):
        for f in range(len(starts)):
            total = spread(np.float32(0))
            for i in range(widths[f]):
                m = load(magnitude, block * n_bins + starts[f] + i)
                total += (m * m if squared else m) * weights[f, i]
            store(out, f * n_blocks + block, total)


@kernel
def spectral_peaks(magnitude, squared, n_frames, first, last, threshold):
    """Return interpolated bin and height of the local maxima of magnitude or power (``piptrack``), float32, unsorted.

    Bins `first` … `last` - 1 are searched for what is above `threshold` times the largest of the frame.
    """
    n_blocks, n_bins, _ = magnitude.shape
    at, height = np.empty(n_frames * (last - first), np.float32), np.empty(n_frames * (last - first), np.float32)
    n = 0
    half = np.float32(0.5)
    for block in range(n_blocks):
        row = block * n_bins
        largest = spread(np.float32(0))
        for k in range(n_bins):
            largest = maximum(largest, load(magnitude, row + k))
        floor = (largest * largest if squared else largest) * np.float32(threshold)
        inside = min(LANES, n_frames - block * LANES)
        for k in range(max(first, 1), min(last, n_bins - 1)):
            m = load(magnitude, row + k)
            found = bits(less(floor, m * m if squared else m) * less(load(magnitude, row + k - 1), m))
            found &= ~bits(less(m, load(magnitude, row + k + 1)))
            lane = 0
            while found >> lane and lane < inside:
                if found >> lane & 1:
                    before, x, after = (
                        magnitude[block, k - 1, lane],
                        magnitude[block, k, lane],
                        magnitude[block, k + 1, lane],
                    )
                    if squared:
                        before, x, after = before * before, x * x, after * after
                    curve, slope = after + before - 2 * x, (after - before) * half
                    shift = np.float32(0) if abs(slope) >= abs(curve) else -slope / curve
                    at[n], height[n] = k + shift, x + half * slope * shift
                    n += 1
                lane += 1
    return at[:n], height[:n]


@kernel
def pitch_classes(magnitude, weights, out):
    """Write weighted sums of power over all bins: raw ``chroma_stft``, [12, n_blocks * LANES]."""
    n_blocks, n_bins, _ = magnitude.shape
    power = np.empty((n_bins, LANES), np.float32)
    for block in range(n_blocks):
        for k in range(n_bins):
            m = load(magnitude, block * n_bins + k)
            store(power, k, m * m)
        for c in range(0, len(weights), 4):  # four sums at once: none waits for the one before
            first = second = third = fourth = spread(np.float32(0))
            for k in range(n_bins):
                p = load(power, k)
                first += p * weights[c, k]
                second += p * weights[c + 1, k]
                third += p * weights[c + 2, k]
                fourth += p * weights[c + 3, k]
            store(out, c * n_blocks + block, first)
            store(out, (c + 1) * n_blocks + block, second)
            store(out, (c + 2) * n_blocks + block, third)
            store(out, (c + 3) * n_blocks + block, fourth)


@kernel
def energy_and_crossings(y, n_fft, hop_length, threshold):
    """Return ``rms`` (padded by zeros) and ``zero_crossing_rate`` (padded by edge values) of centred frames.

    Both are [n_frames]. Each hop of samples is summed once, for all the frames it lies in; `n_fft` is a multiple of
    ``2 * hop_length``.
    """
    n = len(y)
    n_frames, hops = 1 + n // hop_length, n_fft // hop_length
    energy, crossings, at_start = np.zeros((3, n_frames + hops))
    for h in range(-(-n // hop_length)):
        place, first, last = h + hops // 2, h * hop_length, min((h + 1) * hop_length, n)
        energy[place] = _energy(y[first:last])
        crossings[place] = _crossings(y[first:last], -threshold)
        at_start[place] = _crossings(y[max(first - 1, 0) : first + 1], -threshold)
    rms, rate = np.empty(n_frames, np.float32), np.empty(n_frames)
    for t in range(n_frames):  # the first sample of a frame has no other before it
        rms[t] = math.sqrt(energy[t : t + hops].sum() / n_fft)
        rate[t] = (crossings[t : t + hops].sum() + at_start[t + 1 : t + hops].sum()) / n_fft
    return rms, rate


@kernel
def _energy(y):
    """Return the sum of squares."""
    total = spread(np.float32(0))
    whole = len(y) // LANES * LANES
    for i in range(0, whole, LANES):
        x = load_at(y, i)
        total += x * x
    energy = lane_sum(total)
    for i in range(whole, len(y)):
        energy += y[i] * y[i]
    return energy


@kernel
def _crossings(y, threshold):
    """Return how often neighbours lie on different sides of a threshold."""
    total = spread(np.float32(0))
    whole = (len(y) - 1) // LANES * LANES
    for i in range(0, whole, LANES):
        change = less(load_at(y, i + 1), threshold) - less(load_at(y, i), threshold)
        total += change * change
    crossings = lane_sum(total)
    for i in range(whole, len(y) - 1):
        crossings += (y[i + 1] < threshold) != (y[i] < threshold)
    return crossings


@kernel
def autocorrelation_spectrum(envelope, n_frames, window, plan):
    """Return the spectrum of ``tempogram``, summed over frames: float32 [n_fft / 2 + 1, LANES], lanes not added up yet.

    It is the power of each windowed stretch of the envelope, divided by its sum of squares.
    """
    n_bins = len(plan.window) // 2 + 1
    total, spectrum = np.zeros((n_bins, LANES), np.float32), np.empty((n_bins, LANES), np.float32)
    inside = np.ones(LANES, np.float32)
    for start in range(0, n_frames, LANES):
        fourier.take_frames(envelope, start, 1, plan)
        squares = spread(np.float32(0))
        for i in range(window):
            x = load(plan.points, i)
            squares += x * x
        inside[n_frames - start :] = 0
        weight = load(inside, 0) / (squares + less(squares, TINY))  # no division by zero where there is no onset
        points, _ = fourier.transform(plan.points, plan.other_points, plan.roots)
        _magnitudes(points, plan.roots, spectrum, 0)
        for k in range(n_bins):
            m = load(spectrum, k)
            store(total, k, load(total, k) + m * m * weight)
    return total


@kernel
def means_and_variances(rows):
    """Return mean and variance of each float32 row, in float64, about its first value so that nothing cancels."""
    n_rows, n = rows.shape
    means, variances = np.empty(n_rows), np.empty(n_rows)
    whole = n // LANES * LANES
    for row in range(n_rows):
        origin = np.float64(rows[row, 0])
        distances = squares = spread(0.0)
        for i in range(0, whole, LANES):
            distance = as_in(means, load_at(rows, row * n + i)) - origin
            distances += distance
            squares += distance * distance
        total, total_squares = lane_sum(distances), lane_sum(squares)
        for i in range(whole, n):
            rest = rows[row, i] - origin
            total += rest
            total_squares += rest * rest
        mean = total / n
        means[row], variances[row] = origin + mean, max(total_squares / n - mean * mean, 0.0)
    return means, variances
