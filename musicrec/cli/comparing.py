"""The command that sets two spaces beside each other."""

import json
from typing import TYPE_CHECKING, Any

import click

from musicrec.cli.common import example
from musicrec.cli.options import OUT, Command
from musicrec.monitor.text_table import text_table
from musicrec.settings import SimilarSettings, resolve
from musicrec.store.store import Store

if TYPE_CHECKING:
    from musicrec.evaluate.classification import Accuracy
    from musicrec.serve.space_comparison import Comparison

N = SimilarSettings.model_fields["n"].default


@click.command(
    cls=Command,
    epilog=example(
        "models compare OUT embeddings musicnn",
        "models compare OUT musicnn musicnn=1,features=0.5",
        "models compare OUT features musicnn --json",
    ),
)
@OUT
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option("-n", type=click.IntRange(1), default=N, show_default=True, help="Length of the lists.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def compare(out: str, first: str, second: str, n: int, as_json: bool) -> None:
    """Compare two spaces before a table is switched from A to B.

    A and B are spaces, or several with weights, joined by commas. Shows how much the lists of both have in common, how
    evenly they spread over the catalog, and how well songs of the same genre by other artists find each other. Lists
    are compared by cosine, without rules. Differences are B minus A; one whose interval leaves out
    0 is unlikely to be chance.
    """
    from musicrec.serve.space_comparison import compare_spaces

    a, b = (resolve(SimilarSettings, {"space": tuple(text.split(","))}).space for text in (first, second))
    if a == b:
        raise click.UsageError("A and B are the same space.")
    store = Store(out)
    store.require()
    found = compare_spaces(store, a, b, n)
    click.echo(json.dumps(_plain(found), ensure_ascii=False, indent=2) if as_json else describe(found))


def _plain(value: Any) -> Any:  # noqa: ANN401 - any part of a comparison
    """Return named tuples as dictionaries."""
    if hasattr(value, "_asdict"):
        return {name: _plain(part) for name, part in value._asdict().items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value


def describe(found: "Comparison") -> str:
    """Return a comparison as text for a terminal."""
    return "\n\n".join(filter(None, [_of_lists(found), _of_genres(found), "\n".join(_cautions(found))]))


def _of_lists(found: "Comparison") -> str:
    a, b = found.lists
    rows = [
        (f"songs with a vector, of {found.n_songs:,}", f"{a.with_vector:,}", f"{b.with_vector:,}"),
        ("numbers in a vector", str(a.dimension), str(b.dimension)),
        ("songs in no list", _percent(a.hubs.antihub_share), _percent(b.hubs.antihub_share)),
        ("lists that the most frequent song is in", f"{a.most_frequent:,}", f"{b.most_frequent:,}"),
        ("skewness of how often songs are in lists", f"{a.hubs.hub_skew:.2f}", f"{b.hubs.hub_skew:.2f}"),
    ]
    common = f"A song's two lists have {_percent(found.overlap)} of their songs in common."
    return f"{text_table((f'lists of {found.n}', *_heads(found)), rows)}\n{common}"


def _of_genres(found: "Comparison") -> str:
    figures = {
        "precision at 5": found.genres.precision,
        "mean average precision": found.genres.average_precision,
        "accuracy of a linear classifier": found.genres.accuracy,
    }
    rows = [(name, *map(_interval, figure)) for name, figure in figures.items() if figure]
    if not rows:
        return "No genre has enough songs by other artists: how well a space finds one cannot be known here."
    head = ("same genre, other artists [95 %]", *_heads(found), "B - A")
    absent = [
        f"The {name} cannot be known: too few songs or artists." for name, figure in figures.items() if not figure
    ]
    return "\n".join([text_table(head, rows), *absent])


def _cautions(found: "Comparison") -> list[str]:
    """Return what the figures of genres are of, and what they cannot tell."""
    genres = found.genres
    lines = [
        f"Genres: {genres.n_songs:,} songs of {genres.n_genres} genres by {genres.n_artists:,} artists. Intervals are "
        f"over artists; no classifier was trained on an artist that it is tested on."
    ]
    if genres.n_asked < genres.n_songs:
        lines.append(
            f"To save time, only {genres.n_asked:,} of these songs were searched for, and the classifier was judged by "
            f"{genres.n_probed:,}."
        )
    if found.n_unknown_artists:
        lines.append(
            f"{found.n_unknown_artists:,} songs have no artist in the catalog. Each counts as the only one of its "
            f"artist, or of its recording, so songs by one artist may find each other."
        )
    if found.n_trained_on is None:
        lines.append(
            "embeddings: which songs their model was trained on is not known, and of those it knows the genre. The "
            "figures may be far too good."
        )
    elif found.n_trained_on:
        lines.append(f"embeddings: the {found.n_trained_on:,} songs that their model was trained on are left out here.")
    if found.pretrained:
        lines.append(
            f"{', '.join(found.pretrained)}: trained elsewhere, perhaps on songs of these artists. Songs that a model "
            f"has heard are found better than others."
        )
    return lines


def _heads(found: "Comparison") -> tuple[str, ...]:
    return tuple(f"{letter}: {lists.space}" for letter, lists in zip("AB", found.lists, strict=True))


def _interval(figure: "Accuracy") -> str:
    return f"{figure.mean:.3f} [{figure.low:.3f}, {figure.high:.3f}]"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
