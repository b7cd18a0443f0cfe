"""Compare some songs with each other, each pair once."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from musicrec.similarity.search import candidates
from musicrec.similarity.search.blocks import BLOCK_ROWS, Block, compare_blocks, slices
from musicrec.similarity.search.bounds import Projection
from musicrec.similarity.search.candidates import CandidateLists
from musicrec.similarity.search.starting_limits import start_from_clusters

WINDOWS = (128, 512, 2048)  # similar songs are compared first: a list that starts with good candidates takes few others


def compare_within(projection: Projection, lists: CandidateLists, starts: NDArray[np.int64]) -> None:
    """Fill the lists of songs with each other; clusters of them start at `starts`, where the last one ends too."""
    start_from_clusters(projection, lists, starts)
    for blocks in triangle(len(lists.songs)):
        candidates.tighten(projection.scale, lists)
        compare_blocks(projection, lists, lists, blocks, is_same=True)


def triangle(n_songs: int) -> Iterator[Iterator[Block]]:
    """Iterate over blocks that cover each pair once: within small windows, then within larger ones, then all others."""
    sizes = [0, *(size for size in WINDOWS if size < n_songs), n_songs]
    for inner, size in pairwise(sizes):
        yield (
            Block(*rows, last if inner else first, stop)
            for start, stop in slices(0, n_songs, size)
            for first, last in slices(start, stop, inner or size)
            for rows in slices(first, last, BLOCK_ROWS)
            if (last if inner else first) < stop
        )
