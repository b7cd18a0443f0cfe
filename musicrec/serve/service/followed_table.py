"""The published table of similar songs, followed from version to version."""

import hashlib
import threading
from contextlib import suppress
from functools import cached_property
from os import PathLike
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from musicrec.errors import MusicrecError, UnknownTrack
from musicrec.files.paths import AnyPath
from musicrec.serve.catalog_facts import CatalogFacts
from musicrec.serve.lookup import SimilarTable
from musicrec.serve.no_model import why_no_model
from musicrec.serve.playlist_songs import Playlists
from musicrec.serve.recommend import Recommender
from musicrec.serve.service.told_errors import told
from musicrec.serve.status import version_status
from musicrec.store.store import Store

TABLE = "similar"
EVERY_S = 0.25  # between two looks at which version is published
EVERY_S_IN_BUCKET = 0.8  # where each look is a request


class OpenVersion:
    """One version of the table, open. A list and its names come from one of these, so they are never of two versions.

    Parameters
    ----------
    store : Store
        OUT.
    version : str
        The version.
    """

    def __init__(self, store: Store, version: str) -> None:
        self._store = store
        self.version = version
        self.table = SimilarTable(store.versions(TABLE).root / version)

    @cached_property
    def playlists(self) -> Playlists:
        """What chooses songs by several likes; its vectors are read when they are first asked for."""
        return Playlists(self._store.out, self.table)

    @cached_property
    def recommender(self) -> Recommender:
        """What recommends songs by several ways."""
        return Recommender(self._store.out, self.table)

    @cached_property
    def facts(self) -> CatalogFacts:
        """What the catalog says of songs, as it was when this was first asked for."""
        return CatalogFacts(self._store)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """In how many lists each song stands, by row."""
        return self.table.counts()

    def uri(self, track_id: str) -> str:
        """Return where a song lies: what the catalog holds for exactly this id.

        Raises
        ------
        UnknownTrack
            The catalog has no such song.
        """
        found = self._store.read("tracks", ["uri"], filter=pc.field("track_id") == pa.scalar(track_id))["uri"]
        if not len(found):
            raise UnknownTrack(f"no song has the id {track_id!r} in {self._store.out / 'tracks'}")
        return str(found[0].as_py())

    def why_no_vectors(self, by: str) -> str | None:
        """Return why there is no model whose vectors a way to recommend could compare; None if there is one."""
        return None if by != "embedding" or self._store.exists("embeddings") else why_no_model(self._store)

    def told(self, error: Exception) -> str:
        """Return what clients are told of an error."""
        return told(error, self._store)

    @cached_property
    def created_at(self) -> str | None:
        """When it was made; ISO 8601, in UTC."""
        return version_status(self._store, TABLE, self.version).created_at


class FollowedTable:
    """The version of the table that is published now.

    Parameters
    ----------
    out : str or path-like
        OUT, a folder or an s3:// prefix.
    is_searched : bool
        Whether to read the names for searches before a version is served, so that nobody waits for it.

    Raises
    ------
    ConfigError
        `out` is not an OUT, or cannot be read.
    SchemaError
        No table is published, or it is damaged.
    """

    def __init__(self, out: str | PathLike[str] | AnyPath, *, is_searched: bool = False) -> None:
        self.store = Store(out)
        self.store.require()
        self._is_searched = is_searched
        self.current = self._open(self.store.path(TABLE).name)
        self.problem: str | None = None  # why a newer version could not be opened
        self._stopped = threading.Event()

    @property
    def collection(self) -> str:
        """Hexadecimal digits that differ from OUT to OUT, by which a browser keeps its lists apart."""
        return hashlib.blake2b(str(self.store.out).encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()

    def follow(self) -> None:
        """Begin to look which version is published, some times a second, until :meth:`stop`."""
        self._stopped.clear()
        threading.Thread(target=self._follow, name="follow", daemon=True).start()

    def stop(self) -> None:
        """End following."""
        self._stopped.set()

    def look(self) -> None:
        """Open the version that is published, unless it is open. One that cannot be opened leaves the last one open."""
        try:
            published = self.store.path(TABLE).name
            if published != self.current.version:
                self.current = self._open(published)
            self.problem = None
        except (MusicrecError, OSError) as e:
            self.problem = told(e, self.store)

    def _open(self, version: str) -> OpenVersion:
        opened = OpenVersion(self.store, version)
        if self._is_searched:
            opened.table.search("a", 1)
        return opened

    def _follow(self) -> None:
        every_s = EVERY_S if isinstance(self.store.out, Path) else EVERY_S_IN_BUCKET
        while not self._stopped.wait(every_s):
            with suppress(Exception):  # the next look may succeed, and what is open can be served meanwhile
                self.look()
