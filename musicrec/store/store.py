"""Where the tables of one OUT are, a folder or a prefix of a bucket, and how a new version becomes the published one.

A version is a folder ``OUT/_versions/<table>/<version>``, with its Parquet parts in a folder ``parts``. A stage first
writes a version that no reader sees, then makes the pointer ``OUT/<table>`` name it: a reader finds the whole old table
or the whole new one, never a mixture. In a folder the pointer is a symbolic link, so
``pandas.read_parquet("OUT/features")`` works without musicrec. Model folders are published the same way.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pyarrow as pa
import pyarrow.compute as pc

from musicrec.errors import ConfigError, SchemaError
from musicrec.files.parquet import open_dataset, open_parquet
from musicrec.files.paths import AnyPath, children, make_folder, to_path
from musicrec.files.s3_errors import ask, explain_s3_errors
from musicrec.settings import StageSettings
from musicrec.store.lineage import FOOTER_FILE, check_footer, made_by, read_footer
from musicrec.store.lock import lock_of
from musicrec.store.made_with import made_with
from musicrec.store.pointer import parts_of
from musicrec.store.settings_file import SettingsFile
from musicrec.store.staging import WorkFolders
from musicrec.store.versions import Version, Versions, now

if TYPE_CHECKING:
    import pyarrow.dataset as pads

Opened = TypeVar("Opened")

MAKERS = {  # the command that makes a table
    "tracks": "catalog", "features": "extract", "mel": "extract", "mel96": "extract --mel96",
    "images": "extract --images", "segments": "extract --segment-s 5", "embeddings": "embed",
    "vectors": "vectors run", "tags": "vectors run", "similar": "similar", "map": "map",
    "fingerprints": "duplicates", "recordings": "duplicates", "histories": "histories",
    "recommendations": "recommend --histories", "listener_scores": "evaluate --histories",
    "evaluation": "evaluate", "scores": "evaluate", "curves": "evaluate", "tuning": "tune",
}  # fmt: skip
GROUPS = ("models", "vectors", "tags")  # their members are published one by one, as group/name


class Store:
    """The tables, models and settings of one OUT.

    Parameters
    ----------
    out : str or path-like
        A folder, or ``s3://bucket/prefix``. A folder need not exist, since :meth:`create` makes it; a bucket must.

    Attributes
    ----------
    out : pathlib.Path or upath.UPath
        OUT; a folder is an absolute path.
    settings : SettingsFile
        The settings with which each stage last ran.
    work : WorkFolders
        The finished parts of unfinished runs.

    Raises
    ------
    ConfigError
        `out` is neither a folder nor an address that can be read.

    Examples
    --------
    >>> from musicrec import Store
    >>> store = Store("out")
    >>> store.published()[:3]
    ['embeddings', 'features', 'mel']
    >>> store.read("tracks", ["track_id", "title"]).num_rows
    18
    """

    def __init__(self, out: str | os.PathLike[str] | AnyPath) -> None:
        self.out = to_path(out)
        self._lock = lock_of(self.out)
        self.settings = SettingsFile(self.out / "settings.toml")
        self.work = WorkFolders(self.out / "_work")
        self._opened: dict[tuple[str, str], tuple[AnyPath, Any]] = {}  # by table and by what was opened of it

    # --- the folder ---------------------------------------------------------------------------------------------

    def create(self) -> None:
        """Make the OUT folder, or check that the existing one can be used.

        Raises
        ------
        ConfigError
            OUT cannot be written, or it holds files that are not musicrec's.

        Examples
        --------
        >>> store = Store("new-out")
        >>> store.create()
        >>> store.published()
        []
        """
        if isinstance(self.out, Path):
            try:
                make_folder(self.out)
                with tempfile.TemporaryFile(dir=self.out):
                    pass
            except OSError as e:
                raise ConfigError(f"OUT {self.out} cannot be written ({e.strerror}); choose another folder") from e
        with explain_s3_errors(self.out):
            ask(self.out)
            strangers = [p.name for p in children(self.out) if not p.name.startswith((".", "_"))]
            if strangers and not self.settings.exists():
                raise ConfigError(
                    f"OUT {self.out} holds {strangers[0]!r} and was not made by musicrec; choose an empty or new folder"
                )

    def require(self) -> None:
        """Check that this is an OUT in which a catalog has been made.

        Raises
        ------
        ConfigError
            It is not, or it cannot be read.
        """
        with explain_s3_errors(self.out):
            ask(self.out)
            is_out = self.settings.exists()
        if not is_out:
            raise ConfigError(
                f"{self.out} is not a musicrec OUT; make one with: musicrec run {self.out} --source FOLDER"
            )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the lock of OUT, in a ``with`` statement, so that no other run can write to OUT.

        The lock of a process that dies becomes free.

        Yields
        ------
        None
            While the lock is held.

        Raises
        ------
        InUse
            Another run holds the lock; the message says which.
        ConfigError
            OUT cannot be written.

        Examples
        --------
        >>> store = Store("out")
        >>> with store.lock():
        ...     store.rollback("similar", to="1")
        '00001-...'
        """
        with explain_s3_errors(self.out), self._lock.held():
            yield

    # --- reading ------------------------------------------------------------------------------------------------

    def path(self, name: str) -> AnyPath:
        """Return the folder of the published version of a table or model.

        Parameters
        ----------
        name : str
            Table, ``models/<model>``, ``vectors/<space>`` or ``tags/<model>``.

        Returns
        -------
        pathlib.Path or upath.UPath
            ``OUT/_versions/<name>/<version>``.

        Raises
        ------
        SchemaError
            Nothing is published under that name.

        Examples
        --------
        >>> Store("out").path("similar").name
        '00001-...'
        """
        versions = self.versions(name)
        published = versions.published
        if not published:
            raise SchemaError(f"{self.out} has no {name} yet; run: musicrec {maker_of(name)} {self.out}")
        return versions.root / published

    def exists(self, name: str) -> bool:
        """Return whether a version of a table or model is published.

        Parameters
        ----------
        name : str
            Table, ``models/<model>``, ``vectors/<space>`` or ``tags/<model>``.

        Returns
        -------
        bool
            True if one is.
        """
        return self.versions(name).published is not None

    def dataset(self, name: str) -> "pads.Dataset":
        """Return the published table as an Arrow dataset, which can be read in blocks.

        Parameters
        ----------
        name : str
            Table.

        Returns
        -------
        pyarrow.dataset.Dataset
            The version that is published now; it stays the same while it is read.

        Raises
        ------
        SchemaError
            The table is missing or damaged, or has another schema version.
        """
        return self._dataset(name, self.path(name))

    def _dataset(self, name: str, folder: AnyPath) -> "pads.Dataset":
        def opened() -> "pads.Dataset":
            with _whole(self.out / name):
                dataset = open_dataset(parts_of(folder))
            check_footer(dataset.schema, str(self.out / name))
            return dataset

        return self._once(name, "dataset", folder, opened)

    def _schema(self, name: str, folder: AnyPath) -> pa.Schema:
        def opened() -> pa.Schema:
            if not (folder / FOOTER_FILE).exists():
                return self._dataset(name, folder).schema
            with open_parquet(folder / FOOTER_FILE) as file:
                return file.schema_arrow

        return self._once(name, "schema", folder, opened)

    def _once(self, name: str, what: str, version: AnyPath, opened: Callable[[], Opened]) -> Opened:
        """Open a version, or return what was opened before: a version never changes, and a bucket is far away."""
        before, kept = self._opened.get((name, what), (None, None))
        if before != version:
            kept = opened()
            self._opened[name, what] = version, kept
        return cast("Opened", kept)

    def read(self, name: str, columns: list[str] | None = None, filter: pc.Expression | None = None) -> pa.Table:
        """Return the published table, or some of its columns and rows.

        Parameters
        ----------
        name : str
            Table.
        columns : list of str, optional
            Columns to read; all by default.
        filter : pyarrow.compute.Expression, optional
            Condition for the rows to read; all by default.

        Returns
        -------
        pyarrow.Table
            The table.

        Raises
        ------
        SchemaError
            The table is missing or damaged, or has another schema version.

        Examples
        --------
        >>> import pyarrow.compute as pc
        >>> bells = Store("out").read("tracks", ["title"], filter=pc.field("genre") == "synthetic-bells")
        >>> bells["title"].to_pylist()[:2]
        ['Synthetic bells 1', 'Synthetic bells 2']
        """
        dataset = self.dataset(name)
        with _whole(self.out / name):
            return dataset.to_table(columns=columns, filter=filter)

    def footer(self, name: str, version: str | None = None) -> dict[str, Any]:
        """Return what made a version of a table: its schema version, settings, lineage and time.

        Parameters
        ----------
        name : str
            Table.
        version : str, optional
            Name of the version; the published one by default.

        Returns
        -------
        dict
            The entry of musicrec in the Parquet footer.

        Raises
        ------
        SchemaError
            The table is missing or damaged, or has another schema version.

        Examples
        --------
        >>> Store("out").footer("similar")["settings"]["n"]
        5
        """
        folder = self.path(name) if version is None else self.versions(name).root / version
        return read_footer(self._schema(name, folder))

    def track_ids(self) -> list[str]:
        """Return the ids of all songs of the catalog, sorted.

        Returns
        -------
        list of str
            The ids.

        Raises
        ------
        SchemaError
            No catalog is published.
        """
        return sorted(self.read("tracks", ["track_id"])["track_id"].to_pylist())

    def published(self) -> list[str]:
        """Return the names of everything that is published, sorted.

        Returns
        -------
        list of str
            Tables by their names, and the members of groups, such as ``models/<model>``.
        """
        return list(self._published_versions())

    def _published_versions(self) -> dict[str, str]:
        root = self.out / "_versions"
        names = [p.name for p in children(root)]
        names += [f"{group}/{p.name}" for group in GROUPS if group in names for p in children(root / group)]
        versions = {name: self.versions(name).published for name in sorted(names) if name not in GROUPS}
        return {name: version for name, version in versions.items() if version}

    def state(self) -> str:
        """Return a digest of the names of all published versions.

        Returns
        -------
        str
            16 hex digits.
        """
        versions = list(self._published_versions().items())
        return hashlib.blake2b(repr(versions).encode(), digest_size=8).hexdigest()

    # --- publishing ---------------------------------------------------------------------------------------------

    def versions(self, name: str) -> Versions:
        """Return the versions of a table or model.

        Parameters
        ----------
        name : str
            Table, ``models/<model>``, ``vectors/<space>`` or ``tags/<model>``.

        Returns
        -------
        musicrec.store.versions.Versions
            Which versions there are; what changes them needs the lock of OUT.

        Examples
        --------
        >>> versions = Store("out").versions("similar")
        >>> versions.on_disk() == [versions.published]
        True
        """
        return Versions(self.out, name)

    def new_version(self, name: str, settings: StageSettings, fingerprint: str, **lineage: Any) -> Version:  # noqa: ANN401
        """Start a new version of a table or model. What killed runs left behind is removed first.

        Parameters
        ----------
        name : str
            Table, ``models/<model>``, ``vectors/<space>`` or ``tags/<model>``.
        settings : StageSettings
            Settings of the stage that makes it.
        fingerprint : str
            Digest of the settings and of everything that the version is made of.
        **lineage
            What it is made of, for the footer.

        Returns
        -------
        musicrec.store.versions.Version
            The version, to be filled and then given to :meth:`publish`.

        Raises
        ------
        ConfigError
            OUT was copied without its links.
        """
        folder = self.versions(name).new_folder(fingerprint)
        versions = {"versions": [made_with(settings.stage)]}
        footer = made_by(settings, **lineage) | versions | {"fingerprint": fingerprint, "created_at": now()}
        return Version(name, folder, footer)

    def publish(self, version: Version, *, keep: int = 1) -> None:
        """Make a version the published one, in one atomic step.

        Parameters
        ----------
        version : musicrec.store.versions.Version
            A finished version.
        keep : int
            Number of older versions that stay on disk.

        Raises
        ------
        InUse
            The lock of OUT was lost in the meantime.
        """
        self._lock.check()
        self.versions(version.name).publish(version.folder, keep)

    def set_parts_apart(self) -> None:
        """Bring the published tables of an older musicrec into today's layout: parts in a folder of their own."""
        for name in self.published():
            self.versions(name).set_parts_apart()

    def rollback(self, name: str, to: str | None = None) -> str:
        """Publish an older or withdrawn version of a table again. All versions after it are withdrawn.

        Parameters
        ----------
        name : str
            Table.
        to : str, optional
            Name or number of the version; by default, the last one before the published one that is not withdrawn.

        Returns
        -------
        str
            Name of the version that is published now.

        Raises
        ------
        SchemaError
            Nothing is published, or the older version is damaged or has another schema version.
        ConfigError
            There is no such version, or OUT was copied without its links.
        """
        versions = self.versions(name)
        self.footer(name, versions.find(to))
        return versions.rollback(to)


def maker_of(name: str) -> str:
    """Return the command that makes a table or a model; ``run`` makes all that nobody has to ask for.

    Examples
    --------
    >>> maker_of("embeddings"), maker_of("models/knn"), maker_of("vectors/musicnn"), maker_of("outcomes")
    ('embed', 'train --model knn', 'vectors run', 'run')
    """
    group, _, member = name.partition("/")
    if group == "models":
        return f"train --model {member}"
    return MAKERS.get(group, "run")


@contextmanager
def _whole(table: AnyPath) -> Iterator[None]:
    """Turn an error about damaged files into one that says what to do."""
    try:
        yield
    except (pa.ArrowInvalid, OSError) as e:
        if getattr(e, "errno", None) or str(e).startswith("No match for"):  # refused by the system, or no such column
            raise
        problem = " ".join(str(e).split()).rpartition(": ")[2]  # Arrow puts the place before it, more than once
        raise SchemaError(
            f"table {table} is damaged ({problem}); delete {table} and run the stage that makes it"
        ) from e
