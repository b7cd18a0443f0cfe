"""Fixtures that several test modules share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # the test clusters listen on this machine only
os.environ.pop("RAY_ADDRESS", None)  # tests never run on somebody's cluster


@pytest.fixture(scope="session")
def data() -> Path:
    """Folder of real audio and public tables."""
    default = Path(__file__).parent.parent.parent / "shared" / "data"
    folder = Path(os.environ.get("MUSICREC_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real audio at {folder}; set MUSICREC_DATA")
    return folder


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic catalog of twelve styles, three short songs each, with some broken files."""
    from musicrec.demo import write_catalog

    folder = tmp_path_factory.mktemp("catalog") / "synthetic"
    write_catalog(folder, songs_per_style=3, seconds=3)
    return folder


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """One embedded Ray for all tests that call stages in this process."""
    import ray

    from musicrec.cluster import connect

    connect()
    yield
    ray.shutdown()
