"""The first stage: list a source, read each file's tags and content hash, publish the ``tracks`` table.

A remote song is not fetched: its hash comes from what its server says about it, not from its content.
"""

import errno
import hashlib
import logging
from collections.abc import Sequence, Sized
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from stat import S_ISREG
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import pyarrow as pa

from musicrec.errors import CatalogError, DecodeError
from musicrec.files.paths import AnyPath, is_gone, to_path
from musicrec.files.s3_errors import explain_s3_errors
from musicrec.monitor import log
from musicrec.monitor.progress import Progress
from musicrec.schemas import FAILED, OK, SKIPPED, TRACKS, Reason
from musicrec.settings import CatalogSettings
from musicrec.stages.catalog.file_tags.columns import columns_of, spell_genres_alike
from musicrec.stages.catalog.file_tags.fields import Tags
from musicrec.stages.catalog.file_tags.read import read_tags
from musicrec.stages.catalog.file_tags.text import clean
from musicrec.stages.catalog.genre_source import Taken, take, use
from musicrec.stages.catalog.layouts import Listing, Track, list_source
from musicrec.stages.catalog.moved import keep_ids
from musicrec.stages.catalog.servers import server_info
from musicrec.stages.catalog.unread import lines_of, not_gone, out_of_sight
from musicrec.stages.finish import finish
from musicrec.store.lineage import digest, made_by
from musicrec.store.outcomes import Counts, Outcome, outcomes_table
from musicrec.store.store import Store

UNCHANGED = ("uri", "size_bytes", "modified_ns")  # if all three are the same, the file counts as unchanged
VERSIONS = ("ETag", "Content-MD5", "Digest", "Last-Modified", "LastModified")  # fields that identify a version
READERS = 8  # threads that read files; hashing and reading release the interpreter lock


@dataclass(frozen=True)
class CatalogCounts(Counts):
    """Counts, and of how many songs no artist is known, and how many have moved within their source."""

    without_artist: int = 0
    moved: int = 0

    def __str__(self) -> str:
        if not self.without_artist:
            return super().__str__()
        have = "song has" if self.without_artist == 1 else "songs have"
        return f"{super().__str__()}; {self.without_artist:,} {have} no artist"


def catalog(
    store: Store, settings: CatalogSettings, *, force: bool = False, max_removed_fraction: float = 1.0
) -> CatalogCounts:
    """List the songs of a source and publish them as ``tracks``.

    A file whose size and modification time have not changed since the last catalog is not read again.

    Parameters
    ----------
    store : Store
        OUT.
    settings : CatalogSettings
        Where the songs are.
    force : bool
        Accept a source that differs from the one OUT was made from.
    max_removed_fraction : float
        Refuse a source from which more than this share of the songs is gone: part of it may be unavailable.

    Raises
    ------
    CatalogError
        The source is missing, empty, or holds no audio; or too many songs are gone.
    ConfigError
        OUT was made from another source.
    """
    source = to_path(settings.source)
    before = {row["track_id"]: row for row in store.read("tracks").to_pylist()} if store.exists("tracks") else {}
    of_source = before if store.settings.recorded(settings.stage).get("source") == settings.source else {}
    with explain_s3_errors(source):
        listing = _list(store, source, settings, of_source)
    moved = keep_ids(listing, of_source, _content_hash)
    _check(store, settings, force=force)
    taken_before = store.footer("tracks")["lineage"].get("genres") if of_source else None
    genres = take(settings.genre_from, listing, source, taken_before if _is_judged(store) else None)
    use(genres, listing)
    unlisted = not_gone(listing, of_source)
    seen = {track.track_id for track in listing.tracks} | {row["track_id"] for row, _ in unlisted}
    _check_removed(settings, before.keys() - seen, before, max_removed_fraction)
    read = [Read(row, False, problem) for row, problem in unlisted]
    read += _read_all(store, settings, listing, genres, before)
    read.sort(key=lambda song: song.row["track_id"])
    spell_genres_alike(song.row for song in read)
    _publish(store, settings, listing, genres, read)
    outcomes = _outcomes(read, listing)
    counts = finish(
        store,
        settings,
        outcomes,
        settings.fingerprint(),
        fresh=sum(song.is_fresh for song in read),
        track_ids=outcomes["track_id"].to_pylist(),
        most_failed=None,
    )
    if genres._asdict() != taken_before:  # said once, and not every night
        line = genres.describe(listing.kind, [song.row["genre"] for song in read])
        log.log_event("genres", line, **genres._asdict())
    unread = _report_unread(listing, read)
    without_artist = sum(not song.row.get("artist_ids") for song in read)
    return CatalogCounts(**vars(counts) | {"unread": unread}, without_artist=without_artist, moved=moved)


