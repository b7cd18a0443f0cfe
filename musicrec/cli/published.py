"""Commands for what is published: show its version and age, and publish an older version again."""

import datetime
import json
from typing import Any

import click

from musicrec.cli.common import example, open_run
from musicrec.cli.options import OUT, Command, duration
from musicrec.errors import MusicrecError
from musicrec.monitor.text_table import text_table
from musicrec.store.store import Store

ROLLED_BACK = ("similar", "recommendations", "map")  # of others, the next run would make the newer version again


@click.command(
    cls=Command,
    epilog=example("rollback OUT", "rollback OUT --list", "rollback OUT --to 00003-5d1e0c2f", "rollback OUT --to 3"),
)
@OUT
@click.option(
    "--table", type=click.Choice(ROLLED_BACK), default="similar", show_default=True, help="Name of the table."
)
@click.option(
    "--to", metavar="VERSION", help="Version or its number, older or withdrawn.  [default: the previous version]"
)
@click.option("--list", "only_list", is_flag=True, help="List the versions on disk; change nothing.")
def rollback(out: str, table: str, to: str | None, only_list: bool) -> None:
    """Publish an older version of a table again.

    Later versions are withdrawn. They stay on disk for a while, and no run publishes them again, except `rollback --to`
    and `similar --force`. When the songs, the model or the settings change, a run publishes a new version as usual.
    """
    from musicrec.serve.status import versions_of

    if only_list:
        store = Store(out)
        store.require()
        click.echo(text_table(["version", "made (UTC)", "songs", "rows", "size", "made by", ""],
                          [_listed(version) for version in versions_of(store, table)]))  # fmt: skip
        return
    with open_run(out) as run:
        store = run.store
        before = store.versions(table).published
        now = store.rollback(table, to)
        withdrawn = [name for name in store.versions(table).on_disk() if name > now]
        click.echo(f"{table}: {now} is published{' as before' if now == before else f' instead of {before}'}")
        if withdrawn:
            click.echo(f"withdrawn: {', '.join(withdrawn)}; to publish again: musicrec rollback {out} --to VERSION")


@click.command(cls=Command, epilog=example("status OUT", "status OUT --max-age 36h", "status OUT --json"))
@OUT
@click.option(
    "--max-age", type=duration, help="Fail if the table of similar songs is older than this, such as 36h, 2d or 90m."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(out: str, max_age: datetime.timedelta | None, as_json: bool) -> None:
    """Show what is published, its age, and what is outdated.

    The exit code is 1 if the table of similar songs is missing or damaged, or if no run within --max-age has made it or
    found it up to date.
    """
    from musicrec.serve.status import complaint
    from musicrec.serve.status import status as read

    store = Store(out)
    store.require()
    found = read(store)
    wrong = complaint(store, "similar", max_age)
    if as_json:
        tables = [{**t.version._asdict(), "up_to_date": t.is_up_to_date, "why_not": t.why_not} for t in found.tables]
        content: dict[str, Any] = {"out": found.out, "complaint": wrong, "tables": tables}
        content |= {"problems": found.problems, "broken_off": found.broken_off}
        click.echo(json.dumps(content, ensure_ascii=False, indent=2))
    else:
        _show(found)
    if wrong:
        raise MusicrecError(wrong)


def _show(found: Any) -> None:  # noqa: ANN401 - Status, whose module is imported late
    columns = ["table", "version", "made (UTC)", "rows", "size", "made by", "up to date"]
    click.echo(text_table(columns, [_published(*table) for table in found.tables]))
    if found.problems:
        rows = [[p["stage"], p["status"], p["reason"] or "", f"{p['tracks']:,}"] for p in found.problems]
        click.echo("\n" + text_table(["stage", "status", "reason", "tracks"], rows))
    if run := found.broken_off:
        when = run["ended_at"][:16].replace("T", " ")
        click.echo(
            f"\nthe last run, {run['command']}, ended at {when} with exit code {run['exit_code']}: {run['error']}"
        )
    for table in found.tables:
        if table.version.versions:
            versions = f"rows that different versions made stand side by side: {table.version.versions}"
            click.echo(f"\n{table.version.name}: {versions}")
        if table.version.figures:
            figures = [f"{name.replace('_', ' ')} {_figure(value)}" for name, value in table.version.figures.items()]
            click.echo(f"\n{table.version.name}: {', '.join(figures)}")


def _published(version: Any, is_up_to_date: bool | None, why_not: str | None) -> list[str]:  # noqa: ANN401
    state = {True: "yes", False: "no", None: "–"}[is_up_to_date] + (f": {why_not}" if why_not else "")
    return [version.name, version.version, _date(version), _rows(version.rows), _size(version.size_bytes),
            version.made_by, state]  # fmt: skip


def _listed(version: Any) -> list[str]:  # noqa: ANN401
    songs = version.figures.get("songs")
    state = "published" if version.is_published else ""
    if version.withdrawn_at:
        state = f"withdrawn {version.withdrawn_at[:10]}"
    return [version.version, _date(version), _rows(songs), _rows(version.rows), _size(version.size_bytes),
            version.made_by, version.damage or state]  # fmt: skip


def _date(version: Any) -> str:  # noqa: ANN401
    return version.created_at[:16].replace("T", " ") if version.created_at else "–"


def _rows(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"


def _size(size_bytes: int) -> str:
    size = float(size_bytes)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


def _figure(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
