"""The versions of the libraries that made the values of a table."""

from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version

DECODERS = ("libsndfile", "FFmpeg", "soxr", "numpy")
LIBRARIES = {  # of a stage, those on which the last digits of its values may depend
    "extract": DECODERS,
    "train": ("numpy", "scikit-learn", "tensorflow"),
    "tune": ("numpy", "scikit-learn", "tensorflow"),
    "evaluate": ("numpy", "scikit-learn", "tensorflow"),
    "embed": ("numpy", "scikit-learn", "tensorflow"),
    "pretrained": (*DECODERS, "onnxruntime"),
    "duplicates": ("numpy",),
    "similar": ("numpy",),
    "map": ("numpy", "umap-learn"),
}

Versions = dict[str, str]


@cache
def made_with(stage: str) -> Versions:
    """Return the version of each library that a stage computes with on this machine, by its name."""
    return {name: found for name in LIBRARIES.get(stage, ()) if (found := _version(name))}


def _version(name: str) -> str | None:
    if name in ("libsndfile", "FFmpeg"):
        from musicrec.audio.decoder_version import decoder_version

        return decoder_version(name)
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def side_by_side(versions: Sequence[Versions]) -> str | None:
    """Return which libraries made some rows in one version and others in another; None if there are none."""
    names = dict.fromkeys(name for of_rows in versions for name in of_rows)
    found = {name: list(dict.fromkeys(of_rows[name] for of_rows in versions if name in of_rows)) for name in names}
    several = [f"{name} {' and '.join(known)}" for name, known in found.items() if len(known) > 1]
    return ", ".join(several) or None
