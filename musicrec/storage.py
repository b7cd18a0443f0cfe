"""Where the tables of one OUT live, and how a new version of one becomes the published one.

``OUT/<table>`` is a symbolic link to ``OUT/_versions/<table>/<version>``, a folder of Parquet parts. A stage writes a
version that nobody sees, then swaps the link: a reader finds the old table or the new one, whole, never a mixture, and
``pandas.read_parquet("OUT/features")`` needs nothing of this project. Model folders are published the same way.
"""

import datetime
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import tomli_w

from musicrec.columns import OUTCOMES, SCHEMA_VERSION
from musicrec.errors import ConfigError, SchemaError
from musicrec.settings import STAGES, StageSettings, read_toml, resolve

if TYPE_CHECKING:
    import pyarrow.dataset as pads

ROW_GROUP_ROWS = 8192  # a reader decodes a row group at a time: small enough for lookups, large enough to compress
FOOTER_KEY = b"musicrec"
FOOTER_FILE = "_common_metadata"  # Parquet's name for a footer without rows: of a version whose parts may be older


def made_by(settings: StageSettings, **lineage: Any) -> dict[str, Any]:  # noqa: ANN401
    """What the rows of a part depend on, whenever it is written."""
    return {
        "schema_version": SCHEMA_VERSION,
        "algorithm": f"{settings.stage} {settings.code_version}",
        "settings": settings.model_dump(mode="json"),
        "lineage": lineage,
    }


def to_metadata(footer: Mapping[str, Any]) -> dict[bytes, bytes]:
    """The project's entry in a Parquet footer."""
    return {FOOTER_KEY: json.dumps(footer).encode()}


class Version:
    """A version in the making: a hidden folder nobody reads before :meth:`Store.publish`.

    Parameters
    ----------
    name : str
        Table or model the version is of.
    folder : pathlib.Path
        Existing empty folder.
    footer : dict
        What made it; stored in the footer of every part written by :meth:`write_part`.
    """

    def __init__(self, name: str, folder: Path, footer: Mapping[str, Any]) -> None:
        self.name = name
        self.folder = folder
        self.metadata = to_metadata(footer)
        self._parts = 0

    def write_part(self, table: pa.Table) -> None:
        """Add `table` as the next Parquet part."""
        write_parquet(self.folder / f"part-{self._parts:05d}.parquet", table.replace_schema_metadata(self.metadata))
        self._parts += 1


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
        ConfigError
            Another run holds it.
        """
        lock = filelock.FileLock(self.out / ".lock", blocking=False)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise ConfigError(f"OUT {self.out} is in use by another musicrec run; wait for it to end") from None
        except OSError as e:
            raise ConfigError(f"OUT {self.out} cannot be written ({e.strerror}); choose another folder") from e
        try:
            yield
        finally:
            lock.release()

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
        import pyarrow.dataset as pads  # imports pandas: too slow for a lookup that does not need it

        folder = self.path(name).resolve()  # the version stays the same while it is read
        with _whole(self.out / name):
            dataset = pads.dataset(folder, format="parquet")
        check_footer(dataset.schema, str(self.out / name))
        return dataset

    def read(self, name: str, columns: list[str] | None = None, filter: pc.Expression | None = None) -> pa.Table:
        """The published table, or some of its columns or rows."""
        dataset = self.dataset(name)
        with _whole(self.out / name):
            return dataset.to_table(columns=columns, filter=filter)

    def footer(self, name: str) -> dict[str, Any]:
        """What made the published table: schema version, algorithm, settings, lineage, fingerprint, time."""
        file = self.path(name).resolve() / FOOTER_FILE
        return read_footer(pq.read_schema(file) if file.exists() else self.dataset(name).schema)

    def track_ids(self) -> list[str]:
        """Ids of the catalog, sorted."""
        return sorted(self.read("tracks", ["track_id"])["track_id"].to_pylist())

    def state(self) -> str:
        """Name of everything that is published: it changes with any of it."""
        links = sorted(p for p in [*self.out.iterdir(), *(self.out / "models").glob("*")] if p.is_symlink())
        return hashlib.blake2b(repr([(p.name, p.readlink().name) for p in links]).encode(), digest_size=8).hexdigest()

    # --- publishing ---------------------------------------------------------------------------------------------

    def new_version(self, name: str, settings: StageSettings, fingerprint: str, **lineage: Any) -> Version:  # noqa: ANN401
        """Start a version of `name`; what killed runs left, newer than the published version, is removed first."""
        root = self.out / "_versions" / name
        root.mkdir(parents=True, exist_ok=True)
        published = self.path(name).resolve().name if self.exists(name) else ""
        if published and not (self.out / name).is_symlink():
            raise ConfigError(f"{self.out / name} is no link: OUT was copied without its links; copy it with cp -a")
        for leftover in root.iterdir():
            if leftover.is_dir() and (leftover.name.startswith(".") or leftover.name > published):
                shutil.rmtree(leftover)
        number = int(published.split("-")[0]) + 1 if published else 1
        folder = root / f".{number:05d}-{fingerprint[:8]}"
        folder.mkdir()
        return Version(
            name,
            folder,
            made_by(settings, **lineage)
            | {
                "fingerprint": fingerprint,
                "created_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            },
        )

    def publish(self, version: Version, *, keep: int = 1) -> None:
        """Make `version` the published one by one atomic swap; `keep` versions before it stay on disk."""
        for file in version.folder.rglob("*"):
            _fsync(file)
        _fsync(version.folder)
        folder = version.folder.rename(version.folder.with_name(version.folder.name[1:]))
        _fsync(folder.parent)
        pointer = self.out / version.name
        pointer.parent.mkdir(parents=True, exist_ok=True)
        fresh = pointer.with_name(f".{pointer.name}")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(os.path.relpath(folder, pointer.parent))
        fresh.replace(pointer)
        _fsync(pointer.parent)
        older = sorted(p for p in folder.parent.iterdir() if p.is_dir() and p != folder)
        for old in older[: max(0, len(older) - keep)]:
            shutil.rmtree(old)

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


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file that appears complete or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write a Parquet file that appears complete or not at all."""
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", row_group_size=ROW_GROUP_ROWS)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name for `path`, which appears under its own, complete, when all went well."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        _fsync(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _fsync(path.parent)


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


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


def read_footer(schema: pa.Schema) -> dict[str, Any]:
    """The project's entry in a Parquet footer; empty if there is none."""
    footer: dict[str, Any] = json.loads((schema.metadata or {}).get(FOOTER_KEY, b"{}"))
    return footer


def check_footer(schema: pa.Schema, where: str) -> None:
    """Raise SchemaError unless the table at `where` has this program's schema version."""
    version = read_footer(schema).get("schema_version")
    if version != SCHEMA_VERSION:
        raise SchemaError(
            f"table {where} has {f'schema version {version}' if version else 'no schema version'}, "
            f"this program reads {SCHEMA_VERSION}; "
            f"make it anew in another OUT"
        )
