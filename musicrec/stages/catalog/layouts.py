"""Layouts of music collections: which files are tracks, what they are called, and which genre they belong to.

A track id does not depend on the machine, the run or the mount point: it is the path below the source, the id that the
collection itself uses (GTZAN, FMA), or what a manifest says.
"""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pandas as pd

from musicrec.audio import is_remote, local_path
from musicrec.errors import CatalogError, DecodeError
from musicrec.files.parquet import read_parquet
from musicrec.files.paths import AnyPath
from musicrec.schemas import Reason

if TYPE_CHECKING:
    from upath import UPath

AUDIO_EXTENSIONS = frozenset(
    f".{extension}"
    for extension in (
        *("aac", "ac3", "aif", "aifc", "aiff", "amr", "ape", "au", "caf", "dsf", "flac", "m4a", "mka", "mkv", "mov"),
        *("mp2", "mp3", "mp4", "oga", "ogg", "opus", "rf64", "snd", "sph", "tta", "w64", "wav", "webm", "wma", "wv"),
    )
)
AUDIO_HEADS = (  # first bytes of the files of wav, flac, ogg, aiff, au, sphere, tagged mp3, Matroska and webm, wma
    *(b"RIFF", b"RF64", b"fLaC", b"OggS", b"FORM", b".snd", b"NIST", b"ID3"),
    *(b"\x1a\x45\xdf\xa3", bytes.fromhex("3026b2758e66cf11")),
)
PICTURES = frozenset((b"WEBP", b"avif", b"avis", b"crx ", b"heic", b"heix", b"mif1", b"msf1"))  # in wav's, mp4's box
GTZAN_NAME = re.compile(r"(?P<genre>[a-z]+)\.\d{5}$")
FMA_NAME = re.compile(r"\d{6}$")


@dataclass
class Track:
    """What a layout knows of one track before the file is opened."""

    track_id: str
    path: AnyPath | None  # None: an address in a manifest
    facts: dict[str, str | None] = field(default_factory=dict)  # columns of ``tracks``; they overrule the file's tags
    uri: str = ""  # follows from the path, if there is one
    info: dict[str, Any] | None = None  # what the server said of it when it was listed

    def __post_init__(self) -> None:
        if self.path is not None:
            self.uri = uri_of(self.path)


@dataclass
class Listing:
    """What stands in a source: tracks, and files that are none, each with the reason."""

    kind: str
    tracks: list[Track]
    ignored: list[tuple[str, Reason]]


def list_source(source: AnyPath, kind: str, *, exclude: AnyPath) -> Listing:
    """All tracks of a source.

    Parameters
    ----------
    source : pathlib.Path or upath.UPath
        Folder, on this machine or in a bucket, or manifest file.
    kind : str
        ``folder``, ``gtzan``, ``fma``, ``manifest``, or ``auto`` to look at the files.
    exclude : pathlib.Path or upath.UPath
        Folder that is not searched even if it lies inside the source: OUT.

    Raises
    ------
    CatalogError
        The source does not exist, cannot be read, or holds no audio.
    """
    if not source.exists():
        raise CatalogError(f"source {source} does not exist; give the folder that holds the songs")
    if source.is_file():
        if kind not in ("auto", "manifest"):
            raise CatalogError(f"source {source} is a file; --kind {kind} expects a folder")
        listing = Listing("manifest", _from_manifest(source), [])
    elif kind == "manifest":
        raise CatalogError(f"source {source} is a folder; --kind manifest expects a CSV or Parquet file")
    else:
        files, ignored = _audio_files(source, exclude)
        kind = _guess(source, list(files)) if kind == "auto" else kind
        listing = Listing(kind, FOLDER_KINDS[kind](source, list(files)), ignored)
        for track in listing.tracks:
            track.info = files[track.path] if track.path else None
    if not listing.tracks:
        raise CatalogError(f"source {source} holds no audio ({len(listing.ignored)} other files); check the path")
    _make_ids_unique(listing, source)
    return listing


