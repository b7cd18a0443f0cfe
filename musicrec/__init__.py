"""Content-based music recommendation at catalog scale: audio in, recommendation tables out."""

from importlib.metadata import version

__version__ = version("musicrec")
