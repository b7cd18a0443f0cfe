"""The errors of musicrec. Each message is one line: what is wrong, where, what was expected and what to do."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from musicrec.schemas import Reason

INTERRUPTED = 130  # exit code that shells report for a command ended by Ctrl-C


class MusicrecError(Exception):
    """Base class of musicrec's errors.

    Attributes
    ----------
    exit_code : int
        Exit code of a command that ends with this error.

    Examples
    --------
    >>> import musicrec
    >>> try:
    ...     table = musicrec.SimilarTable("nowhere")
    ... except musicrec.MusicrecError as e:
    ...     print(e)
    /.../nowhere is not a musicrec OUT; make one with: musicrec run /.../nowhere --source FOLDER
    """

    exit_code = 1


class ConfigError(MusicrecError):
    """A setting, an option or the state of OUT does not allow what was asked for."""

    exit_code = 2


class InUse(ConfigError):  # noqa: N818 - reads as what happened
    """Another run holds OUT."""

    exit_code = 3


class DeadlinePassed(MusicrecError):  # noqa: N818 - reads as what happened
    """The deadline of a run has passed. What is done is kept, and the next run continues from there."""

    exit_code = 4

    def __init__(self) -> None:
        super().__init__("the deadline has passed; finished work is kept, and the next run continues from there")


class CatalogError(MusicrecError):
    """The source cannot be turned into a catalog."""


class DecodeError(MusicrecError):
    """One audio file cannot be decoded.

    Parameters
    ----------
    reason : musicrec.schemas.Reason
        What the table ``outcomes`` records.
    detail : str
        One line that explains it.
    """

    def __init__(self, reason: "Reason", detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type["DecodeError"], tuple["Reason", str]]:  # survives pickling between workers
        return DecodeError, (self.reason, self.detail)


class SchemaError(MusicrecError):
    """A table is missing, incomplete, or was written by another schema version."""


class ModelError(MusicrecError):
    """A model cannot be trained on the data, or applied to it."""


class NotLearnable(ModelError):  # noqa: N818 - reads as what happened
    """The songs have no genres that a model could learn and be tested on."""


class Defect(MusicrecError):  # noqa: N818 - reads as what happened
    """Songs have failed because of a bug in musicrec. Everything else that was asked for is done."""

    exit_code = 6


class Unread(MusicrecError):  # noqa: N818 - reads as what happened
    """Part of the source could not be read. The songs there keep what they had, and everything else is done."""

    exit_code = 7


class UnknownListener(ConfigError):  # noqa: N818 - reads as what happened
    """Nothing is recommended to a listener."""


class UnknownTrack(MusicrecError):  # noqa: N818 - reads as what happened
    """A song cannot be looked up: it is not in the published table, or several songs have the name that was given.

    Attributes
    ----------
    maybe : tuple of str
        Ids of the songs that have all words of the name in theirs.
    """

    def __init__(self, message: str, maybe: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.maybe = tuple(maybe)


class PublishError(MusicrecError):
    """A table did not pass its gate. The one before it stays published."""

    exit_code = 5


def exit_code_of(error: BaseException) -> int:
    """Return the exit code of a command that ends with `error`."""
    if isinstance(error, MusicrecError):
        return error.exit_code
    return INTERRUPTED if isinstance(error, KeyboardInterrupt) else MusicrecError.exit_code


# Of every command: exit code, meaning, and what to do, as the documentation shows them.
EXIT_CODES: tuple[tuple[int, str, str], ...] = (
    (0, "done; what is published is up to date", "nothing"),
    (
        1,
        "failed; one line says why",
        "mend what the line says, and run it again: it carries on where it stopped",
    ),
    (2, "wrong usage, or OUT does not fit what was asked", "correct the command"),
    (
        3,
        "another run holds OUT; the line names its command, process, host and start",
        "wait; OUT is free once that process has ended, in a bucket 90 s after it was killed on another machine",
    ),
    (
        4,
        "the deadline passed; what is done is kept",
        "run it again, or let the next night carry on; if it happens every night, give it more time or nodes",
    ),
    (
        5,
        "the new table did not pass its gate, or could not be written; the last one stays published",
        "look at what the line says of the table; mend it, or allow it by the limits of `musicrec similar`",
    ),
    (
        6,
        "songs failed because of a bug in musicrec; everything else is done and published",
        "report the line that it printed; the songs are tried again after an update",
    ),
    (
        7,
        "part of the source could not be read; the songs there keep what they had, and everything else is done and "
        "published",
        "mend what the lines name: rights, a mount, a disk; the next run reads those songs again",
    ),
    (130, "interrupted", "run it again"),
)
