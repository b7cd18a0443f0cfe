"""Batches of training songs: they depend on seed, epoch and song alone, not on how many workers share a batch."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicrec.models import augment
from musicrec.models.inputs import Features, Reader, Songs
from musicrec.settings import TrainSettings

Array = NDArray[np.float32]


class Batch(NamedTuple):
    """One worker's share of a step."""

    inputs: Array  # [n, …]
    targets: Array  # [n, n_classes], rows that sum to 1
    labels: NDArray[np.int32]  # [n], index of the class
    artists: NDArray[np.int32]  # [n], the same number for songs of one artist
    songs: NDArray[np.int32]  # [n], number of the song
    weights: Array  # [n], how much each counts in the loss; 1 on average over an epoch without mixing
    size: int  # songs in the step, over all workers


class Batches:
    """Batches of the training songs.

    Parameters
    ----------
    songs : sequence
        All songs, as their reader takes them.
    y : numpy.ndarray
        Class of each, [n_songs].
    groups : list of str
        Artist of each.
    rows : numpy.ndarray
        Which of them are learned from.
    weights : numpy.ndarray
        How much each song counts, [n_songs]: see :func:`musicrec.models.weights.song_weights`.
    reader : Reader
        Makes an example of a song.
    n_classes : int
        How many genres there are.
    settings : TrainSettings
        With nothing left open: batch size, augmentation, seed.
    """

    def __init__(
        self,
        songs: Songs,
        y: NDArray[np.int32],
        groups: list[str],
        rows: NDArray[np.intp],
        *,
        weights: NDArray[np.float64],
        reader: Reader,
        n_classes: int,
        settings: TrainSettings,
    ) -> None:
        self._songs = reader.prepare(songs)
        self._y = y
        self._artists = np.unique(groups, return_inverse=True)[1].astype(np.int32)
        self._rows = rows
        self._weights = weights
        self._reader = reader
        self._targets = np.eye(n_classes, dtype=np.float32)
        self._settings = settings
        self._by_chance = not isinstance(reader, Features) or bool(settings.mixup or settings.cutmix)

    @property
    def steps(self) -> int:
        """Steps of an epoch, at most."""
        return -(-len(self._rows) // (self._settings.batch_size or 1))

    def epoch(self, epoch: int, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        """Yield a worker's share of each step.

        The order depends on seed and epoch alone. Every worker gets equally many shares: a last step with fewer songs
        than workers is left out.
        """
        seed, size = self._settings.seed, self._settings.batch_size or 1
        order = self._rows[np.random.default_rng([seed, epoch]).permutation(len(self._rows))]
        for start in range(0, len(order), size):
            step = order[start : start + size]
            if len(step) >= max(world, 2):  # batch statistics of a single song mean nothing
                yield self._batch(step[rank::world], epoch, len(step))

    def _batch(self, share: NDArray[np.intp], epoch: int, size: int) -> Batch:
        if self._by_chance:
            inputs, targets, weights = (
                np.stack(column) for column in zip(*(self._example(i, epoch) for i in share), strict=True)
            )
        else:
            inputs, targets = np.asarray(self._songs)[share], self._targets[self._y[share]]
            weights = self._weights[share]
        about = self._y[share], self._artists[share], share.astype(np.int32)
        return Batch(inputs, targets, *about, weights.astype(np.float32), size)

    def _example(self, row: int, epoch: int) -> tuple[Array, Array, float]:
        """Return input, target and weight of a song, or of a mixture of two.

        The loss of a mixture is the mean of the losses of both songs, each by its share and its weight.
        """
        rng = np.random.default_rng([self._settings.seed, epoch, row])
        x, target, weight = self._augmented(row, rng), self._targets[self._y[row]], float(self._weights[row])
        kinds = [kind for kind in ("mixup", "cutmix") if getattr(self._settings, kind)]
        if not kinds:
            return x, target, weight
        kind = kinds[int(rng.integers(len(kinds)))]
        alpha = getattr(self._settings, kind)
        share = float(rng.beta(alpha, alpha))
        share = max(share, 1 - share)  # the example counts for this song, so it keeps the larger share
        other = int(rng.choice(self._rows))
        y = self._augmented(other, rng)
        mixed = augment.mixup(x, y, share) if kind == "mixup" else augment.cutmix(x, y, share, rng)
        both = share * weight + (1 - share) * float(self._weights[other])
        return mixed, augment.mixup(target, self._targets[self._y[other]], share * weight / both), both

    def _augmented(self, row: int, rng: np.random.Generator) -> Array:
        x = self._reader.example(self._songs[row], rng)
        return augment.spec_augment(x, rng) if self._settings.spec_augment and x.ndim == 2 else x
