"""Songs from several lists of a listener in turn, each list by its share."""

import numpy as np
from numpy.typing import NDArray

from musicrec.simd.lanes import inlined_kernel, kernel
from musicrec.similarity.listeners.nearest_to_likes import (
    Caps,
    Catalog,
    Int32,
    Int64,
    Listeners,
    Recommended,
    Room,
    as_read,
    enter,
    most_likes,
    new_room,
    nobody_yet,
    passes,
)
from musicrec.similarity.search.blocks import Lists


def in_turn(
    lists: Lists,
    listeners: Listeners,
    shares: NDArray[np.integer],
    catalog: Catalog,
    n: int,
    *,
    caps: Caps | None = None,
    rows: Int32 | None = None,
    whole_at: int | None = None,
) -> Recommended:
    """Return for each listener unheard songs from the lists of some likes, in turn.

    After each place every list has given about its share: the next song comes from the list with the largest
    share / (2 · songs given + 1), which is Sainte-Laguë's method; of equal ones, the first. What cannot be taken is
    passed over, and costs its list no turn.

    Parameters
    ----------
    lists : Lists
        As for :func:`musicrec.similarity.listeners.nearest_to_likes.nearest_to_likes`.
    listeners : Listeners
        For each, as ``likes``, the songs whose lists are read, in any order; and what was heard.
    shares : numpy.ndarray
        int [number of all likes], the weight of each list.
    catalog, n, caps, rows, whole_at
        As for ``nearest_to_likes``.

    Returns
    -------
    Recommended
        Scores are those of the lists, so they may rise; ``because`` is the song whose list it was.

    Examples
    --------
    >>> import numpy as np
    >>> from musicrec.similarity.songs import CodeSets, as_sets
    >>> lists = Lists(np.array([[2, 3], [3, 4]], np.int32), np.array([[0.9, 0.8], [0.7, 0.6]], np.float32))
    >>> listener = Listeners(CodeSets(np.array([0, 2]), np.arange(2, dtype=np.int32)),
    ...                      CodeSets(np.array([0, 2]), np.arange(2, dtype=np.int32)))
    >>> songs = Catalog(np.arange(5, dtype=np.int32), as_sets(np.full(5, -1, np.int32)))
    >>> in_turn(lists, listener, np.array([1, 1]), songs, 3, rows=np.array([0, 1, -1, -1, -1], np.int32)).ids.tolist()
    [[2, 3, 4]]
    """
    found = nobody_yet(len(listeners.likes.starts) - 1, n)
    weights = np.asarray(shares, np.int64)
    _in_turn(*as_read(lists, listeners, catalog, caps, rows, whole_at), weights, found)
    return found


@kernel
def _in_turn(
    lists: Lists, rows: Int32, listeners: Listeners, recording: Int32, caps: Caps, whole_at: int, shares: Int64,
    found: Recommended,
) -> None:  # fmt: skip
    most = most_likes(listeners.likes)
    places, given = np.empty(most, np.int32), np.empty(most, np.int32)
    room = new_room(listeners, recording, caps)
    for listener in range(len(found.ids)):
        liked = enter(listener, listeners, room)
        places[:], given[:] = 0, 0
        own = shares[listeners.likes.starts[listener] : listeners.likes.starts[listener + 1]]
        found.is_exact[listener] = _take(
            listener, lists, rows, liked, own, recording, caps, room, (places, given), found, whole_at
        )


@inlined_kernel
def _take(
    listener: int, lists: Lists, rows: Int32, liked: Int32, shares: Int64, recording: Int32, caps: Caps, room: Room,
    turns: tuple[Int32, Int32], found: Recommended, whole_at: int,
) -> bool:  # fmt: skip
    """Take songs until there are enough; return whether longer lists would give the same."""
    places, given = turns
    n_taken, is_exact = 0, True
    while n_taken < found.ids.shape[1]:
        number = _next(shares, places, given)
        if number < 0:
            break
        row = rows[liked[number]]
        place = _first_that_passes(listener, lists, row, places[number], recording, caps, room)
        if place < 0:
            places[number] = -1  # the list has ended
            if row >= 0 and lists.ids.shape[1] < whole_at and lists.ids[row, lists.ids.shape[1] - 1] >= 0:
                is_exact = False
            continue
        found.ids[listener, n_taken] = lists.ids[row, place]
        found.scores[listener, n_taken] = lists.scores[row, place]
        found.because[listener, n_taken] = liked[number]
        places[number] = place + 1
        given[number] += 1
        n_taken += 1
    return is_exact


@inlined_kernel
def _next(shares: Int64, places: Int32, given: Int32) -> int:
    """Return the list whose turn it is; -1 if all have ended."""
    number = -1
    for i in range(len(shares)):
        is_before = number < 0 or shares[i] * (2 * given[number] + 1) > shares[number] * (2 * given[i] + 1)
        if places[i] >= 0 and is_before:
            number = i
    return number


@inlined_kernel
def _first_that_passes(
    listener: int, lists: Lists, row: int, place: int, recording: Int32, caps: Caps, room: Room
) -> int:
    """Return the place of the next song of a list that may be taken, which then is; -1 if there is none."""
    if row < 0:
        return -1
    for i in range(place, lists.ids.shape[1]):
        song = lists.ids[row, i]
        if song < 0:
            return -1
        if passes(listener, song, recording, caps, room):
            return i
    return -1
