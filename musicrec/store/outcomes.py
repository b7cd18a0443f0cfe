"""Outcomes: every stage gives every track of the catalog exactly one, and the counts add up, so no track is lost."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from musicrec.errors import MusicrecError
from musicrec.schemas import FAILED, OK, OUTCOMES, SKIPPED, Reason
from musicrec.settings import StageSettings
from musicrec.store.store import Store


class Outcome(NamedTuple):
    """How a stage ended for one track: a row of the ``outcomes`` table."""

    track_id: str
    stage: str
    status: str
    reason: Reason | None = None
    detail: str | None = None
    fingerprint: str | None = None
    seconds: float | None = None


DOINGS = {  # of the chain; the stage of a space of vectors has the name of its table
    "catalog": "read",
    "extract": "decoded",
    "train": "trained on",
    "embed": "embedded",
    "duplicates": "fingerprinted",
    "similar": "compared",
}


@dataclass(frozen=True)
class Counts:
    """How many tracks a stage has done, skipped and failed; `fresh` of them in this run."""

    stage: str
    ok: int
    skipped: int
    failed: int
    fresh: int
    faults: tuple[str, ...] = field(default=(), kw_only=True)  # one line for each defect of musicrec itself
    unread: tuple[str, ...] = field(default=(), kw_only=True)  # one line for each cause why songs could not be read

    @property
    def total(self) -> int:
        """All tracks the stage was responsible for."""
        return self.ok + self.skipped + self.failed

    def __str__(self) -> str:
        return (
            f"{self.stage}: {self.ok} ok + {self.skipped} skipped + {self.failed} failed = {self.total} "
            f"({self.fresh or 'none'} {DOINGS.get(self.stage, 'added')} now)"
        )


def outcomes_table(outcomes: Iterable[Outcome]) -> pa.Table:
    """Return outcomes as Arrow rows, sorted by track."""
    rows = [outcome._asdict() for outcome in sorted(outcomes, key=lambda o: o.track_id)]
    return pa.Table.from_pylist(rows, schema=OUTCOMES)


def count(stage: str, track_ids: Collection[str], outcomes: pa.Table, fresh: int) -> Counts:
    """Count the outcomes of a stage.

    Raises
    ------
    MusicrecError
        The outcomes are not one row for each of `track_ids`.
    """
    expected, seen = Counter(track_ids), Counter(outcomes["track_id"].to_pylist())
    status = Counter(outcomes["status"].to_pylist())
    wrong = [t for t in expected | seen if not expected[t] == seen[t] == 1] + sorted(
        status.keys() - {OK, SKIPPED, FAILED}
    )
    if wrong:
        raise MusicrecError(
            f"{stage}: the counts do not add up: {len(seen)} tracks with an outcome, {len(track_ids)} in the catalog, "
            f"for example {wrong[0]!r}; this is a defect of musicrec, please report it"
        )
    return Counts(stage, status[OK], status[SKIPPED], status[FAILED], fresh)


def check_failures(counts: Counts, max_failed_fraction: float) -> None:
    """Raise MusicrecError if no track, or too few tracks, came through."""
    if counts.total and not counts.ok:
        raise MusicrecError(
            f"{counts.stage}: none of {counts.total} tracks came through; OUT/outcomes holds the reason of each"
        )
    if counts.total and counts.failed / counts.total > max_failed_fraction:
        raise MusicrecError(
            f"{counts.stage}: {counts.failed} of {counts.total} tracks failed, more than --max-failed-fraction "
            f"{max_failed_fraction:g}; OUT/outcomes holds the reasons; mend the files or allow a larger fraction"
        )


def save_outcomes(store: Store, stage: str, rows: pa.Table, settings: StageSettings, fingerprint: str) -> None:
    """Replace the rows of `stage` in the ``outcomes`` table."""
    before = store.read("outcomes").cast(OUTCOMES) if store.exists("outcomes") else OUTCOMES.empty_table()
    others = before.filter(pc.field("stage") != stage)
    now = pa.concat_tables([others, rows.cast(OUTCOMES)])
    now = now.sort_by([("stage", "ascending"), ("track_id", "ascending")])
    if now.equals(before):
        return
    version = store.new_version("outcomes", settings, fingerprint)
    version.write_part(now)
    store.publish(version)
