"""Short codes whose products are upper bounds on the similarity of two songs.

Cosine, inner product and minus half the squared distance have one form: the inner product of two centred vectors, plus
one number for each song. The leading principal axes carry most of the product. The other axes add at most the product
of the lengths of the two residuals (Cauchy-Schwarz). So the code of a song holds its coordinates on the leading axes
and, as one more coordinate, the length of its residual. Rounding the coordinates to 8 bits adds at most what the
lengths of the rounding errors allow; this goes into the number of each song. A pair whose bound lies below the limits
of both lists is dropped. The bound is never below the similarity, so no list misses a song.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicrec.similarity.search import codes
from musicrec.similarity.search.codes import ROUNDING
from musicrec.similarity.search.score_keys import COSINE, EUCLIDEAN, NO_LIMIT, ScoreScale
from musicrec.similarity.search.screens import DEVICE, OF_FLOATS, PANEL, TILE_ROWS

Matrix = NDArray[np.float32]

LARGEST_CODE = 127
PRODUCT_STEPS = 2.0**9  # length of the longest vector, in steps, where the screen uses float32 products
MOST_STEPS = 2.0**12  # in steps, no vector is longer in any screen: sums stay below 2 ** 26
SAMPLE_ROWS, SAMPLE_LISTS = 8192, 128
CLIPPED = 1e-4  # share of coordinates that may be clipped to 8 bits, so that the step is finer for all others
BLOCK_ROWS = 8192
MUCH = 0.3  # of its length

NS_PER_SCORE = 105.0  # for each pair that passes one list's limit; pairs that pass only the other's are included
NS_IN_VAIN = 15.0  # for each pair that passes and enters no list
# Per pair, on a 2 GHz Xeon; only the ratios matter. The GPU's is assumed from 50 TFLOP/s, never measured.
NS_PER_COORDINATE = {"amx": 0.0005, "vnni": 0.0028, "product": 0.0165, DEVICE: 0.00004}
WIDTH_UNIT = {"amx": 64, "vnni": 8, "product": 16, DEVICE: 16}
WIDTHS = (16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 256, 384)
COARSER = 1.5  # times the step: codes of coordinates as they are are made sooner than rotated ones
NO_LONGER_BEST = 1.2  # times the least expected: wider codes take longer still


class Vectors(NamedTuple):
    """Vectors as the kernels read them."""

    values: NDArray[Any]  # [N, d], float32 or float64, d a multiple of LANES
    inverse_norms: NDArray[np.float64]  # [N]; ones for distances; for inner products, powers of two for codes alone
    unit: float  # the values were divided by it

    def rows(self, which: Any) -> "Vectors":  # noqa: ANN401 - as an index of NumPy
        """Return some of the vectors."""
        return Vectors(self.values[which], self.inverse_norms[which], self.unit)


class Projection(NamedTuple):
    """The coordinate system of the codes: fitted to some vectors, valid for any."""

    screen: str
    metric: int
    unit: float
    centre: Matrix  # [d]
    axes: Matrix  # [d, p]
    width: int  # K: coordinates of a code, including the length of the residual and padding
    step: float
    longest: float  # length of the longest vector about the centre

    @property
    def scale(self) -> ScoreScale:
        """How scores translate into sums of the screen."""
        shift = 0.0 if self.metric == EUCLIDEAN else float(self.centre.astype(np.float64) @ self.centre)
        return ScoreScale(self.metric, self.unit, shift, self.step**2, ROUNDING * self.longest**2)

    def about_centre(self, given: Vectors) -> tuple[Matrix, NDArray[np.float64]]:
        """Return the centred vectors [N, d], and each song's own term of a similarity [N]."""
        centred, own = np.empty(given.values.shape, np.float32), np.empty(len(given.values))
        codes.about_centre(*given[:2], self.metric, self.centre, centred, own)
        return centred, own

    def coordinates(self, given: Vectors) -> Matrix:
        """Return the coordinates [N, p] of vectors on the axes."""
        coordinates: Matrix = self.about_centre(given)[0] @ self.axes
        return coordinates


