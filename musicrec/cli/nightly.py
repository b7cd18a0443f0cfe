"""The command that runs every night."""

import datetime
import sys
from pathlib import Path
from typing import Any

import click

from musicrec.cli.common import example, open_out
from musicrec.cli.options import (
    OUT,
    Command,
    Range,
    address_option,
    duration,
    failure_options,
    settings_options,
    workers_option,
)
from musicrec.cli.stages import chain_settings
from musicrec.monitor import log
from musicrec.settings import CatalogSettings
from musicrec.store.store import Store


@click.command(
    cls=Command,
    epilog=example(
        "refresh OUT", "refresh OUT --source ~/Music", "refresh OUT --deadline 4h --max-removed-fraction 0.1"
    ),
)
@OUT
@settings_options(CatalogSettings)
@click.option(
    "--deadline", type=duration, help="Stop after this time, such as 4h or 90m; the next run continues from there."
)
@click.option(
    "--max-removed-fraction",
    type=Range(0, 1),
    default=0.5,
    show_default=True,
    help="Fail, and change nothing, if more than this share of the songs is gone from the source.",
)
@failure_options
@workers_option
@address_option
def refresh(out: str, settings_file: Path | None, deadline: datetime.timedelta | None, **options: Any) -> None:  # noqa: ANN401
    """Bring the table up to date with its source, every night.

    Only songs that were added or changed are decoded. The published model embeds them; a model is trained only if none
    is published. The settings are those of OUT's last run. Each run writes a JSON report to OUT/_runs.

    Exit codes: 0 done; 1 failed; 2 wrong usage; 3 another run holds OUT; 4 the deadline passed, and the next run
    continues from there; 5 the new table did not pass its gate, and the previous one stays published; 6 songs failed
    because of a bug in musicrec, and everything else is done; 7 part of the source could not be read, the songs there
    keep what they had, and everything else is done.
    """
    from musicrec.stages.chain import refresh as run

    if options["source"] is None and settings_file is None and not Store(out).settings.recorded("catalog"):
        raise click.UsageError("Missing option '--source'.")
    with open_out(out, create=True) as store:
        settings = chain_settings(store, settings_file, options).of_a_night()
        how = {name: value for name, value in options.items() if name not in CatalogSettings.model_fields}
        seconds = None if deadline is None else deadline.total_seconds()
        path = run(store, settings, deadline_s=seconds, show=_show, **how)
        click.echo(f"run: {path}")


def _show(line: str) -> None:
    """Print a line, with the time if the output is no terminal; print nothing if the log is JSON, which holds it."""
    if log.is_json():
        return
    time = "" if sys.stdout.isatty() else f"{datetime.datetime.now(datetime.UTC):%H:%M:%SZ} "
    click.echo(f"{time}{line}")
