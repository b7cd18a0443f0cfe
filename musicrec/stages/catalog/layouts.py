"""Layouts of music collections: which files are tracks, what they are called, and which genre they have.

A track id does not depend on the machine, the run or the mount point. It is the path below the source, the id that the
collection itself uses (GTZAN, FMA), or the id from the manifest.
"""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import pandas as pd

from musicrec.audio import formats, is_remote, local_path
from musicrec.errors import CatalogError, DecodeError
from musicrec.files.paths import AnyPath
from musicrec.schemas import Reason
from musicrec.stages.catalog.manifest import FACTS, PLACES, read_manifest
from musicrec.stages.catalog.walk import audio_files, relative_id

GTZAN_NAME = re.compile(r"(?P<genre>[a-z]+)\.\d{5}$")
FMA_NAME = re.compile(r"\d{6}$")
NOTHING_KNOWN: Mapping[str, str] = MappingProxyType({})


@dataclass
class Track:
    """What a layout knows about one track before its file is opened."""

    track_id: str
    path: AnyPath | None  # None for a URI in a manifest that must be fetched
    facts: dict[str, str | None] = field(default_factory=dict)  # columns of ``tracks``; they overrule the file's tags
    uri: str = ""  # computed from the path, if there is one
    info: dict[str, Any] | None = None  # what the server's listing says about the object

    def __post_init__(self) -> None:
        if self.path is not None:
            self.uri = uri_of(self.path)


@dataclass
class Listing:
    """The content of a source: its tracks, and the other files with the reason why each is not a track."""

    kind: str
    tracks: list[Track]
    ignored: list[tuple[str, Reason]]
    unread: dict[AnyPath, str] = field(default_factory=dict)  # folders that could not be listed, and why


def list_source(
    source: AnyPath, kind: str, *, exclude: AnyPath, known: Mapping[str, str] = NOTHING_KNOWN, kind_before: str = "auto"
) -> Listing:
    """List all tracks of a source.

    Parameters
    ----------
    source : pathlib.Path or upath.UPath
        Folder, on this machine or in a bucket, or manifest file.
    kind : str
        ``folder``, ``gtzan``, ``fma``, ``manifest``, or ``auto`` to guess the kind from the files.
    exclude : pathlib.Path or upath.UPath
        Folder that is not searched even if it is inside the source: OUT.
    known : mapping of str to str
        Ids that songs had before, by URI. If part of the source cannot be listed, the other songs keep theirs: which
        ids are unique may depend on the songs that are not seen.
    kind_before : str
        The layout that the source had before; a guess is not made by part of it.

    Raises
    ------
    CatalogError
        The source does not exist, cannot be read, or holds no audio.
    """
    _require(source)
    if source.is_file():
        if kind not in ("auto", "manifest"):
            raise CatalogError(f"source {source} is a file; --kind {kind} expects a folder")
        if source.suffix.lower() in formats.EXTENSIONS:
            raise CatalogError(f"source {source} is a song; give the folder that holds the songs, {source.parent}")
        listing = Listing("manifest", _from_manifest(source), [])
    elif kind == "manifest":
        raise CatalogError(f"source {source} is a folder; --kind manifest expects a CSV or Parquet file")
    else:
        files, ignored, unread = audio_files(source, exclude)
        kind = kind_before if kind == "auto" and unread else kind
        kind = _guess(source, list(files)) if kind == "auto" else kind
        listing = Listing(kind, FOLDER_KINDS[kind](source, list(files)), ignored, unread)
        for track in listing.tracks:
            track.info = files[track.path] if track.path else None
    if not listing.tracks:
        raise CatalogError(f"source {source} holds no audio ({len(listing.ignored)} other files); check the path")
    _make_ids_unique(listing, source)
    for track in listing.tracks if listing.unread else ():
        track.track_id = known.get(track.uri, track.track_id)
    return listing


def _require(source: AnyPath) -> None:
    """Raise CatalogError if a source is not there, or cannot be listed."""
    try:
        if isinstance(source, Path) and source.is_dir():
            os.scandir(source).close()
        is_there = source.exists()
    except OSError as e:
        raise CatalogError(f"source {source} cannot be read ({e.strerror or e}); nothing has changed") from e
    if not is_there:
        raise CatalogError(f"source {source} does not exist; give the folder that holds the songs")


def uri_of(path: AnyPath) -> str:
    """Return the path as text, or as a file:// URI if its bytes are not valid text, which a table cannot hold."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return "file://" + quote(os.fsencode(str(path)))
    return str(path)


# --- layouts ------------------------------------------------------------------------------------------------------


def _from_folder(source: AnyPath, files: list[AnyPath]) -> list[Track]:
    """Read any tree of folders; the first folder may be the genre, see ``genre_source``."""
    tracks = []
    for path in files:
        name = relative_id(path, source)
        tracks.append(Track(name, path, {"genre": name.split("/")[0]} if "/" in name else {}))
    return tracks


def _from_gtzan(source: AnyPath, files: list[AnyPath]) -> list[Track]:
    """Read the layout ``<genre>/<genre>.NNNNN.<ext>``; the name without the extension is the id."""
    tracks = []
    for path in files:
        if match := GTZAN_NAME.match(path.stem):
            tracks.append(Track(path.stem, path, {"genre": match["genre"]}))
        else:
            tracks += _from_folder(source, [path])
    return tracks


def _from_fma(source: AnyPath, files: list[AnyPath]) -> list[Track]:
    """Read the layout ``…/000/000002.mp3``; names, genre and split come from FMA's tracks.csv with two header rows."""
    table = _fma_metadata(source)
    tracks = []
    for path in files:
        if FMA_NAME.match(path.stem) and int(path.stem) in table.index:
            row = table.loc[int(path.stem)]
            tracks.append(Track(path.stem, path, {name: _text(row[name]) for name in table.columns}))
        else:
            tracks.append(Track(relative_id(path, source), path))
    return tracks


