"""Pictures of a clip as the input of networks: 256 × 256 pixels, red, green and blue, made in memory from arrays.

matplotlib gives the colours, Pillow resizes and compresses; both are imported when a picture is made. Pictures for
people are in :mod:`musicrec.report.clip_figure`.
"""

import io
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

SIZE = 256  # pixels, both ways
LOWEST_DB = -80.0
COLOUR_MAP = "magma"
PAPER, INK = (255, 255, 255), (47, 102, 144)


def spectrogram_image(mel_db: NDArray[np.floating]) -> Image:
    """Return the mel-spectrogram as a picture: time to the right, low frequencies at the bottom.

    -80 dB is black, 0 dB is bright. Both axes are resampled linearly. Where many frames share a column, it is their
    mean in dB. Frames near the middle of the column weigh more (a triangle two columns wide). No short event is lost.

    Parameters
    ----------
    mel_db : numpy.ndarray
        Float [n_mels, n_frames] in [-80, 0], as :func:`musicrec.features.mel` returns it; at least one band and one
        frame. Values outside the range are clipped.

    Returns
    -------
    numpy.ndarray
        uint8 [256, 256, 3].

    Raises
    ------
    ValueError
        The array is not of two dimensions, or is empty.
    """
    from PIL import Image as Picture

    if mel_db.ndim != 2 or mel_db.size == 0:
        raise ValueError(f"mel_db has the shape {mel_db.shape}; expected [n_mels, n_frames], both at least 1")
    cells = Picture.fromarray(np.ascontiguousarray(mel_db[::-1], np.float32))
    resized = np.asarray(cells.resize((SIZE, SIZE), Picture.Resampling.BILINEAR))
    colours = _colours()
    level = (resized - LOWEST_DB) * (len(colours) / -LOWEST_DB)
    return colours[np.clip(level, 0, len(colours) - 1).astype(np.uint8)]


@lru_cache(maxsize=1)
def _colours() -> Image:
    """Return the colour map, uint8 [256, 3]."""
    from matplotlib import colormaps

    return np.ascontiguousarray(colormaps[COLOUR_MAP](np.arange(256), bytes=True)[:, :3], np.uint8)


def waveform_image(y: NDArray[np.floating]) -> Image:
    """Return the waveform as a picture: each column is a bar from the least to the largest of its samples.

    Parameters
    ----------
    y : numpy.ndarray
        Float [n_samples], at least one; -1 is the lowest row and 1 the highest, and what lies outside is cut off.

    Returns
    -------
    numpy.ndarray
        uint8 [256, 256, 3], blue on white; a bar is at least one pixel high.

    Raises
    ------
    ValueError
        There are no samples, or several channels.
    """
    low, high = envelope(y, SIZE)
    top, bottom = (np.rint((1 - np.clip(edge, -1, 1)) / 2 * (SIZE - 1)) for edge in (high, low))
    row = np.arange(SIZE)[:, None]
    return np.array([PAPER, INK], np.uint8)[((row >= top) & (row <= bottom)).astype(np.intp)]


def envelope(y: NDArray[np.floating], n_columns: int) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return the least and the largest sample in each of so many equal stretches of time, both [n_columns].

    Parameters
    ----------
    y : numpy.ndarray
        Float [n_samples], at least one. Where there are fewer than columns, a sample fills several.
    n_columns : int
        Number of stretches.
    """
    if y.ndim != 1 or y.size == 0:
        raise ValueError(f"y has the shape {y.shape}; expected [n_samples], at least 1")
    starts = np.arange(n_columns) * len(y) // n_columns
    return np.minimum.reduceat(y, starts), np.maximum.reduceat(y, starts)


def to_png(image: Image) -> bytes:
    """Return a picture as a PNG file; with a palette, at half the size, if it has at most 256 colours.

    Parameters
    ----------
    image : numpy.ndarray
        uint8 [height, width, 3].
    """
    from PIL import Image as Picture

    codes = image.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    palette, index = np.unique(codes, return_inverse=True)
    if len(palette) <= 256:
        picture = Picture.fromarray(index.reshape(codes.shape).astype(np.uint8))
        picture.putpalette(palette.astype(">u4").view(np.uint8).reshape(-1, 4)[:, 1:].tobytes())
    else:
        picture = Picture.fromarray(image)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def from_png(png: bytes) -> Image:
    """Return the picture in a PNG file: uint8 [height, width, 3]."""
    from PIL import Image as Picture

    with Picture.open(io.BytesIO(png), formats=["PNG"]) as picture:
        return np.asarray(picture.convert("RGB"))