def _read_all(
    store: Store, settings: CatalogSettings, listing: Listing, genres: Taken, before: dict[str, dict[str, Any]]
) -> "list[Read]":
    """Make the row of each track that is listed."""
    alike = bool(before) and _is_made_alike(store, settings, _columns(listing), genres)
    read = []
    with Progress("catalog", len(listing.tracks)) as progress, ThreadPoolExecutor(READERS) as pool:
        for song in pool.map(
            lambda track: _read(track, before.get(track.track_id), settings.artist_separators, alike=alike),
            listing.tracks,
        ):
            read.append(song)
            progress.advance()
    return read


def _columns(listing: Listing) -> list[str]:
    """Return which facts the source gives."""
    return sorted({name for track in listing.tracks for name in track.facts})


def _publish(store: Store, settings: CatalogSettings, listing: Listing, genres: Taken, read: "list[Read]") -> None:
    """Publish the rows, unless they are published already."""
    tracks = pa.Table.from_pylist([song.row for song in read], schema=TRACKS)
    if store.exists("tracks") and store.read("tracks").equals(tracks):
        return
    how = {"kind": listing.kind, "columns": _columns(listing), "genres": genres._asdict()}
    version = store.new_version("tracks", settings, digest(tracks["content_hash"].to_pylist()), **how)
    version.write_part(tracks)
    store.publish(version)


def _outcomes(read: "list[Read]", listing: Listing) -> pa.Table:
    """Return the outcomes of the tracks, and of the files that are none."""
    ignored = (Outcome(name, "catalog", SKIPPED, why, "not listed in tracks") for name, why in listing.ignored)
    return outcomes_table([*(_outcome(song) for song in read), *ignored])


def _list(store: Store, source: AnyPath, settings: CatalogSettings, before: dict[str, dict[str, Any]]) -> Listing:
    """List a source, of which these rows are known."""
    known = {row["uri"]: track_id for track_id, row in before.items()}
    kind_before = store.footer("tracks")["lineage"].get("kind", "auto") if before else "auto"
    return list_source(source, settings.kind, exclude=store.out, known=known, kind_before=kind_before)


def _report_unread(listing: Listing, read: "list[Read]") -> tuple[str, ...]:
    """Log as errors why songs could not be read; return the lines."""
    problems = ((song.row["track_id"], song.problem) for song in read if song.problem)
    lines = lines_of(problems, listing.unread)
    for line in lines:
        log.log_event("unread", f"musicrec: {line}", level=logging.ERROR, message=line)
    return lines


def _is_judged(store: Store) -> bool:
    """Return whether the last catalog judged by itself where genres come from."""
    return bool(store.settings.recorded(CatalogSettings.stage).get("genre_from") == "auto")


def _check(store: Store, settings: CatalogSettings, *, force: bool) -> None:
    """Refuse another source or layout; where genres come from may change, as no song is decoded again for it."""
    before = store.settings.recorded(settings.stage)
    kept = settings.model_copy(update={"genre_from": before.get("genre_from", settings.genre_from)})
    store.settings.check(kept, force=force)


def _is_made_alike(store: Store, settings: CatalogSettings, columns: list[str], genres: Taken) -> bool:
    """Whether published rows of songs that did not change are what they would be today.

    The source names the same `columns`, so that none of its facts can be one that it has withdrawn; genres come from
    the same place; and musicrec reads the same fields of the tags.
    """
    footer, schema = store.footer("tracks"), store.dataset("tracks").schema
    same_reading = (
        schema.names == TRACKS.names
        and footer["algorithm"] == made_by(settings)["algorithm"]
        and footer["settings"]["artist_separators"] == list(settings.artist_separators)
    )
    same_genres = footer["lineage"].get("genres", {}).get("source", "folder") == genres.source
    return same_reading and same_genres and bool(footer["lineage"]["columns"] == columns)


