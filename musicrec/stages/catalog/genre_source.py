"""Where the genres of a catalog come from: the folders, the tags, or nowhere.

Folders may be genres, but also artists, albums or years. What they are is judged by a sample of the songs: by the names
of the folders on the way to a song, and by its tags.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from musicrec.files.paths import AnyPath
from musicrec.settings import GenreSource
from musicrec.stages.catalog.album_folders import album_depth
from musicrec.stages.catalog.file_tags.fields import Tags
from musicrec.stages.catalog.file_tags.read import read_tags
from musicrec.stages.catalog.file_tags.text import GENRES, genres_of, name_key
from musicrec.stages.catalog.layouts import Listing
from musicrec.stages.catalog.walk import relative_id

Place = tuple[Sequence[str], Tags]  # the folders on the way to a song, and its tags

SAMPLE = 200  # songs
MOST_OF = 1 / 3  # share of the songs whose folders must look alike to decide
SUBFOLDERS = 3  # a genre has as many artists; an artist has fewer albums, as a rule
GROWN = 2  # a catalog that has so many times the songs is judged again
KNOWN_GENRES = frozenset(map(name_key, GENRES))
END = r"(\w|\d{2,4})"  # of a range, such as A-C or 1990-99
INITIALS_OR_YEARS = re.compile(rf"\W|\w|\d+|\d{{2,4}}'?(s|er)|{END} ?[-–] ?{END}", re.IGNORECASE)
OF_KIND = {"gtzan": "file names", "fma": "tracks.csv", "manifest": "the manifest"}


class Taken(NamedTuple):
    """Which genres were taken, and why."""

    source: GenreSource  # not auto
    why: str
    of_songs: int  # in the catalog at that time

    def describe(self, kind: str, genres: Sequence[str | None]) -> str:
        """Return one line about the genres of a catalog.

        Examples
        --------
        >>> Taken("tags", "folders look like artists", 4).describe("folder", ["rock", "jazz", None, "rock"])
        'genre from tags: 2 genres, 1 song without; folders look like artists'
        """
        n, without = len({genre for genre in genres if genre}), sum(not genre for genre in genres)
        places = {"tags": "tags", "none": "nowhere", "folder": OF_KIND.get(kind, "folders")}
        counted = f"{n:,} {'genre' if n == 1 else 'genres'}, {without:,} {'song' if without == 1 else 'songs'} without"
        return f"genre from {places[self.source]}: {counted}; {self.why}"


def take(asked: GenreSource, listing: Listing, source: AnyPath, before: Mapping[str, Any] | None) -> Taken:
    """Decide where the genres of a source come from.

    Parameters
    ----------
    asked : str
        The setting: ``auto``, ``tags``, ``folder`` or ``none``.
    listing : Listing
        The songs of the source.
    source : pathlib.Path or upath.UPath
        The source.
    before : mapping, optional
        What was decided before, as a footer holds it. It stays as long as the catalog does not grow to twice its size.
    """
    n_songs = len(listing.tracks)
    if asked != "auto":
        return Taken(asked, f"--genre-from is {asked}", n_songs)
    if before and n_songs < GROWN * before["of_songs"]:
        return Taken(**before)
    if listing.kind in OF_KIND:
        has_genres = any(track.facts.get("genre") for track in listing.tracks)
        if has_genres or listing.kind == "gtzan":
            return Taken("folder", f"the layout is {listing.kind}", n_songs)
        return Taken("tags", f"{OF_KIND[listing.kind]} gives none", n_songs)
    paths = [relative_id(track.path, source).split("/") for track in listing.tracks if track.path]
    return Taken(*judge(_sample(listing, source), paths), n_songs)


def use(taken: Taken, listing: Listing) -> None:
    """Let the facts of the source say what was decided."""
    for track in listing.tracks:
        if taken.source == "tags":
            track.facts.pop("genre", None)
        elif taken.source == "none":
            track.facts["genre"] = None


def judge(songs: Iterable[Place], paths: Iterable[Sequence[str]] = ()) -> tuple[GenreSource, str]:
    """Return where to take the genre of songs from, and why.

    Parameters
    ----------
    songs : iterable of (sequence of str, Tags)
        A sample of the songs: the folders on the way to each, and its tags.
    paths : iterable of sequence of str
        The folders on the way to each song of the source, and the name of its file.

    Examples
    --------
    >>> judge([(["jazz"], Tags()), (["rock", "Ada"], Tags())])
    ('folder', 'folders look like genres')
    >>> judge([(["Ada", "First"], Tags([[("ARTIST", "Ada")]])), (["Ben"], Tags([[("ARTIST", "Ben")]]))])
    ('tags', 'folders look like artists')
    >>> judge([], [["Ada", "1998 - First", "one.mp3"], ["Ben", "2001 - Second", "two.mp3"]])
    ('tags', 'folders look like artists, by the albums in them')
    """
    songs = list(songs)
    return _by_sample(songs) or _by_shape(list(paths) or [[*folders, ""] for folders, _ in songs])


def _by_sample(songs: Sequence[Place]) -> tuple[GenreSource, str] | None:
    """Judge by the names of folders and the tags; return None if they do not tell."""
    by_top: dict[str, list[Place]] = defaultdict(list)
    for folders, tags in songs:
        if folders:
            by_top[folders[0]].append((folders[1:], tags))
    n_songs = sum(map(len, by_top.values()))
    looks = Counter[str]()
    for top, below in by_top.items():
        if look := _look(top, below):
            looks[look] += len(below)
    for look, n in looks.most_common(1):
        if n >= MOST_OF * n_songs:
            return ("folder" if look == "genres" else "tags"), f"folders look like {look}"
    return None


def _by_shape(paths: Sequence[Sequence[str]]) -> tuple[GenreSource, str]:
    """Judge by how folders lie in one another, and how albums are named."""
    by_top: dict[str, list[Sequence[str]]] = defaultdict(list)
    for top, *below in paths:
        if below:
            by_top[top].append(below[:-1])
    if not by_top:
        return "tags", "no song lies in a folder"
    if len(by_top) == 1:
        return "tags", f"all songs lie in one folder, {next(iter(by_top))}"
    if (depth := album_depth(paths)) in (1, 2):
        return "tags", "folders look like albums" if depth == 1 else "folders look like artists, by the albums in them"
    deep = [below for below in by_top.values() if sum(map(bool, below)) > len(below) / 2]
    n_subfolders = sum(len({folders[0] for folders in below if folders}) for below in deep)
    if depth is None and len(deep) > len(by_top) / 2 and n_subfolders < SUBFOLDERS * len(deep):
        return "tags", "folders lie two deep and hold few others, as those of artists do"
    return "folder", "nothing says that folders are artists or albums"


def _look(name: str, songs: Sequence[Place]) -> str | None:
    """Return what a folder with these songs looks like; None if nothing tells."""
    key = name_key(name)
    if INITIALS_OR_YEARS.fullmatch(name):
        return "initials or years"
    artists = [_keys(tags, "artist", "artists", "album_artist") for _, tags in songs]
    if _agree(artists, lambda keys: key in keys):
        return "artists"
    if _agree([_keys(tags, "album") for _, tags in songs], lambda keys: any(album in key for album in keys)):
        return "albums"
    genres = [{name_key(genre) for text in tags.of("genre") for genre in genres_of(text)} for _, tags in songs]
    parts = {key, *(name_key(part) for part in re.split(" [-–] ", name))}  # Electronic - House
    if parts & KNOWN_GENRES or _agree(genres, lambda keys: key in keys):
        return "genres"
    return None


def _keys(tags: Tags, *fields: str) -> set[str]:
    return {name_key(text) for field in fields for text in tags.of(field)}


def _agree(found: Iterable[set[str]], is_so: Callable[[set[str]], bool]) -> bool:
    """Return whether most of the songs that have such a tag agree."""
    known = [keys for keys in found if keys]
    return sum(map(is_so, known)) > len(known) / 2


def _sample(listing: Listing, source: AnyPath) -> list[Place]:
    """Return songs evenly spread over the catalog; those of a bucket without tags, as they are not fetched."""
    tracks = listing.tracks[:: max(1, -(-len(listing.tracks) // SAMPLE))]
    paths = [track.path for track in tracks if track.path]
    with ThreadPoolExecutor() as pool:
        tags = list(pool.map(lambda path: read_tags(path) if isinstance(path, Path) else Tags(), paths))
    return [(relative_id(path, source).split("/")[:-1], own) for path, own in zip(paths, tags, strict=True)]
