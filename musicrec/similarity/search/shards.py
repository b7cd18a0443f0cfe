"""Lists of some songs from all songs, which have places in order of cluster, similar ones near each other.

This is the work of one task: it makes the lists of its own places, and needs nothing from other tasks. The songs may
come in several parts, one of which is read at a time.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from musicrec.similarity.search import candidates
from musicrec.similarity.search.blocks import BLOCK_ROWS, Block, compare_blocks, slices
from musicrec.similarity.search.bounds import Projection
from musicrec.similarity.search.candidates import CandidateLists
from musicrec.similarity.search.clusters import Clusters
from musicrec.similarity.search.score_keys import NO_LIMIT
from musicrec.similarity.search.screens import PANEL, TILE_ROWS
from musicrec.similarity.search.starting_limits import start_from_clusters

NEAR = 4096  # so many places around those whose lists are made are compared first


class Part(NamedTuple):
    """Songs in the places from `first` on; `first` is a multiple of PANEL."""

    first: int
    lists: CandidateLists


def lists_of_places(
    projection: Projection,
    clusters: Clusters,
    parts: Iterable[Part],
    new: CandidateLists,
    first: int,
    *,
    probes: int | None = None,
) -> CandidateLists:
    """Fill the lists of the songs in the places from `first` on, and put them in order.

    Parameters
    ----------
    projection : Projection
        The one that all codes were made by.
    clusters : Clusters
        Of all songs, in the order of their places.
    parts : iterable of Part
        All songs. It is fastest if the songs of `new` come first.
    new : CandidateLists
        The songs whose lists are made, as :func:`take_places` gives them.
    first : int
        Place of the first of them.
    probes : int, optional
        Compare a song only with so many clusters, those nearest to its own; by default with all songs.
    """
    start_from_clusters(projection, new, clusters.starts - first)
    visits = _everywhere(first, len(new.songs)) if probes is None else _nearby(clusters, first, len(new.songs), probes)
    for part in parts:
        stop = part.first + len(part.lists.songs)
        compare_blocks(projection, new, candidates.closed(part.lists), _within(visits, part.first, stop))
    candidates.put_in_order(projection.scale, new)
    return new


def take_places(lists: CandidateLists, first: int, last: int, n: int, *, with_panels: bool = False) -> CandidateLists:
    """Return the songs in some places with empty lists of `n`; with panels, `first` is a multiple of PANEL."""
    padded = slice(first, -(-last // PANEL) * PANEL + TILE_ROWS)
    kind = lists.offsets.dtype
    panels = lists.panels[first // PANEL : -(-last // PANEL)] if with_panels else lists.panels[:0]
    taken = lists._replace(
        panels=panels,
        **{name: getattr(lists, name)[first:last] for name in ("vectors", "inverse_norms", "songs")},
        **{name: getattr(lists, name)[padded] for name in ("codes", "starts", "offsets")},
        limits=np.full(len(lists.offsets[padded]), NO_LIMIT, kind),
        floors=np.zeros(last - first, np.uint64),
        counts=np.zeros(last - first, np.int32),
        keys=candidates.room(last - first, n),
        depth=n,
    )
    if with_panels:  # the padding holds songs of the next part: none of them may pass
        for name in ("starts", "offsets"):
            array = getattr(taken, name).copy()
            array[last - first :] = 2 * NO_LIMIT
            taken = taken._replace(**{name: array})
    return taken


# Rows (first, last), and the places (start, end) that they are compared with.
Visits = list[tuple[tuple[int, int], list[tuple[int, int]]]]


def _everywhere(first: int, n: int) -> Visits:
    near, far = max(0, first - NEAR) // PANEL * PANEL, -(-(first + n + NEAR) // PANEL) * PANEL
    places = [(near, far), (0, near), (far, np.iinfo(np.int64).max)]
    return [(rows, places) for rows in slices(0, n, BLOCK_ROWS)]


def _nearby(clusters: Clusters, first: int, n: int, probes: int) -> Visits:
    """Return for the rows of each cluster the panels of the nearest clusters, each panel once."""
    centres, starts = clusters.centres, clusters.starts
    visits: Visits = []
    of_first, after_last = np.searchsorted(starts, first, side="right") - 1, np.searchsorted(starts, first + n)
    for own in range(of_first, after_last):
        rows = max(0, int(starts[own]) - first), min(n, int(starts[own + 1]) - first)
        distance = np.einsum("ij,ij->i", centres, centres) - 2 * centres @ centres[own]
        nearest = np.argsort(distance, kind="stable")[:probes]
        panels = {p: None for k in nearest for p in range(starts[k] // PANEL, -(-starts[k + 1] // PANEL))}
        if rows[0] < rows[1]:
            visits.append((rows, list(_runs(list(panels)))))
    return visits


def _runs(panels: list[int]) -> Iterator[tuple[int, int]]:
    """Yield the places of runs of consecutive panels, in the order given."""
    breaks = np.flatnonzero(np.diff(panels) != 1) + 1
    for run in np.split(np.asarray(panels), breaks):
        yield int(run[0]) * PANEL, (int(run[-1]) + 1) * PANEL


def _within(visits: Visits, first: int, stop: int) -> Iterator[Block]:
    """Yield the blocks that lie in one part."""
    for rows, places in visits:
        for start, end in places:
            if max(start, first) < min(end, stop):
                yield Block(*rows, max(start, first) - first, min(end, stop) - first)
