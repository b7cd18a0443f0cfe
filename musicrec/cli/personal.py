"""Commands for many listeners at once: read their histories, recommend to all of them, and judge how that is done."""

from typing import Any

import click

from musicrec.cli.common import example, open_run, show
from musicrec.cli.options import OUT, Command, Function, address_option, given_of, settings_options
from musicrec.files.paths import to_path
from musicrec.monitor.text_table import text_table
from musicrec.settings import HistoriesSettings, ListenerEvaluationSettings, RecommendSettings, resolve

OF_ALL = tuple(name for name in RecommendSettings.model_fields if name not in ("n", "method", "weight"))
OF_HISTORIES = ("to_all", *OF_ALL, "address", "force")
JUDGED = ("of_histories", *(name for name in ListenerEvaluationSettings.model_fields if name != "seed"))


@click.command(
    cls=Command,
    epilog=example(
        "histories OUT listens.parquet",
        "histories OUT listenbrainz_ada_1764400000.zip likes.m3u8",
        "histories OUT 'Spotify Extended Streaming History' --user ada",
        "histories OUT listens.csv --min-seconds 60 --min-likeness 100",
    ),
)
@OUT
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@settings_options(HistoriesSettings, leave_out=("files",), from_file=False)
def histories(out: str, paths: tuple[str, ...], **options: Any) -> None:  # noqa: ANN401
    """Read what people have listened to, into OUT/histories.

    A PATH is a file, or a folder of files: CSV or Parquet (.csv, .tsv, .parquet), an export of ListenBrainz (.zip, or
    .jsonl alone), Spotify's extended streaming history (.zip or .json), recenttracks of Last.fm (.json), or a playlist
    (.m3u8, .xspf, .jspf), whose songs are one listener's likes.

    A listen is matched with a song of the catalog by its recording's MusicBrainz id, then by ISRC, then by artist and
    title, then by path, then by artist and title that are nearly the same. Listens that are left out are counted under
    a reason, and the most-played names without a song are listed. Each run replaces the whole table.
    """
    from musicrec.stages.histories.stage import histories as stage

    given = given_of(HistoriesSettings, options) | {"files": tuple(str(to_path(path)) for path in paths)}
    with open_run(out) as run:
        settings = resolve(HistoriesSettings, given)
        counts = run.stage("histories", lambda: stage(run.store, settings))
        show(counts)
        if counts.unmatched:
            show(text_table(("not in the catalog", "listens"), counts.unmatched))


def histories_options(function: Function) -> Function:
    """Add the options :data:`OF_HISTORIES`."""
    function = click.option(
        "--force", is_flag=True, help="With --histories: publish the table even if a rollback has withdrawn it."
    )(address_option(function))
    function = settings_options(RecommendSettings, leave_out=("n", "method", "weight"), from_file=False)(function)
    return click.option(
        "--histories", "to_all", is_flag=True, help="Recommend to all listeners of OUT/histories; publish the table."
    )(function)


def recommend_to_all(out: str, *, address: str | None, force: bool, **options: Any) -> None:  # noqa: ANN401
    """Publish what is recommended to all listeners."""
    from musicrec.stages.recommendations.stage import recommend_to_all as stage

    settings = resolve(RecommendSettings, given_of(RecommendSettings, options))
    with open_run(out, address=address) as run:
        show(run.stage("recommend", lambda: stage(run.store, settings, address=address, force=force)))


def judging_options(function: Function) -> Function:
    """Add the options :data:`JUDGED`."""
    function = settings_options(ListenerEvaluationSettings, leave_out=("seed",), from_file=False)(function)
    return click.option(
        "--histories",
        "of_histories",
        is_flag=True,
        help="Judge recommendations by the listeners of OUT/histories, instead of genre models.",
    )(function)


def evaluate_listeners(out: str, **options: Any) -> None:  # noqa: ANN401
    """Judge methods of recommendation, and publish their figures."""
    from musicrec.stages.listener_evaluation.stage import evaluate_listeners as stage

    settings = resolve(ListenerEvaluationSettings, given_of(ListenerEvaluationSettings, options))
    with open_run(out) as run:
        show(run.stage("evaluate", lambda: stage(run.store, settings)))