def relative_id(path: AnyPath, source: AnyPath) -> str:
    """Path below the source as text: POSIX separators, composed characters, undecodable bytes as %XX."""
    relative = path.relative_to(str(source)).as_posix()
    try:
        relative.encode()
    except UnicodeEncodeError:
        return quote(os.fsencode(relative))
    return unicodedata.normalize("NFC", relative)


def uri_of(path: AnyPath) -> str:
    """The path itself, or a file:// URI where its bytes are not text and could not stand in a table."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return "file://" + quote(os.fsencode(str(path)))
    return str(path)


# --- layouts ------------------------------------------------------------------------------------------------------


def _from_folder(source: AnyPath, files: list[AnyPath]) -> list[Track]:
    """A folder for each genre; songs that lie directly in the source have none."""
    tracks = []
    for path in files:
        name = relative_id(path, source)
        tracks.append(Track(name, path, {"genre": name.split("/")[0]} if "/" in name else {}))
    return tracks


def _from_gtzan(source: AnyPath, files: list[AnyPath]) -> list[Track]:
    """``<genre>/<genre>.NNNNN.<ext>``: the name is the id."""
    tracks = []
    for path in files:
        if match := GTZAN_NAME.match(path.stem):
            tracks.append(Track(path.stem, path, {"genre": match["genre"]}))
        else:
            tracks += _from_folder(source, [path])
    return tracks


def _from_fma(source: AnyPath, files: list[AnyPath]) -> list[Track]:
    """``…/000/000002.mp3`` with the collection's tracks.csv (two header rows) for names, genre and split."""
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
            f"{file} has track {table.index[table.index.duplicated()][0]} twice; expected one row a track"
        )
    return table[list(wanted)].set_axis(list(wanted.values()), axis=1)


FOLDER_KINDS: dict[str, Callable[[AnyPath, list[AnyPath]], list[Track]]] = {
    "folder": _from_folder,
    "gtzan": _from_gtzan,
    "fma": _from_fma,
}


def _from_manifest(file: AnyPath) -> list[Track]:
    """CSV or Parquet with a column ``path`` or ``uri`` and any of the columns of ``tracks``.

    A path is below the manifest, or absolute; a URI is ``file://``, ``http(s)://`` or ``s3://``.
    """
    try:
        table = read_parquet(file).to_pandas() if file.suffix == ".parquet" else _read_csv(file)
    except (ValueError, OSError) as e:
        raise CatalogError(f"manifest {file} cannot be read: {e}".splitlines()[0]) from e
    places = [c for c in ("uri", "path") if c in table.columns]
    if not places:
        raise CatalogError(f"manifest {file} has no column 'path' or 'uri'; expected one audio file a row")
    columns = [
        c for c in ("title", "artist", "artist_id", "album", "genre", "split", "recording") if c in table.columns
    ]
    tracks = []
    for number, row in enumerate(table.to_dict("records"), start=1):
        written = next(filter(None, (_text(row[c]) for c in places)), None)
        if written is None:
            raise CatalogError(f"manifest {file}: row {number} has no {places[-1]}; expected one audio file a row")
        try:
            place = _place(written, file.parent)
        except DecodeError as e:
            raise CatalogError(f"manifest {file}, row {number}: {e.detail}") from e
        track_id = _text(row.get("track_id")) or _manifest_id(written)
        tracks.append(Track(track_id, place, {c: _text(row[c]) for c in columns}, uri=written))
    return tracks


def _place(written: str, folder: AnyPath) -> AnyPath | None:
    """Path of what a manifest in `folder` names; None if it has to be fetched."""
    if is_remote(written):
        return None
    return Path(os.path.normpath(folder / local_path(written))) if isinstance(folder, Path) else folder / written


def _manifest_id(written: str) -> str:
    return unicodedata.normalize("NFC", written if is_remote(written) else Path(written).as_posix())


# --- files --------------------------------------------------------------------------------------------------------


