"""The settings file of an OUT, ``settings.toml``: one table for each stage, with the settings of its last run."""

import tomllib
from typing import Any

import tomli_w

from musicrec.errors import ConfigError
from musicrec.files.paths import AnyPath, read_bytes, write_atomic
from musicrec.settings import STAGES, StageSettings, resolve


def read_toml(path: AnyPath, *, missing_ok: bool = False) -> dict[str, dict[str, Any]]:
    """Read a settings file with one table for each stage, such as the ``settings.toml`` that every OUT holds.

    Raises
    ------
    ConfigError
        The file is missing and may not be, is not TOML, or names a stage that does not exist.
    """
    try:
        content = tomllib.loads(read_bytes(path).decode())
    except OSError as e:
        if missing_ok and isinstance(e, FileNotFoundError):
            return {}
        raise ConfigError(f"settings file {path}: {e.strerror or e}; give the path of a TOML file") from e
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise ConfigError(f"settings file {path} is not valid TOML: {e}") from e
    unknown = sorted(set(content) - set(STAGES))
    if unknown:
        raise ConfigError(f"settings file {path}: unknown table [{unknown[0]}]; expected one of {', '.join(STAGES)}")
    for stage, values in content.items():
        if not isinstance(values, dict):
            raise ConfigError(f"settings file {path}: {stage} = {values!r}; expected a table [{stage}] of settings")
    return content


class SettingsFile:
    """The settings with which each stage last ran on an OUT.

    Parameters
    ----------
    path : pathlib.Path or upath.UPath
        ``OUT/settings.toml``; it need not exist yet.
    """

    def __init__(self, path: AnyPath) -> None:
        self.path = path

    def exists(self) -> bool:
        """Return whether any stage has run."""
        return self.path.exists()

    def recorded(self, stage: str) -> dict[str, Any]:
        """Return the settings with which `stage` last ran here; empty if it never did.

        An older musicrec has not written settings that it did not have: they are returned too.
        """
        recorded = self._read().get(stage, {})
        return STAGES[stage].formerly | recorded if recorded else {}

    def record(self, settings: StageSettings) -> None:
        """Write the settings of a stage."""
        before = self._read()
        content = before | {settings.stage: settings.model_dump(mode="json", exclude_none=True)}
        if content != before:
            ordered = {stage: content[stage] for stage in STAGES if stage in content}
            write_atomic(self.path, tomli_w.dumps(ordered).encode())

    def check(self, settings: StageSettings, *, force: bool) -> None:
        """Refuse to redo costly work because an option differs from how OUT was made.

        Raises
        ------
        ConfigError
            `settings` differ from the recorded ones and `force` is false.
        """
        recorded = self.recorded(settings.stage)
        if not recorded or force:
            return
        differences = resolve(type(settings), recorded).differences(settings)
        if differences:
            raise ConfigError(
                f"OUT {self.path.parent} was made by other {settings.stage} settings ({'; '.join(differences)}); "
                f"use another OUT, or redo what depends on them: musicrec {settings.stage} {self.path.parent} … --force"
            )

    def _read(self) -> dict[str, dict[str, Any]]:
        return read_toml(self.path, missing_ok=True)
