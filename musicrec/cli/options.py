"""Command-line options from settings: a field of a stage's settings gives an option, its help and its type.

The help lists them apart from the options that change no result, under the first line of the settings' docstring.
"""

import datetime
import inspect
import math
import re
from collections.abc import Callable
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import click
from pydantic.fields import FieldInfo

from musicrec.cluster.resources import at_most
from musicrec.cluster.watchdog import SECONDS_PER_FILE
from musicrec.files.paths import is_unicode
from musicrec.settings import CHECKPOINT_S, StageSettings, resolve
from musicrec.store.settings_file import read_toml
from musicrec.store.store import Store

Function = Callable[..., Any]
S = TypeVar("S", bound=StageSettings)

OUT = click.argument("out")
SONGS_BY = {"source": "FOLDER", "like": "SONG"}  # options that give the songs, and what follows them


class Command(click.Command):
    """A command whose help has a section for each stage's settings, and a section for its other options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; who gives the songs without ``--source`` or ``--like`` is told how to."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as e:
            for option, songs in SONGS_BY.items():
                if "unexpected extra argument" in e.message and any(f"--{option}" in p.opts for p in self.params):
                    how = f"the songs are given by --{option}: musicrec {ctx.info_name} OUT --{option} {songs}"
                    raise click.UsageError(f"{e.message}; {how}", ctx) from e
            raise

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, as click asks for them."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if isinstance(parameter, click.Option) and (record := parameter.get_help_record(ctx)):
                sections.setdefault(getattr(parameter, "section", "Options"), []).append(record)
        for section, records in sections.items():
            with formatter.section(section):
                formatter.write_dl(records)


class Commands(click.Group):
    """A group that lists its commands in the order in which they are used."""

    command_class = Command

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands, as click asks for them."""
        return list(self.commands)


class Range(click.FloatRange):
    """Numbers between bounds; what is no number is refused, which compares as if it were between any."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """Return the number, as click asks for it."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value} is no number; expected {self._describe_range()}.", param, ctx)
        return number


class Text(click.types.StringParamType):
    """Text that a table or a file can hold: an argument may have bytes that are no characters."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """Return the text, as click asks for it."""
        text = super().convert(value, param, ctx)
        if not is_unicode(text):
            self.fail(f"{text!a} holds bytes that are no characters; expected text in UTF-8.", param, ctx)
        return text


def duration(text: str) -> datetime.timedelta:
    """Return the time that a text such as 36h, 2d, 90m or 45s stands for.

    Raises
    ------
    click.BadParameter
        The text is no length of time, or the time is too long.
    """
    given = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])", text)
    if not given:
        raise click.BadParameter(f"{text!r} is no length of time; expected a number and s, m, h or d, such as 36h")
    try:
        return datetime.timedelta(seconds=float(given[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[given[2]])
    except OverflowError as e:
        raise click.BadParameter(f"{text!r} is too long; expected a shorter time, such as 36h") from e


class _Setting(click.Option):
    def __init__(self, *args: Any, section: str, **options: Any) -> None:  # noqa: ANN401 - as click
        super().__init__(*args, **options)
        self.section = section


def settings_options(
    *classes: type[StageSettings], leave_out: tuple[str, ...] = (), from_file: bool = True
) -> Callable[[Function], Function]:
    """Add an option for every setting of `classes`, and ``--settings FILE`` unless `from_file` is false."""
    fields = {name: (cls, field) for cls in classes for name, field in cls.model_fields.items()}
    help_text = "TOML file of settings, such as the settings.toml of another OUT."

    def decorate(function: Function) -> Function:
        if from_file:
            function = click.option("--settings", "settings_file", type=click.Path(path_type=Path), help=help_text)(
                function
            )
        for name, (cls, field) in reversed(fields.items()):
            if name not in leave_out:
                function = _option(name, field, cls)(function)
        return function

    return decorate


def _section(cls: type[StageSettings]) -> str:
    return (inspect.getdoc(cls) or cls.stage).splitlines()[0].rstrip(".")


def _option(name: str, field: FieldInfo, cls: type[StageSettings]) -> Callable[[Function], Function]:
    short = ["-n"] if name == "n" else []
    shown = cls.open_means if field.default is None else _shown(field.default, name)
    default = "" if field.is_required() else f"  [default: {shown}]"
    several = get_origin(field.annotation) is tuple
    kind = get_args(field.annotation)[0] if several else _without_none(field.annotation)
    long = name.replace("_", "-")
    return click.option(
        *short,
        f"--{long}/--{_opposite(long)}" if kind is bool else f"--{long}",
        name,
        cls=_Setting,
        section=_section(cls),
        type=click.Choice(get_args(kind)) if get_origin(kind) is Literal else kind,
        multiple=several,
        default=None,
        help=f"{field.description}{default}",
    )


def _opposite(name: str) -> str:
    """Return ``no-images`` for ``images``, and the other way round."""
    return name.removeprefix("no-") if name.startswith("no-") else f"no-{name}"


def _without_none(kind: Any) -> Any:  # noqa: ANN401 - a type
    """Return ``int`` for ``int | None``."""
    is_optional = get_origin(kind) in (Union, UnionType)  # Literal[…] | None is a Union, int | None a UnionType
    return next(arg for arg in get_args(kind) if arg is not NoneType) if is_optional else kind


def _shown(default: object, name: str) -> str:
    match default:
        case bool():
            return name if default else _opposite(name.replace("_", "-"))
        case float():
            return f"{default:g}"
        case () | "":
            return "none"
        case tuple():
            return " ".join(default)
        case _:
            return str(default)


def settings_of(cls: type[S], store: Store | None, settings_file: Path | None, options: dict[str, Any]) -> S:
    """Return the settings of one stage.

    The command line comes first, then the settings file, then what OUT has recorded, then the defaults.
    """
    from_file = read_toml(settings_file).get(cls.stage, {}) if settings_file else {}
    return resolve(cls, given_of(cls, options), from_file, store.settings.recorded(cls.stage) if store else {})


def given_of(cls: type[StageSettings], options: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a stage that the command line gives."""
    return {name: options[name] for name in cls.model_fields if options.get(name) not in (None, ())}


