"""What becomes of each listen: it is matched and waits to be added up, or is left out and counted under its reason."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from musicrec.errors import MusicrecError
from musicrec.schemas import ListenReason
from musicrec.settings import HistoriesSettings
from musicrec.stages.histories.adding_up import (
    MATCHED,
    histories_of,
    likes,
    only_listeners,
    reasons,
    unmatched_names,
    weigh,
)
from musicrec.stages.histories.buckets import Buckets
from musicrec.stages.histories.song_matching import By, Songs

MOST_ROWS = 1_000_000  # listens that are added up at a time; their users make a part of the table
NAMES_LISTED = 20


@dataclass
class Tally:
    """Listens as they are read, sorted out.

    Parameters
    ----------
    songs : Songs
        The catalog.
    durations : numpy.ndarray
        float64 [n_songs], in seconds; NaN if unknown.
    settings : HistoriesSettings
        What counts as a like.
    now_s : float
        The time now, in seconds since 1970.
    matched, unmatched : Buckets
        Receive what is found, and the names of what is not.
    """

    songs: Songs
    durations: NDArray[np.float64]
    settings: HistoriesSettings
    now_s: float
    matched: Buckets
    unmatched: Buckets
    listens: int = 0
    likes: int = 0
    no_likes: int = 0
    users: int = 0
    without_songs: int = 0
    rows: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    matched_by: Counter[str] = field(default_factory=Counter)

    def add(self, listens: pa.Table) -> None:
        """Sort out some listens."""
        found = self.songs.match(listens)
        reason = reasons(listens, found.rows, self.now_s)
        self.listens += pc.sum(listens["plays"]).as_py()
        self.left_out.update(weigh(reason, listens["plays"]))
        is_unknown = pc.fill_null(pc.equal(reason, ListenReason.UNKNOWN_SONG.value), False)
        unknown = listens.filter(is_unknown)
        self.unmatched.add(unmatched_names(unknown))
        self.matched.add(only_listeners(unknown))
        kept = np.flatnonzero(reason.is_null().to_numpy(zero_copy_only=False))
        listens, rows = listens.take(pa.array(kept)), found.rows[kept]
        by = pa.array([by.value for by in By]).take(pa.array(found.by[kept]))
        self.matched_by.update(weigh(by, listens["plays"]))
        is_like = pa.array(likes(listens, self.durations[rows], self.settings))
        columns = [
            listens["user_id"],
            pa.array(rows),
            *(listens[name] for name in ("at_s", "plays", "seconds")),
            is_like,
        ]
        self.matched.add(pa.table(columns, schema=MATCHED))

    def parts(self) -> Iterator[pa.Table]:
        """Add up what was matched: parts of the table ``histories``, with all songs of a user in one part."""
        for group in self.matched.groups(MOST_ROWS):
            part, n_likes, n_duplicates = histories_of(group, self.songs.track_ids)
            self.rows += len(part) - part["track_id"].null_count
            self.without_songs += part["track_id"].null_count
            self.users += pc.count_distinct(part["user_id"]).as_py()
            self.likes += n_likes
            self.no_likes += pc.sum(group["plays"]).as_py() - n_likes - n_duplicates
            if n_duplicates:
                self.left_out[ListenReason.DUPLICATE.value] += n_duplicates
            yield part

    def figures(self) -> dict[str, Any]:
        """Return the counts for the footer, and the most-played names without a song."""
        by_number = dict(sorted(self.left_out.items(), key=lambda found: (-found[1], found[0])))
        ways = {by.value: self.matched_by[by.value] for by in By if self.matched_by[by.value]}
        counts = {
            name: getattr(self, name) for name in ("users", "without_songs", "rows", "listens", "likes", "no_likes")
        }
        return {**counts, "left_out": by_number, "matched_by": ways, "unmatched": self._most_played()}

    def check(self) -> None:
        """Raise MusicrecError if the counts do not add up."""
        if self.listens != self.likes + self.no_likes + self.left_out.total():
            raise MusicrecError(
                f"histories: the counts do not add up: {self.listens} listens, {self.likes} likes, {self.no_likes} "
                f"others, {self.left_out.total()} left out; this is a defect of musicrec, please report it"
            )

    def _most_played(self) -> list[tuple[str, int]]:
        found: list[tuple[str, int]] = []
        for group in self.unmatched.groups(MOST_ROWS):
            sums = group.group_by("name").aggregate([("plays", "sum")])
            found += zip(*(column.to_pylist() for column in sums.columns), strict=True)
            found = sorted(found, key=lambda named: (-named[1], named[0]))[:NAMES_LISTED]
        return found
