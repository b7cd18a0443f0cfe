"""What is answered to each request of a player."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from musicrec.errors import ConfigError, DecodeError, UnknownTrack
from musicrec.schemas import Reason
from musicrec.serve.lookup import Song
from musicrec.serve.service.audio_answer import file_answer
from musicrec.serve.service.followed_table import OpenVersion
from musicrec.serve.service.told_errors import told_of_file
from musicrec.serve.subsonic.child import child
from musicrec.serve.subsonic.envelope import GENERIC, NOT_FOUND, PARAMETER_MISSING, Content, Failure, Inner

MOST_SONGS = 100_000  # in an answer; those who want more read page by page
MOST_DIGITS = 18  # of a number
FOLDER = "1"  # the only one; songs of all sources are in it
USER_NAME = "musicrec"
EXTENSIONS = ["apiKeyAuthentication", "formPost", "sonicSimilarity"]
AROUND_WORDS = '"* '  # players send "" for everything, and word* for the beginning of a word


class Asked(NamedTuple):
    """A request of a player.

    Attributes
    ----------
    opened : OpenVersion
        The version of the table that answers.
    parameters : mapping of str to str
        What the request says, in its address or its form.
    request : Request
        The request itself, with its headers.
    """

    opened: OpenVersion
    parameters: Mapping[str, str]
    request: Request

    def text(self, name: str) -> str:
        """Return a parameter; it may be empty.

        Raises
        ------
        Failure
            It is missing.
        """
        if name not in self.parameters:
            raise Failure(PARAMETER_MISSING, f"the parameter {name} is missing")
        return self.parameters[name]

    def number(self, name: str, otherwise: int) -> int:
        """Return a number of songs.

        Raises
        ------
        Failure
            The parameter is no such number.
        """
        text = self.parameters.get(name) or str(otherwise)
        if not (text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS):
            raise Failure(GENERIC, f"{name} = {text[:50]}; expected a number, 0 or more")
        return int(text)

    def song(self, name: str) -> Song:
        """Return the song whose id a parameter holds.

        Raises
        ------
        Failure
            The parameter is missing, or no song has this id.
        """
        track_id = self.text(name)
        try:
            self.opened.table.neighbours(track_id, 0)  # takes ids only; people's names of songs are not for players
            return self.opened.table.song(track_id)
        except UnknownTrack as e:
            raise Failure(NOT_FOUND, f"no song has the id {track_id[:200]!r}") from e

    def children(self, songs: Sequence[Song]) -> list[Content]:
        """Return what players are told of songs."""
        facts = self.opened.facts.of_all([song.track_id for song in songs])
        return [child(*song) for song in zip(songs, facts, strict=True)]


def empty(_: Asked) -> Content:
    """Return nothing, which says that all is well."""
    return {}


def extensions(_: Asked) -> Content:
    """Return what is served beside plain Subsonic."""
    return {"openSubsonicExtensions": [{"name": name, "versions": [1]} for name in EXTENSIONS]}


def token_info(_: Asked) -> Content:
    """Return whose the API key is."""
    return {"tokenInfo": {"username": USER_NAME}}


def license_(_: Asked) -> Content:
    """Return that no licence is needed."""
    return {"license": {"valid": True}}


def music_folders(_: Asked) -> Content:
    """Return the one folder that all songs are in."""
    return {"musicFolders": {"musicFolder": [{"id": int(FOLDER), "name": "Music"}]}}


def search(asked: Asked) -> Content:
    """Return the songs with some words in their names, or all songs; no artists and no albums."""
    words = re.sub(r"\s+", " ", asked.text("query")).strip(AROUND_WORDS)
    count, skip = asked.number("songCount", 20), asked.number("songOffset", 0)
    table = asked.opened.table
    left = max(0, len(table) - skip) if asked.parameters.get("musicFolderId", FOLDER) == FOLDER else 0
    if min(count, left) > MOST_SONGS:
        raise Failure(
            GENERIC, f"songCount = {count}; expected at most {MOST_SONGS:,}, and songOffset for the next page"
        )
    found = table.search(words, min(count, left), skip) if left else []
    return {"searchResult3": {"song": asked.children(found)}}


def song(asked: Asked) -> Content:
    """Return a song."""
    return {"song": asked.children([asked.song("id")])[0]}


def similar(asked: Asked) -> Content:
    """Return the songs most similar to a song, best first."""
    like, count = asked.song("id"), asked.number("count", 10)
    found = asked.opened.table.similar(like.track_id, count)
    return _matches(asked, [(song, score) for _, song, score in found])


def path(asked: Asked) -> Content:
    """Return a way from one song to another, each with its similarity to the song before."""
    first, last = asked.song("startSongId"), asked.song("endSongId")
    least = 1 if first == last else 2
    if (count := asked.number("count", 25)) < least:
        raise Failure(GENERIC, f"count = {count}; expected at least {least}, as both ends are part of a path")
    try:
        found = asked.opened.playlists.between(first.track_id, last.track_id, count, is_cut=True)
    except ConfigError as e:
        raise Failure(NOT_FOUND, asked.opened.told(e)) from e
    return _matches(asked, [(song, 1.0 if score is None else score) for song, score in found])


def stream(asked: Asked) -> Response:
    """Return the file of a song as it is, or part of it; nothing is transcoded."""
    wanted = asked.song("id")
    try:
        return file_answer(asked.opened.uri(wanted.track_id), asked.request)
    except DecodeError as e:
        raise Failure(NOT_FOUND if e.reason == Reason.MISSING else GENERIC, told_of_file(e)) from e


def _matches(asked: Asked, found: Sequence[tuple[Song, float]]) -> Content:
    similarities = [Inner(min(max(score, 0.0), 1.0)) for _, score in found]
    entries = asked.children([song for song, _ in found])
    return {"sonicMatch": [{"entry": e, "similarity": s} for e, s in zip(entries, similarities, strict=True)]}


PUBLIC: dict[str, Callable[[Asked], Content]] = {"getOpenSubsonicExtensions": extensions}
ANSWERS: dict[str, Callable[[Asked], Content | Response]] = {
    **PUBLIC,
    "ping": empty,
    "tokenInfo": token_info,
    "getLicense": license_,
    "getMusicFolders": music_folders,
    "search3": search,
    "getSong": song,
    "getSonicSimilarTracks": similar,
    "findSonicPath": path,
    "stream": stream,
    "download": stream,
}
CHANGING = re.compile("(add|change|create|delete|move|refresh|report|save|scrobble|set|star|unstar|update)")
