"""The command that gives each song a place on a map."""

from typing import Any

import click

from musicrec.cli.common import example, open_run, show
from musicrec.cli.options import OUT, Command, given_of, settings_options
from musicrec.settings import MapSettings, resolve
from musicrec.store.store import Store


@click.command(
    "map", cls=Command, epilog=example("map OUT", "map OUT --neighbours 30 --min-dist 0.3", "map OUT --force")
)
@OUT
@settings_options(MapSettings, from_file=False)
@click.option("--force", is_flag=True, help="Lay all songs out anew.")
def song_map(out: str, force: bool, **options: Any) -> None:  # noqa: ANN401
    """Give each song a place on a map: the table OUT/map.

    Songs that are in each other's lists lie near each other. All songs are laid out by UMAP, which needs umap-learn:
    pip install "musicrec[map]". From then on `musicrec refresh` keeps the map up to date: new songs are put among
    their neighbours, and no other song moves. All are laid out anew when the lists come from another model or space.
    Settings that are not given are those of the published map.
    """
    from musicrec.stages.map.stage import draw_map

    with open_run(out) as run:
        settings = resolve(MapSettings, given_of(MapSettings, options), _published(run.store))
        show(run.stage("map", lambda: draw_map(run.store, settings, force=force)))


def _published(store: Store) -> dict[str, Any]:
    """Return the settings of the published map."""
    return store.footer("map")["settings"] if store.exists("map") else {}