def address_option(function: Function) -> Function:
    """Add the options for the cluster that a command runs on, and for how many of its CPUs are used at a time."""
    function = click.option(
        "--max-cpus",
        type=click.IntRange(1),
        expose_value=False,
        callback=lambda ctx, _, cpus: ctx.with_resource(at_most(cpus)),
        envvar="MUSICREC_MAX_CPUS",
        help="Maximum number of tasks at a time, for a shared cluster.  [default: MUSICREC_MAX_CPUS, else all free "
        "CPUs]",
    )(function)
    return click.option(
        "--address", help="Ray cluster to run on, such as auto or HOST:PORT.  [default: RAY_ADDRESS, else embedded]"
    )(function)


force_option = click.option(
    "--force", is_flag=True, help="Accept settings that differ from those of OUT, and redo what depends on them."
)
workers_option = click.option(
    "--workers",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Number of data-parallel training workers.",
)
gpu_option = click.option("--gpu", is_flag=True, help="Give every worker a GPU.")
checkpoint_option = click.option(
    "--checkpoint-s",
    type=Range(0),
    default=CHECKPOINT_S,
    show_default=True,
    help="Seconds between checkpoints of a network in training.",
)
limit_option = click.option(
    "--limit", type=click.IntRange(1), help="Decode at most this many more songs in this run, in order of their id."
)
dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Print how many songs would be decoded, and how long it may take; do nothing."
)


def failure_options(function: Function) -> Function:
    """Add the options for when a song has failed, and for how failed songs are treated."""
    function = click.option(
        "--seconds-per-file",
        type=Range(0, min_open=True),
        default=SECONDS_PER_FILE,
        show_default=True,
        help="A song fails if fetching, decoding and computing take longer than this.",
    )(function)
    function = click.option(
        "--max-failed-fraction",
        type=Range(0, 1),
        default=0.5,
        show_default=True,
        help="Fail if more than this share of the songs failed.",
    )(function)
    return click.option("--retry-failed", is_flag=True, help="Try failed songs again.")(function)
