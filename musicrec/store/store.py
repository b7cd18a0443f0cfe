"""Where the tables of one OUT live, a folder or a prefix of a bucket, and how a new version becomes the published one.

A version is a folder of Parquet parts, ``OUT/_versions/<table>/<version>``. A stage writes one that nobody sees, then
has the pointer ``OUT/<table>`` say its name: a reader finds the old table or the new one, whole, never a mixture. In a
folder the pointer is a symbolic link, and ``pandas.read_parquet("OUT/features")`` needs nothing of this project. Model
folders are published the same way.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from musicrec.errors import ConfigError, SchemaError
from musicrec.files.parquet import open_dataset, open_parquet
from musicrec.files.paths import AnyPath, children, make_folder, to_path
from musicrec.files.s3_errors import ask, explain_s3_errors
from musicrec.settings import StageSettings
from musicrec.store.lineage import FOOTER_FILE, check_footer, made_by, read_footer
from musicrec.store.lock import lock_of
from musicrec.store.settings_file import SettingsFile
from musicrec.store.staging import WorkFolders
from musicrec.store.versions import Version, Versions, now

if TYPE_CHECKING:
    import pyarrow.dataset as pads


class Store:
    """The tables, models and settings under one OUT.

    Parameters
    ----------
    out : str or path-like
        A folder, or ``s3://bucket/prefix``. It need not exist: :meth:`create` makes it; a bucket must.

    Raises
    ------
    ConfigError
        It is neither.

    Attributes
    ----------
    out : pathlib.Path or upath.UPath
        The OUT.
    settings : SettingsFile
        How each stage last ran here.
    work : WorkFolders
        What unfinished runs have done.
    """

    def __init__(self, out: str | os.PathLike[str] | AnyPath) -> None:
        self.out = to_path(out)
        self._lock = lock_of(self.out)
        self.settings = SettingsFile(self.out / "settings.toml")
        self.work = WorkFolders(self.out / "_work")

    # --- the folder ---------------------------------------------------------------------------------------------

    def create(self) -> None:
        """Make the OUT folder.

        Raises
        ------
        ConfigError
            It cannot be written, or it already holds something that is not an OUT.
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
        """Raise ConfigError unless this is an OUT that `musicrec catalog` has made."""
        with explain_s3_errors(self.out):
            ask(self.out)
            is_out = self.settings.exists()
        if not is_out:
            raise ConfigError(
                f"{self.out} is not a musicrec OUT; make one with: musicrec run {self.out} --source FOLDER"
            )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold OUT for writing; it becomes free when its holder ends, however that ends.

        Raises
        ------
        InUse
            Another run holds it; the message says which.
        ConfigError
            OUT cannot be written.
        """
        with explain_s3_errors(self.out), self._lock.held():
            yield

    # --- reading ------------------------------------------------------------------------------------------------

    def path(self, name: str) -> AnyPath:
        """Folder of the published version of a table or model.

        Raises
        ------
        SchemaError
            Nothing is published under that name.
        """
        versions = self.versions(name)
        published = versions.published
        if not published:
            raise SchemaError(f"{self.out} has no {name} yet; run the stage that makes it (musicrec --help)")
        return versions.root / published

    def exists(self, name: str) -> bool:
        """Whether a version of `name` is published."""
        return self.versions(name).published is not None

    def dataset(self, name: str) -> "pads.Dataset":
        """The published table as an Arrow dataset, for reading piece by piece."""
        return self._open(self.path(name), self.out / name)  # the version stays the same while it is read

    def _open(self, folder: AnyPath, table: AnyPath) -> "pads.Dataset":
        with _whole(table):
            dataset = open_dataset(folder)
        check_footer(dataset.schema, str(table))
        return dataset

    def read(self, name: str, columns: list[str] | None = None, filter: pc.Expression | None = None) -> pa.Table:
        """The published table, or some of its columns or rows."""
        dataset = self.dataset(name)
        with _whole(self.out / name):
            return dataset.to_table(columns=columns, filter=filter)

    def footer(self, name: str, version: str | None = None) -> dict[str, Any]:
        """What made a version of a table, the published one by default: schema version, settings, lineage, time."""
        folder = self.path(name) if version is None else self.versions(name).root / version
        if (folder / FOOTER_FILE).exists():
            with open_parquet(folder / FOOTER_FILE) as file:
                return read_footer(file.schema_arrow)
        return read_footer(self._open(folder, self.out / name).schema)

    def track_ids(self) -> list[str]:
        """Ids of the catalog, sorted."""
        return sorted(self.read("tracks", ["track_id"])["track_id"].to_pylist())

    def published(self) -> list[str]:
        """Names of everything that is published, sorted: tables, and models as ``models/<model>``."""
        root = self.out / "_versions"
        names = [p.name for p in children(root) if p.name != "models"]
        names += [f"models/{p.name}" for p in children(root / "models")]
        return [name for name in sorted(names) if self.exists(name)]

    def state(self) -> str:
        """Name of everything that is published: it changes with any of it."""
        versions = [(name, self.versions(name).published) for name in self.published()]
        return hashlib.blake2b(repr(versions).encode(), digest_size=8).hexdigest()

    # --- publishing ---------------------------------------------------------------------------------------------

    def versions(self, name: str) -> Versions:
        """The versions of a table or model."""
        return Versions(self.out, name)

    def new_version(self, name: str, settings: StageSettings, fingerprint: str, **lineage: Any) -> Version:  # noqa: ANN401
        """Start a version of `name`; what killed runs left, newer than the published version, is removed first."""
        folder = self.versions(name).new_folder(fingerprint)
        footer = made_by(settings, **lineage) | {"fingerprint": fingerprint, "created_at": now()}
        return Version(name, folder, footer)

    def publish(self, version: Version, *, keep: int = 1) -> None:
        """Make `version` the published one by one atomic swap; `keep` versions before it stay on disk.

        Raises
        ------
        InUse
            The lock of OUT was lost meanwhile.
        """
        self._lock.check()
        self.versions(version.name).publish(version.folder, keep)

    def rollback(self, name: str, to: str | None = None) -> str:
        """Publish an older version of a table again, as :meth:`musicrec.store.versions.Versions.rollback` tells.

        Raises
        ------
        SchemaError
            Nothing is published, or the older version is damaged or of another schema version.
        ConfigError
            There is no such version.
        """
        versions = self.versions(name)
        self.footer(name, versions.find(to))
        return versions.rollback(to)


@contextmanager
def _whole(table: AnyPath) -> Iterator[None]:
    """Say of a table whose files are damaged what can be done about it."""
    try:
        yield
    except (pa.ArrowInvalid, OSError) as e:
        if getattr(e, "errno", None) or str(e).startswith("No match for"):  # the system refuses, or no such column
            raise
        problem = " ".join(str(e).split()).rpartition(": ")[2]  # before it Arrow says where it was, more than once
        raise SchemaError(
            f"table {table} is damaged ({problem}); delete {table} and run the stage that makes it"
        ) from e