def _audio_files(source: AnyPath, exclude: AnyPath) -> tuple[dict[AnyPath, Any], list[tuple[str, Reason]]]:
    """Audio files below the source, with what their server says of them; others with the reason they are none."""
    files: dict[AnyPath, Any] = {}
    ignored: list[tuple[str, Reason]] = []
    found = _walk(source, exclude) if isinstance(source, Path) else _objects(source, exclude)
    for path, problem, info in found:
        name = relative_id(path, source)
        hidden = any(part.startswith(".") for part in name.split("/"))
        reason = problem or (Reason.HIDDEN if hidden else None if _is_audio(path) else Reason.NOT_AUDIO)
        if reason is None:
            files[path] = info
        else:
            ignored.append((name, reason))
    return files, ignored


def _walk(source: Path, exclude: AnyPath) -> Iterator[tuple[Path, Reason | None, None]]:
    """Every file, links followed (a folder met twice is entered once); folders that cannot be opened as problems."""
    problems: list[Path] = []
    entered = {exclude.resolve(), source.resolve()}

    def enter(folder: Path) -> bool:
        """Whether a folder is met for the first time."""
        real = folder.resolve()
        is_new = real not in entered
        entered.add(real)
        return is_new

    walk = os.walk(source, followlinks=True, onerror=lambda e: problems.append(Path(e.filename)))
    for folder, subfolders, names in walk:
        links_last = sorted(subfolders, key=lambda s: ((Path(folder) / s).is_symlink(), s))
        subfolders[:] = [s for s in links_last if enter(Path(folder) / s)]
        for name in sorted(names):
            yield Path(folder) / name, None, None
    yield from ((path, Reason.UNREADABLE, None) for path in problems)


def _objects(source: "UPath", exclude: AnyPath) -> Iterator[tuple["UPath", Reason | None, dict[str, Any]]]:
    """Every object below a prefix of a bucket, but for those of OUT."""
    for name, info in source.fs.find(source.path, detail=True).items():
        path = source / name.removeprefix(source.path).lstrip("/")
        if not str(path).startswith(f"{exclude}/"):
            yield path, None, info


def _is_audio(path: AnyPath) -> bool:
    """Whether the name or the first bytes say that a file is audio."""
    if path.suffix.lower() in AUDIO_EXTENSIONS:
        return True
    try:
        if not path.is_file():  # a pipe would never answer
            return False
        with path.open("rb") as f:
            head = f.read(12)
    except OSError:
        return False
    if head[8:12] in PICTURES:
        return False
    mpeg_frame = len(head) > 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] & 0x06 and head[2] >> 4 != 15
    return head.startswith(AUDIO_HEADS) or head[4:8] == b"ftyp" or bool(mpeg_frame)


def _guess(source: AnyPath, files: list[AnyPath]) -> str:
    """The layout that most files have: a stray song must not give all others another id."""
    if sum(bool(FMA_NAME.match(path.stem)) for path in files) > len(files) / 2 and any(source.rglob("tracks.csv")):
        return "fma"
    if sum(bool(GTZAN_NAME.match(path.stem)) for path in files) > len(files) / 2:
        return "gtzan"
    return "folder"


def _read_csv(path: AnyPath, **options: Any) -> pd.DataFrame:  # noqa: ANN401 - as pandas
    with path.open("rb") as file:
        return pd.read_csv(file, dtype=str, keep_default_na=False, **options)  # a song may be called "None"


def _text(value: Any) -> str | None:  # noqa: ANN401 - a cell of a table
    return None if value is None or pd.isna(value) or not str(value).strip() else str(value).strip()


def _make_ids_unique(listing: Listing, source: AnyPath) -> None:
    """Ids that a collection gives twice become paths; names that even then coincide are numbered in path order."""
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
    """The names, those that stand there again with a number that makes them unlike all others."""
    taken, given = set(names), set[str]()
    distinct = []
    for name in names:
        free = (f"{name}#{i}" for i in count(2))
        chosen = name if name not in given else next(n for n in free if n not in taken | given)
        given.add(chosen)
        distinct.append(chosen)
    return distinct
