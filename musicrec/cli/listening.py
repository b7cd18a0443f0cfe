"""Commands for listeners: recommend songs, and browse similar songs."""

import json
import sys
from collections.abc import Iterator, Sequence
from itertools import compress
from typing import TYPE_CHECKING, Any, get_args

import click

from musicrec.cli.common import example, label, song_called
from musicrec.cli.options import OUT, Command, Range
from musicrec.cli.personal import OF_ALL, OF_HISTORIES, histories_options, recommend_to_all
from musicrec.monitor.text_table import Cell, printable, text_table
from musicrec.settings import RecommendMethod

if TYPE_CHECKING:
    from musicrec.serve.explore import Page
    from musicrec.serve.lookup import Song
    from musicrec.serve.recommend import Recommendation

FOR_LIKES = ("cosine", "genre")  # methods
N_FOR_ONE_SONG, N_FOR_SEVERAL = 10, 5  # the defaults of the two reference systems


class _Method(click.Choice[str]):
    """A method of recommendation; those of several words also with hyphens."""

    def __init__(self) -> None:
        super().__init__(list(dict.fromkeys([*FOR_LIKES, *get_args(RecommendMethod)])))

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ANN401
        """Return the name as the settings have it."""
        return super().convert(value.replace("-", "_"), param, ctx)


