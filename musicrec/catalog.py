"""The first stage: list a source, read each file's tags and content hash, publish the ``tracks`` table."""

import hashlib
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
from tinytag import TinyTag, TinyTagException

from musicrec.accounting import Counts, Outcome, count, digest, outcomes_table
from musicrec.columns import OK, SKIPPED, TRACKS
from musicrec.progress import Progress
from musicrec.settings import CatalogSettings
from musicrec.sources import Track, list_source, uri_of
from musicrec.storage import Store

MAX_CREDIBLE_DURATION_S = 7 * 24 * 3600.0
UNCHANGED = ("uri", "size_bytes", "modified_ns")  # a file that keeps all three is taken to be the same
READERS = 8  # threads that read files; hashing and reading release the interpreter lock


def catalog(store: Store, settings: CatalogSettings, *, force: bool = False) -> Counts:
    """List the songs of a source and publish them as ``tracks``.

    A file whose size and time of change are those of the catalog before is not read again.

    Parameters
    ----------
    store : Store
        OUT.
    settings : CatalogSettings
        Where the songs are.
    force : bool
        Accept another source than the one OUT was made from.

    Raises
    ------
    CatalogError
        The source is missing, empty, or holds no audio.
    ConfigError
        OUT was made from another source.
    """
    listing = list_source(Path(settings.source), settings.kind, exclude=store.out)
    store.check_settings(settings, force=force)
    columns = sorted({name for track in listing.tracks for name in track.facts})
    before = {row["track_id"]: row for row in store.read("tracks").to_pylist()} if store.exists("tracks") else {}
    same_columns = bool(before) and store.footer("tracks")["lineage"]["columns"] == columns
    fresh = 0
    rows: list[dict[str, Any]] = []
    with Progress("catalog", len(listing.tracks)) as progress, ThreadPoolExecutor(READERS) as pool:
        read = pool.map(lambda track: _row(track, before.get(track.track_id), same_columns), listing.tracks)
        for row, was_read in read:
            rows.append(row)
            fresh += was_read
            progress.advance()
    tracks = pa.Table.from_pylist(rows, schema=TRACKS)
    store.record(settings)
    if not store.exists("tracks") or not store.read("tracks").equals(tracks):
        version = store.new_version(
            "tracks", settings, digest(tracks["content_hash"].to_pylist()), kind=listing.kind, columns=columns
        )
        version.write_part(tracks)
        store.publish(version)
    outcomes = outcomes_table(
        [
            *(Outcome(row["track_id"], "catalog", OK) for row in rows),
            *(Outcome(name, "catalog", SKIPPED, reason, "not listed in tracks") for name, reason in listing.ignored),
        ]
    )
    store.save_outcomes("catalog", outcomes, settings, settings.fingerprint())
    return count("catalog", outcomes["track_id"].to_pylist(), outcomes, fresh)


def _row(track: Track, before: dict[str, Any] | None, same_columns: bool) -> tuple[dict[str, Any], bool]:
    """Row of ``tracks``, and whether the file had to be read for it.

    `same_columns`: the source names the same facts as before, so that no fact in `before` can be one it has withdrawn.
    """
    row: dict[str, Any] = {"track_id": track.track_id, "uri": uri_of(track.path)}
    try:
        stat = track.path.stat()
    except OSError:  # listed, but gone or closed to us: extract will say so
        return row | {"title": _clean(track.path.stem)} | track.facts, False
    row |= {"size_bytes": stat.st_size, "modified_ns": max(stat.st_mtime_ns, stat.st_ctime_ns)}
    known_hash = before["content_hash"] if before and all(before[k] == row[k] for k in UNCHANGED) else None
    if before and known_hash and same_columns and all(before[name] == fact for name, fact in track.facts.items()):
        return before | row, False
    tags = _tags(track.path)
    row |= tags | track.facts
    row["title"] = row["title"] or tags["title"]
    if row.get("artist") and not row.get("artist_id"):
        row["artist_id"] = row["artist"].casefold()
    return row | {"content_hash": known_hash or _content_hash(track.path)}, known_hash is None


def _content_hash(path: Path) -> str | None:
    try:
        with path.open("rb") as f:
            return hashlib.file_digest(f, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError:
        return None


def _tags(path: Path) -> dict[str, Any]:
    """Title, artist, album, genre and claimed duration, as the tags state them; without a title, the name."""
    name = _clean(path.stem)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tag = TinyTag.get(path)
    except (TinyTagException, OSError, ValueError, ArithmeticError, LookupError, TypeError):
        return {"title": name}  # tags are a courtesy: whether the audio decodes is for extract to say
    duration = tag.duration if tag.duration and 0 < tag.duration < MAX_CREDIBLE_DURATION_S else None
    return {
        "title": _clean(tag.title) or name,
        "artist": _clean(tag.artist),
        "album": _clean(tag.album),
        "genre": _clean(tag.genre),
        "duration_s": duration,
    }


def _clean(text: str | None) -> str | None:
    if text is None:
        return None
    return text.encode("utf-8", "replace").decode().replace("\0", " ").strip() or None
