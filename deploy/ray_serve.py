"""`musicrec serve` as an application of Ray Serve, for a Ray cluster that serves other things that way already.

    MUSICREC_TOKEN=SECRET serve run deploy.ray_serve:app out=/shared/out

It answers what `musicrec serve` answers, for many times the CPU time: each request passes through a proxy of Ray's to a
replica. The nodes need musicrec and `ray[serve]`, and reach OUT under the same path.
"""

import os

from pydantic import BaseModel, ConfigDict
from ray import serve
from starlette.applications import Starlette

from musicrec.errors import ConfigError
from musicrec.serve.service.application import application

AT_ONCE = 100  # requests in a replica, which answers each in microseconds; Ray's own 5 let it wait for the proxy


class Arguments(BaseModel):
    """What may stand behind the name of the application."""

    model_config = ConfigDict(extra="forbid")

    out: str  # OUT, a folder or an s3:// prefix


def app(arguments: Arguments) -> serve.Application:
    """Return the application; each replica opens the table and follows it.

    Raises
    ------
    ConfigError
        ``MUSICREC_TOKEN`` is not set: proxies of a cluster can be reached from other machines.
    """
    out, token = arguments.out, os.environ.get("MUSICREC_TOKEN")
    if not token:
        raise ConfigError("proxies of Ray Serve can be reached from other machines; set MUSICREC_TOKEN")

    def service() -> Starlette:  # a local function goes to the nodes by its code: they need not have this file
        return application(out, token)

    return serve.deployment(serve.ingress(service)(), name="musicrec", max_ongoing_requests=AT_ONCE).bind()
