"""The errors that musicrec raises on purpose. Each message is one line: what, where, what was expected, what to do."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from musicrec.schemas import Reason

INTERRUPTED = 130  # the exit code that shells give to a command ended by Ctrl-C


class MusicrecError(Exception):
    """Base of all errors whose message is for the user. A command that it ends has its `exit_code`."""

    exit_code = 1


class ConfigError(MusicrecError):
    """A setting, an option or the state of OUT does not fit the request."""

    exit_code = 2


class InUse(ConfigError):  # noqa: N818 - reads as what happened
    """Another run holds OUT."""

    exit_code = 3


class DeadlinePassed(MusicrecError):  # noqa: N818 - reads as what happened
    """The deadline of a run has passed. Finished work is kept, and the next run continues from there."""

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
        Goes to the ``outcomes`` table.
    detail : str
        One line for the reader.
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


class Defect(MusicrecError):  # noqa: N818 - reads as what happened
    """Songs failed because of a bug in musicrec; everything else is done."""

    exit_code = 6


class UnknownTrack(MusicrecError):  # noqa: N818 - reads as what happened
    """A track that is not in the published table."""


class PublishError(MusicrecError):
    """A table did not pass its gate; the previous version stays published."""

    exit_code = 5


def exit_code_of(error: BaseException) -> int:
    """Return the exit code of a command that `error` ends."""
    if isinstance(error, MusicrecError):
        return error.exit_code
    return INTERRUPTED if isinstance(error, KeyboardInterrupt) else MusicrecError.exit_code
