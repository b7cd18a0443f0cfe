"""Content-based music recommendation at catalog scale: audio in, recommendation tables out."""

__version__ = "0.1.0"  # here and not in the package's metadata: a submitted job ships the code without installing it