def _check_removed(settings: CatalogSettings, removed: AbstractSet[str], before: Sized, most: float) -> None:
    if len(removed) > most * len(before):
        raise CatalogError(
            f"source {settings.source} lacks {len(removed)} of the {len(before)} songs it had, for example "
            f"{min(removed)!r}; check that the source is complete, or give a larger --max-removed-fraction than "
            f"{most:g}"
        )


class Read(NamedTuple):
    """A row of ``tracks``, whether the song had to be read for it, and the problem, if there was one."""

    row: dict[str, Any]
    is_fresh: bool
    problem: DecodeError | None = None


def _outcome(read: Read) -> Outcome:
    track_id, problem = read.row["track_id"], read.problem
    if problem is None:
        return Outcome(track_id, "catalog", OK)
    return Outcome(track_id, "catalog", FAILED, problem.reason, problem.detail)


def _read(track: Track, before: dict[str, Any] | None, separators: Sequence[str], *, alike: bool) -> Read:
    """Make the row of a track.

    `alike` says that rows are made as `before` was: a file that did not change, with the same facts of its source, has
    the same row.
    """
    if not isinstance(track.path, Path):
        return _read_remote(track, before, separators)
    row: dict[str, Any] = {"track_id": track.track_id, "uri": track.uri}
    name = clean(track.path.stem) or None
    try:
        stat = track.path.stat()
        if not S_ISREG(stat.st_mode):  # reading a pipe could block for ever
            raise OSError(errno.EINVAL, "it is no regular file")
        row |= {"size_bytes": stat.st_size, "modified_ns": max(stat.st_mtime_ns, stat.st_ctime_ns)}
        known_hash = before["content_hash"] if before and all(before[k] == row[k] for k in UNCHANGED) else None
        if before and known_hash and alike and _said_before(before, track.facts):
            return Read(before | row, False)
        content_hash = known_hash or _content_hash(track.path)
    except (OSError, ValueError) as e:  # ValueError: a manifest's path contains a zero byte
        as_named = row | columns_of(Tags(), track.facts, name, separators)
        known = before if before and before["uri"] == track.uri else None
        problem = _problem_of(track, e, was_read=bool(known and known["content_hash"]))
        return Read(known if known and problem else as_named, False, problem)
    row |= columns_of(read_tags(track.path), track.facts, name, separators)
    return Read(row | {"content_hash": content_hash}, known_hash is None)


def _problem_of(track: Track, error: OSError | ValueError, *, was_read: bool) -> DecodeError | None:
    """Return why a file that is listed cannot be read; None if it is not there, which extract reports."""
    if isinstance(error, OSError) and not is_gone(error):
        return DecodeError(Reason.UNREADABLE, f"the file cannot be read: {error.strerror or error}")
    unseen = out_of_sight(track.uri, is_named=True) if was_read else None
    return DecodeError(Reason.UNREADABLE, unseen) if unseen else None


def _said_before(before: dict[str, Any], facts: dict[str, str | None]) -> bool:
    """Return whether the source said the same of a song before; the genre may stand there in another spelling."""
    said = before | {"genre": next(iter(before["genres"] or ()), None)}
    return all(said[name] == fact for name, fact in facts.items())


# --- remote songs -------------------------------------------------------------------------------------------------


def _read_remote(track: Track, before: dict[str, Any] | None, separators: Sequence[str]) -> Read:
    """Make the row of a remote song; if its server does not answer, keep the size and hash from before."""
    name = PurePosixPath(unquote(urlsplit(track.uri).path)).stem
    row: dict[str, Any] = {"track_id": track.track_id, "uri": track.uri}
    row |= columns_of(Tags(), track.facts, clean(name) or None, separators)
    known = before if before and before["uri"] == track.uri else None
    try:
        info = track.info or server_info(track.uri)
    except DecodeError as e:
        kept = known if known and e.reason == Reason.UNREADABLE else {}
        return Read(row | {name: kept.get(name) for name in ("size_bytes", "content_hash")}, False, e)
    version = next((str(info[name]) for name in VERSIONS if info.get(name)), None)
    row |= {"size_bytes": info.get("size"), "content_hash": _hash_of(track.uri, info.get("size"), version)}
    return Read(row, known is None or known["content_hash"] != row["content_hash"])


def _hash_of(*parts: object) -> str:
    return hashlib.blake2b(repr(parts).encode(), digest_size=16).hexdigest()


# --- files --------------------------------------------------------------------------------------------------------


def _content_hash(path: Path) -> str:
    with path.open("rb") as f:
        return hashlib.file_digest(f, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
