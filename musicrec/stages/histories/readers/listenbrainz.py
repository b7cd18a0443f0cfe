"""Listens of ListenBrainz: the zip that a user exports, or its lines of JSON alone."""

import json
import re
import zipfile
from collections.abc import Iterable, Iterator
from typing import Any

from musicrec.errors import SchemaError
from musicrec.schemas import ListenReason
from musicrec.stages.histories.listens import Listen, from_ms, listen, text_of, without_song

MEMBER = re.compile(r"(?:.*/)?listens/\d+/\d+\.(?:jsonl|listens)")
ZIP_NAME = re.compile(r"listenbrainz_(.+)_\d+\.zip")


def read_export(archive: zipfile.ZipFile, name: str, user: str) -> Iterator[Listen]:
    """Read the listens of an export; feedback and pins in it are no listens.

    Parameters
    ----------
    archive : zipfile.ZipFile
        The export.
    name : str
        Its file name, which holds the user's.
    user : str
        The listener; if empty, the one that the export names.

    Raises
    ------
    SchemaError
        The export names no user.
    """
    user = user or _user_of(archive) or next(iter(ZIP_NAME.findall(name)), "")
    if not user:
        raise SchemaError(f"{name} names no user; say who listened with --user NAME")
    for member in sorted(filter(MEMBER.fullmatch, archive.namelist())):
        with archive.open(member) as lines:
            yield from read_lines(lines, user)


def _user_of(archive: zipfile.ZipFile) -> str | None:
    """Return the name in ``user.json``."""
    try:
        about = json.loads(archive.read("user.json"))
    except (KeyError, ValueError):
        return None
    return text_of(about.get("username")) if isinstance(about, dict) else None


def read_lines(lines: Iterable[bytes], user: str = "") -> Iterator[Listen]:
    """Read listens, one a line; a line that is damaged costs its listen only.

    Parameters
    ----------
    lines : iterable of bytes
        JSON, as in ``listens/2024/5.jsonl``.
    user : str
        The listener; if empty, the ``user_name`` of each line.
    """
    for line in lines:
        if line.strip():
            try:
                yield _listen(json.loads(line), user)
            except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
                yield without_song(ListenReason.DAMAGED, user)


def _listen(row: dict[str, Any], user: str) -> Listen:
    about = row["track_metadata"]
    more, mapped = about.get("additional_info") or {}, about.get("mbid_mapping") or {}
    return listen(
        user or row.get("user_name"),
        at=row.get("listened_at"),
        seconds=more.get("duration_played"),
        length_s=from_ms(more.get("duration_ms")) or more.get("duration"),
        recording_mbid=more.get("recording_mbid"),
        mapped_mbid=mapped.get("recording_mbid"),
        isrc=more.get("isrc"),
        artist=about.get("artist_name"),
        title=about.get("track_name"),
    )
