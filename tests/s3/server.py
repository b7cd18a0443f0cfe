"""A real S3-compatible server on this machine: OpenStack Swift from PyPI, in an environment of its own.

Nothing need be installed by hand and nothing runs as root. The packages are fetched once, into ``.s3-server`` of the
repository or where MUSICREC_S3_SERVER says. By hand: ``python tests/s3/server.py --help``.
"""

import argparse
import os
import shlex
import signal
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements.lock"
INSTALL_S = 240


class ServerUnavailableError(Exception):
    """The server cannot be had here; the text says why, in one line."""


@dataclass(frozen=True)
class Server:
    """How to reach a server and in whose name."""

    url: str
    access_key: str = "test:owner"
    secret_key: str = "owner-secret"
    region: str = "us-east-1"

    @property
    def environment(self) -> dict[str, str]:
        """What s3fs, pyarrow, pandas and their likes look for in the environment."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
            "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
        }


def home() -> Path:
    """The folder that keeps the server's packages between runs."""
    return Path(os.environ.get("MUSICREC_S3_SERVER", HERE.parent.parent / ".s3-server")).absolute()


def installed() -> Path:
    """The Python that has the server's packages, fetched first if they are not there.

    Raises
    ------
    ServerUnavailableError
        They cannot be fetched, or this is not a Linux.
    """
    if not sys.platform.startswith("linux"):
        raise ServerUnavailableError(f"the S3 server runs on Linux, and this is {sys.platform}")
    folder = home() / "swift"
    python, done = folder / "bin" / "python", folder / "installed"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(home() / "lock"):
        if not done.exists() or done.read_bytes() != REQUIREMENTS.read_bytes():
            done.unlink(missing_ok=True)
            venv.create(folder, clear=True, symlinks=True, with_pip=True)
            fetch(python)
            done.write_bytes(REQUIREMENTS.read_bytes())
    return python


def fetch(python: Path) -> None:
    """Install the packages for ``python``."""
    pip = [python, "-m", "pip", "install", "--quiet", "--require-hashes", "--only-binary=:all:", "-r", REQUIREMENTS]
    try:
        subprocess.run(pip, check=True, capture_output=True, text=True, timeout=INSTALL_S)
    except subprocess.TimeoutExpired:
        raise ServerUnavailableError(f"no S3 server: pip did not fetch its packages in {INSTALL_S} s") from None
    except subprocess.CalledProcessError as e:
        why = [line for line in e.stderr.splitlines() if line.startswith("ERROR")] or ["pip failed"]
        raise ServerUnavailableError(f"no S3 server: {why[-1]}") from None


@contextmanager
def running(folder: Path, port: int = 0) -> Iterator[Server]:
    """Run a server until the block, or this thread, ends; also if it is killed.

    Parameters
    ----------
    folder : Path
        Where it keeps the objects; those of an earlier server there are served again.
    port : int
        Where it listens on 127.0.0.1; 0 takes a free one.

    Raises
    ------
    ServerUnavailableError
        It cannot be had here.
    RuntimeError
        It did not start.
    """
    python = installed()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        os.setxattr(folder, "user.musicrec", b"")
    except OSError as e:
        raise ServerUnavailableError(f"no S3 server: {folder} keeps no extended attributes ({e.strerror})") from None
    command = [python, "-W", "ignore", HERE / "serve_swift.py", folder, str(port), str(os.getpid()), Server.region]
    log = folder / "server.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=folder
        )
    try:
        listens_at = process.stdout.readline().strip()
        if not listens_at:
            raise RuntimeError(f"the S3 server did not start; see {log}")
        yield Server(f"http://127.0.0.1:{listens_at}")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def main() -> None:
    """Run one by hand."""
    parser = argparse.ArgumentParser(description="Run an S3-compatible server on this machine until Ctrl-C or SIGTERM.")
    parser.add_argument("--port", type=int, default=8085, help="port on 127.0.0.1 [%(default)s]; 0: a free one")
    parser.add_argument("--folder", type=Path, default="s3-data", help="where it keeps the objects [%(default)s]")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with running(args.folder.absolute(), args.port) as server:
            for name, value in server.environment.items():
                print(f"export {name}={shlex.quote(value)}", flush=True)
            signal.pause()
    except (ServerUnavailableError, RuntimeError) as e:
        sys.exit(str(e))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
