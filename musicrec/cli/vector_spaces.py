"""Commands for spaces of vectors: read those of a file, compute those of a pretrained model, list and remove spaces."""

import json
from functools import partial
from typing import Any

import click

from musicrec.cli.common import example, open_run, show
from musicrec.cli.options import (
    OUT,
    Command,
    Commands,
    address_option,
    failure_options,
    given_of,
    gpu_option,
    settings_options,
)
from musicrec.files.paths import to_path
from musicrec.monitor.text_table import text_table
from musicrec.settings import PretrainedSettings, VectorsSettings, resolve
from musicrec.store.spaces import PublishedSpace, spaces, table_of
from musicrec.store.store import Store

COLUMNS = ("space", "songs", "numbers", "id", "model", "licence", "file")


@click.group(cls=Commands, epilog=example("vectors run OUT musicnn", "vectors add OUT mert mert.parquet"))
def vectors() -> None:
    """Compare songs by vectors of pretrained models.

    `musicrec vectors run` runs such a model on the songs, and `musicrec vectors add` reads its vectors from a file.
    Each makes a space, in which `musicrec similar OUT --space NAME` compares songs.
    """


@vectors.command(
    cls=Command,
    epilog=example(
        "vectors run OUT musicnn", "vectors run OUT musicnn vgg-msd", "vectors run OUT musicnn --duration-s 0"
    ),
)
@OUT
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@settings_options(PretrainedSettings, leave_out=("model",), from_file=False)
@failure_options
@gpu_option
@address_option
def run(out: str, models: tuple[str, ...], address: str | None, gpu: bool, **options: Any) -> None:  # noqa: ANN401
    """Run pretrained models on each song, one after another: a table OUT/vectors/MODEL for each.

    `musicrec models add` keeps such a model on this machine. Its tags, if it has any, become the table OUT/tags/MODEL,
    with a score from 0 to 1 for each. A song that already has a vector by the same model keeps it. A run that was
    stopped continues.

    With --duration-s 0 the model reads whole songs, of any length in the same memory. --seconds-per-file then holds
    for each ten minutes of a song.
    """
    from musicrec.models.pretrained.library import read_model
    from musicrec.stages.pretrained.stage import run_pretrained

    how = {name: options[name] for name in ("retry_failed", "max_failed_fraction", "seconds_per_file")}
    given = given_of(PretrainedSettings, options)
    with open_run(out, address=address) as run:
        for model in models:
            read_model(model)  # before hours of work on another
        for model in models:
            settings = resolve(PretrainedSettings, given | {"model": model})
            stage = partial(run_pretrained, run.store, settings, address=address, gpu=gpu, **how)
            show(run.stage(table_of(model), stage))


@vectors.command(
    cls=Command,
    epilog=example(
        "vectors add OUT mert mert.parquet",
        "vectors add OUT clap s3://bucket/clap.parquet --model clap-htsat --weights 3f9a02c1 --licence CC0-1.0",
    ),
)
@OUT
@click.argument("name")
@click.argument("file", metavar="FILE.parquet")
@settings_options(VectorsSettings, leave_out=("name", "file"), from_file=False)
def add(out: str, name: str, file: str, **options: Any) -> None:  # noqa: ANN401
    """Make a space of the vectors in a Parquet file: the table OUT/vectors/NAME.

    The file has a column track_id, uri or recording_mbid that names the song, and a column embedding with lists of
    floats. A row that cannot be used costs its song only: OUT/outcomes holds the reason.

    Model, weights, front end, windowing and pooling say which vectors can be compared with each other. If the model or
    the weights are not given, here or in the metadata of the file, each file is a space of its own.
    """
    from musicrec.stages.vectors.stage import add_vectors

    path = to_path(file)
    given = given_of(VectorsSettings, options) | {"name": name, "file": str(path)}
    with open_run(out) as run:
        settings = resolve(VectorsSettings, given)
        show(run.stage(table_of(name), lambda: add_vectors(run.store, settings)))


@vectors.command("list", cls=Command, epilog=example("vectors list OUT", "vectors list OUT --json"))
@OUT
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list.")
def list_spaces(out: str, as_json: bool) -> None:
    """List the spaces that were added to OUT."""
    store = Store(out)
    store.require()
    rows = [_row(store, space) for space in spaces(store)]
    if as_json:
        click.echo(json.dumps([dict(zip(COLUMNS, row, strict=True)) for row in rows], ensure_ascii=False, indent=2))
    else:
        click.echo(text_table(COLUMNS, rows))


@vectors.command(cls=Command, epilog=example("vectors remove OUT mert"))
@OUT
@click.argument("name")
def remove(out: str, name: str) -> None:
    """Remove a space from OUT: the table OUT/vectors/NAME, and OUT/tags/NAME if there is one.

    A space that the table of similar songs stands on stays.
    """
    from musicrec.stages.vectors.remove import remove_space

    with open_run(out) as run:
        click.echo(remove_space(run.store, name))


def _row(store: Store, space: PublishedSpace) -> tuple[Any, ...]:
    table = table_of(space.name)
    songs, card = store.dataset(table).count_rows(), space.card
    file = store.footer(table)["settings"].get("file", "")
    return (space.name, songs, space.dimension, space.space_id, card.model, card.licence or "unknown", file)
