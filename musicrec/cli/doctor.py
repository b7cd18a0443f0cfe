"""The command that checks the installation."""

import json
import sys

import click

from musicrec import __version__
from musicrec.cli.common import example
from musicrec.cli.options import Command
from musicrec.errors import MusicrecError


@click.command(cls=Command, epilog=example("doctor", "doctor OUT", "doctor s3://bucket/out --json"))
@click.argument("out", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(out: str | None, as_json: bool) -> None:
    """Check that musicrec works on this machine.

    Decodes a second of every kind of audio, finds similar songs with each method that the processor supports, computes
    features, runs a TensorFlow layer and a Ray task, connects to S3 if it is set up, and writes to OUT (or the current
    folder) and to the temporary folder. Nothing is left behind. This takes about half a minute; on a fresh machine,
    compiling adds a minute.

    The exit code is 1 if an installed part does not work; its line says what to do.
    """
    from musicrec.stages.doctor import FAILS, checks

    results = []
    for check in checks(out):
        if sys.stdout.isatty() and not as_json:
            click.echo(f"{'…':6}  {check.name}\r", nl=False)
        result = check.run()
        results.append(result)
        if not as_json:
            state = result.state.upper() if result.state == FAILS else result.state
            click.echo(f"{state:6}  {result.name:10}  {result.detail}")
    failing = [result.name for result in results if result.state == FAILS]
    if as_json:
        content = {"musicrec": __version__, "ok": not failing, "checks": [result._asdict() for result in results]}
        click.echo(json.dumps(content, ensure_ascii=False, indent=2))
    if failing:
        raise MusicrecError(f"{len(failing)} of {len(results)} checks failed: {', '.join(failing)}")
