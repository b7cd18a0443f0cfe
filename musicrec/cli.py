"""The command line. Each command opens OUT, reads its settings and calls one stage; heavy imports wait until then."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from musicrec import __version__
from musicrec.errors import ConfigError, MusicrecError
from musicrec.options import (
    OUT,
    Commands,
    address_option,
    checkpoint_option,
    dry_run_option,
    failure_options,
    force_option,
    gpu_option,
    limit_option,
    settings_of,
    settings_options,
    workers_option,
)
from musicrec.settings import (
    CatalogSettings,
    EmbedSettings,
    EvaluateSettings,
    ExtractSettings,
    SimilarSettings,
    TrainSettings,
    TuneSettings,
    resolve,
)
from musicrec.storage import Store

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave with its exit code: 0 done, 1 failed, 2 wrong usage."""
    try:
        code = cli.main(arguments, prog_name="musicrec", standalone_mode=False)
    except click.ClickException as e:
        e.show()
        code = e.exit_code
    except (click.Abort, KeyboardInterrupt):
        _complain("interrupted; run the same command again to go on")
        code = EXIT_INTERRUPTED
    except MusicrecError as e:
        _complain(str(e))
        code = EXIT_USAGE if isinstance(e, ConfigError) else EXIT_FAILED
    except Exception as e:  # the person at the terminal gets a line; a developer asks for more
        if os.environ.get("MUSICREC_DEBUG"):
            raise
        _complain(f"{type(e).__name__}: {' '.join(str(e).split())} (set MUSICREC_DEBUG=1 for the traceback)")
        code = EXIT_FAILED
    sys.exit(code if isinstance(code, int) else 0)


def _complain(message: str) -> None:
    click.echo(f"musicrec: {message}", err=True)


@contextmanager
def _open(out: str, *, create: bool = False) -> Iterator[Store]:
    store = Store(out)
    if create:
        store.create()
    else:
        store.require()
    with store.lock():
        yield store


def _example(*lines: str) -> str:
    return "\b\nExamples:\n" + "\n".join(f"  musicrec {line}" for line in lines)


@click.group(cls=Commands, epilog=_example("demo", "run OUT --source ~/Music", 'lookup OUT "blues.00002"'))
@click.version_option(__version__, prog_name="musicrec")
def cli() -> None:
    """Turn a folder of songs into a table of similar songs.

    OUT is a folder of plain Parquet tables that any tool can read. The stages are catalog → extract → train → embed →
    similar → report; `run` does them all, and does again only what is not up to date.
    """


@cli.command(
    epilog=_example(
        "run OUT --source ~/Music",
        "run OUT --source songs.csv --limit 1000",
        "run OUT --source /data/gtzan --images -n 20",
        "run OUT --settings my.toml",
    )
)
@OUT
@settings_options(
    CatalogSettings, ExtractSettings, TrainSettings, SimilarSettings,
    leave_out=("sample_rate", "min_duration_s", "n_mels", "l1", "dropout", "feature_set", "feature_sets"),
)  # fmt: skip
@limit_option
@failure_options
@workers_option
@address_option
@force_option
def run(out: str, settings_file: Path | None, **options: Any) -> None:  # noqa: ANN401
    """Run the whole chain on the songs in a source.

    Finished work is not done again, and a run that was stopped goes on where it stopped.
    """
    if options["source"] is None and settings_file is None and not Store(out).recorded("catalog"):
        raise click.UsageError("Missing option '--source'.")
    with _open(out, create=True) as store:
        _run_chain(store, settings_file, options)


def _run_chain(store: Store, settings_file: Path | None, options: dict[str, Any]) -> None:
    from musicrec.pipeline import ChainSettings, run

    settings = ChainSettings(
        _catalog_settings(store, settings_file, options),
        *(settings_of(cls, store, settings_file, options) for cls in list(ChainSettings.__annotations__.values())[1:]),
    )
    settings = settings.with_what_the_model_reads()
    how = ("address", "workers", "retry_failed", "max_failed_fraction", "seconds_per_file", "limit", "force")
    report = run(store, settings, **{name: options[name] for name in how if name in options}, tell=click.echo)
    click.echo(f"tables: {store.out}\nreport: {report}")


def _catalog_settings(store: Store, settings_file: Path | None, options: dict[str, Any]) -> CatalogSettings:
    """Settings with the source's one true path, whatever folder and link the command was given from and by."""
    settings = settings_of(CatalogSettings, store, settings_file, options)
    return settings.model_copy(update={"source": str(Path(settings.source).resolve())})


