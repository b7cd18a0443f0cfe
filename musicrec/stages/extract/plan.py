"""The plan of an extract run: which tracks it decodes and which it keeps."""

from collections.abc import Iterable
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from musicrec.audio import is_remote
from musicrec.schemas import FAILED, OK, OUTCOMES
from musicrec.settings import ExtractSettings
from musicrec.stages.extract.faults import is_outdated
from musicrec.stages.extract.track_rows import Wanted, tables_of
from musicrec.store.staging import read_staged
from musicrec.store.store import Store
from musicrec.store.table_parts import published_rows
from musicrec.store.table_spec import Row, rows_of

TRACK_S, DECODE_S = 0.004, 0.002  # CPU seconds per track, and per second of its clip; the file's length adds nothing
FETCH_BYTES_S = 20e6  # bytes per second; a remote song is fetched whole, so its size does count


class Plan(NamedTuple):
    """The work of one run: every track of the catalog is in one of four lists."""

    now: list[Wanted]  # decoded in this run
    left: list[Wanted]  # decoded in a later run: beyond the limit, or not tried
    kept: list[Wanted]  # up to date
    failed: list[Wanted]  # failed before, and not tried again
    seconds_a_track: float | None  # mean decoding time so far, on one CPU

    @property
    def covered(self) -> list[Wanted]:
        """Tracks that have an outcome at the end of the run, in order of their ids."""
        return sorted(self.now + self.kept + self.failed)

    @property
    def n_known(self) -> int:
        """Number of tracks that already have an outcome."""
        return len(self.kept) + len(self.failed)

    def without(self, untried: list[Wanted]) -> "Plan":
        """Return the plan with the tracks `untried` left for a later run."""
        later = set(untried)
        return self._replace(now=[track for track in self.now if track not in later], left=self.left + untried)

    def __str__(self) -> str:
        sizes = [len(tracks) for tracks in (self.now, self.left, self.kept, self.failed)]
        now, left, kept, failed = sizes
        if not now:
            time = "none"
        elif self.seconds_a_track is None:
            time = "unknown, as no song has been decoded yet"
        else:
            time = f"about {now * self.seconds_a_track:.1f} s on one CPU, at {self.seconds_a_track:.3f} s per song"
        return (
            f"extract would decode {now} songs, leave {left} for a later run, keep {kept} that are up to date and "
            f"{failed} that failed before = {sum(sizes)}; time: {time}"
        )


def plan(
    store: Store,
    settings: ExtractSettings,
    *,
    retry_failed: bool = False,
    force: bool = False,
    limit: int | None = None,
) -> Plan:
    """Plan what :func:`extract` would do with the same arguments. Nothing is written, and Ray is not started.

    Raises
    ------
    ConfigError
        The settings differ from those that OUT was made with, and `force` is false.
    """
    store.settings.check(settings, force=force)
    tracks = wanted_tracks(store, settings)
    published, staged = published_outcomes(store), read_staged(store.work, work_of(settings)).outcomes
    known, again = _known(store, settings, published, staged), failed_rows(published) if retry_failed else set()
    again |= {row for row, reason, detail in reasons_of(published) if is_outdated(reason, detail)}
    again -= set(rows_of(staged))  # an unfinished run has already tried these again
    open_ = [track for track in tracks if track.row not in known or track.row in again]
    now = open_[:limit]
    rest = sorted(set(tracks) - set(now))
    seconds = pc.mean(pa.concat_tables([published, staged]).filter(pc.field("status") == OK)["seconds"]).as_py()
    return Plan(
        now=now,
        left=[track for track in rest if track.row not in known],
        kept=[track for track in rest if known.get(track.row, FAILED) != FAILED],
        failed=[track for track in rest if known.get(track.row) == FAILED],
        seconds_a_track=seconds,
    )


def wanted_tracks(store: Store, settings: ExtractSettings) -> list[Wanted]:
    """Return every track of the catalog, in order of id, with the fingerprint of its content and the settings."""
    names = ["track_id", "uri", "content_hash", "duration_s", "size_bytes"]
    columns = store.read("tracks", names).sort_by("track_id").to_pydict()
    return [
        Wanted(track_id, uri, settings.fingerprint(content_hash or ""), size or 0, _work_s(settings, uri, length, size))
        for track_id, uri, content_hash, length, size in zip(*columns.values(), strict=True)
    ]


def _work_s(settings: ExtractSettings, uri: str, duration_s: float | None, size_bytes: int | None) -> float:
    """Estimate the seconds of a track from the length of its clip, and for a remote song also from its size."""
    clip_s = min(settings.duration_s, duration_s or settings.duration_s)
    fetched_s = (size_bytes or 0) / FETCH_BYTES_S if is_remote(uri) else 0.0
    return TRACK_S + DECODE_S * clip_s + fetched_s


def _known(store: Store, settings: ExtractSettings, published: pa.Table, staged: pa.Table) -> dict[Row, str]:
    """Return the status of each row with an outcome; a published ``ok`` counts only if all tables hold the row.

    Outcomes that an unfinished run has staged count too.
    """
    whole = set.intersection(*(published_rows(store, table.name) for table in tables_of(settings)))
    known = {row: status for row, status in _statuses(published) if status != OK or row in whole}
    return known | dict(_statuses(staged))


def failed_rows(outcomes: pa.Table) -> set[Row]:
    """Return the rows whose outcome is ``failed``."""
    return {row for row, status in _statuses(outcomes) if status == FAILED}


def _statuses(outcomes: pa.Table) -> Iterable[tuple[Row, str]]:
    return zip(rows_of(outcomes), outcomes["status"].to_pylist(), strict=True)


def reasons_of(outcomes: pa.Table) -> Iterable[tuple[Row, str | None, str | None]]:
    """Yield each row with the reason and the detail of its outcome."""
    return zip(rows_of(outcomes), outcomes["reason"].to_pylist(), outcomes["detail"].to_pylist(), strict=True)


def published_outcomes(store: Store) -> pa.Table:
    """Return the published outcomes of extract; empty if there are none."""
    if not store.exists("outcomes"):
        return OUTCOMES.empty_table()
    return store.read("outcomes", filter=pc.field("stage") == ExtractSettings.stage).cast(OUTCOMES)


def work_of(settings: ExtractSettings) -> str:
    """Return the work folder of these settings. Each fingerprint has its own, so shards are never mixed up."""
    return f"{settings.stage}/{settings.fingerprint()}"
