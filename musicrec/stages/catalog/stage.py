"""The first stage: list a source, read each file's tags and content hash, publish the ``tracks`` table.

A remote song is not fetched: its hash comes from what its server says about it, not from its content.
"""

import hashlib
from collections.abc import Sequence, Sized
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import pyarrow as pa

from musicrec.audio import DEFAULT_LIMITS
from musicrec.errors import CatalogError, DecodeError
from musicrec.files.paths import to_path
from musicrec.files.s3_errors import explain_s3_errors
from musicrec.monitor.progress import Progress
from musicrec.schemas import FAILED, OK, SKIPPED, TRACKS, Reason
from musicrec.settings import CatalogSettings
from musicrec.stages.catalog.file_tags.columns import columns_of, spell_genres_alike
from musicrec.stages.catalog.file_tags.fields import Tags
from musicrec.stages.catalog.file_tags.read import read_tags
from musicrec.stages.catalog.file_tags.text import clean
from musicrec.stages.catalog.layouts import Track, list_source
from musicrec.stages.finish import finish
from musicrec.store.lineage import digest, made_by
from musicrec.store.outcomes import Counts, Outcome, outcomes_table
from musicrec.store.store import Store

UNCHANGED = ("uri", "size_bytes", "modified_ns")  # if all three are the same, the file counts as unchanged
VERSIONS = ("ETag", "Content-MD5", "Digest", "Last-Modified", "LastModified")  # fields that identify a version
GONE = frozenset({404, 410})  # HTTP status codes for an object that does not exist
READERS = 8  # threads that read files; hashing and reading release the interpreter lock


@dataclass(frozen=True)
class CatalogCounts(Counts):
    """Counts, and of how many songs no artist is known."""

    without_artist: int = 0

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
    with explain_s3_errors(source):
        listing = list_source(source, settings.kind, exclude=store.out)
    store.settings.check(settings, force=force)
    columns = sorted({name for track in listing.tracks for name in track.facts})
    before = {row["track_id"]: row for row in store.read("tracks").to_pylist()} if store.exists("tracks") else {}
    _check_removed(settings, before.keys() - {track.track_id for track in listing.tracks}, before, max_removed_fraction)
    alike = bool(before) and _is_made_alike(store, settings, columns)
    read: list[Read] = []
    with Progress("catalog", len(listing.tracks)) as progress, ThreadPoolExecutor(READERS) as pool:
        for song in pool.map(
            lambda track: _read(track, before.get(track.track_id), settings.artist_separators, alike=alike),
            listing.tracks,
        ):
            read.append(song)
            progress.advance()
    spell_genres_alike(song.row for song in read)
    tracks = pa.Table.from_pylist([song.row for song in read], schema=TRACKS)
    if not store.exists("tracks") or not store.read("tracks").equals(tracks):
        version = store.new_version(
            "tracks", settings, digest(tracks["content_hash"].to_pylist()), kind=listing.kind, columns=columns
        )
        version.write_part(tracks)
        store.publish(version)
    outcomes = outcomes_table(
        [
            *(_outcome(song) for song in read),
            *(Outcome(name, "catalog", SKIPPED, reason, "not listed in tracks") for name, reason in listing.ignored),
        ]
    )
    counts = finish(
        store,
        settings,
        outcomes,
        settings.fingerprint(),
        fresh=sum(song.is_fresh for song in read),
        track_ids=outcomes["track_id"].to_pylist(),
        most_failed=None,
    )
    return CatalogCounts(**vars(counts), without_artist=sum(not song.row["artist_ids"] for song in read))


def _is_made_alike(store: Store, settings: CatalogSettings, columns: list[str]) -> bool:
    """Whether published rows of songs that did not change are what they would be today.

    The source names the same `columns`, so that none of its facts can be one that it has withdrawn; and musicrec reads
    the same fields of the tags.
    """
    footer, schema = store.footer("tracks"), store.dataset("tracks").schema
    same_reading = (
        schema.names == TRACKS.names
        and footer["algorithm"] == made_by(settings)["algorithm"]
        and footer["settings"]["artist_separators"] == list(settings.artist_separators)
    )
    return same_reading and bool(footer["lineage"]["columns"] == columns)


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
    except OSError:  # listed, but gone or not readable: extract reports it
        return Read(row | columns_of(Tags(), track.facts, name, separators), False)
    row |= {"size_bytes": stat.st_size, "modified_ns": max(stat.st_mtime_ns, stat.st_ctime_ns)}
    known_hash = before["content_hash"] if before and all(before[k] == row[k] for k in UNCHANGED) else None
    if before and known_hash and alike and _said_before(before, track.facts):
        return Read(before | row, False)
    row |= columns_of(read_tags(track.path), track.facts, name, separators)
    return Read(row | {"content_hash": known_hash or _content_hash(track.path)}, known_hash is None)


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
        info = track.info or _server_info(track.uri)
    except DecodeError as e:
        kept = known if known and e.reason == Reason.UNREADABLE else {}
        return Read(row | {name: kept.get(name) for name in ("size_bytes", "content_hash")}, False, e)
    version = next((str(info[name]) for name in VERSIONS if info.get(name)), None)
    row |= {"size_bytes": info.get("size"), "content_hash": _hash_of(track.uri, info.get("size"), version)}
    return Read(row, known is None or known["content_hash"] != row["content_hash"])


def _server_info(uri: str) -> dict[str, Any]:
    """Return what the server says about an object, such as its size and version."""
    from musicrec.audio.download import file_system

    try:
        return file_system(uri, DEFAULT_LIMITS).info(uri)
    except Exception as e:  # each file system raises what its own client library raises
        status = getattr(e.__cause__, "status", None)
        problem = f"HTTP status {status}" if status else type(e.__cause__ or e).__name__  # no URL: it may be signed
        if isinstance(e, FileNotFoundError) and (status in GONE or uri.startswith("s3:")):
            raise DecodeError(Reason.MISSING, f"the server has no such object ({problem})") from e
        raise DecodeError(Reason.UNREADABLE, f"the server does not answer as it should ({problem})") from e


def _hash_of(*parts: object) -> str:
    return hashlib.blake2b(repr(parts).encode(), digest_size=16).hexdigest()


# --- files --------------------------------------------------------------------------------------------------------


def _content_hash(path: Path) -> str | None:
    try:
        with path.open("rb") as f:
            return hashlib.file_digest(f, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError:
        return None
