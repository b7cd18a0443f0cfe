"""A number for everything that a listener's recommendations depend on: while it stays the same, so do they.

Songs are numbered anew every night, so they go by digests of their ids, and a recording by those of all its files.
"""

import hashlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicrec.stages.recommendations.cold_listeners import ColdStart
from musicrec.stages.recommendations.history_blocks import Block
from musicrec.stages.recommendations.methods import BY_LISTS, Given
from musicrec.stages.recommendations.song_numbers import SongNumbers

ROWS_AT_ONCE = 65_536
PRIME = np.uint64(0x9E3779B97F4A7C15)

Keys = NDArray[np.uint64]


class SongKeys(NamedTuple):
    """What recommendations depend on, by song of the catalog.

    Attributes
    ----------
    liked : numpy.ndarray
        uint64 [n_tracks], of a song that is liked: the song, its genre and recording, its list, and its vector.
    heard : numpy.ndarray
        uint64 [n_tracks], of a song that was heard: its recording.
    cold : int
        What listeners depend on of whom too little is known.
    """

    liked: Keys
    heard: Keys
    cold: int


def song_keys(songs: SongNumbers, given: Given, cold: ColdStart) -> SongKeys:
    """Return the keys of all songs; lists count only for methods that read no more than the lists of the likes."""
    track = digests(songs.track_ids.to_pylist())
    files = np.zeros(1 + int(songs.recording.max(initial=-1)), np.uint64)
    np.add.at(files, songs.recording, mixed(track))
    recording = mixed(files[songs.recording])
    is_listed = songs.row >= 0
    song = mixed(track + PRIME * recording)
    listed = song[is_listed]
    if len(given.caps.groups.codes):
        listed = mixed(listed + digests(map(str, given.caps.groups.tolist())))
    liked = mixed(song + PRIME * mixed(songs.genre.astype(np.int64).view(np.uint64)))
    if given.settings.method in BY_LISTS:
        liked[is_listed] += _of_lists(given, listed)
    liked[is_listed] = mixed(liked[is_listed] + np.uint64(1))
    centres = np.append(listed, np.uint64(0))[cold.centres]
    of_centres = mixed(centres + np.append(_of_lists(given, listed), np.uint64(0))[cold.centres])
    of_cold = [int(listed.sum()), listed[cold.popular].tolist(), cold.n_listeners.tolist(), of_centres.tolist()]
    return SongKeys(liked, recording, int(digests([str(of_cold)])[0]))


def _of_lists(given: Given, listed: Keys) -> Keys:
    """Return a key of the list of each song, and of its vector where one counts."""
    ids, scores = given.lists
    keys = np.empty(len(ids), np.uint64)
    place = PRIME * np.arange(1, 1 + ids.shape[1], dtype=np.uint64)
    with_none = np.append(listed, np.uint64(0))
    for start in range(0, len(ids), ROWS_AT_ONCE):
        some = slice(start, start + ROWS_AT_ONCE)
        bits = np.ascontiguousarray(scores[some]).view(np.uint32).astype(np.uint64)
        keys[some] = mixed(with_none[ids[some]] + mixed(bits + place)).sum(axis=1, dtype=np.uint64)
        if given.settings.method == "multi_interest" and given.vectors:
            keys[some] += _of_vectors(given.vectors.matrix[some])
    return keys


def _of_vectors(matrix: NDArray[np.float32]) -> Keys:
    bits = np.ascontiguousarray(matrix).view(np.uint32).astype(np.uint64)
    return mixed(bits + PRIME * np.arange(1, 1 + bits.shape[1], dtype=np.uint64)).sum(axis=1, dtype=np.uint64)


def listener_keys(block: Block, keys: SongKeys) -> Keys:
    """Return a key of what each listener likes and has heard, uint64 [n_listeners]."""
    of_rows = np.full(len(block.song), mixed(np.zeros(1, np.uint64))[0])  # of a song that is not in the catalog
    is_known = block.song >= 0
    of_rows[is_known] = mixed(keys.heard[block.song[is_known]])
    of_rows[block.is_like] += mixed(keys.liked[block.song[block.is_like]])
    found = np.zeros(len(block.users), np.uint64)
    np.add.at(found, block.user, mixed(of_rows))
    return found


def digests(texts: Iterable[str]) -> Keys:
    """Return the digest of each text, uint64."""
    return np.array([int.from_bytes(hashlib.blake2b(t.encode(), digest_size=8).digest()) for t in texts], np.uint64)


def mixed(numbers: NDArray[Any]) -> Keys:
    """Return numbers whose sums do not cancel: the finalizer of SplitMix64.

    Examples
    --------
    >>> import numpy as np
    >>> mixed(np.array([1, 2], np.uint64)).tolist()
    [10451216379200822465, 10905525725756348110]
    """
    x = numbers + PRIME
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    found: Keys = x ^ (x >> np.uint64(31))
    return found
