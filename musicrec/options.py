"""Command-line options from settings: the field of a stage's settings is the option, its help and its type."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import click
from pydantic.fields import FieldInfo

from musicrec.settings import StageSettings, read_toml, resolve
from musicrec.storage import Store
from musicrec.watchdog import SECONDS_PER_FILE

Command = Callable[..., Any]
S = TypeVar("S", bound=StageSettings)

OUT = click.argument("out")


def settings_options(*classes: type[StageSettings], leave_out: tuple[str, ...] = ()) -> Callable[[Command], Command]:
    """Add an option for every setting of `classes`, and ``--settings FILE`` for all of them together."""

    def decorate(command: Command) -> Command:
        fields = {name: field for cls in classes for name, field in cls.model_fields.items() if name not in leave_out}
        for name, field in reversed(fields.items()):
            command = _option(name, field)(command)
        help_text = "TOML file of settings, such as the settings.toml of another OUT."
        return click.option("--settings", "settings_file", type=click.Path(path_type=Path), help=help_text)(command)

    return decorate


def _option(name: str, field: FieldInfo) -> Callable[[Command], Command]:
    short = ["-n"] if name == "n" else []
    default = "" if field.is_required() else f"  [default: {_shown(field.default)}]"
    several = get_origin(field.annotation) is tuple
    kind = get_args(field.annotation)[0] if several else field.annotation
    long = name.replace("_", "-")
    return click.option(
        *short,
        f"--{long}/--no-{long}" if kind is bool else f"--{long}",
        name,
        type=click.Choice(get_args(kind)) if get_origin(kind) is Literal else kind,
        multiple=several,
        default=None,
        help=f"{field.description}{default}",
    )


def _shown(default: object) -> str:
    return " ".join(default) if isinstance(default, tuple) else str(default)


def settings_of(cls: type[S], store: Store, settings_file: Path | None, options: dict[str, Any]) -> S:
    """Settings of one stage: the command line before the settings file before what OUT records before defaults."""
    asked = {name: options[name] for name in cls.model_fields if options.get(name) not in (None, ())}
    from_file = read_toml(settings_file).get(cls.stage, {}) if settings_file else {}
    return resolve(cls, asked, from_file, store.recorded(cls.stage))


address_option = click.option(
    "--address", help="Ray cluster to run on, such as auto or HOST:PORT.  [default: RAY_ADDRESS, else embedded]"
)
force_option = click.option("--force", is_flag=True, help="Accept other settings than OUT was made by.")
workers_option = click.option(
    "--workers", type=click.IntRange(1), default=1, show_default=True, help="Data-parallel training workers."
)
limit_option = click.option(
    "--limit", type=click.IntRange(1), help="Decode only so many songs this time, the first by their id."
)
dry_run_option = click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")


def failure_options(command: Command) -> Command:
    """Options that say when a track has failed, and how failed tracks are treated."""
    command = click.option(
        "--seconds-per-file",
        type=click.FloatRange(0, min_open=True),
        default=SECONDS_PER_FILE,
        show_default=True,
        help="A song that takes longer to decode and compute has failed.",
    )(command)
    command = click.option(
        "--max-failed-fraction",
        type=click.FloatRange(0, 1),
        default=0.5,
        show_default=True,
        help="Fail if more than this share of the tracks failed.",
    )(command)
    return click.option("--retry-failed", is_flag=True, help="Try tracks again that failed before.")(command)