@click.command(
    cls=Command,
    epilog=example(
        "recommend OUT --like blues.00002",
        "recommend OUT --like blues.00002 --by knn",
        "recommend OUT --like blues.00002 --like jazz.00005 --method genre -n 5",
        "recommend OUT --genre jazz",
        "recommend OUT --histories -n 20 --max-per-artist 2",
        "recommend OUT --histories --method multi_interest",
        "recommend OUT --histories --method hybrid",
    ),
)
@OUT
@click.option(
    "--like",
    "likes",
    multiple=True,
    help="A song you like: id, path, file name, title, or words of artist and title; repeat the option for several.",
)
@click.option(
    "--genre",
    "genres",
    multiple=True,
    help="A genre you like: its centre song counts as a liked song; repeat the option for several.",
)
@click.option(
    "--by",
    type=click.Choice(["table", "embedding", "knn", "clustering"]),
    default="table",
    show_default=True,
    help="Compare songs as the published table does, by the cosine of their embeddings, by the Euclidean distance of "
    "their standardised features (knn), or by the Euclidean distance in the plane of two principal "
    "components (clustering).",
)
@click.option(
    "--method",
    type=_Method(),
    help="Score: the cosine alone, or the cosine plus --weight times the agreement of the genre probabilities (of "
    "embeddings, so not with --by knn or clustering). For songs that the model was trained on, these largely repeat "
    "the genres it was given. With --histories: the similarity to the most similar like (max), the mean similarity to "
    "all likes (mean), that plus the agreement of genres (genre), the songs most similar to the centre of each "
    "interest, in turn (multi_interest), or the fused ranks of max and of what similar "
    "listeners like (hybrid).  [default: cosine; max with --histories]",
)
@click.option(
    "--pool",
    type=click.Choice(["mean", "max"]),
    default="mean",
    show_default=True,
    help="With several liked songs: use the mean similarity to them, or the similarity to the nearest one.",
)
@click.option(
    "--weight",
    type=Range(0),
    default=1.0,
    show_default=True,
    help="Weight of the genre agreement with --method genre.",
)
@click.option(
    "-n",
    "n",
    type=click.IntRange(1),
    help="Number of songs.  [default: 10 for one liked song, 5 for several; 20 with --histories]",
)
@click.option("--paths", is_flag=True, help="Show ids, which are mostly paths, instead of artists and titles.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@histories_options
def recommend(
    out: str,
    likes: tuple[str, ...],
    genres: tuple[str, ...],
    n: int | None,
    as_json: bool,
    **how: Any,  # noqa: ANN401
) -> None:
    """Recommend songs similar to the songs you like.

    The liked songs are never recommended, nor are other files of their recordings. Each recommended song is shown with
    the liked song that it is most similar to.

    With --histories, recommend to all listeners of the table OUT/histories, and publish the table OUT/recommendations.
    A song is then ranked by its similarity to the most similar like, unless --method says otherwise, and all songs that
    somebody has heard are left out.
    """
    from musicrec.serve.recommend import Recommender

    of_all = {name: how.pop(name) for name in OF_HISTORIES}
    if of_all.pop("to_all"):
        if likes or genres:
            raise click.UsageError("--histories takes the likes of all listeners; leave out --like and --genre.")
        if how["method"] not in (None, *get_args(RecommendMethod)):
            choices = ", ".join(get_args(RecommendMethod))
            raise click.UsageError(f"--method {how['method']} is for --like; with --histories say one of {choices}.")
        recommend_to_all(out, n=n, method=how["method"], weight=how["weight"], **of_all)
        return
    if given := [name for name in OF_ALL if of_all[name] is not None]:
        raise click.UsageError(f"--{given[0].replace('_', '-')} needs --histories.")
    how["method"] = how["method"] or FOR_LIKES[0]
    if how["method"] not in FOR_LIKES:
        raise click.UsageError(f"--method {how['method']} needs --histories.")
    paths = how.pop("paths")
    if not likes and not genres:
        raise click.UsageError("Missing option '--like', '--genre' or '--histories'.")
    recommender = Recommender(out)
    centres = {genre: recommender.centre(genre) for genre in genres}
    songs = [*(song_called(_clean(name), recommender.song) for name in likes), *centres.values()]
    liked = list({song.track_id: song for song in songs}.values())
    n = n or (N_FOR_ONE_SONG if len(liked) == 1 else N_FOR_SEVERAL)
    found = recommender.recommend([song.track_id for song in liked], n, **how)
    if as_json:
        click.echo(json.dumps(_as_json(liked, centres, how, found), ensure_ascii=False, indent=2))
        return
    for genre, song in centres.items():
        click.echo(printable(f"Centre song of {genre}: {label(song, path=paths)}"))
    click.echo(printable(_heading(liked, how["by"], paths=paths)))
    is_distance = how["by"] in ("knn", "clustering")
    rows = [
        (r.rank, label(r.song, path=paths), r.song.genre, 0.0 - r.score if is_distance else r.score,
         label(r.because, path=paths) if len(liked) > 1 else None)
        for r in found
    ]  # fmt: skip
    _show_table(("rank", "song", "genre", "distance" if is_distance else "score", "because"), rows)


def _as_json(
    liked: "list[Song]", centres: "dict[str, Song]", how: dict[str, Any], found: "list[Recommendation]"
) -> dict[str, Any]:
    rows = [{"rank": r.rank, **r.song._asdict(), "score": r.score, "because": r.because.track_id} for r in found]
    return {
        "likes": [song._asdict() for song in liked],
        "centres": {genre: song.track_id for genre, song in centres.items()},
        **how,
        "recommended": rows,
    }


def _heading(liked: "list[Song]", by: str, *, paths: bool) -> str:
    named = [label(song, path=paths) + (f" ({song.genre})" if song.genre else "") for song in liked]
    if len(named) > 1 or by == "knn":
        listed = " and ".join([*filter(None, [", ".join(named[:-1])]), named[-1]])
        return f"If you like {listed}, you might enjoy:"
    where = " in the plane of two principal components" if by == "clustering" else ""
    return f"Similar songs to {named[0]}{where}:"


def _show_table(head: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """Print a table without its empty columns."""
    if not rows:
        click.echo("none: no other song is left")
        return
    filled = [any(cell not in (None, "") for cell in cells) for cells in zip(*rows, strict=True)]
    click.echo(text_table(list(compress(head, filled)), [list(compress(row, filled)) for row in rows]))


def _clean(text: str) -> str:
    """Replace what is not valid text, such as a byte of another encoding."""
    return text.encode("utf-8", "replace").decode()


# --- interactive --------------------------------------------------------------------------------------------------


@click.command(cls=Command, epilog=example("listen OUT"))
@OUT
def listen(out: str) -> None:
    """Browse from song to song.

    Type the name of a song, or part of it, or random, to see ten similar songs. Type m for ten more, or the number of
    a song to continue from that song. Quit with q, Ctrl-D or Ctrl-C.
    """
    import numpy as np

    from musicrec.serve.explore import HELP, Talk
    from musicrec.serve.lookup import SimilarTable
    from musicrec.store.store import Store

    talk = Talk(SimilarTable(out), Store(out), np.random.default_rng())
    for stream in (sys.stdin, sys.stdout):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(
                errors="replace"
            )  # a terminal may not know the letters of a song, and may send invalid bytes
    click.echo(f"Type {HELP}.")
    try:
        for line in _answers():
            _show(talk.answer(line))
    except KeyboardInterrupt:
        click.echo()


def _answers() -> Iterator[str]:
    """Yield what the user types, line by line, until the user quits."""
    prompt = "song> " if sys.stdin.isatty() else ""
    while True:
        click.echo(prompt, nl=False)
        line = sys.stdin.readline()  # input() misses an early Ctrl-C more often
        if not line:
            click.echo()
        if line.strip().casefold() in ("q", "quit") or not line:
            return
        yield _clean(line)


def _show(page: "Page") -> None:
    if page.heading:
        click.echo(printable(page.heading))
    if page.lines:
        rows = [(line.number, label(line.song), line.song.genre, line.score) for line in page.lines]
        _show_table(("", "song", "genre", "score"), rows)
    if page.note:
        click.echo(printable(page.note))
