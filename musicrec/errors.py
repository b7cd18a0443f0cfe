"""Every error musicrec raises on purpose: one line that says what, where, what was expected and what to do."""


class MusicrecError(Exception):
    """Base of all errors that are meant for the person at the command line."""


class ConfigError(MusicrecError):
    """A setting, an option or the state of OUT does not fit what was asked."""


class CatalogError(MusicrecError):
    """The source cannot be turned into a catalog."""


class DecodeError(MusicrecError):
    """One audio file cannot be decoded.

    Parameters
    ----------
    reason : str
        A short stable code for the ``outcomes`` table: ``missing``, ``unreadable``, ``empty``, ``undecodable``,
        ``unsupported``, ``too_large``, ``corrupt`` or ``not_finite``.
    detail : str
        One line for people.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type["DecodeError"], tuple[str, str]]:  # survives pickling between workers
        return DecodeError, (self.reason, self.detail)


class SchemaError(MusicrecError):
    """A table is missing, incomplete, or was written by another schema version."""


class ModelError(MusicrecError):
    """A model cannot be trained on, or applied to, the data at hand."""


class UnknownTrack(MusicrecError):  # noqa: N818 - reads as what happened
    """A track that is not in the published table."""


class PublishError(MusicrecError):
    """A table did not pass its gate; the one published before stays live."""
