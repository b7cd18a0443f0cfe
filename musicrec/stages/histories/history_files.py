"""Files and folders of listens: which files they are, and which reader each takes."""

import json
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from musicrec.errors import MusicrecError, SchemaError
from musicrec.files.paths import AnyPath, children, read_bytes, to_path
from musicrec.files.s3_errors import explain_s3_errors
from musicrec.stages.histories.listens import Listen, blocks
from musicrec.stages.histories.readers import lastfm, listen_tables, listenbrainz, playlists, spotify
from musicrec.stages.vectors.vector_file import content_hash

VIDEO = re.compile(r"Streaming_History_Video.*", re.IGNORECASE)  # Spotify's films and shows


def files_of(paths: Sequence[str]) -> tuple[list[AnyPath], list[str]]:
    """Return the files to read, each once, and the names of files in folders that are of no kind that holds listens.

    Parameters
    ----------
    paths : sequence of str
        Files, and folders of files at any depth; what begins with a dot or an underscore is not looked at.

    Raises
    ------
    SchemaError
        There is no such file or folder, or a folder without such files.
    """
    found: dict[str, AnyPath] = {}
    others: list[str] = []
    for path in map(to_path, paths):
        with explain_s3_errors(path):
            if not path.exists():
                raise SchemaError(f"there is no file {path}; give the files or folders that hold listens")
            inside = [path] if not path.is_dir() else list(_below(path))
        chosen = [file for file in inside if file is path or (_kind(file) in READERS and not VIDEO.match(file.name))]
        others += [file.name for file in inside if file not in chosen]
        if not chosen:
            raise SchemaError(f"folder {path} holds no file of listens; expected {KINDS}")
        found |= {str(file): file for file in chosen}
    return list(found.values()), others


def _below(folder: AnyPath) -> Iterator[AnyPath]:
    for child in children(folder):
        if not child.name.startswith((".", "_")):
            yield from _below(child) if child.is_dir() else [child]


def read_file(file: AnyPath, user: str = "") -> Iterator[pa.Table]:
    """Read a file block by block, as :data:`LISTENS`.

    Parameters
    ----------
    file : pathlib.Path or upath.UPath
        A file of one of the kinds of :data:`READERS`.
    user : str
        The listener; if empty, the one that the file names.

    Raises
    ------
    SchemaError
        The file cannot be read, holds no listen, or names no user.
    """
    reader = READERS.get(_kind(file))
    if reader is None:
        raise SchemaError(f"{file} is of no kind that holds listens; expected {KINDS}")
    with _explained(file):
        n_rows = 0
        for table in reader(file, user):
            n_rows += len(table)
            yield table
        if not n_rows:
            raise SchemaError(f"{file} holds no listens; leave it out, or export it again")


def hash_of(file: AnyPath) -> str:
    """Return the hash of a file's bytes; raise SchemaError if it cannot be read."""
    with _explained(file):
        return content_hash(file)


def _kind(file: AnyPath) -> str:
    return str(file.suffix.lower())


@contextmanager
def _explained(file: AnyPath) -> Iterator[None]:
    """Turn whatever is wrong with a file into one line."""
    try:
        with explain_s3_errors(file):
            yield
    except SchemaError as e:
        raise e if str(file) in str(e) else SchemaError(f"{file}: {e}") from e
    except MusicrecError:
        raise
    except (OSError, ValueError, RecursionError, RuntimeError, EOFError, zipfile.BadZipFile) as e:
        problem = " ".join(str(getattr(e, "strerror", None) or e).split())
        raise SchemaError(f"{file} cannot be read ({problem}); export or copy it again") from e


# --- kinds of files -----------------------------------------------------------------------------------------------


def _read_lines(file: AnyPath, user: str) -> Iterator[pa.Table]:
    with file.open("rb") as lines:
        yield from blocks(listenbrainz.read_lines(lines, user))


def _read_json(file: AnyPath, user: str) -> Iterator[pa.Table]:
    return blocks(_from_json(json.loads(read_bytes(file)), file, user))


def _from_json(content: Any, file: AnyPath, user: str) -> Iterator[Listen]:  # noqa: ANN401 - as JSON
    """Read parsed JSON by the reader that knows its form."""
    if spotify.is_history(content):
        _require_user(user or spotify.names_users(content), file.name)
        return spotify.read_streams(content, user)
    if lastfm.is_recent_tracks(content):
        return lastfm.read_recent_tracks(content, user)
    if isinstance(content, dict) and "playlist" in content:
        return playlists.read_jspf(content, user or file.stem, _uri(file))
    if content in ([], {}):
        return iter(())
    raise SchemaError(
        "expected Spotify's extended streaming history (a list of streams with ms_played), recenttracks of Last.fm, "
        "or a JSPF playlist; it is none of these"
    )


def _read_zip(file: AnyPath, user: str) -> Iterator[pa.Table]:
    with file.open("rb") as content, zipfile.ZipFile(content) as archive:
        streams = sorted(filter(spotify.FILE_NAME.fullmatch, archive.namelist()))
        if any(map(listenbrainz.MEMBER.fullmatch, archive.namelist())):
            yield from blocks(listenbrainz.read_export(archive, file.name, user))
        elif streams:
            for name in streams:
                yield from blocks(_streams_of(json.loads(archive.read(name)), name, user))
        else:
            raise SchemaError(
                "expected an export of ListenBrainz (listens/YEAR/MONTH.jsonl) or Spotify "
                "(Streaming_History_Audio_*.json); it holds neither"
            )


def _streams_of(content: Any, name: str, user: str) -> Iterator[Listen]:  # noqa: ANN401 - as JSON
    if content == []:
        return iter(())
    if not spotify.is_history(content):
        raise SchemaError(f"{name} in it is no list of streams; export it again")
    _require_user(user or spotify.names_users(content), name)
    return spotify.read_streams(content, user)


def _require_user(user: str | bool, name: str) -> None:
    if not user:
        raise SchemaError(f"{name} names no user; say who listened with --user NAME")


def _read_m3u(file: AnyPath, user: str) -> Iterator[pa.Table]:
    return blocks(playlists.read_m3u(read_bytes(file), user or file.stem, str(file.parent)))


def _read_xspf(file: AnyPath, user: str) -> Iterator[pa.Table]:
    return blocks(playlists.read_xspf(read_bytes(file), user or file.stem, _uri(file)))


def _uri(file: AnyPath) -> str:
    return str(file.as_uri()) if hasattr(file, "as_uri") else str(file)


READERS: dict[str, Callable[[AnyPath, str], Iterator[pa.Table]]] = {
    ".csv": listen_tables.read_csv,
    ".tsv": listen_tables.read_csv,
    ".parquet": listen_tables.read_parquet_listens,
    ".zip": _read_zip,
    ".json": _read_json,
    ".jspf": _read_json,
    ".jsonl": _read_lines,
    ".listens": _read_lines,
    ".m3u8": _read_m3u,
    ".m3u": _read_m3u,
    ".xspf": _read_xspf,
}
KINDS = ", ".join(READERS)