def _fma_metadata(source: AnyPath) -> pd.DataFrame:
    file: AnyPath | None = min(source.rglob("tracks.csv"), key=str, default=None)
    if file is None:
        raise CatalogError(
            f"source {source} has no tracks.csv; put FMA's metadata folder inside it or use --kind folder"
        )
    wanted = {
        ("track", "title"): "title",
        ("artist", "name"): "artist",
        ("artist", "id"): "artist_id",
        ("album", "title"): "album",
        ("track", "genre_top"): "genre",
        ("set", "split"): "split",
    }
    try:
        table = _read_csv(file, header=[0, 1], index_col=0)
        table.index = table.index.astype(int)
    except (ValueError, OSError) as e:
        raise CatalogError(f"{file} is not FMA's tracks.csv with its two header rows: {e}".splitlines()[0]) from e
    missing = [column for column in wanted if column not in table.columns]
    if missing:
        raise CatalogError(f"{file} has no column {missing[0]}; expected FMA's tracks.csv with its two header rows")
    if not table.index.is_unique:
        raise CatalogError(
            f"{file} has track {table.index[table.index.duplicated()][0]} twice; expected one row per track"
        )
    return table[list(wanted)].set_axis(list(wanted.values()), axis=1)


FOLDER_KINDS: dict[str, Callable[[AnyPath, list[AnyPath]], list[Track]]] = {
    "folder": _from_folder,
    "gtzan": _from_gtzan,
    "fma": _from_fma,
}


def _from_manifest(file: AnyPath) -> list[Track]:
    """Read a manifest: CSV or Parquet with a column ``path`` or ``uri`` and optional columns of ``tracks``.

    A path is absolute or relative to the manifest's folder; a URI is ``file://``, ``http(s)://`` or ``s3://``.
    """
    rows, columns = read_manifest(file)
    facts = [name for name in columns if name in FACTS]
    tracks = []
    for number, row in enumerate(rows, start=1):
        written = next(filter(None, map(row.get, PLACES)), None)
        if written is None:
            expected = "expected one audio file per row"
            raise CatalogError(f"manifest {file}: row {number} has no {' or '.join(PLACES)}; {expected}")
        try:
            place = _place(written, file.parent)
        except DecodeError as e:
            raise CatalogError(f"manifest {file}, row {number}: {e.detail}") from e
        track_id = row.get("track_id") or _manifest_id(written)
        tracks.append(Track(track_id, place, {name: row[name] for name in facts}, uri=written))
    return tracks


def _place(written: str, folder: AnyPath) -> AnyPath | None:
    """Return the path of an entry of a manifest in `folder`; None if the song has to be fetched."""
    if is_remote(written):
        return None
    return Path(os.path.normpath(folder / local_path(written))) if isinstance(folder, Path) else folder / written


def _manifest_id(written: str) -> str:
    return unicodedata.normalize("NFC", written if is_remote(written) else Path(written).as_posix())


def _guess(source: AnyPath, files: list[AnyPath]) -> str:
    """Return the layout that most files have, so that one stray song does not change the ids of all the others."""
    if sum(bool(FMA_NAME.match(path.stem)) for path in files) > len(files) / 2 and any(source.rglob("tracks.csv")):
        return "fma"
    if sum(bool(GTZAN_NAME.match(path.stem)) for path in files) > len(files) / 2:
        return "gtzan"
    return "folder"


def _read_csv(path: AnyPath, **options: Any) -> pd.DataFrame:  # noqa: ANN401 - as pandas
    with path.open("rb") as file:
        return pd.read_csv(file, dtype=str, keep_default_na=False, **options)  # a song's title may be "None"


def _text(value: Any) -> str | None:  # noqa: ANN401 - a cell of a table
    return None if value is None or pd.isna(value) or not str(value).strip() else str(value).strip()


def _make_ids_unique(listing: Listing, source: AnyPath) -> None:
    """Make all ids unique: an id that occurs twice becomes the path; ids that are still equal get numbers."""
    seen = Counter(track.track_id for track in listing.tracks)
    for track in listing.tracks:
        if seen[track.track_id] > 1 and track.path and track.path.is_relative_to(str(source)):
            track.track_id = relative_id(track.path, source)
    listing.tracks.sort(key=lambda track: os.fsencode(str(track.path or track.uri)))
    names = [track.track_id for track in listing.tracks] + [name for name, _ in listing.ignored]
    distinct = iter(_distinct(names))
    for track in listing.tracks:
        track.track_id = next(distinct)
    listing.ignored = [(next(distinct), reason) for _, reason in listing.ignored]
    listing.tracks.sort(key=lambda track: track.track_id)


def _distinct(names: list[str]) -> list[str]:
    """Return the names, with a number added to each repeated one so that all are different."""
    taken, given = set(names), set[str]()
    distinct = []
    for name in names:
        free = (f"{name}#{i}" for i in count(2))
        chosen = name if name not in given else next(n for n in free if n not in taken | given)
        given.add(chosen)
        distinct.append(chosen)
    return distinct
