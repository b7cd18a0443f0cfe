"""Read listening histories, match them with the catalog, and publish the table ``histories``.

Listens stream through: what a worker holds depends on neither the number of listens nor that of users. The matched ones
wait on the disk, sorted into files by user, and are added up some users at a time.
"""

import time
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from musicrec.errors import SchemaError
from musicrec.files.paths import AnyPath, replacing
from musicrec.schemas import HISTORIES, ListenReason
from musicrec.settings import HistoriesSettings
from musicrec.stages.histories.adding_up import MATCHED, UNMATCHED
from musicrec.stages.histories.buckets import Buckets
from musicrec.stages.histories.history_files import files_of, hash_of, read_file
from musicrec.stages.histories.song_matching import COLUMNS, By, Songs
from musicrec.stages.histories.tally import Tally
from musicrec.store.lineage import FOOTER_FILE, digest, made_by
from musicrec.store.store import Store
from musicrec.store.tracks import read_tracks

TABLE = "histories"
FIGURES = "listens"  # in the lineage of the table
VERSIONS_KEPT = 3  # older versions that stay on disk beside the published one


@dataclass(frozen=True)
class HistoriesCounts:
    """What is published, and what became of all listens."""

    users: int
    rows: int
    listens: int  # all of the files
    likes: int
    no_likes: int  # listens of songs of the catalog that were skipped or too short
    left_out: dict[str, int]  # by reason
    matched_by: dict[str, int]
    unmatched: list[tuple[str, int]]  # the most-played names of songs that are not in the catalog
    min_likeness: float
    without_songs: int = 0  # users none of whose songs is in the catalog; each has a row without a song
    fresh: bool = True
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        others = sum(self.left_out.values())
        strangers = f" ({self.without_songs:,} without a song of the catalog)" if self.without_songs else ""
        now = "" if self.fresh else " (none read now)"
        return "; ".join([
            f"histories: {self.users:,} users{strangers}, {self.rows:,} songs of users{now}",
            f"listens: {self.likes:,} likes + {self.no_likes:,} skipped or short + {others:,} left out = "
            f"{self.listens:,}",
            *([f"left out: {_named(self.left_out)}"] if others else []),
            f"matched by: {_named(self.matched_by)}"
            + (f" (each word at least {self.min_likeness:g} % alike)" if By.NEAR_NAMES in self.matched_by else ""),
            *self.notes,
        ])  # fmt: skip


def _named(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in counts.items())


def histories(store: Store, settings: HistoriesSettings, *, now_s: float | None = None) -> HistoriesCounts:
    """Publish the table ``histories`` of some files, unless files, settings and songs are those of before.

    Parameters
    ----------
    store : Store
        OUT, locked by the caller, with a catalog.
    settings : HistoriesSettings
        The files, and what counts as a like.
    now_s : float, optional
        The time now, in seconds since 1970, for tests.

    Returns
    -------
    HistoriesCounts
        What became of all listens. The counts add up.

    Raises
    ------
    SchemaError
        A file cannot be read at all, or no listen is of a song of the catalog. What is published stays.
    """
    files, others = files_of(settings.files)
    tracks = read_tracks(store, [*COLUMNS, "duration_s"]).sort_by("track_id").combine_chunks()
    read = {
        "files": digest([str(file) for file in files], list(map(hash_of, files))),
        "songs": digest(*(list(map(str, tracks[name].to_pylist())) for name in tracks.column_names)),
    }
    notes = (f"not read: {', '.join(others[:3])}{' …' if others[3:] else ''}",) if others else ()
    if not _is_current(store, settings, read):
        _publish(store, settings, files, tracks, read=read, now_s=time.time() if now_s is None else now_s)
        return _counts(store, notes)
    return _counts(store, notes, fresh=False)


def _is_current(store: Store, settings: HistoriesSettings, read: dict[str, str]) -> bool:
    """Return whether the published table was made of the same; listens of the future may have become past ones."""
    if not store.exists(TABLE):
        return False
    footer, made = store.footer(TABLE), made_by(settings)
    same = all(footer[part] == made[part] for part in ("algorithm", "settings"))
    waits = ListenReason.FUTURE in footer["lineage"][FIGURES]["left_out"]
    return same and footer["lineage"]["read"] == read and not waits


def _counts(store: Store, notes: tuple[str, ...], *, fresh: bool = True) -> HistoriesCounts:
    """Return the counts in the footer of the published table."""
    footer = store.footer(TABLE)
    figures = dict(footer["lineage"][FIGURES])
    unmatched = [(str(name), int(plays)) for name, plays in figures.pop("unmatched")]
    likeness = footer["settings"]["min_likeness"]
    return HistoriesCounts(**figures, unmatched=unmatched, min_likeness=likeness, fresh=fresh, notes=notes)


def _publish(
    store: Store,
    settings: HistoriesSettings,
    files: list[AnyPath],
    tracks: pa.Table,
    *,
    read: dict[str, str],
    now_s: float,
) -> None:
    durations = np.asarray(tracks["duration_s"].to_numpy(), np.float64)
    songs = Songs(tracks, settings.min_likeness)
    with Buckets(MATCHED, "user_id") as matched, Buckets(UNMATCHED, "name") as unmatched:
        tally = Tally(songs, durations, settings, now_s, matched, unmatched)
        for file in files:
            for block in read_file(file, settings.user):
                tally.add(block)
        if not tally.matched_by:
            raise SchemaError(
                f"none of {tally.listens:,} listens is of a song of the catalog ({_named(tally.left_out)}); "
                f"expected names, ids or paths as in {store.out / 'tracks'}"
            )
        with store.new_version(TABLE, settings, settings.fingerprint(*read.values()), read=read) as version:
            for part in tally.parts():
                version.footer["lineage"] = {"read": read, FIGURES: tally.figures()}
                version.write_part(part)
            tally.check()
            with replacing(version.folder / FOOTER_FILE) as temporary:  # of all parts
                pq.write_metadata(HISTORIES.with_metadata(version.metadata), temporary)
            store.publish(version, keep=VERSIONS_KEPT)
