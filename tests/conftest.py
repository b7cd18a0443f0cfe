"""Fixtures that several test modules share."""

import hashlib
import os
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import numpy as np
import pytest
from filelock import FileLock

if TYPE_CHECKING:
    from musicrec.store.store import Store

os.environ["RAY_AUTH_MODE"] = "token"  # as users' clusters run
os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
os.environ.pop("RAY_ADDRESS", None)  # tests never run on somebody's cluster


pytest_plugins = ["browsing", "s3.fixtures"]

hypothesis.settings.register_profile("musicrec", deadline=None)  # a busy machine is no fault; --timeout ends what hangs
hypothesis.settings.load_profile("musicrec")

LONGEST = (
    "test_bucket", "test_nightly", "test_failures", "test_doctor", "test_chain", "test_contract", "test_top_n",
    "test_clustering", "test_classical", "test_fitting", "test_all_pairs", "test_kills", "test_start", "test_parts",
    "test_recommend", "test_formats",
)  # fmt: skip
NO_ENGINE = Path(__file__).parent / "no_engine"
LEFT_OUT = re.compile(
    r'^pytestmark = \[?pytest\.mark\.(slow|engine|thorough|usefixtures\("ray_session"\))', re.MULTILINE
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help="only quick tests, which start no Ray, TensorFlow or server")


def pytest_configure(config: pytest.Config) -> None:
    """With --fast, leave out thorough tests and those of an engine; the others fail if they start one after all."""
    several_may_compile()
    if config.getoption("fast"):
        marks = config.option.markexpr
        config.option.markexpr = " and ".join([*([f"({marks})"] if marks else []), "not engine", "not thorough"])
        sys.path.insert(0, str(NO_ENGINE))
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(NO_ENGINE), os.environ.get("PYTHONPATH")]))
        os.environ["RAY_RUNTIME_ENV_HOOK"] = "no_ray.refuse"


def several_may_compile() -> None:
    """Let several processes compile librosa's loops, which tests compare with, at the same time.

    numba keeps a generalised ufunc on disk in two files, and the second calls the first by a name that each process
    chooses. So one process at a time writes or reads them. Other loops are kept as ours are.
    """
    import numba
    from numba.core.caching import IndexDataCacheFile

    from musicrec.simd.lanes import CompiledFiles

    for name in ("save", "load", "_name"):
        setattr(IndexDataCacheFile, name, getattr(CompiledFiles, name))
    guvectorize = numba.guvectorize
    lock = FileLock(Path(tempfile.gettempdir()) / f"musicrec-tests-{os.getuid()}.lock")

    def one_at_a_time(*arguments: Any, **options: Any) -> Callable[..., Any]:
        decorate = guvectorize(*arguments, **options)

        def decorated(function: Callable[..., Any]) -> Any:
            with lock:
                return decorate(function)

        return decorated

    numba.guvectorize = one_at_a_time


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With --fast, do not even import a file whose tests are all left out."""
    if config.getoption("fast") and collection_path.match("test_*.py"):
        return bool(LEFT_OUT.search(collection_path.read_text(encoding="utf-8"))) or None
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that share the session's Ray or its S3 server, and begin with the files that take longest.

    Processes take file by file. Were a long one the last, the others would end before it.
    """
    for item in items:
        for fixture, mark in (("ray_session", "engine"), ("s3_server", "thorough")):
            if fixture in getattr(item, "fixturenames", ()):
                item.add_marker(mark)
    turn = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: turn.get(item.path.stem, len(turn)))


@pytest.fixture(scope="session", autouse=True)
def no_pretrained_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whatever pretrained models are on this machine, a test finds those only that it adds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUSICREC_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def store(tmp_path: Path) -> "Store":
    """A new OUT without tables."""
    from musicrec.store.store import Store

    store = Store(tmp_path / "out")
    store.create()
    return store


