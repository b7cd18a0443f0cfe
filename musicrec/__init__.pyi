"""The public names for type checkers; at run time they are loaded when asked for."""

from musicrec.errors import MusicrecError as MusicrecError
from musicrec.serve.lookup import SimilarTable as SimilarTable
from musicrec.serve.recommend import Recommender as Recommender
from musicrec.stages import refresh as refresh
from musicrec.stages import run as run
from musicrec.store.store import Store as Store

__version__: str
