"""What models read of a song, and how it becomes the input of a network.

A song is a row of features or the vectors of spaces side by side [n_features], a spectrogram in dB [n_frames, n_mels],
or a picture uint8 [height, width, 3]; songs are a sequence of these. A reader turns a song into examples of the one
shape that its network takes.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from musicrec.errors import ModelError
from musicrec.models import scaling

Array = NDArray[np.float32]
Songs = Sequence[NDArray[Any]] | NDArray[Any]
Item = TypeVar("Item")

VECTORS = ("features", "spaces")  # what a model may read of which a song is one vector
MIDDLE_DB = 40.0  # spectrograms lie in [-80, 0] dB: networks get them in [-1, 1]


class Features(NamedTuple):
    """Reads rows of features."""

    shape: tuple[int, ...]
    numbers: Mapping[str, Any]  # as musicrec.models.scaling.fit returns them

    def prepare(self, songs: Songs) -> Songs:
        """Return scaled features [n, n_features], all at once."""
        return scaling.apply(np.asarray(songs), self.numbers)

    def example(self, song: NDArray[Any], rng: np.random.Generator) -> Array:
        """Return one example of a prepared song, for training."""
        return song

    def examples(self, song: NDArray[Any]) -> Array:
        """Return all that is tested of a prepared song, [n_examples, n_features]."""
        return song[None]


class Spectrograms(NamedTuple):
    """Reads excerpts of spectrograms. A song that is shorter than an excerpt is repeated."""

    shape: tuple[int, ...]  # frames of an excerpt, bands
    windows: int  # at least so many excerpts of a longer song are tested

    def prepare(self, songs: Songs) -> Songs:
        """Return the songs as they are: they need not fit into memory."""
        return songs

    def example(self, song: NDArray[Any], rng: np.random.Generator) -> Array:
        """Return an excerpt from anywhere in a song, for training."""
        start = int(rng.integers(max(1, len(song) - self.shape[0] + 1)))
        return self._excerpt(song, start)

    def examples(self, song: NDArray[Any]) -> Array:
        """Return evenly spaced excerpts, the first and the last at the ends, [n_excerpts, n_frames, n_mels]."""
        spare = len(song) - self.shape[0]
        n = max(self.windows, -(-len(song) // self.shape[0])) if spare > 0 else 1
        starts = np.linspace(0, max(0, spare), n).round().astype(int)
        if n == 1:
            return self._excerpt(song, 0)[None]
        scaled = _scaled(np.asarray(song))  # once, not for each excerpt
        excerpts: Array = scaled[starts[:, None] + np.arange(self.shape[0])]
        return excerpts

    def _excerpt(self, song: NDArray[Any], start: int) -> Array:
        frames = _scaled(np.asarray(song[start : start + self.shape[0]]))
        return np.resize(frames, self.shape) if len(frames) < self.shape[0] else frames


def _scaled(frames: NDArray[Any]) -> Array:
    """Return frames in dB as networks get them."""
    scaled = frames.astype(np.float32)
    scaled += np.float32(MIDDLE_DB)
    scaled /= np.float32(MIDDLE_DB)
    return scaled


class Pictures(NamedTuple):
    """Reads pictures."""

    shape: tuple[int, ...]

    def prepare(self, songs: Songs) -> Songs:
        """Return the songs as they are."""
        return songs

    def example(self, song: NDArray[Any], rng: np.random.Generator) -> Array:
        """Return the picture, for training."""
        return np.asarray(song, np.float32) / np.float32(255)

    def examples(self, song: NDArray[Any]) -> Array:
        """Return the picture, [1, height, width, 3]."""
        return self.example(song, np.random.default_rng(0))[None]


Reader = Features | Spectrograms | Pictures


def reader(card: Mapping[str, Any]) -> Reader:
    """Return the reader of a model, by its card's ``input``: ``reads``, ``shape``, and ``scaling`` or ``windows``."""
    described = card["input"]
    shape = tuple(described["shape"])
    match described["reads"]:
        case "features" | "spaces":
            return Features(shape, described["scaling"])
        case "images":
            return Pictures(shape)
        case _:
            return Spectrograms(shape, described["windows"])


class Chosen(Sequence[NDArray[Any]]):
    """Some rows of a sequence of songs."""

    def __init__(self, songs: Songs, rows: NDArray[np.intp]) -> None:
        self._songs, self._rows = songs, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, i: Any) -> Any:  # noqa: ANN401 - as Sequence
        return self._songs[self._rows[i]]


def check(songs: Songs, wanted: Reader) -> None:
    """Raise ModelError if songs are not what a reader reads; the first one stands for all."""
    if not len(songs):
        return
    have, want = np.shape(songs[0]), wanted.shape
    fits = have[1:] == want[1:] if isinstance(wanted, Spectrograms) else have == want
    if not fits or len(have) != len(want):
        raise ModelError(
            f"a song of shape {have} where the model reads {want}; extract with the settings of its training, "
            f"or train it again"
        )


def chunks(wanted: Reader, songs: Songs, most: int) -> Iterator[tuple[Array, NDArray[np.intp]]]:
    """Yield examples of songs in their order, about `most` at a time, and how many examples each song has."""
    prepared = wanted.prepare(songs)
    if isinstance(wanted, Features):
        block = np.asarray(prepared)
        for i in range(0, len(block), most):
            yield block[i : i + most], np.ones(len(block[i : i + most]), np.intp)
        return
    held: list[Array] = []
    for i in range(len(prepared)):
        held.append(wanted.examples(prepared[i]))
        if sum(map(len, held)) >= most:
            yield np.concatenate(held), np.array([len(e) for e in held])
            held = []
    if held:
        yield np.concatenate(held), np.array([len(e) for e in held])


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """Yield the same items; each is made in a thread while the one before it is used."""
    end: Any = object()
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = pool.submit(next, items, end)
            yield item
