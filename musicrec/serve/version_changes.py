"""What changed from one version of the table of similar songs to another: whose lists, and how."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicrec.errors import ConfigError
from musicrec.serve.lookup import SimilarTable, Song
from musicrec.store.store import Store

TABLE = "similar"
BLOCK = 65_536  # lists compared at once

Int32 = NDArray[np.int32]
Scored = dict[str, tuple[int, float]]  # rank and score by id


class ListChange(NamedTuple):
    """How the list of one song changed.

    Attributes
    ----------
    song : Song
        The song.
    kept, length : int
        How many songs both lists hold, and how many the longer one holds.
    came, left : list of Song
        The songs that only the later, and only the earlier list holds, best first.
    """

    song: Song
    kept: int
    length: int
    came: list[Song]
    left: list[Song]


class Place(NamedTuple):
    """Where a song stands in the list of another one, in two versions; None where it does not stand there."""

    song: Song
    rank_before: int | None
    rank_after: int | None
    score_before: float | None
    score_after: float | None


class Changes(NamedTuple):
    """What changed between two versions.

    Attributes
    ----------
    before, after : str
        The versions.
    added, gone : list of Song
        Songs that only the later, and only the earlier version has.
    same, reordered, changed : int
        Of the songs of both versions: lists that are equal, that hold the same songs in another order, and that hold
        other songs.
    kept : float or None
        Mean share of a list that the list before held too; None if the versions have no song in common.
    most : list of ListChange
        The lists that changed most.
    """

    before: str
    after: str
    added: list[Song]
    gone: list[Song]
    same: int
    reordered: int
    changed: int
    kept: float | None
    most: list[ListChange]


class TwoVersions:
    """Two versions of the table of similar songs.

    Parameters
    ----------
    store : Store
        OUT.
    before, after : str, optional
        Versions or their numbers; by default the published one, and the one before it.

    Raises
    ------
    ConfigError
        There is no such version, or only one.
    """

    def __init__(self, store: Store, before: str | None = None, after: str | None = None) -> None:
        versions = store.versions(TABLE)
        self.after = versions.find(after) if after else str(versions.published)
        older = [name for name in versions.on_disk() if name < self.after]
        if not before and not older:
            raise ConfigError(f"{store.out} has no version of {TABLE} before {self.after}; there is nothing to compare")
        self.before = versions.find(before) if before else older[-1]
        self._old, self._new = (SimilarTable(versions.root / name) for name in (self.before, self.after))

    def changes(self, most: int = 10) -> Changes:
        """Return what changed, with the `most` lists that changed most."""
        old_ids, new_ids = ([table.track_id(row) for row in range(len(table))] for table in (self._old, self._new))
        number = {track_id: row for row, track_id in enumerate(new_ids)}
        # Songs by their rows in the new version; those that are gone, after them; and -1 after the end of a list.
        of_old = np.array([*(number.get(t, len(new_ids) + row) for row, t in enumerate(old_ids)), -1], np.int32)
        common = [track_id for track_id in old_ids if track_id in number]
        blocks = [self._compared(common[i : i + BLOCK], of_old) for i in range(0, len(common), BLOCK)]
        kept, length, is_same = (
            np.concatenate(parts) if parts else np.empty(0) for parts in (list(zip(*blocks, strict=True)) or [()] * 3)
        )
        share = kept / np.maximum(length, 1)
        order = [i for i in np.argsort(share, kind="stable")[:most].tolist() if not is_same[i]]
        return Changes(
            self.before,
            self.after,
            [self._new.song(track_id) for track_id in sorted(number.keys() - set(old_ids))],
            [self._old.song(track_id) for track_id in sorted(set(old_ids) - number.keys())],
            int(np.sum(is_same)),
            int(np.sum((kept == length) & ~is_same.astype(bool))),
            int(np.sum(kept < length)),
            float(share.mean()) if len(share) else None,
            [self._change(common[i], int(kept[i]), int(length[i])) for i in order],
        )

    def places(self, name: str) -> list[Place]:
        """Return the songs in the two lists of a song, in the order of the later list.

        Raises
        ------
        UnknownTrack
            The later version has no such song, or several.
        """
        track_id = self._new.song(name).track_id
        old, new = (self._scored(table, track_id) for table in (self._old, self._new))
        songs = dict.fromkeys(new, self._new) | {t: self._old for t in old if t not in new}
        nothing = (None, None)
        return [
            Place(table.song(t), old.get(t, nothing)[0], new.get(t, nothing)[0], old.get(t, nothing)[1],
                  new.get(t, nothing)[1])
            for t, table in songs.items()
        ]  # fmt: skip

    def song(self, name: str) -> Song:
        """Return a song of the later version; UnknownTrack if there is none of that name."""
        return self._new.song(name)

    def _compared(self, track_ids: list[str], of_old: Int32) -> tuple[Int32, Int32, NDArray[np.bool_]]:
        """Return how many songs the two lists of each song share, how long the longer one is, and if they are equal."""
        lists = [of_old[_whole(self._old, track_ids)], _whole(self._new, track_ids)]
        width = max(part.shape[1] for part in lists)
        old, new = (np.pad(part, ((0, 0), (0, width - part.shape[1])), constant_values=-1) for part in lists)
        both = np.sort(
            np.concatenate([old, new], axis=1), axis=1
        )  # a list names a song once: equal numbers are in both
        kept = ((both[:, 1:] == both[:, :-1]) & (both[:, 1:] >= 0)).sum(axis=1)
        length = np.maximum((old >= 0).sum(axis=1), (new >= 0).sum(axis=1))
        return kept.astype(np.int32), length.astype(np.int32), (old == new).all(axis=1)

    def _change(self, track_id: str, kept: int, length: int) -> ListChange:
        places = self.places(track_id)
        came = [place.song for place in places if place.rank_before is None]
        left = [place.song for place in places if place.rank_after is None]
        return ListChange(self._new.song(track_id), kept, length, came, left)

    def _scored(self, table: SimilarTable, track_id: str) -> Scored:
        found = table.similar_many([track_id], len(table))
        columns = (found[name].to_pylist() for name in ("similar_track_id", "rank", "score"))
        return {other: (rank, score) for other, rank, score in zip(*columns, strict=True)}


def _whole(table: SimilarTable, track_ids: list[str]) -> Int32:
    return table.neighbours_many(track_ids, len(table))[0]
