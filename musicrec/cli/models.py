"""Commands for models: list them, add and remove pretrained ones, and compare what two make of the songs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from musicrec.cli.common import example
from musicrec.cli.comparing import compare
from musicrec.cli.options import Command, Commands
from musicrec.monitor.text_table import text_table

if TYPE_CHECKING:
    from musicrec.models.pretrained.card import Card


@click.group(
    cls=Commands,
    invoke_without_command=True,
    epilog=example("models", "models --json", "models add musicnn", "models add model.onnx --card card.toml"),
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list of the models that can be trained.")
@click.pass_context
def models(context: click.Context, as_json: bool) -> None:
    """List the models, add a pretrained one, or compare two.

    Shows for each model that can be trained what it is, what it reads and how many parameters it has; and which
    pretrained models are on this machine.
    """
    from musicrec.models.about import about, describe

    if context.invoked_subcommand:
        return
    if as_json:
        click.echo(json.dumps([model._asdict() for model in about()], indent=2))
        return
    click.echo(describe(about()))
    click.echo(f"\n{_installed()}")


def _installed() -> str:
    from musicrec.models.pretrained.library import installed, models_folder

    rows = [(card.name, card.licence, card.source) for card in installed()]
    if not rows:
        return f"No pretrained models in {models_folder()}; to fetch one: musicrec models add musicnn"
    return f"Pretrained models, in {models_folder()}:\n\n{text_table(('model', 'licence', 'source'), rows)}"


@models.command(
    cls=Command,
    epilog=example("models add musicnn", "models add vgg-msd", "models add model.onnx --card card.toml"),
)
@click.argument("model", metavar="NAME|FILE.onnx")
@click.option(
    "--card", "card_file", type=click.Path(path_type=Path), help="TOML file that says what FILE.onnx reads and gives."
)
def add(model: str, card_file: Path | None) -> None:
    """Keep a pretrained model on this machine.

    The model is checked first: whether it is what its card says, computes the card's golden vectors, and gives a clip
    the same vector whatever other clips are in its batch. Four models are known by name: musicnn and vgg-msd, trained
    on the Million Song Dataset, and musicnn-mtt and vgg-mtt, trained on MagnaTagATune. They are fetched from the
    package index by pip, and converted. The models lie in ~/.cache/musicrec, or in the folder that MUSICREC_CACHE
    names.
    """
    from musicrec.models.pretrained.library import models_folder
    from musicrec.models.pretrained.musicnn_wheel import CHECKPOINTS, add_checkpoint

    if (card_file is None) != (model in CHECKPOINTS):
        raise click.UsageError(f"Expected one of {', '.join(CHECKPOINTS)}, or FILE.onnx with --card CARD.toml.")
    card = add_checkpoint(model) if card_file is None else _add_file(Path(model), card_file)
    click.echo(f"{card.name}: {card.source}; licence {card.licence}; in {models_folder() / card.name}")


@models.command(cls=Command, epilog=example("models remove musicnn"))
@click.argument("model")
def remove(model: str) -> None:
    """Remove a pretrained model from this machine.

    Vectors that it has made stay. Nights that compare songs by them leave them as they are, and new songs have none.
    """
    from musicrec.models.pretrained.library import remove as remove_model

    click.echo(f"{model} removed: it was in {remove_model(model)}")


def _add_file(file: Path, card_file: Path) -> "Card":
    from musicrec.errors import ModelError
    from musicrec.models.pretrained.card import read_card
    from musicrec.models.pretrained.library import add as add_model

    card = read_card(card_file)
    try:
        return add_model(file.read_bytes(), card)
    except OSError as e:
        raise ModelError(f"model {file}: {e.strerror}; expected an ONNX file") from e


models.add_command(compare)
