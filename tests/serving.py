"""A service on a free port, and requests to it as any client makes them."""

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
import uvicorn

from musicrec.serve.service.application import application


@contextmanager
def serving(out: Any, token: str | None = None, **options: Any) -> Iterator[int]:
    """Serve an OUT in a thread; yield the port."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(application(out, token, **options), log_level="critical"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


def ask(port: int, path: str, method: str = "GET", body: Any = None, **headers: str) -> tuple[int, bytes, Any]:
    """Return status, content and headers of an answer; `body` is sent as JSON."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        sent = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection.request(method, path, sent, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, response.read(), response.headers


def most_similar(vectors: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the lists of a small catalog, int32 and float32 [N, n], by the dot products of its vectors [N, d]."""
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -np.inf)
    ids = np.argsort(-scores, axis=1, kind="stable")[:, :n].astype(np.int32)
    return ids, np.take_along_axis(scores, ids, axis=1)
