"""Ray Serve for service.py: the application of `musicrec serve` behind Ray's proxy, in a Ray with a token."""

import json
import logging
import os
import signal
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

SERVING = ("ray::ServeReplica", "ray::ProxyActor", "ray::ServeController")  # what its processes call themselves
CPUS = 2


def have_ray_serve(folder: Path | None) -> bool:
    """Return whether Ray Serve can run; first install what it needs and musicrec does not into the folder, if any.

    Other servers must not see that folder: uvicorn takes another event loop where it finds one.
    """
    if folder and not (folder / "fastapi").is_dir():
        pip = [sys.executable, "-m", "pip", "install", "--quiet"]
        wanted = [*pip, "--dry-run", "--report", "-", f"ray[serve]=={version('ray')}"]
        report = json.loads(subprocess.run(wanted, check=True, capture_output=True, text=True).stdout)
        missing = [f"{found['metadata']['name']}=={found['metadata']['version']}" for found in report["install"]]
        subprocess.run([*pip, "--no-deps", "--target", str(folder), *missing], check=True)
    return folder is not None or find_spec("fastapi") is not None


def environment(folder: Path | None) -> dict[str, str]:
    """Return the variables by which a process finds Ray Serve's packages."""
    return os.environ | ({"PYTHONPATH": str(folder)} if folder else {})


def serve(app: Any, port: int) -> None:  # noqa: ANN401 - a function that returns an ASGI application
    """Serve until the process ends."""
    import ray
    from ray import serve

    from musicrec.cluster.authentication import show_token

    show_token(embedded=True)
    ray.init("local", num_cpus=CPUS, include_dashboard=False, log_to_driver=False, logging_level="warning")
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    serve.start(http_options={"port": port})
    deployment = serve.deployment(
        serve.ingress(app)(), max_ongoing_requests=100, logging_config={"enable_access_log": False}
    )
    serve.run(deployment.bind())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # then Ray ends its processes
    signal.pause()


def serving(pid: int) -> list[int]:
    """Return the processes that serve below the one that started Ray: proxy, replica and controller."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended
            continue
    found, below = [], {pid}
    while below:
        below = {child for child, parent in parents.items() if parent in below}
        found += [child for child in below if Path(f"/proc/{child}/cmdline").read_text().startswith(SERVING)]
    return found


if __name__ == "__main__":
    have_ray_serve(Path(sys.argv[1]))
