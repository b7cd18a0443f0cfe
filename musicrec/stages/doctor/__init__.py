"""The checks of `musicrec doctor`: each tries one part of the installation."""

import tempfile
from functools import partial
from pathlib import Path

from musicrec.files.paths import to_path
from musicrec.stages.doctor import bucket, codecs, compilation, libraries, machine
from musicrec.stages.doctor.check import ABSENT, FAILS, OK, Check, Result

__all__ = ["ABSENT", "FAILS", "OK", "Check", "Result", "checks"]

SEE_S3 = "see AWS_ENDPOINT_URL, AWS_DEFAULT_REGION and the key"
SEE_RAY = "free memory and disk space; Ray's logs are in ray/session_latest/logs of the temporary folder"
SEE_TENSORFLOW = "install TensorFlow again, in a version for this Python and processor"


def checks(out: str | None = None) -> list[Check]:
    """Return all checks of an installation, the quick ones first.

    Parameters
    ----------
    out : str, optional
        OUT to test, a folder or ``s3://bucket/prefix``; it need not exist. By default the current folder is tested.

    Raises
    ------
    ConfigError
        `out` cannot hold tables.
    """
    where = to_path(out or Path.cwd())
    if isinstance(where, Path):
        places = [
            Check("folder", partial(machine.folder, where, "choose another folder")),
            Check("S3", bucket.key, SEE_S3, needs=("s3fs",)),
        ]
    else:
        places = [Check("S3", partial(bucket.access, where), SEE_S3, needs=("s3fs",))]
    return [
        Check("Python", machine.python),
        *codecs.formats(),
        Check("temporary", lambda: machine.folder(Path(tempfile.gettempdir()), "set TMPDIR to another folder")),
        *places,
        Check("processor", compilation.lists, needs=("numba", "ray"), is_apart=True),
        Check("features", compilation.features, needs=("numba", "ray", "librosa"), is_apart=True),
        Check("TensorFlow", libraries.tensorflow, SEE_TENSORFLOW, needs=("tensorflow",), is_apart=True),
        Check("Ray", libraries.ray, SEE_RAY, needs=("ray",), is_apart=True),
    ]
