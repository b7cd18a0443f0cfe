"""Fixtures: a real S3-compatible server, and one behind a proxy that breaks requests."""

import hashlib
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import s3fs

from .proxy import KINDS, Proxy
from .server import Server, ServerUnavailableError, running

QUICK = tuple(kind for kind in KINDS if kind != "stall")  # a stall is noticed only after the client's read timeout
OTHER_SETTINGS = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL_S3")
FILES = ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")


@dataclass(frozen=True)
class S3:
    """A server for one test, which names its buckets: a seed breaks the same requests in every run."""

    server: Server
    name: str
    _patch: pytest.MonkeyPatch = field(repr=False)
    _numbers: Iterator[int] = field(default_factory=itertools.count, repr=False)

    @property
    def environment(self) -> dict[str, str]:
        """What a subprocess needs to reach the server as its owner."""
        return self.server.environment

    def filesystem(self) -> s3fs.S3FileSystem:
        """The server as its owner sees it, past any proxy."""
        server = self.server
        return s3fs.S3FileSystem(
            key=server.access_key,
            secret=server.secret_key,
            endpoint_url=server.url,
            client_kwargs={"region_name": server.region},
            skip_instance_cache=True,
            use_listings_cache=False,
        )

    def bucket(self, readable: bool = False) -> str:
        """Make an empty bucket and give its name; ``readable`` lets the reader list and read it."""
        name = f"{self.name}-{next(self._numbers)}"
        self.filesystem().mkdir(name, **({"acl": "public-read"} if readable else {}))
        return name

    def become(self, server: Server) -> None:
        """Have the environment lead to ``server`` until the test ends."""
        for name, value in server.environment.items():
            self._patch.setenv(name, value)
        for name in OTHER_SETTINGS:
            self._patch.delenv(name, raising=False)
        for name in FILES:
            self._patch.setenv(name, os.devnull)
        s3fs.S3FileSystem.clear_instance_cache()  # it would give the connection of another environment

    def become_reader(self) -> None:
        """Go on as a user who may list and read the readable buckets, and nothing else."""
        self.become(replace(self.server, access_key="test:reader", secret_key="reader-secret"))


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for the whole run, empty at first; nothing in the environment leads to it."""
    with ExitStack() as stack:
        try:
            yield stack.enter_context(running(tmp_path_factory.mktemp("s3")))
        except ServerUnavailableError as e:
            pytest.skip(str(e))


@pytest.fixture
def s3(s3_server: Server, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    """The server, with an environment that leads to it."""
    test = hashlib.blake2b(request.node.nodeid.encode(), digest_size=6).hexdigest()
    s3 = S3(s3_server, f"bucket-{test}", monkeypatch)
    s3.become(s3_server)
    yield s3
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def faulty_s3(s3: S3) -> Iterator[Callable[..., Proxy]]:
    """Have the environment lead to the server through a proxy that breaks requests; see Proxy for the parameters."""
    with ExitStack() as stack:

        def through(share: float = 0.05, seed: int = 0, kinds: Sequence[str] = QUICK, **options: Any) -> Proxy:
            proxy = stack.enter_context(Proxy(s3.server.url, share, seed, kinds, **options).running())
            s3.become(replace(s3.server, url=proxy.url))
            return proxy

        yield through
