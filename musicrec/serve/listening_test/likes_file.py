"""Read who likes which songs."""

import csv
from pathlib import Path

from musicrec.errors import ConfigError

PARTICIPANT, TRACK = "participant", "track_id"


def read_likes(file: Path) -> dict[str, list[str]]:
    """Return the songs that each participant likes, in the order of the file.

    Parameters
    ----------
    file : Path
        CSV with the columns participant and track_id, or the songs of one participant, one a line; that participant
        is then called as the file.

    Raises
    ------
    ConfigError
        The file cannot be read, names no song, or a line lacks a participant or a song.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except OSError as e:
        raise ConfigError(f"{file} cannot be read ({e.strerror or e}); expected a file of likes") from e
    except UnicodeDecodeError as e:
        raise ConfigError(f"{file} is not UTF-8; expected CSV, or one song a line") from e
    head = [name.strip().lower() for name in next(csv.reader(lines[:1]), [])]
    likes = _of_several(file, lines, head) if PARTICIPANT in head else _of_one(file, lines)
    if not any(likes.values()):
        raise ConfigError(f"{file} names no song; expected CSV with {PARTICIPANT} and {TRACK}, or one song a line")
    return likes


def _of_one(file: Path, lines: list[str]) -> dict[str, list[str]]:
    songs = [line.strip() for line in lines if line.strip()]
    return {file.stem: list(dict.fromkeys(songs[1:] if songs[:1] == [TRACK] else songs))}


def _of_several(file: Path, lines: list[str], head: list[str]) -> dict[str, list[str]]:
    if TRACK not in head:
        raise ConfigError(f"{file} has the columns {', '.join(head)}; expected {PARTICIPANT} and {TRACK}")
    likes: dict[str, list[str]] = {}
    reader = csv.DictReader(lines[1:], head)
    for row in reader:
        participant, song = ((row[name] or "").strip() for name in (PARTICIPANT, TRACK))
        if not participant or not song:
            missing = TRACK if participant else PARTICIPANT
            raise ConfigError(f"{file}, line {reader.line_num + 1}: {missing} is empty")
        if song not in likes.setdefault(participant, []):
            likes[participant].append(song)
    return likes
