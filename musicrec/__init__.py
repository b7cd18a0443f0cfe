"""Content-based music recommendation at catalog scale: audio in, recommendation tables out."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"  # here and not in the package's metadata: a submitted job ships the code without installing it

PUBLIC = {
    "MusicrecError": "musicrec.errors",
    "Recommender": "musicrec.serve.recommend",
    "SimilarTable": "musicrec.serve.lookup",
    "Store": "musicrec.store.store",
    "refresh": "musicrec.stages.chain",
    "run": "musicrec.stages.chain",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - as asked for
    """Import a public name when it is asked for: `import musicrec` itself takes no time."""
    if name in PUBLIC:
        return getattr(import_module(PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
