"""Commands that run stages: each opens OUT, reads its settings and calls a stage."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from musicrec.cli.common import example, open_out, open_run, show
from musicrec.cli.options import (
    OUT,
    Command,
    address_option,
    checkpoint_option,
    dry_run_option,
    failure_options,
    force_option,
    given_of,
    gpu_option,
    limit_option,
    settings_of,
    settings_options,
    workers_option,
)
from musicrec.cli.personal import JUDGED, evaluate_listeners, judging_options
from musicrec.cli.tables import lookup
from musicrec.files.paths import real_path, to_path
from musicrec.settings import (
    OWN_SPACES,
    CatalogSettings,
    DuplicatesSettings,
    EmbedSettings,
    EvaluateSettings,
    ExtractSettings,
    SimilarSettings,
    TrainSettings,
    TuneSettings,
    resolve,
)
from musicrec.store.settings_file import read_toml
from musicrec.store.store import Store

if TYPE_CHECKING:
    from musicrec.stages.chain import ChainSettings


@click.command(
    cls=Command,
    epilog=example(
        "run OUT --source ~/Music",
        "run OUT --source songs.csv --limit 1000",
        "run OUT --source /data/gtzan --images -n 20",
        "run OUT --settings my.toml",
    ),
)
@OUT
@settings_options(
    CatalogSettings, ExtractSettings, TrainSettings, DuplicatesSettings, SimilarSettings,
    leave_out=("sample_rate", "min_duration_s", "n_mels", "l1", "dropout", "feature_set", "feature_sets"),
)  # fmt: skip
@limit_option
@failure_options
@workers_option
@address_option
@force_option
def run(out: str, settings_file: Path | None, **options: Any) -> None:  # noqa: ANN401
    """Run all stages on the songs of a source.

    Finished work is not repeated. A run that was stopped continues where it stopped.
    """
    if options["source"] is None and settings_file is None and not Store(out).settings.recorded("catalog"):
        raise click.UsageError("Missing option '--source'.")
    with open_out(out, create=True) as store:
        _run_chain(store, settings_file, options)


def _run_chain(store: Store, settings_file: Path | None, options: dict[str, Any]) -> None:
    from musicrec.stages.chain import run

    settings = chain_settings(store, settings_file, options).with_what_the_model_reads()
    how = ("address", "workers", "retry_failed", "max_failed_fraction", "seconds_per_file", "limit", "force")
    report = run(store, settings, **{name: options[name] for name in how if name in options}, show=show)
    click.echo(f"tables: {store.out}\nreport: {report}\nlisten: musicrec explore {shlex.quote(str(store.out))}")


def chain_settings(store: Store, settings_file: Path | None, options: dict[str, Any]) -> "ChainSettings":
    """Return the settings of every stage.

    The command line comes first, then the settings file, then those of OUT's last run, then the defaults.
    """
    from musicrec.stages import chain

    stages = chain.ChainSettings.__annotations__
    given = {name: given_of(cls, options) for name, cls in stages.items()}
    given["train"].pop("space", None)  # --space of run is that of similar
    from_file = read_toml(settings_file) if settings_file else {}
    return chain.chain_settings(store, given, {name: from_file.get(name, {}) for name in stages})


def _catalog_settings(store: Store, settings_file: Path | None, options: dict[str, Any]) -> CatalogSettings:
    """Return the settings, with the source as an absolute path without symbolic links."""
    settings = settings_of(CatalogSettings, store, settings_file, options)
    return settings.model_copy(update={"source": real_path(to_path(settings.source))})


@click.command(
    cls=Command,
    epilog=example(
        "catalog OUT --source ~/Music",
        "catalog OUT --source songs.csv --kind manifest",
        "catalog OUT --genre-from tags",
    ),
)
@OUT
@settings_options(CatalogSettings)
@force_option
def catalog(out: str, settings_file: Path | None, force: bool, **options: Any) -> None:  # noqa: ANN401
    """List the songs of a source: tags, genre, content hash.

    A manifest has one row per song. It has a column path (absolute, or relative to the manifest's folder) or uri
    (file://, http://, https://, s3://), and any of the columns track_id, title, artist, artist_id, album, genre, split
    and recording.
    """
    from musicrec.stages.catalog.stage import catalog as stage

    if options["source"] is None and settings_file is None and not Store(out).settings.recorded("catalog"):
        raise click.UsageError("Missing option '--source'.")
    with open_run(out, create=True) as run:
        settings = _catalog_settings(run.store, settings_file, options)
        show(run.stage("catalog", lambda: stage(run.store, settings, force=force)))


@click.command(
    cls=Command,
    epilog=example(
        "extract OUT",
        "extract OUT --limit 1000 --dry-run",
        "extract OUT --feature-sets iiitd41 --feature-sets fma518",
        "extract OUT --segment-s 3 --images",
        "extract OUT --retry-failed --seconds-per-file 600",
    ),
)
@OUT
@settings_options(ExtractSettings)
@dry_run_option
@limit_option
@failure_options
@address_option
@force_option
def extract(out: str, settings_file: Path | None, dry_run: bool, **options: Any) -> None:  # noqa: ANN401
    """Decode each song; compute features and mel-spectrogram.

    A song that cannot be used gets a row in OUT/outcomes with the reason. The other songs are not affected.
    """
    from musicrec.stages.extract.plan import plan
    from musicrec.stages.extract.stage import extract as stage

    what = ("retry_failed", "limit", "force")
    how = (*what, "address", "max_failed_fraction", "seconds_per_file")
    if dry_run:
        store = Store(out)
        store.require()
        settings = settings_of(ExtractSettings, store, settings_file, options)
        click.echo(plan(store, settings, **{name: options[name] for name in what}))
        return
    with open_run(out, address=options["address"]) as run:
        settings = settings_of(ExtractSettings, run.store, settings_file, options)
        show(run.stage("extract", lambda: stage(run.store, settings, **{name: options[name] for name in how})))


@click.command(
    cls=Command,
    epilog=example(
        "tune OUT --model svm", "tune OUT --model knn --folds 10", "tune OUT --model logistic --space musicnn"
    ),
)
@OUT
@settings_options(TuneSettings)
@address_option
def tune(out: str, settings_file: Path | None, address: str | None, **options: Any) -> None:  # noqa: ANN401
    """Search the hyper-parameters of a classical model.

    Every candidate of the model's grid is trained and tested on inner folds of the training songs. The songs that train
    holds out are not used. Seed, test fraction, balance, feature set and spaces default to those of OUT's last train.
    """
    from musicrec.models.tuning import best_params, to_text
    from musicrec.stages.train.tune import tune as stage

    with open_run(out, address=address) as run:
        of_train = {
            name: run.store.settings.recorded("train").get(name)
            for name in ("feature_set", "space", "balance", "test_fraction", "seed")
        }
        given = {name: value for name, value in options.items() if name in of_train}
        asked = settings_of(TrainSettings, run.store, settings_file, given)
        settings = resolve(
            TuneSettings, given_of(TuneSettings, options), {name: getattr(asked, name) for name in of_train}
        )
        table = run.stage("tune", lambda: stage(run.store, settings, address=address))
    best = to_text(best_params(table, settings.model))
    means = table.to_pandas().groupby("candidate")[["accuracy", "train_accuracy"]].mean()
    click.echo(f"tune: {len(means)} candidates of {settings.model} on {len(table) // len(means)} inner folds")
    click.echo(f"best: {best}, accuracy {means['accuracy'][best]:.3f} (train {means['train_accuracy'][best]:.3f})")
    click.echo(f"train with it: musicrec train {out} --model {settings.model} --params '{best}'")


@click.command(
    cls=Command,
    epilog=example(
        "train OUT --model mlp",
        "train OUT --model svm --feature-set gtzan57",
        "train OUT --model logistic --space musicnn --space tags/musicnn --space features",
        """train OUT --model svm --params '{"C": 3}'""",
        "train OUT --model resnet --epochs 30",
        "train OUT --model crnn --workers 2",
    ),
)
@OUT
@settings_options(TrainSettings)
@workers_option
@gpu_option
@checkpoint_option
@address_option
def train(out: str, settings_file: Path | None, **options: Any) -> None:  # noqa: ANN401
    """Train a genre model and publish it as OUT/models/NAME.

    `musicrec models` lists the models and what each reads. A model ignores settings that do not apply to it. If the
    training of a network is stopped, the same command continues it from the last checkpoint.
    """
    from musicrec.evaluate.proportion import share
    from musicrec.models import read_card
    from musicrec.stages.train.stage import train as stage

    with open_run(out, address=options["address"]) as run:
        settings = settings_of(TrainSettings, run.store, settings_file, options)
        how = {name: options[name] for name in ("address", "workers", "gpu", "checkpoint_s")}
        show(run.stage("train", lambda: stage(run.store, settings, **how)))
        metrics = read_card(run.store.path(f"models/{settings.model}"))["metrics"]
        if metrics["test_accuracy"] is not None:
            click.echo(f"test accuracy {share(metrics['test_accuracy'], metrics['n_test'])}")


@click.command(
    cls=Command,
    epilog=example(
        "evaluate OUT",
        "evaluate OUT --models svm --models mlp --seeds 5",
        "evaluate OUT --models logistic --space musicnn",
        "evaluate OUT --models resnet --models whitened_svm --fuse resnet+whitened_svm",
        "evaluate OUT --histories --split last --methods item_knn --methods max --methods hybrid",
    ),
)
@OUT
@settings_options(EvaluateSettings, TrainSettings, leave_out=("model", "test_fraction"))
@address_option
@judging_options
def evaluate(out: str, settings_file: Path | None, address: str | None, **options: Any) -> None:  # noqa: ANN401
    """Evaluate models by cross-validation.

    Each model is trained anew on every fold of two splits: a random split, and a split by artist, if nearly all artists
    are known. The predictions for the held-out songs go to OUT/evaluation, and the scores with their intervals over
    artists to OUT/scores. The report shows both, and compares models that were evaluated on the same songs, also by
    another command or on other spaces.

    With --histories, methods of recommendation are judged instead: from some likes of each listener they recommend
    songs, and the likes that were held out say how good these are. The figures go to OUT/listener_scores.
    """
    from musicrec.evaluate.summary import summary
    from musicrec.serve.known_artists import without_artists
    from musicrec.stages.train.cross_validate import evaluate as stage

    of_listeners = {name: options.pop(name) for name in JUDGED}
    of_models = [name for name, value in options.items() if name != "seed" and value not in (None, ())]
    if of_listeners.pop("of_histories"):
        if of_models or settings_file:
            name = of_models[0].replace("_", "-") if of_models else "settings"
            raise click.UsageError(f"--{name} is of models; leave it out with --histories.")
        evaluate_listeners(out, seed=options["seed"], **of_listeners)
        return
    if given := [name for name, value in of_listeners.items() if value not in (None, ())]:
        raise click.UsageError(f"{'-n' if given[0] == 'n' else '--' + given[0].replace('_', '-')} needs --histories.")
    with open_run(out, address=address) as run:
        judged = settings_of(EvaluateSettings, None, settings_file, options)
        trained = settings_of(TrainSettings, None, settings_file, options)
        scores = run.stage("evaluate", lambda: stage(run.store, judged, trained, address=address))
        line = without_artists(run.store)
    click.echo(summary(scores))
    if line:
        click.echo(line)


@click.command(cls=Command, epilog=example("embed OUT", "embed OUT --model mlp"))
@OUT
@settings_options(EmbedSettings)
@gpu_option
@address_option
def embed(out: str, settings_file: Path | None, address: str | None, gpu: bool, **options: Any) -> None:  # noqa: ANN401
    """Compute an embedding of every song with a trained model."""
    from musicrec.stages.embed import embed as stage

    with open_run(out, address=address) as run:
        settings = settings_of(EmbedSettings, run.store, settings_file, options)
        others = [name.removeprefix("models/") for name in run.store.published() if name.startswith("models/")]
        others = [name for name in others if name != settings.model]
        if others:
            show(f"embed: by the model {settings.model}; for another, say --model {' or '.join(others)}")
        show(run.stage("embed", lambda: stage(run.store, settings, address=address, gpu=gpu)))


@click.command(
    cls=Command,
    epilog=example("duplicates OUT", "duplicates OUT --csv copies.csv", "duplicates OUT --max-bit-errors 0.15"),
)
@OUT
@settings_options(DuplicatesSettings)
@click.option(
    "--csv",
    "csv_file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the files of each recording of which there are several, with format, bit rate and length. The "
    "best comes first: lossless formats, then higher bit rates, then longer files.",
)
@address_option
def duplicates(
    out: str,
    settings_file: Path | None,
    csv_file: Path | None,
    address: str | None,
    **options: Any,  # noqa: ANN401
) -> None:
    """Find the songs that are files of one recording.

    Songs are compared by fingerprints of their sound. Another format, bit rate, level or sample rate, a cut at an end
    and a speed up to 4 % higher or lower make no other recording. Nothing is decoded: the fingerprints come from
    OUT/mel. The table OUT/recordings says which recording each song is; `musicrec similar --no-duplicates` uses it.
    """
    from musicrec.serve.copies import copies, write_copies
    from musicrec.stages.duplicates.stage import duplicates as stage

    with open_run(out, address=address) as run:
        settings = settings_of(DuplicatesSettings, run.store, settings_file, options)
        show(run.stage("duplicates", lambda: stage(run.store, settings, address=address)))
        if csv_file:
            table = copies(run.store)
            write_copies(table, csv_file)
            click.echo(f"{csv_file}: {len(table)} files of recordings that are there more than once")


@click.command(
    cls=Command,
    epilog=example(
        "similar OUT",
        "similar OUT -n 20 --metric euclidean",
        "similar OUT --no-same-artist --no-duplicates",
        "similar OUT --genre boost --genre-weight 0.5 --max-churn 0.3",
        "similar OUT --require-tag instrumental=0.3 --exclude-tag 'female vocalists=0.2'",
    ),
)
@OUT
@settings_options(SimilarSettings)
@gpu_option
@address_option
@click.option("--force", is_flag=True, help="Publish the table even if a rollback has withdrawn it.")
def similar(
    out: str,
    settings_file: Path | None,
    address: str | None,
    gpu: bool,
    force: bool,
    **options: Any,  # noqa: ANN401
) -> None:
    """Find the most similar songs of every song; publish them.

    Every song is compared with every other song. If the published table was made by the same model, only new and
    changed songs are compared, with the same result. If a rule leaves a song out of a list, the next song takes its
    place. A table that does not pass its gate is not published.
    """
    from musicrec.stages.similar.stage import similar as stage

    with open_run(out, address=address) as run:
        settings = settings_of(SimilarSettings, run.store, settings_file, options)
        show(run.stage("similar", lambda: stage(run.store, settings, address=address, gpu=gpu, force=force)))


@click.command(cls=Command, epilog=example("report OUT"))
@OUT
def report(out: str) -> None:
    """Write OUT/report.html: one page with figures and examples."""
    from musicrec.report import write_report

    with open_run(out) as run:
        click.echo(f"report: {run.stage('report', lambda: write_report(run.store, run.so_far))}")


@click.command(cls=Command, epilog=example("demo", "demo /tmp/musicrec-demo"))
@click.argument("out", default="musicrec-demo")
@click.option(
    "--songs", type=click.IntRange(2), default=10, show_default=True, help="Number of synthetic songs in each style."
)
def demo(out: str, songs: int) -> None:
    """Run all stages on a small synthetic catalog.

    The songs are generated in OUT-synthetic-catalog, and the tables go to OUT. Then one song is looked up.
    """
    from musicrec.serve.lookup import SimilarTable
    from musicrec.stages.catalog.synthetic import write_catalog

    source = Path(f"{Path(out).absolute()}-synthetic-catalog")
    written = write_catalog(source, songs_per_style=songs)
    click.echo(f"synthetic catalog: {source} ({written} files written; some are broken on purpose)")
    with open_out(out, create=True) as store:
        _run_chain(store, None, {"source": str(source), "space": (OWN_SPACES[0],)})  # the same on every machine
    song = next(iter(SimilarTable(out).songs()))
    click.echo()
    click.get_current_context().invoke(lookup, out=out, tracks=(song.track_id,))
