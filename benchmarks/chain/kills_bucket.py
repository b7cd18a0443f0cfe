"""An OUT in a bucket of a real S3-compatible server, which runs that are killed reach through broken requests."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

from benchmarks.chain.kills_pointers import file_system
from musicrec.monitor.text_table import Cell
from tests.s3.proxy import KINDS, Proxy
from tests.s3.server import running

OUT = "s3://kills/out"
BROKEN = tuple(kind for kind in KINDS if kind != "stall")  # a stall only takes time
CUT = "cut upload"
DRAWN_FROM = (
    *BROKEN,
    *[CUT] * len(BROKEN),
)  # most uploads that are broken: the chain reads more than it writes
HEAD = ("requests", "uploads", "broken", *BROKEN)


class Bucket(NamedTuple):
    """Where an OUT is, and how a command reaches it through broken requests."""

    out: str
    environment: Mapping[str, str]
    proxy: Proxy

    def row(self) -> list[Cell]:
        """Return how many requests have come, and how many were broken, by kind."""
        uploads = sum(n for (method, _), n in self.proxy.requests.items() if method == "PUT")
        faults = self.proxy.faults
        return [self.proxy.requests.total(), uploads, faults.total(), *(faults[kind] for kind in BROKEN)]


@contextmanager
def bucket_behind_faults(folder: Path, share: float, seed: int) -> Iterator[Bucket]:
    """Run a server, with an empty bucket, until the block ends; this process reaches it past the faults.

    Parameters
    ----------
    folder : pathlib.Path
        New folder for its objects, and for what commands keep of them.
    share : float
        Share of the requests to break, from 0 to 1.
    seed : int
        Another seed breaks other requests.
    """
    with (
        running(folder / "server") as server,
        Proxy(server.url, share, seed, DRAWN_FROM).running() as proxy,
        patch.dict(os.environ, {**server.environment, "MUSICREC_CACHE": str(folder / "cache")}),
    ):
        file_system(OUT)[0].mkdir("kills")
        yield Bucket(OUT, {"AWS_ENDPOINT_URL": proxy.url}, proxy)
