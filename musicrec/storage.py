"""Where the tables of one OUT live, and how a new version of one becomes the published one.

``OUT/<table>`` is a symbolic link to ``OUT/_versions/<table>/<version>``, a folder of Parquet parts. A stage writes a
version that nobody sees, then swaps the link: a reader finds the old table or the new one, whole, never a mixture, and
``pandas.read_parquet("OUT/features")`` needs nothing of this project. Model folders are published the same way.
"""

import hashlib
import json
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import tomli_w

from musicrec.columns import OUTCOMES
from musicrec.errors import ConfigError, InUse, SchemaError
from musicrec.files import write_atomic, write_parquet
from musicrec.footers import FOOTER_FILE, check_footer, made_by, read_footer
from musicrec.settings import STAGES, StageSettings, read_toml, resolve
from musicrec.versions import Version, Versions, now

if TYPE_CHECKING:
    import pyarrow.dataset as pads


class Store:
    """The tables, models and settings under one OUT folder.

    Parameters
    ----------
    out : path-like
        The folder. It need not exist: :meth:`create` makes it.
    """

    def __init__(self, out: str | os.PathLike[str]) -> None:
        if "://" in str(out):
            raise ConfigError(f"OUT {out}: only a local folder can hold the tables in this version; give a path")
        self.out = Path(out).absolute()

    # --- the folder ---------------------------------------------------------------------------------------------

    def create(self) -> None:
        """Make the OUT folder.

        Raises
        ------
        ConfigError
            It cannot be written, or it already holds something that is not an OUT.
        """
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.out):
                pass
        except OSError as e:
            raise ConfigError(f"OUT {self.out} cannot be written ({e.strerror}); choose another folder") from e
        strangers = [p.name for p in self.out.iterdir() if not p.name.startswith((".", "_"))]
        if strangers and not self._settings_file.exists():
            raise ConfigError(
                f"OUT {self.out} holds {strangers[0]!r} and was not made by musicrec; choose an empty or new folder"
            )

    def require(self) -> None:
        """Raise ConfigError unless this is an OUT that `musicrec catalog` has made."""
        if not self._settings_file.exists():
            raise ConfigError(
                f"{self.out} is not a musicrec OUT; make one with: musicrec run {self.out} --source FOLDER"
            )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold OUT for writing; the system frees the lock when its holder dies.

        Raises
        ------
        InUse
            Another run holds it; the message says which.
        ConfigError
            OUT cannot be written.
        """
        lock = filelock.FileLock(self.out / ".lock", blocking=False)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise InUse(f"OUT {self.out} is in use by {self._holder()}; wait for it to end") from None
        except OSError as e:
            raise ConfigError(f"OUT {self.out} cannot be written ({e.strerror}); choose another folder") from e
        try:
            with suppress(OSError):  # on a full disk too, a rollback is possible
                self._remove_unfinished()
                write_atomic(self._holder_file, json.dumps(_myself()).encode())
            yield
        finally:
            with suppress(OSError):
                self._holder_file.unlink(missing_ok=True)
            lock.release()

    def _remove_unfinished(self) -> None:
        """Remove files that killed runs were writing into OUT; those of versions and of work go with these."""
        for folder in (self.out, self.out / "_runs"):
            for file in folder.glob(f".*.{'?' * 8}"):  # named by tempfile
                file.unlink()

    @property
    def _holder_file(self) -> Path:
        return self.out / ".lock.json"  # beside the lock, which some versions of filelock empty when they ask for it

    def _holder(self) -> str:
        """Who holds the lock, as far as it has said so."""
        try:
            by = json.loads(self._holder_file.read_bytes())
            return f"another musicrec run: {by['command']!r}, process {by['pid']} on {by['host']} since {by['since']}"
        except (OSError, ValueError, LookupError, TypeError):  # it has only just begun
            return "another musicrec run"

    # --- settings -----------------------------------------------------------------------------------------------

    @property
    def _settings_file(self) -> Path:
        return self.out / "settings.toml"

    def recorded(self, stage: str) -> dict[str, Any]:
        """Settings with which `stage` last ran here; empty if it never did."""
        return read_toml(self._settings_file).get(stage, {}) if self._settings_file.exists() else {}

    def record(self, settings: StageSettings) -> None:
        """Keep the settings of a stage in ``settings.toml``."""
        content = read_toml(self._settings_file) if self._settings_file.exists() else {}
        content[settings.stage] = settings.model_dump(mode="json", exclude_none=True)
        ordered = {stage: content[stage] for stage in STAGES if stage in content}
        write_atomic(self._settings_file, tomli_w.dumps(ordered).encode())

    def check_settings(self, settings: StageSettings, *, force: bool) -> None:
        """Refuse to redo costly work because an option differs from how OUT was made.

        Raises
        ------
        ConfigError
            `settings` differ from the recorded ones and `force` is false.
        """
        recorded = self.recorded(settings.stage)
        if not recorded or force:
            return
        differences = resolve(type(settings), recorded).differences(settings)
        if differences:
            raise ConfigError(
                f"OUT {self.out} was made by other {settings.stage} settings ({'; '.join(differences)}); "
                f"use another OUT, or add --force to redo what depends on them"
            )

    # --- reading ------------------------------------------------------------------------------------------------

    def path(self, name: str) -> Path:
        """Folder of the published version of a table or model.

        Raises
        ------
        SchemaError
            Nothing is published under that name.
        """
        path = self.out / name
        if not path.exists():
            raise SchemaError(f"{self.out} has no {name} yet; run the stage that makes it (musicrec --help)")
        return path

    def exists(self, name: str) -> bool:
        """Whether a version of `name` is published."""
        return (self.out / name).exists()

    def dataset(self, name: str) -> "pads.Dataset":
        """The published table as an Arrow dataset, for reading piece by piece."""
        return self._open(self.path(name).resolve(), self.out / name)  # the version stays the same while it is read

    def _open(self, folder: Path, table: Path) -> "pads.Dataset":
        import pyarrow.dataset as pads  # imports pandas: too slow for a lookup that does not need it

        with _whole(table):
            dataset = pads.dataset(folder, format="parquet")
        check_footer(dataset.schema, str(table))
        return dataset

    def read(self, name: str, columns: list[str] | None = None, filter: pc.Expression | None = None) -> pa.Table:
        """The published table, or some of its columns or rows."""
        dataset = self.dataset(name)
        with _whole(self.out / name):
            return dataset.to_table(columns=columns, filter=filter)

    def footer(self, name: str, version: str | None = None) -> dict[str, Any]:
        """What made a version of a table, the published one by default: schema version, settings, lineage, time."""
        folder = self.path(name).resolve() if version is None else self.versions(name).root / version
        if (folder / FOOTER_FILE).exists():
            return read_footer(pq.read_schema(folder / FOOTER_FILE))
        return read_footer(self._open(folder, self.out / name).schema)

    def track_ids(self) -> list[str]:
        """Ids of the catalog, sorted."""
        return sorted(self.read("tracks", ["track_id"])["track_id"].to_pylist())

    def published(self) -> list[str]:
        """Names of everything that is published, sorted: tables, and models as ``models/<model>``."""
        links = [p for p in [*self.out.iterdir(), *(self.out / "models").glob("*")] if p.is_symlink() and p.exists()]
        return sorted(str(p.relative_to(self.out)) for p in links)

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
        """Make `version` the published one by one atomic swap; `keep` versions before it stay on disk."""
        self.versions(version.name).publish(version.folder, keep)

    def rollback(self, name: str, to: str | None = None) -> str:
        """Publish an older version of a table again, as :meth:`musicrec.versions.Versions.rollback` tells.

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

    def save_outcomes(self, stage: str, rows: pa.Table, settings: StageSettings, fingerprint: str) -> None:
        """Replace the rows of `stage` in the ``outcomes`` table."""
        before = self.read("outcomes").cast(OUTCOMES) if self.exists("outcomes") else OUTCOMES.empty_table()
        others = before.filter(pc.field("stage") != stage)
        now = pa.concat_tables([others, rows.cast(OUTCOMES)])
        now = now.sort_by([("stage", "ascending"), ("track_id", "ascending")])
        if now.equals(before):
            return
        version = self.new_version("outcomes", settings, fingerprint)
        version.write_part(now)
        self.publish(version)

    # --- work in progress ---------------------------------------------------------------------------------------

    def work_folder(self, stage: str) -> Path:
        """Folder for what an unfinished run of `stage` has done; it outlives the run."""
        folder = self.out / "_work" / stage
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def staged(self, stage: str) -> list[Path]:
        """Shards that tasks of an unfinished run of `stage` have completed."""
        return sorted((self.out / "_work" / stage).glob("*.parquet"))

    def stage_shard(self, stage: str, name: str, table: pa.Table) -> None:
        """Write one shard of `stage`, whole or not at all; writing it again changes nothing."""
        write_parquet(self.work_folder(stage) / f"{name}.parquet", table)

    def clear_work(self, stage: str) -> None:
        """Remove the work folder of `stage`, once what it held is published."""
        shutil.rmtree(self.out / "_work" / stage, ignore_errors=True)


def _myself() -> dict[str, Any]:
    """What others that ask for the lock are told of this run."""
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
    return {"command": command, "pid": os.getpid(), "host": socket.gethostname(), "since": now()}


@contextmanager
def _whole(table: Path) -> Iterator[None]:
    """Say of a table whose files are damaged what can be done about it."""
    try:
        yield
    except (pa.ArrowInvalid, OSError) as e:
        if getattr(e, "errno", None) or str(e).startswith("No match for"):  # the system refuses, or no such column
            raise
        told = " ".join(str(e).split()).rpartition(": ")[2]  # before it Arrow says where it was, more than once
        raise SchemaError(f"table {table} is damaged ({told}); delete {table} and run the stage that makes it") from e
