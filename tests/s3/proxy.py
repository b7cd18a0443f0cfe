"""An HTTP proxy that breaks a share of the requests, in the ways networks and object stores do.

Which requests break is drawn from the seed, the request and how often it was made, not from the order in which requests
arrive. By hand: ``python tests/s3/proxy.py --help``.
"""

import argparse
import asyncio
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager

import aiohttp
from aiohttp import web
from yarl import URL

KINDS = {
    "throttled": "503 SlowDown; the server never hears of the request",
    "internal": "500 InternalError; the server never hears of the request",
    "reset": "the connection is reset; the server never hears of the request",
    "cut upload": "the connection is reset once half of the body has reached the server",
    "cut answer": "the server did it; half of the body of its answer arrives, then the connection is reset",
    "lost answer": "the server did it; no answer arrives and the connection is reset",
    "stall": "nothing happens for STALL_S; the server hears of the request if the client still waits",
}
ANSWERS = {"throttled": (503, "SlowDown"), "internal": (500, "InternalError")}
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "expect"}  # of one connection, not of the request
CHUNK = 1 << 16


class Proxy:
    """Counts what passes and what it breaks.

    Parameters
    ----------
    target : str
        URL of the server.
    share : float
        Share of requests to break, 0 to 1.
    seed : int
        Another seed breaks other requests.
    kinds : sequence of str
        Keys of KINDS to draw from; a request without a body has no upload to cut, and only a GET has its answer cut.
    stall_s : float
        How long a stall lasts, in seconds.
    only : callable, optional
        Given the method and the address after the host, with its query, whether the request may be broken.
    most : int, optional
        Break no more requests than this.
    """

    def __init__(
        self,
        target: str,
        share: float,
        seed: int = 0,
        kinds: Sequence[str] = tuple(KINDS),
        stall_s: float = 20,
        only: Callable[[str, str], bool] | None = None,
        most: int | None = None,
    ) -> None:
        if unknown := set(kinds) - set(KINDS):
            raise ValueError(f"no such kinds of fault: {sorted(unknown)}; there are {list(KINDS)}")
        self.target, self.share, self.seed, self.kinds, self.stall_s = target, share, seed, tuple(kinds), stall_s
        self.only, self.most = only, most
        self.requests: Counter[tuple[str, str]] = Counter()  # by method and path
        self.faults: Counter[str] = Counter()  # by kind
        self.url = ""

    # --- what to break ------------------------------------------------------------------------------------------

    def draw(self, request: web.Request) -> str | None:
        """The kind of fault that meets this request, if any."""
        method, path = request.method, request.path  # queries hold signatures and names that the server gave
        self.requests[method, path] += 1
        if (self.only and not self.only(method, request.path_qs)) or self.faults.total() == self.most:
            return None
        dice = random.Random(f"{self.seed} {method} {path} {self.requests[method, path]}")
        impossible = {"cut upload": not request.can_read_body, "cut answer": method != "GET"}
        kinds = [kind for kind in self.kinds if not impossible.get(kind)]
        if not kinds or dice.random() >= self.share:
            return None
        kind = dice.choice(kinds)
        self.faults[kind] += 1
        return kind

    # --- passing it on ------------------------------------------------------------------------------------------

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Pass one request on, or break it."""
        kind = self.draw(request)
        if kind in ANSWERS:
            status, code = ANSWERS[kind]
            text = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{kind}</Message></Error>"
            async for _ in upload(request):
                pass
            return web.Response(status=status, text=text, content_type="application/xml")
        if kind == "reset":
            return reset(request)
        if kind == "stall":
            await asyncio.sleep(self.stall_s)
            if request.transport is None or request.transport.is_closing():
                return web.Response()
        try:
            return await self.forward(request, kind)
        except (aiohttp.ClientError, ConnectionError, asyncio.IncompleteReadError):
            return reset(request)

    async def forward(self, request: web.Request, kind: str | None) -> web.StreamResponse:
        """Have the server do it; break the upload or the answer if ``kind`` says so."""
        async with self.session.request(
            request.method,
            URL(self.target + request.raw_path, encoded=True),
            headers=[(k, v) for k, v in request.headers.items() if k.lower() not in HOP_BY_HOP],
            data=upload(request, cut=kind == "cut upload") if request.can_read_body else None,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            allow_redirects=False,
        ) as answer:
            if kind == "lost answer":
                await answer.read()
                return reset(request)
            response = web.StreamResponse(status=answer.status, reason=answer.reason)
            for name, value in answer.headers.items():
                if name.lower() not in HOP_BY_HOP:
                    response.headers.add(name, value)
            await response.prepare(request)
            left = (answer.content_length or 0) // 2
            async for chunk in answer.content.iter_chunked(CHUNK):
                if kind == "cut answer" and len(chunk) > left:
                    await response.write(chunk[:left])
                    return reset(request)
                left -= len(chunk)
                await response.write(chunk)
            await response.write_eof()
            return response

    # --- running ------------------------------------------------------------------------------------------------

    @contextmanager
    def running(self, port: int = 0) -> Iterator["Proxy"]:
        """Listen on 127.0.0.1 at ``port``, 0 for a free one, in a thread; ``url`` says where."""
        loop, ready, done = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
        thread = threading.Thread(target=loop.run_until_complete, args=(self._serve(port, ready, done),), daemon=True)
        thread.start()
        if not ready.wait(30) or not self.url:
            raise RuntimeError(f"the proxy did not start at port {port}")
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(done.set)
            thread.join()
            loop.close()

    async def _serve(self, port: int, ready: threading.Event, done: asyncio.Event) -> None:
        """Serve until ``done``."""
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        runner = web.ServerRunner(web.Server(self.handle, auto_decompress=False), shutdown_timeout=0.1)
        try:
            async with aiohttp.ClientSession(
                connector=connector, timeout=timeout, auto_decompress=False
            ) as self.session:
                await runner.setup()
                site = web.TCPSite(runner, "127.0.0.1", port)
                await site.start()
                self.url = "http://{}:{}".format(*runner.addresses[0])
                ready.set()
                await done.wait()
        finally:
            await runner.cleanup()
            ready.set()


async def upload(request: web.Request, cut: bool = False) -> AsyncIterator[bytes]:
    """The body of a request in pieces; half of it and an error if ``cut``."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    left = (request.content_length or 0) // 2
    async for chunk in request.content.iter_chunked(CHUNK):
        if cut and len(chunk) > left:
            yield chunk[:left]
            raise ConnectionResetError("cut on purpose")
        left -= len(chunk)
        yield chunk