@cli.command(epilog=_example("catalog OUT --source ~/Music", "catalog OUT --source songs.csv --kind manifest"))
@OUT
@settings_options(CatalogSettings)
@force_option
def catalog(out: str, settings_file: Path | None, force: bool, **options: Any) -> None:  # noqa: ANN401
    """List the songs of a source: tags, genre, content hash.

    A manifest has one song a row: a column path (below the manifest, or absolute) or uri (file://, http://, https://,
    s3://), and any of track_id, title, artist, artist_id, album, genre and split.
    """
    from musicrec.catalog import catalog as stage

    if options["source"] is None and settings_file is None and not Store(out).recorded("catalog"):
        raise click.UsageError("Missing option '--source'.")
    with _open(out, create=True) as store:
        click.echo(stage(store, _catalog_settings(store, settings_file, options), force=force))


@cli.command(
    epilog=_example(
        "extract OUT",
        "extract OUT --limit 1000 --dry-run",
        "extract OUT --feature-sets iiitd41 --feature-sets fma518",
        "extract OUT --segment-s 3 --images",
        "extract OUT --retry-failed --seconds-per-file 600",
    )
)
@OUT
@settings_options(ExtractSettings)
@dry_run_option
@limit_option
@failure_options
@address_option
@force_option
def extract(out: str, settings_file: Path | None, dry_run: bool, **options: Any) -> None:  # noqa: ANN401
    """Decode each song once; compute its features and mel-spectrogram.

    A song that cannot be used is a row of OUT/outcomes with a reason; the others are not held up.
    """
    from musicrec.extract import extract as stage
    from musicrec.extract import plan

    what = ("retry_failed", "limit", "force")
    how = (*what, "address", "max_failed_fraction", "seconds_per_file")
    if dry_run:
        store = Store(out)
        store.require()
        settings = settings_of(ExtractSettings, store, settings_file, options)
        click.echo(plan(store, settings, **{name: options[name] for name in what}))
        return
    with _open(out) as store:
        settings = settings_of(ExtractSettings, store, settings_file, options)
        click.echo(stage(store, settings, **{name: options[name] for name in how}))


@cli.command(epilog=_example("models", "models --json"))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list.")
def models(as_json: bool) -> None:
    """List the models there are to train.

    What each is, what it reads, how many parameters it has.
    """
    from musicrec.models.about import about, describe

    click.echo(json.dumps([model._asdict() for model in about()], indent=2) if as_json else describe(about()))


@cli.command(epilog=_example("tune OUT --model svm", "tune OUT --model knn --folds 10"))
@OUT
@settings_options(TuneSettings)
@address_option
def tune(out: str, settings_file: Path | None, address: str | None, **options: Any) -> None:  # noqa: ANN401
    """Search the hyper-parameters of a classical model.

    Every candidate of its grid is trained and tested on inner folds of the training songs; the songs that train holds
    out are not looked at. Seed, test fraction and feature set are those of OUT's last train unless given.
    """
    from musicrec.models.tuning import best_params, to_text
    from musicrec.tune import tune as stage

    with _open(out) as store:
        of_train = {name: store.recorded("train").get(name) for name in ("feature_set", "test_fraction", "seed")}
        asked = settings_of(TrainSettings, store, settings_file, {k: v for k, v in options.items() if k in of_train})
        settings = resolve(TuneSettings, options, {name: getattr(asked, name) for name in of_train})
        table = stage(store, settings, address=address)
    best = to_text(best_params(table, settings.model))
    means = table.to_pandas().groupby("candidate")[["accuracy", "train_accuracy"]].mean()
    click.echo(f"tune: {len(means)} candidates of {settings.model} on {len(table) // len(means)} inner folds")
    click.echo(f"best: {best}, accuracy {means['accuracy'][best]:.3f} (train {means['train_accuracy'][best]:.3f})")
    click.echo(f"train with it: musicrec train {out} --model {settings.model} --params '{best}'")


@cli.command(
    epilog=_example(
        "train OUT --model mlp",
        "train OUT --model svm --feature-set gtzan57",
        """train OUT --model svm --params '{"C": 3}'""",
        "train OUT --model resnet --epochs 30",
        "train OUT --model crnn --workers 2",
    )
)
@OUT
@settings_options(TrainSettings)
@workers_option
@gpu_option
@checkpoint_option
@address_option
def train(out: str, settings_file: Path | None, **options: Any) -> None:  # noqa: ANN401
    """Train a genre model and publish it as OUT/models/NAME.

    `musicrec models` lists the models and what each reads. Settings that a model has no use for do nothing. A network
    that is stopped goes on from its last checkpoint when the same command is given again.
    """
    from musicrec.models import read_card
    from musicrec.train import train as stage

    with _open(out) as store:
        settings = settings_of(TrainSettings, store, settings_file, options)
        how = ("address", "workers", "gpu", "checkpoint_s")
        click.echo(stage(store, settings, **{name: options[name] for name in how}))
        metrics = read_card(store.path(f"models/{settings.model}"))["metrics"]
        click.echo(f"test accuracy {metrics['test_accuracy']:.3f} on {metrics['n_test']} songs")