@pytest.fixture(scope="session")
def data() -> Path:
    """Folder of real audio and public tables."""
    default = Path(__file__).parent.parent.parent / "shared" / "data"
    folder = Path(os.environ.get("MUSICREC_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real audio at {folder}; set MUSICREC_DATA")
    return folder


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Make a folder that all processes of the run share: the first that asks makes it, and nobody changes it."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent

    def once(name: str, make: Callable[[Path], object]) -> Path:
        folder, is_made = base / "made-once" / name, base / "made-once" / f"{name}.made"
        folder.parent.mkdir(exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if not is_made.exists():
                shutil.rmtree(folder, ignore_errors=True)
                make(folder)
                is_made.touch()
        return folder

    return once


@pytest.fixture(scope="session")
def synthetic(made_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """A synthetic catalog of twelve styles, three short songs each, with some broken files."""
    from musicrec.stages.catalog.synthetic import write_catalog

    return made_once("synthetic", lambda folder: write_catalog(folder, songs_per_style=3, seconds=3))


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """One embedded Ray for all tests that call stages in this process."""
    import ray

    from musicrec.cluster.tasks import connect

    connect()
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def undisturbed(
    synthetic: Path, ray_session: None, made_once: Callable[[str, Callable[[Path], object]], Path]
) -> "Store":
    """An OUT with the synthetic catalog, extracted in one go; nobody writes to it."""
    from extracting import SETTINGS, new_out
    from musicrec.stages.extract.stage import extract
    from musicrec.store.store import Store

    return Store(made_once("undisturbed", lambda out: extract(new_out(out, synthetic), SETTINGS)))


@pytest.fixture(scope="session")
def chain(undisturbed: "Store", synthetic: Path, made_once: Callable[[str, Callable[[Path], object]], Path]) -> "Store":
    """An OUT with every table of the chain; nobody writes to it."""
    from extracting import CHAIN
    from musicrec.stages.chain import chain_settings, run
    from musicrec.store.store import Store

    def make(out: Path) -> None:
        store = Store(shutil.copytree(undisturbed.out, out, symlinks=True))
        run(store, chain_settings(store, CHAIN), show=lambda counts: None)

    return Store(made_once("chain", make))


@pytest.fixture
def copy(undisturbed: "Store", tmp_path: Path) -> "Store":
    """A copy of it."""
    from musicrec.store.store import Store

    shutil.copytree(undisturbed.out, tmp_path / "out", symlinks=True)
    return Store(tmp_path / "out")


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command of musicrec; return its exit code, and what it printed to stdout and stderr."""
    from musicrec.cli import main

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as e:
            main([str(argument) for argument in arguments])
        return (e.value.code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def publish_vectors() -> Callable[..., "Store"]:
    """Make an OUT with songs and their vectors, or publish other vectors in one."""
    import pyarrow as pa

    from musicrec.schemas import EMBEDDINGS, TRACKS
    from musicrec.settings import CatalogSettings, EmbedSettings
    from musicrec.store.store import Store

    def publish(
        out: Path,
        vectors: Sequence[Sequence[float] | np.ndarray | None],
        ids: list[str] | None = None,
        models: list[str] | None = None,
    ) -> Store:
        store = Store(out)
        store.create()
        ids = ids or [f"song-{i:03d}" for i in range(len(vectors))]
        songs = [{"track_id": t, "uri": f"file:///{t}", "title": t} for t in sorted(set(ids))]
        rows = [
            {"track_id": t, "model_id": m, "embedding": None if v is None else list(v)}
            for t, m, v in zip(ids, models or ["model"] * len(ids), vectors, strict=True)
        ]
        made_of = hashlib.blake2b(repr(rows).encode(), digest_size=8).hexdigest()
        settings = CatalogSettings(source="/music")
        for name, content, how in (
            ("tracks", pa.Table.from_pylist(songs, TRACKS), settings),
            ("embeddings", pa.Table.from_pylist(rows, EMBEDDINGS), EmbedSettings()),
        ):
            version = store.new_version(name, how, made_of, model="mlp", model_id="model")
            version.write_part(content)
            store.publish(version)
        store.settings.record(settings)
        return store

    return publish
