"""What a run says while it works: lines for people, or, by ``MUSICREC_LOG=json``, one JSON object a line for machines.

All of it goes through the logger ``musicrec`` of Python's logging: to standard error, unless the program that calls
musicrec has given that logger a handler of its own.
"""

import datetime
import json
import logging
import os
import sys
from dataclasses import asdict, is_dataclass
from typing import Any

VARIABLE = "MUSICREC_LOG"
LOGGER = logging.getLogger("musicrec")


def is_json() -> bool:
    """Return whether JSON is asked for."""
    return os.environ.get(VARIABLE, "").lower() == "json"


def log_event(event: str, line: str = "", *, level: int = logging.INFO, **fields: Any) -> None:  # noqa: ANN401
    """Log that something has happened.

    Parameters
    ----------
    event : str
        What kind of thing: ``progress``, ``stage``, ``error``.
    line : str
        Line for people; without it, only JSON is written.
    level : int
        Level of logging.
    **fields
        For machines: what JSON holds beside ``time``, ``level`` and ``event``.
    """
    if not LOGGER.handlers:
        LOGGER.addHandler(_StandardError())
        LOGGER.setLevel(logging.INFO)
        LOGGER.propagate = False
    if line or is_json():
        LOGGER.log(level, line, extra={"event": event, "fields": fields})


def fields_of(result: object) -> dict[str, Any]:
    """Return the result of a stage as fields: its counts, or the path of the file that it has written."""
    if isinstance(result, str | os.PathLike):
        return {"result": str(result)}
    return asdict(result) if is_dataclass(result) and not isinstance(result, type) else {}


class _StandardError(logging.Handler):
    """Writes to standard error as it is at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line, as logging asks for it."""
        print(_to_json(record) if is_json() else record.getMessage(), file=sys.stderr, flush=True)


def _to_json(record: logging.LogRecord) -> str:
    time = datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat(timespec="milliseconds")
    common = {"time": time, "level": record.levelname.lower(), "event": getattr(record, "event", "log")}
    fields = getattr(record, "fields", {"message": record.getMessage()})
    return json.dumps(common | fields, ensure_ascii=False, default=str)