@cli.command(
    epilog=_example(
        "evaluate OUT",
        "evaluate OUT --models svm --models mlp --seeds 5",
        "evaluate OUT --models resnet --models whitened_svm --fuse resnet+whitened_svm",
    )
)
@OUT
@settings_options(EvaluateSettings, TrainSettings, leave_out=("model", "test_fraction"))
@address_option
def evaluate(out: str, settings_file: Path | None, address: str | None, **options: Any) -> None:  # noqa: ANN401
    """Judge models by cross-validation.

    Each model is trained anew on every fold of two splits: songs held apart at random, and by artist. What a model said
    of songs that it had not seen stands in OUT/evaluation, the figures with their intervals over artists in OUT/scores,
    and both in the report.
    """
    from musicrec.cross_validate import evaluate as stage
    from musicrec.evaluate import summary

    with _open(out) as store:
        judged = settings_of(EvaluateSettings, store, settings_file, options)
        trained = settings_of(TrainSettings, None, settings_file, options)
        click.echo(summary(stage(store, judged, trained, address=address)))


@cli.command(epilog=_example("embed OUT", "embed OUT --model mlp"))
@OUT
@settings_options(EmbedSettings)
@address_option
def embed(out: str, settings_file: Path | None, address: str | None, **options: Any) -> None:  # noqa: ANN401
    """Turn every song into a vector by a trained model."""
    from musicrec.embed import embed as stage

    with _open(out) as store:
        click.echo(stage(store, settings_of(EmbedSettings, store, settings_file, options), address=address))


@cli.command(epilog=_example("similar OUT", "similar OUT -n 20 --metric euclidean"))
@OUT
@settings_options(SimilarSettings)
@address_option
def similar(out: str, settings_file: Path | None, address: str | None, **options: Any) -> None:  # noqa: ANN401
    """Find the most similar songs of every song and publish the table."""
    from musicrec.similar import similar as stage

    with _open(out) as store:
        click.echo(stage(store, settings_of(SimilarSettings, store, settings_file, options), address=address))


@cli.command(epilog=_example('lookup OUT "blues.00002"', "lookup OUT rock/anthem.mp3 -n 5 --json"))
@OUT
@click.argument("track")
@click.option("-n", "n", type=click.IntRange(1), default=10, show_default=True, help="How many songs to show.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def lookup(out: str, track: str, n: int, as_json: bool) -> None:
    """Show the songs most similar to a song.

    TRACK is an id, a file name or a title.
    """
    from musicrec.lookup import SimilarTable

    table = SimilarTable(out)
    song = table.song(track.encode("utf-8", "replace").decode())
    similar_songs = table.similar(song.track_id, n)
    if as_json:
        rows = [{"rank": s.rank, **s.song._asdict(), "score": s.score} for s in similar_songs]
        click.echo(json.dumps({"song": song._asdict(), "similar": rows}, ensure_ascii=False, indent=2))
        return
    click.echo(f"Similar songs to {song.track_id} ({song.genre or 'no genre'}):")
    width = max([len("song"), *(len(s.song.track_id) for s in similar_songs)])
    genre_width = max([len("genre"), *(len(s.song.genre or "") for s in similar_songs)])
    click.echo(f"rank  {'song':{width}}  {'genre':{genre_width}}   score")
    for s in similar_songs:
        click.echo(f"{s.rank:4}  {s.song.track_id:{width}}  {s.song.genre or '':{genre_width}}  {s.score:6.3f}")


@cli.command(epilog=_example("report OUT"))
@OUT
def report(out: str) -> None:
    """Write OUT/report.html, one page with figures and examples."""
    from musicrec.report import write_report

    with _open(out) as store:
        click.echo(f"report: {write_report(store)}")


@cli.command(epilog=_example("demo", "demo /tmp/musicrec-demo"))
@click.argument("out", default="musicrec-demo")
@click.option("--songs", type=click.IntRange(2), default=10, show_default=True, help="Synthetic songs in each style.")
def demo(out: str, songs: int) -> None:
    """Run the whole chain on a small synthetic catalog.

    The songs are made and go to OUT-synthetic-catalog, the tables to OUT; then one song is looked up.
    """
    from musicrec.demo import write_catalog
    from musicrec.lookup import SimilarTable

    source = Path(f"{Path(out).absolute()}-synthetic-catalog")
    written = write_catalog(source, songs_per_style=songs)
    click.echo(f"synthetic catalog: {source} ({written} files written)")
    with _open(out, create=True) as store:
        _run_chain(store, None, {"source": str(source)})
    song = next(iter(SimilarTable(out).songs()))
    click.echo()
    click.get_current_context().invoke(lookup, out=out, track=song.track_id, n=10, as_json=False)


if __name__ == "__main__":
    main()
