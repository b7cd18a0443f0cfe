"""Content-based music recommendation at catalog scale: audio in, recommendation tables out."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # at run time, each name is loaded when it is first asked for
    from musicrec.errors import MusicrecError as MusicrecError
    from musicrec.serve.lookup import SimilarTable as SimilarTable
    from musicrec.serve.recommend import Recommender as Recommender
    from musicrec.stages import refresh as refresh
    from musicrec.stages import run as run
    from musicrec.store.store import Store as Store

__version__ = "0.1.0"  # here and not in the package's metadata: a submitted job ships the code without installing it

PUBLIC = {
    "MusicrecError": "musicrec.errors",
    "Recommender": "musicrec.serve.recommend",
    "SimilarTable": "musicrec.serve.lookup",
    "Store": "musicrec.store.store",
    "refresh": "musicrec.stages",
    "run": "musicrec.stages",
}
__all__ = ["__version__", *PUBLIC]  # noqa: PLE0604 - names, all of them


def __getattr__(name: str) -> Any:  # noqa: ANN401 - as asked for
    """Import a public name when it is first asked for: ``import musicrec`` itself takes no time."""
    if name not in PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Public names, whether they are loaded or not."""
    return sorted({*globals(), *PUBLIC})
