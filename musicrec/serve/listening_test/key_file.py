"""The key of a listening test: who hears which songs, and why each was chosen. Participants never see it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from musicrec.errors import ConfigError

FORMAT, VERSION = "musicrec listening test: key", 1
ABOUT = ("test", "seed", "design", "table")


class KeyClip(NamedTuple):
    """A clip of one participant.

    Attributes
    ----------
    clip : str
        Its name in the site.
    track_id : str
        The song.
    conditions : tuple of str
        Why it was chosen.
    repeat_of : str or None
        The clip that it repeats.
    """

    clip: str
    track_id: str
    conditions: tuple[str, ...]
    repeat_of: str | None = None


class Key(NamedTuple):
    """What a listening test consists of.

    Attributes
    ----------
    test : str
        Name of the test, which stands in the answers too.
    seed : int
        Seed of all that was drawn.
    design : {"set", "methods"}
        What is compared.
    table : str
        Version of the table of similar songs by which songs were recommended.
    names : mapping of str to str
        The name of each participant in the file of likes, by the code that stands in the site.
    clips : mapping of str to list of KeyClip
        The clips of each participant, by code, in the order in which they are heard.
    """

    test: str
    seed: int
    design: str
    table: str
    names: Mapping[str, str]
    clips: Mapping[str, list[KeyClip]]


def key_as_json(key: Key) -> bytes:
    """Return the content of a key's file."""
    participants = [
        {"code": code, "name": key.names[code], "clips": [clip._asdict() for clip in clips]}
        for code, clips in key.clips.items()
    ]
    about = {"format": FORMAT, "version": VERSION, **{name: getattr(key, name) for name in ABOUT}}
    return (json.dumps({**about, "participants": participants}, ensure_ascii=False, indent=1) + "\n").encode()


def read_key(file: Path) -> Key:
    """Read a key.

    Raises
    ------
    ConfigError
        The file cannot be read, or is no key.
    """
    try:
        found: dict[str, Any] = json.loads(file.read_bytes())
        if (found["format"], found["version"]) != (FORMAT, VERSION):
            raise ValueError
        participants = found["participants"]
        names = {str(one["code"]): str(one["name"]) for one in participants}
        clips = {str(one["code"]): [_clip(clip) for clip in one["clips"]] for one in participants}
        return Key(str(found["test"]), int(found["seed"]), str(found["design"]), str(found["table"]), names, clips)
    except OSError as e:
        raise ConfigError(f"{file} cannot be read ({e.strerror or e}); expected the key.json of the test") from e
    except (ValueError, KeyError, TypeError, RecursionError) as e:
        text = f"{file} is no key of a listening test; expected the key.json that musicrec listening-test build wrote"
        raise ConfigError(text) from e


def _clip(row: dict[str, Any]) -> KeyClip:
    return KeyClip(str(row["clip"]), str(row["track_id"]), tuple(map(str, row["conditions"])), row["repeat_of"])