def fit(given: Vectors, metric: int, n: int, screen: str, *, typical: Vectors | None = None) -> Projection:
    """Find axes, step and number of coordinates for some vectors, from a sample of them.

    Parameters
    ----------
    given : Vectors
        All vectors, because the longest one matters.
    metric : int
        One of COSINE, EUCLIDEAN, INNER.
    n : int
        Length of the lists that are to be found.
    screen : str
        One of screens.available().
    typical : Vectors, optional
        Some vectors like those whose lists are to be found; by default those are the lists of the vectors themselves.
    """
    n_songs, d = given.values.shape
    chosen = _sample(given, SAMPLE_ROWS)
    lengths = chosen.inverse_norms[:, None] if metric == COSINE else 1.0
    centre = (chosen.values * lengths).mean(axis=0, dtype=np.float64).astype(np.float32)
    projection = Projection(screen, metric, given.unit, centre, np.eye(d, dtype=np.float32), d, 0.0, 0.0)
    projection = projection._replace(longest=max(longest(projection, given), float(np.finfo(np.float32).tiny)))
    sample, own = projection.about_centre(chosen)
    axes = np.linalg.eigh(sample.T @ sample.astype(np.float64))[1][:, ::-1].astype(np.float32)
    lists = projection.about_centre(typical)[0] if typical is not None and len(typical.values) else sample
    expected = _Expected(sample, lists, axes, own if metric == EUCLIDEAN else np.zeros(len(own)), n / n_songs)
    return _with_step(_turned(projection._replace(axes=axes, width=_best_width(d, screen, expected))), sample)


def longest(projection: Projection, given: Vectors) -> float:
    """Return the length of the longest vector, measured from the centre of a projection."""
    return float(np.sqrt(codes.largest_square(*given[:2], projection.metric, projection.centre)))


def _best_width(d: int, screen: str, expected: "_Expected") -> int:
    """Return the width with the least expected time: fewer pairs pass wider codes, whose products take longer."""
    widths = _widths(d, screen)
    best, least = widths[0], np.inf
    for width in widths:
        ns = expected.ns_per_pair(width, screen)
        if ns < least:
            best, least = width, ns
        if ns > NO_LONGER_BEST * least:
            break
    return best


def _widths(d: int, screen: str) -> list[int]:
    unit = WIDTH_UNIT[screen]
    widest = -(-d // unit) * unit
    return [*(width for width in WIDTHS if width < widest and width % unit == 0), widest]


def _turned(projection: Projection) -> Projection:
    """Return the projection with its leading axes alone, rotated so that no coordinate is large."""
    p = projection.width - 1 if projection.width < len(projection.axes) else len(projection.axes)
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((p, p)))[0]
    return projection._replace(axes=np.ascontiguousarray(projection.axes[:, :p] @ turn.astype(np.float32)))


def _with_step(projection: Projection, sample: Matrix) -> Projection:
    """Return the projection with a step that is fine enough for the coordinates of a sample."""
    if projection.screen in OF_FLOATS:
        step = projection.longest / PRODUCT_STEPS
    else:
        on_axes, rest = project(sample, projection.axes)
        step = max(float(np.quantile(np.abs(on_axes), 1 - CLIPPED)), float(rest.max())) / LARGEST_CODE
    return for_vectors_of(projection.longest, projection._replace(step=step))


def for_vectors_of(longest: float, projection: Projection) -> Projection:
    """Return a projection whose codes fit vectors up to so far from the centre."""
    size = np.sqrt(longest * (longest + float(np.linalg.norm(projection.centre))))
    return projection._replace(longest=longest, step=float(max(projection.step, size / MOST_STEPS)))