def reset(request: web.Request) -> web.Response:
    """Reset the client's connection; what is returned never arrives."""
    if request.transport is not None:
        linger = struct.pack("ii", 1, 0)  # close with a reset instead of the usual goodbye
        request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        request.transport.abort()
    return web.Response()


def main() -> None:
    """Run one by hand."""
    parser = argparse.ArgumentParser(description="Break a share of the requests to an S3-compatible server.")
    parser.add_argument("target", help="URL of the server, such as http://127.0.0.1:8085")
    parser.add_argument("--port", type=int, default=8086, help="port on 127.0.0.1 [%(default)s]")
    parser.add_argument("--share", type=float, default=0.05, help="share of requests to break [%(default)s]")
    parser.add_argument("--seed", type=int, default=0, help="another seed breaks other requests [%(default)s]")
    parser.add_argument("--stall-s", type=float, default=20, help="how long a stall lasts, in seconds [%(default)s]")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=tuple(KINDS), help="faults to draw from [all]")
    args = parser.parse_args()
    proxy = Proxy(args.target, args.share, args.seed, args.kinds, args.stall_s)
    with proxy.running(args.port):
        print(f"export AWS_ENDPOINT_URL={proxy.url}", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print(f"{proxy.requests.total()} requests, broken: {dict(proxy.faults)}")


if __name__ == "__main__":
    main()
