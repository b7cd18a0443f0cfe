"""The commands that serve the published tables over HTTP, to programs and to people."""

import ipaddress
import logging
import os
import socket
import sys
from typing import TYPE_CHECKING

import click

from musicrec.cli.common import example
from musicrec.cli.options import OUT, Command
from musicrec.errors import ConfigError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

OWN_HOSTS = ["localhost", "127.0.0.1", "[::1]"]

HOST = click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen at; any but this machine's own needs a token.",
)
PORT = click.option(
    "--port", type=click.IntRange(0, 65535), default=8090, show_default=True, help="Port; 0 for any free one."
)


@click.command(
    cls=Command,
    epilog=example(
        "serve OUT",
        "serve OUT --port 9000",
        "serve s3://bucket/out --host 0.0.0.0 --token SECRET",
        "serve OUT --subsonic",
    ),
)
@OUT
@HOST
@PORT
@click.option(
    "--token",
    envvar="MUSICREC_TOKEN",
    help="What requests must bring as Authorization: Bearer TOKEN.  [env: MUSICREC_TOKEN]",
)
@click.option(
    "--subsonic",
    is_flag=True,
    help="Let music players in, as an OpenSubsonic server; their password is the token, or one that is printed.",
)
def serve(out: str, host: str, port: int, token: str | None, subsonic: bool) -> None:
    """Serve the published tables over HTTP, read-only.

    A new version is served a moment after it is published, without a restart. http://HOST:PORT/ lists the requests.
    """
    import secrets

    from musicrec.serve.service.application import application

    _check(host, token)
    password = (token or secrets.token_urlsafe(12)) if subsonic else None
    service = application(out, token or None, password=password)
    listening = _listen(host, port)
    if password is not None:
        shown = "the token" if token else password
        click.echo(f"Players log in at {_address(listening)} by any user name and the password: {shown}")
    click.echo(f"{_address(listening)} serves {out}; Ctrl-C ends it")
    _run(service, listening)


@click.command(
    cls=Command,
    epilog=example("explore OUT", "explore OUT --port 9000 --no-open", "explore OUT --host 0.0.0.0 --token SECRET"),
)
@OUT
@HOST
@PORT
@click.option(
    "--token",
    envvar="MUSICREC_TOKEN",
    help="What the page must know; it is part of the address that is printed.  [env: MUSICREC_TOKEN]",
)
@click.option("--no-open", is_flag=True, help="Open no browser.")
def explore(out: str, host: str, port: int, token: str | None, no_open: bool) -> None:
    """Search, hear and compare songs in the browser.

    The page shows the songs most like a song and goes from one to the next. It compares ways to recommend and makes
    playlists. Songs are played from where they lie; nothing is changed.
    """
    from urllib.parse import quote

    from starlette.middleware.trustedhost import TrustedHostMiddleware

    from musicrec.serve.service.application import application

    _check(host, token)
    service = application(out, token or None, is_explored=True)
    listening = _listen(host, port)
    address = f"{_address(listening)}explore/" + (f"#token={quote(token, safe='')}" if token else "")
    click.echo(f"{address} shows {out}; Ctrl-C ends it")
    if not no_open:
        _open(address)
    # Without a token, a page of another site must not reach this one by a name of its own.
    own_hosts = [*OWN_HOSTS, host]  # 127.0.0.2 is this machine's own too
    _run(service if token else TrustedHostMiddleware(service, own_hosts, www_redirect=False), listening)


def _check(host: str, token: str | None) -> None:
    if not token and not _is_own(host):
        raise ConfigError(f"--host {host} can be reached from other machines; give a --token, or leave --host out")


def _is_own(host: str) -> bool:
    """Return whether an address is that of this machine for itself."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens, or say in one line why none can."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as e:
        why = os.strerror(e.errno) if e.errno else e
        raise ConfigError(f"cannot listen at {host}:{port} ({why}); choose another --port or --host") from e


def _address(listening: socket.socket) -> str:
    name, number = listening.getsockname()[:2]
    return f"http://{f'[{name}]' if ':' in name else name}:{number}/"


def _run(service: "ASGIApp", listening: socket.socket) -> None:
    import uvicorn

    uvicorn.Server(uvicorn.Config(service, log_level=logging.WARNING, access_log=False)).run(sockets=[listening])


def _open(address: str) -> None:
    """Open a browser where there is a screen: one in the terminal would hide what is printed there."""
    import webbrowser

    if sys.platform in ("darwin", "win32") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY"))):
        webbrowser.open(address)