def lie_outside(projection: Projection, some: Vectors, given: Vectors) -> NDArray[np.bool_]:
    """Return which of some songs the codes leave much more out of than of the songs `given`."""
    sample = projection.about_centre(_sample(given, SAMPLE_ROWS // 4))[0]
    typical = float(np.sqrt(np.square(project(sample, projection.axes)[1]).mean()))
    centred, _ = projection.about_centre(some)
    _, left = project(centred, projection.axes)
    outside: NDArray[np.bool_] = left > np.maximum(MUCH * np.linalg.norm(centred, axis=1), 1.5 * typical)
    return outside


def ns_by_codes(projection: Projection, some: Vectors, given: Vectors, n: int) -> NDArray[np.float64]:
    """Return the expected nanoseconds of a pair by codes, for each of some songs beside the songs `given`."""
    songs, own = projection.about_centre(_sample(given, SAMPLE_ROWS // 4))
    centred, _ = projection.about_centre(some)
    (on_axes, rest), (their_on_axes, their_rest) = (project(x, projection.axes) for x in (centred, songs))
    kept = min(len(songs), max(2, round(n * len(songs) / len(given.values)) + 1))
    limits = np.partition(centred @ songs.T + own, -kept, axis=1)[:, -kept]
    bound = on_axes @ their_on_axes.T + np.outer(rest, their_rest) + own
    if projection.screen not in OF_FLOATS:  # what of a rest does not fit into 8 bits
        bound += projection.longest * np.maximum(0.0, rest - LARGEST_CODE * projection.step)[:, None]
    in_vain = (bound >= limits[:, None]).mean(axis=1) - kept / len(songs)  # others would pass any screen
    return NS_PER_COORDINATE[projection.screen] * projection.width + NS_IN_VAIN * in_vain


def _sample(given: Vectors, n: int) -> Vectors:
    """Return about `n` of the songs, evenly."""
    return given.rows(np.linspace(0, len(given.values) - 1, min(len(given.values), n)).astype(np.int64))


def widened(projection: Projection, given: Vectors) -> Projection:
    """Return a projection whose codes leave out no axis, fitted to some songs."""
    d = len(projection.axes)
    as_they_are = projection._replace(axes=np.eye(d, dtype=np.float32), width=_widths(d, projection.screen)[-1])
    centred = as_they_are.about_centre(_sample(given, SAMPLE_ROWS))[0]
    wide, turned = _with_step(as_they_are, centred), _with_step(_turned(as_they_are), centred)
    return wide if wide.step <= COARSER * turned.step else turned


def project(vectors: Matrix, axes: Matrix) -> tuple[Matrix, Matrix]:
    """Return coordinates [N, p] of centred vectors on the axes, and the lengths [N] of their residuals, rounded up."""
    no_rest = np.zeros(len(vectors), np.float32)
    if np.array_equal(axes, np.eye(len(axes))):
        return vectors, no_rest
    on_axes = vectors @ axes
    if axes.shape[1] == axes.shape[0]:
        return on_axes, no_rest
    squares = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)  # those of short vectors are no float32
    left = squares - np.einsum("ij,ij->i", on_axes, on_axes, dtype=np.float64)
    return on_axes, np.sqrt(np.maximum(left, 0) + ROUNDING * squares).astype(np.float32)


class _Expected:
    """Estimates the time of a pair from the number of coordinates: its product, and its score if it passes the bound.

    Parameters
    ----------
    sample : numpy.ndarray
        [S, d] centred vectors.
    lists : numpy.ndarray
        [L, d] centred vectors whose lists are to be found.
    axes : numpy.ndarray
        [d, d], the principal ones first.
    own : numpy.ndarray
        [S], each song's own term of a similarity.
    share : float
        Share of all songs that a list holds.
    """

    def __init__(self, sample: Matrix, lists: Matrix, axes: Matrix, own: NDArray[np.float64], share: float) -> None:
        self._songs = sample @ axes
        self._lists = lists[:: max(1, len(lists) // SAMPLE_LISTS)] @ axes
        self._own = own  # the term of the list itself changes nothing: its limit has it too
        exact = self._lists @ self._songs.T + self._own
        kept = min(len(sample), max(2, round(share * len(sample)) + 1))  # each song is in its own list here
        self._limits = np.partition(exact, -kept, axis=1)[:, -kept]

    def ns_per_pair(self, width: int, screen: str) -> float:
        """Return the expected nanoseconds, on a machine with the ratios of the constants above."""
        p = width - 1 if width < self._songs.shape[1] else width
        rest = np.sqrt(np.square(self._songs[:, p:]).sum(axis=1))
        their_rest = np.sqrt(np.square(self._lists[:, p:]).sum(axis=1))
        bound = self._lists[:, :p] @ self._songs[:, :p].T + np.outer(their_rest, rest) + self._own
        if screen not in OF_FLOATS:
            spread = np.abs(self._songs[:, :p]).std() * 4 * np.sqrt(width / 12) / LARGEST_CODE
            bound += 2 * spread * np.sqrt(np.square(self._songs).sum(axis=1).max())
        passing = float((bound >= self._limits[:, None]).mean())
        return NS_PER_COORDINATE[screen] * width + passing * NS_PER_SCORE


class Codes(NamedTuple):
    """The data of some songs that the screen reads."""

    codes: NDArray[Any]  # int8, or float32 for products, [N + padding, K]
    starts: NDArray[Any]  # int32 or float32 [N + padding]
    offsets: NDArray[Any]


def encode(projection: Projection, given: Vectors) -> Codes:
    """Return codes and offsets of songs; none may lie farther from the centre than the projection's longest."""
    is_product = projection.screen in OF_FLOATS
    n_songs = len(given.values)
    padded = -(-n_songs // PANEL) * PANEL + TILE_ROWS
    written = codes.aligned((padded, projection.width), np.float32 if is_product else np.int8)
    offsets = np.full(padded, 2 * NO_LIMIT, np.float32 if is_product else np.int32)
    starts = offsets.copy()
    write = codes.scale if is_product else codes.quantise
    for first in range(0, n_songs, BLOCK_ROWS):
        block = slice(first, min(first + BLOCK_ROWS, n_songs))
        centred, own = projection.about_centre(given.rows(block))
        on_axes, rest = project(centred, projection.axes)
        write(on_axes, rest, own, projection.step, projection.longest, written[block], starts[block], offsets[block])
    return Codes(written, starts, offsets)
