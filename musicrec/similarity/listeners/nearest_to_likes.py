"""The songs nearest to any of a listener's likes, read off the lists of the likes: no vector is needed.

A song's score is its similarity to the most similar like (*max*). The lists of the likes are merged, best song first,
and most songs of most lists are never looked at. A song that would be recommended is in the list of its most similar
like, unless the list ends before it: :func:`nearest_to_likes` has the proof, and says for each listener if it is so.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicrec.simd.lanes import inlined_kernel, kernel
from musicrec.similarity.search.blocks import Lists
from musicrec.similarity.songs import CodeSets

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
UInt64 = NDArray[np.uint64]

LOW = np.uint64(0xFFFFFFFF)
LAST = np.uint64(0xFFFFFFFFFFFFFFFF)  # the key of no song


class Listeners(NamedTuple):
    """What each listener likes and has heard.

    Parameters
    ----------
    likes : CodeSets
        Rows of the songs that each likes, ascending; their lists are read.
    heard : CodeSets
        Recordings that each has heard, those of the likes too; none of them is recommended.
    """

    likes: CodeSets
    heard: CodeSets


class Catalog(NamedTuple):
    """What the songs are that lists hold.

    Parameters
    ----------
    recording : numpy.ndarray
        int32 [n_songs], from 0; songs with the same number are one recording.
    artist : CodeSets
        Artists of each song, from 0.
    album : numpy.ndarray, optional
        int32 [n_songs], from 0; -1 where the album is unknown. By default, all are.
    """

    recording: Int32
    artist: CodeSets
    album: Int32 | None = None


class Caps(NamedTuple):
    """Groups of which a list may hold a few songs only, such as those by an artist.

    Parameters
    ----------
    groups : CodeSets
        Groups of each song, from 0.
    most : numpy.ndarray
        int32 [n_groups], how many songs of each.
    """

    groups: CodeSets
    most: Int32


def caps_of(catalog: Catalog, max_per_artist: int = 0, max_per_album: int = 0) -> Caps:
    """Return the caps on artists and albums; 0 is none.

    Examples
    --------
    >>> import numpy as np
    >>> from musicrec.similarity.songs import as_sets
    >>> songs = Catalog(np.arange(3, dtype=np.int32), as_sets(np.array([0, 1, 1])), np.array([-1, 0, 0], np.int32))
    >>> caps = caps_of(songs, max_per_artist=2, max_per_album=1)
    >>> caps.groups.tolist(), caps.most.tolist()
    ([[0], [1, 2], [1, 2]], [2, 2, 1])
    """
    n_songs = len(catalog.recording)
    artist = catalog.artist if max_per_artist else CodeSets(np.zeros(n_songs + 1, np.int64), np.empty(0, np.int32))
    most = np.full(int(artist.codes.max(initial=-1)) + 1, max_per_artist, np.int32)
    if not max_per_album or catalog.album is None:
        return Caps(artist, most)
    has_album = catalog.album >= 0
    starts = artist.starts + np.append(0, np.cumsum(has_album))
    codes = np.empty(starts[-1], np.int32)
    is_album = np.zeros(len(codes), np.bool_)
    is_album[starts[1:][has_album] - 1] = True
    codes[is_album] = len(most) + catalog.album[has_album]
    codes[~is_album] = artist.codes
    of_albums = np.full(int(catalog.album.max(initial=-1)) + 1, max_per_album, np.int32)
    return Caps(CodeSets(starts, codes), np.concatenate([most, of_albums]))


class Recommended(NamedTuple):
    """Songs for listeners, best first.

    Attributes
    ----------
    ids : numpy.ndarray
        int32 [n_listeners, n], rows of the songs; -1 after the end of a shorter list.
    scores : numpy.ndarray
        float32, of the same shape: similarity to the most similar like; -inf after the end.
    because : numpy.ndarray
        int32, of the same shape: the row of that like, of several the first; -1 after the end.
    is_exact : numpy.ndarray
        bool [n_listeners], whether longer lists would give the same.
    """

    ids: Int32
    scores: NDArray[np.float32]
    because: Int32
    is_exact: NDArray[np.bool_]


def nearest_to_likes(
    lists: Lists,
    listeners: Listeners,
    catalog: Catalog,
    n: int,
    *,
    caps: Caps | None = None,
    rows: Int32 | None = None,
    whole_at: int | None = None,
) -> Recommended:
    """Return for each listener the unheard songs that are most similar to any of the likes.

    Of several songs that are one recording, the best is recommended. Equal scores are ordered by row.

    Songs are ranked by descending score, then ascending row. Let K be the best-ranked of the last songs of those lists
    of the likes that do not hold all songs. A song that is missing in the list of its most similar like ranks after the
    last song there, so after K. All songs up to K are therefore known, with their scores, and every other song ranks
    after them. If a listener's list is full and ends at K or before, it is that of the whole catalog, whatever is left
    out for its recording or its artists. This is so if each list has at least n places more than songs that are left
    out.

    Parameters
    ----------
    lists : Lists
        int32 and float32 [n_lists, k]: similar songs of each song, by descending score, then ascending row; -1 after
        the end of a list that has no more.
    listeners : Listeners
        The listeners.
    catalog : Catalog
        All songs.
    n : int
        Most songs for a listener.
    caps : Caps, optional
        How many songs of a group there may be; any number by default. The next songs take the places.
    rows : numpy.ndarray, optional
        int32 [n_songs], the list of each song; -1 for none. By default, list i is that of song i.
    whole_at : int, optional
        The length from which lists hold all songs; by default, the number of songs without the song itself.

    Returns
    -------
    Recommended
        int32, float32, int32 [n_listeners, n] and bool [n_listeners].

    Examples
    --------
    >>> import numpy as np
    >>> from musicrec.similarity import top_n
    >>> from musicrec.similarity.songs import as_sets
    >>> lists = top_n([[1.0, 0.0], [0.9, 0.1], [0.8, 0.2], [0.0, 1.0]], 2)
    >>> likes = as_sets(np.array([0], np.int32))
    >>> songs = Catalog(np.arange(4, dtype=np.int32), as_sets(np.full(4, -1, np.int32)))
    >>> found = nearest_to_likes(lists, Listeners(likes, likes), songs, 1)
    >>> found.ids.tolist(), found.because.tolist(), found.is_exact.tolist()
    ([[1]], [[0]], [True])
    """
    found = nobody_yet(len(listeners.likes.starts) - 1, n)
    _nearest_to_likes(*as_read(lists, listeners, catalog, caps, rows, whole_at), found)
    return found


def nobody_yet(n_listeners: int, n: int) -> Recommended:
    """Return empty lists."""
    return Recommended(
        np.full((n_listeners, n), -1, np.int32),
        np.full((n_listeners, n), -np.inf, np.float32),
        np.full((n_listeners, n), -1, np.int32),
        np.zeros(n_listeners, np.bool_),
    )


def as_read(
    lists: Lists, listeners: Listeners, catalog: Catalog, caps: Caps | None, rows: Int32 | None, whole_at: int | None
) -> tuple[Lists, Int32, Listeners, Int32, Caps, int]:
    """Return what the kernels read, of the types for which they are compiled."""
    n_songs = len(catalog.recording)
    return (
        Lists(np.ascontiguousarray(lists.ids), np.ascontiguousarray(lists.scores)),
        np.arange(n_songs, dtype=np.int32) if rows is None else rows,
        listeners,
        catalog.recording,
        caps or caps_of(catalog),
        n_songs - 1 if whole_at is None else whole_at,
    )


class Room(NamedTuple):
    """What is known of the current listener; a note that names another listener is an old one."""

    left_out_for: Int32  # [n_recordings], the last listener that has heard it, or was given it
    group_of: Int32  # [n_groups], the last listener that was given one of its songs
    given: Int32  # [n_groups], how many


class _Heads(NamedTuple):
    """The lists of the current listener."""

    heads: UInt64  # [most likes], the key of the next song of each list
    places: Int32  # [most likes], where it stands in the list
    heap: Int32  # [most likes], numbers of the lists, the one with the best next song first


@kernel
def _nearest_to_likes(
    lists: Lists, rows: Int32, listeners: Listeners, recording: Int32, caps: Caps, whole_at: int, found: Recommended
) -> None:
    most = most_likes(listeners.likes)
    heap = _Heads(np.empty(most, np.uint64), np.empty(most, np.int32), np.empty(most, np.int32))
    room = new_room(listeners, recording, caps)
    for listener in range(len(found.ids)):
        liked = enter(listener, listeners, room)
        found.is_exact[listener] = _merge(listener, lists, rows, liked, recording, caps, heap, room, found, whole_at)


@inlined_kernel
def most_likes(likes: CodeSets) -> int:
    """Return how many likes anybody has."""
    most = 0
    for listener in range(len(likes.starts) - 1):
        most = max(most, int(likes.starts[listener + 1] - likes.starts[listener]))
    return most


@inlined_kernel
def new_room(listeners: Listeners, recording: Int32, caps: Caps) -> Room:
    """Return room for notes about one listener after the other."""
    n_recordings = 1 + max(_largest(recording), _largest(listeners.heard.codes))
    n_groups = len(caps.most)
    return Room(np.full(n_recordings, -1, np.int32), np.full(n_groups, -1, np.int32), np.empty(n_groups, np.int32))


@inlined_kernel
def enter(listener: int, listeners: Listeners, room: Room) -> Int32:
    """Note what a listener has heard; return the likes."""
    likes, heard = listeners
    for i in range(heard.starts[listener], heard.starts[listener + 1]):
        room.left_out_for[heard.codes[i]] = listener
    return likes.codes[likes.starts[listener] : likes.starts[listener + 1]]


@inlined_kernel
def _largest(codes: Int32) -> int:
    return codes.max() if len(codes) else -1


@inlined_kernel
def _merge(
    listener: int, lists: Lists, rows: Int32, liked: Int32, recording: Int32, caps: Caps, heap: _Heads, room: Room,
    found: Recommended, whole_at: int,
) -> bool:  # fmt: skip
    """Merge the lists of the likes until enough songs are taken; return whether longer lists would give the same."""
    n, n_taken, key, end = found.ids.shape[1], 0, LAST, LAST
    is_whole = lists.ids.shape[1] >= whole_at
    n_lists = _open(lists, rows, liked, heap)
    while n_lists and n_taken < n:
        number = heap.heap[0]
        key = heap.heads[number]
        song, row, place = np.int64(key & LOW), rows[liked[number]], heap.places[number]
        if passes(listener, song, recording, caps, room):
            found.ids[listener, n_taken] = song
            found.scores[listener, n_taken] = lists.scores[row, place]
            found.because[listener, n_taken] = liked[number]
            n_taken += 1
        heap.places[number] = place + 1
        heap.heads[number] = _key_at(lists, row, place + 1)
        if heap.heads[number] == LAST:
            if place + 1 == lists.ids.shape[1] and not is_whole:
                end = min(end, key)
            n_lists -= 1
            heap.heap[0] = heap.heap[n_lists]
        _sift(heap.heap, heap.heads, 0, n_lists)
    return bool((key if n_taken == n else LAST) <= end)


@inlined_kernel
def _open(lists: Lists, rows: Int32, liked: Int32, heap: _Heads) -> int:
    """Put the lists of the likes into the heap; return how many there are."""
    n_lists = 0
    for number in range(len(liked)):
        row = rows[liked[number]]
        if row >= 0 and lists.ids[row, 0] >= 0:
            heap.places[number], heap.heads[number] = 0, _key_at(lists, row, 0)
            heap.heap[n_lists] = number
            n_lists += 1
    for i in range(n_lists // 2 - 1, -1, -1):
        _sift(heap.heap, heap.heads, i, n_lists)
    return n_lists


@inlined_kernel
def _key_at(lists: Lists, row: int, place: int) -> np.uint64:
    """Return the key of a song of a list; after its end, that of no song."""
    if place == lists.ids.shape[1] or lists.ids[row, place] < 0:
        return LAST
    return _key(lists.scores.view(np.uint32)[row, place], lists.ids[row, place])


@inlined_kernel
def _key(bits: np.uint32, song: int) -> np.uint64:
    """Return an integer in the order of songs: by -score, of which `bits` are the bits, then by row."""
    is_negative = bits >> np.uint32(31) and bits != np.uint32(0x80000000)  # -0 is 0
    falling = bits if is_negative else ~bits & np.uint32(0x7FFFFFFF)
    return np.uint64(falling) << np.uint64(32) | np.uint64(song)


@inlined_kernel
def _sift(heap: Int32, heads: UInt64, at: int, n: int) -> None:
    """Let a list sink in a heap of `n`; of lists with the same next song, that of the first like is the first."""
    if at >= n:
        return
    number = heap[at]
    while 2 * at + 1 < n:
        child = 2 * at + 1
        if child + 1 < n and _is_before(heads, heap[child + 1], heap[child]):
            child += 1
        if not _is_before(heads, heap[child], number):
            break
        heap[at] = heap[child]
        at = child
    heap[at] = number


@inlined_kernel
def _is_before(heads: UInt64, a: int, b: int) -> bool:
    return heads[a] < heads[b] or (heads[a] == heads[b] and a < b)


@inlined_kernel
def passes(listener: int, song: int, recording: Int32, caps: Caps, room: Room) -> bool:
    """Return whether a song may be taken; if so, count it for its recording and its groups."""
    if room.left_out_for[recording[song]] == listener:
        return False
    first, last = caps.groups.starts[song], caps.groups.starts[song + 1]
    for i in range(first, last):
        group = caps.groups.codes[i]
        if room.group_of[group] == listener and room.given[group] >= caps.most[group]:
            return False
    for i in range(first, last):
        group = caps.groups.codes[i]
        room.given[group] = room.given[group] + 1 if room.group_of[group] == listener else 1
        room.group_of[group] = listener
    room.left_out_for[recording[song]] = listener
    return True
