"""Columns of ``tracks`` from what a file and its source say of a song."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from musicrec.stages.catalog.file_tags.fields import Tags
from musicrec.stages.catalog.file_tags.text import SPECIAL, genres_of, name_key

T = TypeVar("T")

YES = frozenset({"1", "true", "yes", "y"})
VARIOUS = "various artists"
VARIOUS_NAMES = frozenset({VARIOUS, "various artist", "various", "va", "v a", "v.a.", "v. a."})
MBID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
ISRC = re.compile(r"[A-Z]{2}[A-Z0-9]{3}\d{7}")


def columns_of(
    tags: Tags, facts: Mapping[str, str | None], name: str | None, separators: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the columns that describe a song; what its source says overrules its tags.

    Parameters
    ----------
    tags : Tags
        What the file says.
    facts : mapping of str to str or None
        What the source says, by column.
    name : str or None
        Title of a song that has none.
    separators : sequence of str
        Texts between the names of several artists.
    """
    names = [part for credit in _said(facts, "artist", _credits(tags)) for part in _split(credit, separators)]
    ids = _said(facts, "artist_id", []) or list(dict.fromkeys(map(name_key, names)))
    album = _first(_said(facts, "album", tags.of("album")))
    genres = _said(facts, "genre", _genres(tags))
    return {
        **facts,
        "title": facts.get("title") or _first(tags.of("title")) or name,
        "artist": ", ".join(_said(facts, "artist", tags.of("artist") or names)) or None,
        "artist_id": _first(ids),
        "artist_ids": ids,
        "album": album,
        "album_id": _album_id(album, tags, ids),
        "genre": genre_of(genres),
        "genres": genres,
        "duration_s": tags.duration_s,
        "isrc": _first(code for text in tags.of("isrc") if ISRC.fullmatch(code := re.sub(r"[\s-]", "", text.upper()))),
        **{field: _mbid(tags.of(field)) for field in ("recording_mbid", "track_mbid", "album_mbid")},
    }


def genre_of(genres: Iterable[str] | None) -> str | None:
    """Return the first genre that is one, as remix and cover are not."""
    return _first(genre for genre in genres or () if genre not in SPECIAL.values())


def spell_genres_alike(rows: Iterable[dict[str, Any]]) -> None:
    """Give the genres that differ only by case, Unicode form or separators the spelling that most songs have.

    The column ``genres`` keeps each as its song has it, so that the spelling of a catalog depends on its songs alone.
    """
    rows = list(rows)
    own = [genre_of(row.get("genres")) for row in rows]
    spellings: dict[str, Counter[str]] = defaultdict(Counter)
    for text in filter(None, own):
        spellings[_genre_key(text)][text] += 1
    chosen = {key: min(counts, key=lambda text: (-counts[text], text)) for key, counts in spellings.items()}
    for row, genre in zip(rows, own, strict=True):
        row["genre"] = chosen[_genre_key(genre)] if genre else None


def _genre_key(genre: str) -> str:
    return name_key(genre).replace(" ", "")


def _said(facts: Mapping[str, str | None], column: str, otherwise: list[str]) -> list[str]:
    """Return what the source says for a column, which may be nothing; `otherwise` if it has no such column."""
    return [text] if (text := facts.get(column)) else [] if column in facts else otherwise


# --- artists and albums -------------------------------------------------------------------------------------------


def _credits(tags: Tags) -> list[str]:
    """Return the artists of a song. Of a field for several artists, which names each alone, the names count.

    A credit that contains such names, as "Ada feat. Ben" does, is no artist beside them.
    """
    listed = tags.of("artists")
    keys = [f" {name_key(name)} " for name in listed]
    others = [text for text in tags.of("artist") if not any(key in f" {name_key(text)} " for key in keys)]
    return listed + others


def _split(credit: str, separators: Sequence[str]) -> list[str]:
    """Split a credit at the separators; of one that is a word, a part of a longer word is none."""
    if not separators:
        return [credit]
    edges = {True: r"\b", False: ""}
    words = [
        edges[text[:1].isalnum()] + re.escape(text) + edges[text[-1:].isalnum()]
        for text in filter(None, map(str.strip, separators))
    ]
    parts = re.split("|".join(words), credit, flags=re.IGNORECASE) if words else [credit]
    return [part for raw in parts if (part := raw.strip(" ()[]"))] or [credit]


def _album_id(album: str | None, tags: Tags, artist_ids: Sequence[str]) -> str | None:
    """Return what the songs of an album share: its name, and its artists; those of a compilation are various."""
    if not album:
        return None
    artists = sorted(map(name_key, tags.of("album_artist")))
    if not artists:
        is_compilation = any(text.casefold() in YES for text in tags.of("compilation"))
        artists = [VARIOUS] if is_compilation else list(artist_ids[:1])
    return "/".join([*(VARIOUS if artist in VARIOUS_NAMES else artist for artist in artists), name_key(album)])


# --- other fields -------------------------------------------------------------------------------------------------


def _genres(tags: Tags) -> list[str]:
    found = [genre for text in tags.of("genre") for genre in genres_of(text)]
    first: dict[str, str] = {}
    for genre in found:
        first.setdefault(_genre_key(genre), genre)
    return list(first.values())


def _mbid(texts: Iterable[str]) -> str | None:
    return _first(found[0] for text in texts if (found := MBID.search(text.lower())))


def _first(values: Iterable[T]) -> T | None:
    return next(iter(values), None)
