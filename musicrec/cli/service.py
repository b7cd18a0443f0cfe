"""The command that serves the published tables over HTTP."""

import ipaddress
import logging
import os
import socket

import click

from musicrec.cli.common import example
from musicrec.cli.options import OUT, Command
from musicrec.errors import ConfigError


@click.command(
    cls=Command,
    epilog=example("serve OUT", "serve OUT --port 9000", "serve s3://bucket/out --host 0.0.0.0 --token SECRET"),
)
@OUT
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen at; any but this machine's own needs a token.",
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8090, show_default=True, help="Port; 0 for any free one."
)
@click.option(
    "--token",
    envvar="MUSICREC_TOKEN",
    help="What requests must bring as Authorization: Bearer TOKEN.  [env: MUSICREC_TOKEN]",
)
def serve(out: str, host: str, port: int, token: str | None) -> None:
    """Serve the published tables over HTTP, read-only.

    A new version is served a moment after it is published, without a restart. http://HOST:PORT/ lists the requests.
    """
    import uvicorn

    from musicrec.serve.service.application import application

    if not token and not _is_own(host):
        raise ConfigError(f"--host {host} can be reached from other machines; give a --token, or leave --host out")
    service = application(out, token or None)
    listening = _listen(host, port)
    name, number = listening.getsockname()[:2]
    click.echo(f"http://{f'[{name}]' if ':' in name else name}:{number}/ serves {out}; Ctrl-C ends it")
    uvicorn.Server(uvicorn.Config(service, log_level=logging.WARNING, access_log=False)).run(sockets=[listening])


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
