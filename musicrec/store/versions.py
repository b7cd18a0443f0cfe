"""The versions of one table or model, each a folder ``OUT/_versions/<name>/<version>``.

The Parquet parts of a table lie in the version's folder ``parts``, and nothing else does: many readers open every file
that they find there. What else belongs to the version lies beside that folder.

A pointer says which of them is the published one, see :mod:`musicrec.store.pointer`; nobody reads a version before it
points there. A version newer than the published one is being made, or was left by a run that was killed before it
could publish, unless ``state.json`` says that a rollback withdrew it.
"""

import datetime
import json
import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from musicrec.errors import ConfigError, SchemaError
from musicrec.files.parquet import write_parquet
from musicrec.files.paths import AnyPath, children, fsync, link_or_copy, make_folder, read_bytes, remove, write_atomic
from musicrec.store.lineage import to_metadata
from musicrec.store.pointer import PARTS, parts_of, pointer_of

STATE_FILE = "state.json"
VERSION_NAME = re.compile(r"\d{5,}-")
READ_S = 60.0  # a replaced version stays on disk for so long, because somebody may be listing its files


def now() -> str:
    """Return the time, as ISO 8601 in UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


class Version:
    """An unfinished version: a folder that nobody reads before :meth:`Versions.publish`.

    In a ``with`` statement, the folder is removed again if anything fails.

    Parameters
    ----------
    name : str
        Table or model the version is of.
    folder : pathlib.Path or upath.UPath
        An empty folder.
    footer : dict
        What made it; stored in the footer of every part written by :meth:`write_part`.
    """

    def __init__(self, name: str, folder: AnyPath, footer: Mapping[str, Any]) -> None:
        self.name = name
        self.folder = folder
        self.footer = dict(footer)
        self._parts = 0

    @property
    def metadata(self) -> dict[bytes, bytes]:
        """The project's entry in the footer of every part."""
        return to_metadata(self.footer)

    def keep_rows_of(self, footer: Mapping[str, Any]) -> None:
        """Note that some rows are those of an older version, which may have been made with other libraries."""
        own = self.footer.get("versions", [])
        self.footer["versions"] = own + [others for others in footer.get("versions", []) if others not in own]

    def __enter__(self) -> "Version":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Remove the folder if the version could not be finished: it may have filled the disk."""
        if kind is not None:
            remove(self.folder)

    def part(self, number: int) -> AnyPath:
        """Return the path of a part, with a file name that no other version has.

        A reader that knows nothing of versions lists the files of ``OUT/<table>`` and opens them one by one; the link
        may be swapped meanwhile. It then finds a file missing, and never reads one of another version instead.
        """
        return make_folder(self.folder / PARTS) / f"part-{number:05d}-{self.folder.name}.parquet"

    def write_part(self, table: pa.Table) -> None:
        """Add `table` as the next Parquet part."""
        write_parquet(self.part(self._parts), table.replace_schema_metadata(self.metadata))
        self._parts += 1


class Withdrawn(NamedTuple):
    """A version that a rollback took back."""

    version: str
    at: str  # ISO 8601, in UTC


class _State(NamedTuple):
    """The pointer of a table and its ``state.json``, as they were at one moment."""

    published: str | None
    notes: dict[str, Any]

    @property
    def withdrawn(self) -> dict[str, str]:
        return {name: at for name, at in self.notes.get("withdrawn", {}).items() if name != self.published}

    @property
    def leaving(self) -> list[str]:
        names: list[str] = self.notes.get("pruned", [])
        return names

    @property
    def confirmed_at(self) -> str | None:
        confirmed = self.notes.get("confirmed", {})
        return confirmed.get("at") if confirmed.get("version") == self.published else None

    @property
    def replaced(self) -> dict[str, float]:
        """Versions that were replaced a moment ago, and when: somebody may still be listing their files."""
        now = time.time()
        return {name: at for name, at in self.notes.get("replaced", {}).items() if 0 <= now - at < READ_S}

    def on_disk(self, folders: Iterable[str]) -> list[str]:
        """Return those of some folders that are or were published, the oldest first."""
        withdrawn, leaving = self.withdrawn, self.leaving
        shown = (name for name in folders if name <= (self.published or "") or name in withdrawn)
        return sorted(name for name in shown if name not in leaving)

    def after(self, published: str) -> "_State":
        """Return the state once another version, or the same one, is published."""
        replaced = self.replaced | ({self.published: time.time()} if self.published else {})
        return _State(published, {**self.notes, "replaced": replaced})


class Versions:
    """The versions of one table or model. Whoever changes them must hold the lock of OUT.

    Parameters
    ----------
    out : pathlib.Path or upath.UPath
        The OUT folder.
    name : str
        Table, ``models/<model>``, ``vectors/<space>`` or ``tags/<model>``.
    """

    def __init__(self, out: AnyPath, name: str) -> None:
        self.name = name
        self.root = out / "_versions" / name
        self._out = out
        self._pointer = pointer_of(out, name)

    # --- what there is ------------------------------------------------------------------------------------------

    @property
    def published(self) -> str | None:
        """Name of the published version; None if there is none."""
        return self._pointer.read()

    @property
    def withdrawn(self) -> dict[str, str]:
        """When a rollback withdrew a version, by the version's name; it may be gone from the disk."""
        return self._state().withdrawn

    def on_disk(self) -> list[str]:
        """Return the versions that are or were published and are still there, the oldest first."""
        return self._state().on_disk(self._folders())

    def withdrawn_as(self, fingerprint: str) -> Withdrawn | None:
        """Return the last withdrawn version with this fingerprint; None if there is none."""
        same = [Withdrawn(name, at) for name, at in self.withdrawn.items() if _is_of(name, fingerprint)]
        return max(same, default=None)

    @property
    def leaving(self) -> list[str]:
        """Versions no longer offered; the next publication removes their files, which somebody may still be reading."""
        return self._state().leaving

    @property
    def confirmed_at(self) -> str | None:
        """When a run last found the published version up to date; None if none has since it was published."""
        return self._state().confirmed_at

    # --- changing it --------------------------------------------------------------------------------------------

    def new_folder(self, fingerprint: str) -> AnyPath:
        """Make the folder of a new version, newer than all others; what killed runs left is removed first.

        Raises
        ------
        ConfigError
            OUT was copied without its links.
        """
        make_folder(self.root)
        self._pointer.require_sound()
        state, found = self._state(), {path.name: path for path in children(self.root)}
        kept = {*state.on_disk(filter(VERSION_NAME.match, found)), *state.replaced}
        for name in found.keys() - kept - {STATE_FILE}:
            remove(found[name])
        taken = [int(name.split("-")[0]) for name in {*(kept & found.keys()), *state.withdrawn}]
        return make_folder(self.root / f"{max(taken, default=0) + 1:05d}-{fingerprint[:8]}")

    def publish(self, folder: AnyPath, keep: int) -> None:
        """Make the version in a folder the published one; `keep` before it stay on disk."""
        if isinstance(folder, Path):  # a bucket keeps what was written
            for file in folder.rglob("*"):
                fsync(file)
            fsync(folder)
            fsync(folder.parent)
        before, folders = self._state(), self._folders()
        self._point_to(folder.name)
        _, _, fingerprint = folder.name.partition("-")
        after = before.after(folder.name)
        again = {name for name in after.withdrawn if name == before.published or _is_of(name, fingerprint)}
        withdrawn = {name: at for name, at in after.withdrawn.items() if name not in again}
        older = [name for name in after.on_disk(folders) if name != folder.name]
        kinds = ([n for n in older if n not in after.withdrawn], [n for n in older if n in after.withdrawn])
        too_old = [name for names in kinds for name in names[: max(0, len(names) - keep)]]
        pruned = [*(name for name in after.leaving if name in folders), *too_old]
        # The state comes first: a version that a killed run removes in part no longer counts then.
        self._write(before.notes, after.notes | {"pruned": pruned, "withdrawn": withdrawn})
        for name in pruned:
            if name not in after.replaced:
                remove(self.root / name)

    def rollback(self, to: str | None = None) -> str:
        """Publish an older version again, or a withdrawn one; every version after it is withdrawn.

        Parameters
        ----------
        to : str, optional
            Name of the version, or its number; the last one before the published one that is not withdrawn by default.

        Returns
        -------
        str
            Name of the version that is published now.

        Raises
        ------
        SchemaError
            Nothing is published.
        ConfigError
            There is no such version, or OUT was copied without its links.
        """
        self._pointer.require_sound()
        before, folders = self._state(), self._folders()
        target = self._find(to, before, before.on_disk(folders))
        newer = {name: before.withdrawn.get(name, now()) for name in before.on_disk(folders) if name > target}
        withdrawn = {name: at for name, at in (before.withdrawn | newer).items() if name != target}
        self._write(before.notes, before.after(target).notes | {"withdrawn": withdrawn})
        if target != before.published:
            self._point_to(target)
        return target

    def find(self, to: str | None) -> str:
        """Return the name of the version that :meth:`rollback` would publish."""
        state = self._state()
        return self._find(to, state, state.on_disk(self._folders()))

    def set_parts_apart(self) -> None:
        """Give the published table of an older musicrec a folder that holds its parts and nothing else.

        The parts stay where they were too, until the version is removed: somebody may be reading them. In a bucket, a
        table waits for its next version, since parts cannot appear there all at once.
        """
        published, shown = self.published, self._out / self.name
        is_table = not self.name.startswith("models/")
        if not (published and is_table and isinstance(shown, Path)) or shown.resolve().name == PARTS:
            return
        self._pointer.require_sound()
        version = shown.resolve()
        if not (version / PARTS).exists():
            fresh = version / f".{PARTS}"
            remove(fresh)
            for part in children(version, "*.parquet"):
                link_or_copy(part, make_folder(fresh) / part.name)
            fsync(fresh)
            fresh.rename(version / PARTS)
        self._point_to(published)

    def remove(self) -> None:
        """Remove the table and all its versions."""
        self._pointer.remove()
        remove(self.root)

    def confirm(self) -> None:
        """Note that a run has found the published version up to date."""
        state = self._state()
        self._write(state.notes, {**state.notes, "confirmed": {"version": state.published, "at": now()}})

    # --- inside -------------------------------------------------------------------------------------------------

    def _point_to(self, version: str) -> None:
        parts = parts_of(self.root / version)
        self._pointer.point_to(f"{version}/{PARTS}" if parts.name == PARTS else version)

    def _find(self, to: str | None, state: _State, names: list[str]) -> str:
        published = state.published
        if not published:
            raise SchemaError(f"{self._out} has no {self.name} yet; run the stage that makes it")
        if to is None:
            older = [name for name in names if name < published and name not in state.withdrawn]
            if not older:
                raise ConfigError(f"{self.name} has no version before {published} on disk; there is none to go back to")
            return older[-1]
        found = [name for name in names if to == name or (to.isdecimal() and int(to) == int(name.split("-")[0]))]
        if not found:
            raise ConfigError(f"{self.name} has no version {to} on disk; it has {', '.join(names)}")
        return found[0]

    def _folders(self) -> list[str]:
        return [p.name for p in children(self.root) if VERSION_NAME.match(p.name)]

    def _state(self) -> _State:
        try:
            notes: dict[str, Any] = json.loads(read_bytes(self.root / STATE_FILE))
        except FileNotFoundError:
            notes = {}
        except ValueError as e:
            raise SchemaError(
                f"{self.root / STATE_FILE} is damaged; delete it, and what was rolled back is forgotten"
            ) from e
        return _State(self.published, notes)

    def _write(self, before: dict[str, Any], after: dict[str, Any]) -> None:
        content = {name: value for name, value in after.items() if value}
        if content != before:
            write_atomic(self.root / STATE_FILE, json.dumps(content, indent=2).encode())


def _is_of(version: str, fingerprint: str) -> bool:
    return version.partition("-")[2] == fingerprint[:8]
