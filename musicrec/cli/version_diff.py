"""The command that compares two versions of the table of similar songs."""

import json
from typing import TYPE_CHECKING, Any

import click

from musicrec.cli.common import example, label, song_called
from musicrec.cli.options import OUT, Command
from musicrec.monitor.text_table import text_table
from musicrec.store.store import Store

if TYPE_CHECKING:
    from musicrec.serve.lookup import Song
    from musicrec.serve.version_changes import Changes, Place

SHOWN = 3  # songs that came into a list, or left it


@click.command(
    cls=Command,
    epilog=example("diff OUT", "diff OUT 3 5", "diff OUT --song blues.00002", "diff OUT 00003-5d1e0c2f --json"),
)
@OUT
@click.argument("before", required=False)
@click.argument("after", required=False)
@click.option("--song", help="Show both lists of this song.")
@click.option("-n", "n", type=click.IntRange(0), default=10, show_default=True, help="Most changed lists to show.")
@click.option("--paths", is_flag=True, help="Show ids, which are mostly paths, instead of artists and titles.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def diff(
    out: str, *, before: str | None, after: str | None, song: str | None, n: int, paths: bool, as_json: bool
) -> None:
    """Show which lists changed from one version to another.

    BEFORE and AFTER are versions or their numbers, as `rollback --list` shows them: by default the version before the
    published one, and the published one.
    """
    from musicrec.serve.version_changes import TwoVersions

    store = Store(out)
    store.require()
    versions = TwoVersions(store, before, after)
    found = versions.places(song_called(song, versions.song).track_id) if song else versions.changes(n)
    if as_json:
        click.echo(json.dumps(_plain(found), ensure_ascii=False, indent=2))
    elif isinstance(found, list):
        click.echo(_places(found, versions.before, versions.after, paths=paths))
    else:
        click.echo(_changes(found, paths=paths))


def _places(places: "list[Place]", before: str, after: str, *, paths: bool) -> str:
    """Return both lists of a song side by side."""
    notes = {(True, False): "came", (False, True): "left"}
    rows = [
        (label(song, path=paths), *places, notes.get((places[0] is None, places[1] is None)))
        for song, *places in places
    ]
    return text_table(("song", before, after, "score before", "score after", ""), rows)


def _changes(found: "Changes", *, paths: bool) -> str:
    common = found.same + found.reordered + found.changed
    kept = "" if found.kept is None else f"; on average {100 * found.kept:.1f} % of a list stayed"
    rows = [
        (label(song, path=paths), f"{kept} of {length}", _few(came, paths=paths), _few(left, paths=paths))
        for song, kept, length, came, left in found.most
    ]
    return "\n".join([
        f"similar: {found.before} → {found.after}: {len(found.added):,} songs added, {len(found.gone):,} gone",
        f"lists of the {common:,} songs of both: {found.same:,} equal, {found.reordered:,} in another order, "
        f"{found.changed:,} with other songs{kept}",
        *(["", text_table(("most changed", "kept", "came", "left"), rows)] if rows else []),
    ])  # fmt: skip


def _few(songs: "list[Song]", *, paths: bool) -> str:
    named = ", ".join(label(song, path=paths) for song in songs[:SHOWN])
    return f"{named} and {len(songs) - SHOWN} more" if len(songs) > SHOWN else named


def _plain(value: Any) -> Any:  # noqa: ANN401
    """Return named tuples as dictionaries, wherever they stand."""
    if hasattr(value, "_asdict"):
        return {name: _plain(part) for name, part in value._asdict().items()}
    return [_plain(part) for part in value] if isinstance(value, list) else value
