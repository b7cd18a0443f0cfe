"""What clients are told of an error: the same words, without the paths of the machine that serves them."""

import os
import re
from pathlib import Path

from musicrec.errors import DecodeError
from musicrec.schemas import REASONS
from musicrec.store.store import Store

OUT, SOURCE = "OUT", "SOURCE"  # as the guides call them
MEANINGS = {reason: meaning for _, reason, meaning, _ in REASONS}


def told(error: Exception, store: Store) -> str:
    """Return the message of an error in one line, with ``OUT`` for OUT's path and ``SOURCE`` for that of the songs.

    Examples
    --------
    >>> from musicrec import Store
    >>> store = Store("/srv/music/out")
    >>> told(ValueError("/srv/music/out has no map; draw one: musicrec map /srv/music/out"), store)
    'OUT has no map; draw one: musicrec map OUT'
    """
    message = " ".join(str(error).split())
    source = str(store.settings.recorded("catalog").get("source") or "")
    names = dict.fromkeys(_names(str(store.out)), OUT) | dict.fromkeys(_names(source), SOURCE)
    for path, name in sorted(names.items(), key=lambda pair: -len(pair[0])):  # one may lie in the other
        message = re.sub(re.escape(path) + r"(?![\w-])", name, message)
    return message


def told_of_file(error: DecodeError) -> str:
    """Return why a song's file cannot be sent, without its path.

    Examples
    --------
    >>> from musicrec.schemas import Reason
    >>> told_of_file(DecodeError(Reason.MISSING, "no file '/srv/music/a.mp3'"))
    'missing: there is no such file or object'
    """
    return f"{error.reason}: {MEANINGS[error.reason]}"


def _names(path: str) -> set[str]:
    """Return a path as it is given and as the machine knows it; none for an address or for the whole machine."""
    if "://" in path:
        return {path.rstrip("/")}
    names = {path.rstrip("/"), str(Path(path).absolute()), os.path.realpath(path)} if path else set()
    return {name for name in names if len(Path(name).parts) > 1}
