"""Listens: what a file says of each play of a song, in the form that all readers give."""

import math
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import pyarrow as pa

from musicrec.schemas import ListenReason

LISTENS = pa.schema(
    [
        ("user_id", pa.string()),  # the listener
        ("track_id", pa.string()),  # what names the song, down to title: any of them may be null
        ("recording_mbid", pa.string()),  # as the listener's player sent it
        ("mapped_mbid", pa.string()),  # as a service found it by the names
        ("isrc", pa.string()),
        ("uri", pa.string()),  # a path or a URI
        ("artist", pa.string()),
        ("title", pa.string()),
        ("at_s", pa.int64()),  # when it began, in seconds since 1970; null if unknown
        ("plays", pa.int64()),  # how many listens the row stands for
        ("seconds", pa.float64()),  # how long they lasted together; null if unknown
        ("length_s", pa.float64()),  # length of the song; null if unknown
        ("skipped", pa.bool_()),  # null if unknown
        ("reason", pa.string()),  # why the row is left out, a ListenReason; null if it is not
    ]
)
NAMES = ("track_id", "recording_mbid", "mapped_mbid", "isrc", "uri", "artist", "title")  # what names a song
BLOCK_ROWS = 65_536
UNITS = ((1e17, 10**9), (1e14, 10**6), (1e11, 10**3))  # a time this large is in ns, µs or ms since 1970
LEAST_TIME = 1e8  # 1973: an earlier time is that of a clock that was never set
MOST_TIME = 1e20  # beyond it, no unit gives a year that a calendar has
MOST_PLAYS = 2.0**31

Listen = dict[str, Any]


def blocks(listens: Iterable[Listen]) -> Iterator[pa.Table]:
    """Return listens in tables of :data:`LISTENS`, some ten thousand rows each."""
    listens = iter(listens)
    while rows := list(islice(listens, BLOCK_ROWS)):
        yield pa.Table.from_pylist(rows, LISTENS)


def listen(
    user_id: object, *, at: object = None, seconds: object = None, length_s: object = None, **others: object
) -> Listen:
    """Return a listen, with a reason to leave it out if its time or its length cannot be read.

    Examples
    --------
    >>> found = listen("ada", at="2018-11-30T08:33:33Z", seconds=12, title=" Kind of Blue ")
    >>> found["at_s"], found["title"], found["reason"]
    (1543566813, 'Kind of Blue', None)
    >>> listen("ada", at="yesterday")["reason"]
    <ListenReason.BAD_VALUE: 'bad_value'>
    """
    row: Listen = {"user_id": text_of(user_id), "plays": 1, "reason": None, "skipped": None}
    row |= {name: text_of(others[name]) for name in NAMES if name in others}
    if isinstance(others.get("skipped"), bool):
        row["skipped"] = others["skipped"]
    try:
        row |= {"at_s": seconds_since_1970(at), "seconds": length_of(seconds)}
    except ValueError:
        row["reason"] = ListenReason.BAD_VALUE
    with suppress(ValueError):  # the catalog knows it too
        row["length_s"] = length_of(length_s)
    return row


def without_song(reason: ListenReason, user_id: object = None) -> Listen:
    """Return a listen that is left out for a reason which its reader knows."""
    return {"user_id": text_of(user_id), "plays": 1, "reason": reason}


def text_of(value: object) -> str | None:
    """Return a value as a text without spaces at its ends; None if it holds none."""
    if isinstance(value, str | int) and not isinstance(value, bool):
        return str(value).encode("utf-8", "replace").decode().strip() or None
    return None


def from_ms(value: object) -> object:
    """Return milliseconds as seconds; what is no number stays what it is."""
    try:
        return _number(value) / 1000
    except ValueError:
        return value


def length_of(value: object) -> float | None:
    """Return a length in seconds; None if there is none, and ValueError if it is no length."""
    if value is None or value == "":
        return None
    number = _number(value)
    if not 0 <= number < math.inf:
        raise ValueError(value)
    return number


def seconds_since_1970(value: object) -> int | None:
    """Return a time in seconds since 1970; None if it is missing, or before 1973, as clocks that were never set say.

    Parameters
    ----------
    value : object
        A number of seconds, ms, µs or ns since 1970, or a time as ISO 8601 writes it, in UTC if it names no zone.

    Raises
    ------
    ValueError
        It is none of these.

    Examples
    --------
    >>> seconds_since_1970(1543566813), seconds_since_1970("1543566813000"), seconds_since_1970("2018-11-30 08:33:33")
    (1543566813, 1543566813, 1543566813)
    """
    if value is None or value == "":
        return None
    try:
        number = _number(value)
    except ValueError:
        time = datetime.fromisoformat(str(value).strip())
        number = (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    if not abs(number) < MOST_TIME:
        raise ValueError(value)
    number //= next((per_second for least, per_second in UNITS if number >= least), 1)
    return int(number) if number >= LEAST_TIME else None


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(value)
    try:
        return float(value)
    except OverflowError as e:
        raise ValueError(value) from e
