"""The base of all settings, and how they are put together from the command line, a file and OUT."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from musicrec.errors import ConfigError

S = TypeVar("S", bound="StageSettings")


class StageSettings(BaseModel):
    """Base of the settings of one stage."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    stage: ClassVar[str]
    code_version: ClassVar[int] = 1  # raise it when new code gives other values for the same settings
    open_means: ClassVar[str] = "none"  # the default that help shows for a setting whose default is None
    formerly: ClassVar[dict[str, Any]] = {}  # settings that an older musicrec did not have, with what it did

    def fingerprint(self, *inputs: str) -> str:
        """Return a fingerprint of the stage's result: 16 hex digits, from these settings and the inputs.

        Parameters
        ----------
        *inputs : str
            Content hashes or fingerprints of what the stage reads.
        """
        settings = self.model_dump(mode="json")
        known = {name: value for name, value in settings.items() if self.formerly.get(name, ...) != value}
        made_by = [self.stage, self.code_version, known, *inputs]
        return hashlib.blake2b(json.dumps(made_by, sort_keys=True).encode(), digest_size=8).hexdigest()

    def differences(self, other: Self) -> list[str]:
        """Return one line ``name: mine → theirs`` for each setting that differs."""
        return [
            f"{name}: {getattr(self, name)} → {getattr(other, name)}"
            for name in type(self).model_fields
            if getattr(self, name) != getattr(other, name)
        ]


def resolve(cls: type[S], *layers: Mapping[str, Any]) -> S:
    """Return settings from layers of values; the earlier layer wins.

    Raises
    ------
    ConfigError
        A value is out of range or a name is unknown. The message says which, and what was expected.
    """
    merged: dict[str, Any] = {}
    for layer in reversed(layers):
        merged.update({name: value for name, value in layer.items() if value is not None})
    try:
        return cls(**merged)
    except ValidationError as e:
        problem = e.errors()[0]
        name = ".".join([cls.stage, *map(str, problem["loc"])])
        value = "" if problem["type"] == "missing" else f" = {problem['input']!r}"
        raise ConfigError(f"setting {name}{value}: {_expected(cls, problem)}") from e


def _expected(cls: type[StageSettings], problem: ErrorDetails) -> str:
    """Return what was expected, in plain words where those of pydantic are for developers."""
    if problem["type"] == "extra_forbidden":
        return f"no such setting; expected one of {', '.join(cls.model_fields)}"
    if problem["type"] == "missing":
        return "it has no default; give it a value"
    return problem["msg"].removeprefix("Value error, ")
