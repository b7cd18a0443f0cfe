"""The versions of one table or model, each a folder ``OUT/_versions/<name>/<version>``.

A pointer says which of them is the published one, see :mod:`musicrec.store.pointer`; nobody reads a version before it
points there. A version newer than the published one is being made, or was left by a run that was killed before it
could publish, unless ``state.json`` says that a rollback withdrew it.
"""

import datetime
import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from musicrec.errors import ConfigError, SchemaError
from musicrec.files.parquet import write_parquet
from musicrec.files.paths import AnyPath, children, fsync, make_folder, read_bytes, remove, write_atomic
from musicrec.store.lineage import to_metadata
from musicrec.store.pointer import pointer_of

STATE_FILE = "state.json"
VERSION_NAME = re.compile(r"\d{5,}-")
READ_S = 60.0  # that a version stays on disk after another took its place: somebody may be listing its files


def now() -> str:
    """The time, as ISO 8601 in UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


class Version:
    """A version in the making: a folder nobody reads before :meth:`Versions.publish`.

    In a ``with`` statement, the folder is removed again if anything fails.

    Parameters
    ----------
    name : str
        Table or model the version is of.
    folder : pathlib.Path or upath.UPath
        Empty.
    footer : dict
        What made it; stored in the footer of every part written by :meth:`write_part`.
    """

    def __init__(self, name: str, folder: AnyPath, footer: Mapping[str, Any]) -> None:
        self.name = name
        self.folder = folder
        self.metadata = to_metadata(footer)
        self._parts = 0

    def __enter__(self) -> "Version":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Make room again if the version could not be finished: the disk may be full of it."""
        if kind is not None:
            remove(self.folder)

    def part_name(self, number: int) -> str:
        """File name of a part, which no other version has.

        A reader that knows nothing of versions lists the files of ``OUT/<table>``, and opens them one by one while the
        link may be swapped: it finds one missing, and never takes one of another version for it.
        """
        return f"part-{number:05d}-{self.folder.name}.parquet"

    def write_part(self, table: pa.Table) -> None:
        """Add `table` as the next Parquet part."""
        write_parquet(self.folder / self.part_name(self._parts), table.replace_schema_metadata(self.metadata))
        self._parts += 1


class Withdrawn(NamedTuple):
    """A version that a rollback took back."""

    version: str
    at: str  # ISO 8601, in UTC


class Versions:
    """The versions of one table or model. Whoever changes something holds the lock of OUT.

    Parameters
    ----------
    out : pathlib.Path or upath.UPath
        The OUT folder.
    name : str
        Table, or ``models/<model>``.
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
        """When a rollback withdrew which version, by its name; it may be off the disk since."""
        published = self.published
        return {name: at for name, at in self._state().get("withdrawn", {}).items() if name != published}

    def on_disk(self) -> list[str]:
        """Versions that are or were published and are still there, the oldest first."""
        published, withdrawn, leaving = self.published or "", self.withdrawn, self.leaving
        named = [name for name in self._folders() if name <= published or name in withdrawn]
        return sorted(name for name in named if name not in leaving)

    def withdrawn_as(self, fingerprint: str) -> Withdrawn | None:
        """Last withdrawn version that `fingerprint` names; None if there is none."""
        same = [Withdrawn(name, at) for name, at in self.withdrawn.items() if _is_of(name, fingerprint)]
        return max(same, default=None)

    @property
    def leaving(self) -> list[str]:
        """Versions that are none any more; their files go with the next one, for somebody may still be reading them."""
        gone: list[str] = self._state().get("pruned", [])
        return gone

    @property
    def confirmed_at(self) -> str | None:
        """When a run last found the published version up to date; None if none has since it was published."""
        confirmed = self._state().get("confirmed", {})
        return confirmed.get("at") if confirmed.get("version") == self.published else None

    # --- changing it --------------------------------------------------------------------------------------------

    def new_folder(self, fingerprint: str) -> AnyPath:
        """Folder of a new version, newer than all others; what killed runs left is removed first.

        Raises
        ------
        ConfigError
            OUT was copied without its links.
        """
        make_folder(self.root)
        self._pointer.require_sound()
        self._remove_leftovers()
        taken = [int(name.split("-")[0]) for name in [*self._folders(), *self.withdrawn]]
        return make_folder(self.root / f"{max(taken, default=0) + 1:05d}-{fingerprint[:8]}")

    def publish(self, folder: AnyPath, keep: int) -> None:
        """Make the version in a folder the published one; `keep` before it stay on disk."""
        if isinstance(folder, Path):  # what was put into a bucket is there
            for file in folder.rglob("*"):
                fsync(file)
            fsync(folder)
            fsync(folder.parent)
        before, (_, _, fingerprint) = self.published, folder.name.partition("-")
        self._pointer.point_to(folder.name)
        self._prune(keep, before)
        withdrawn = self.withdrawn.items()
        kept = {name: at for name, at in withdrawn if name != before and not _is_of(name, fingerprint)}
        self._write_state(withdrawn=kept)

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
        target = self.find(to)
        before, withdrawn = self.published, self.withdrawn
        after = {name: withdrawn.get(name, now()) for name in self.on_disk() if name > target}
        after = {name: at for name, at in (withdrawn | after).items() if name != target}
        self._write_state(withdrawn=after, replaced=self._replaced_now(before))
        if target != before:
            self._pointer.point_to(target)
        return target

    def find(self, to: str | None) -> str:
        """Name of the version that :meth:`rollback` would publish."""
        published, names = self.published, self.on_disk()
        if not published:
            raise SchemaError(f"{self._out} has no {self.name} yet; run the stage that makes it")
        if to is None:
            older = [name for name in names if name < published and name not in self.withdrawn]
            if not older:
                raise ConfigError(f"{self.name} has no version before {published} on disk; there is none to go back to")
            return older[-1]
        found = [name for name in names if to == name or (to.isdecimal() and int(to) == int(name.split("-")[0]))]
        if not found:
            raise ConfigError(f"{self.name} has no version {to} on disk; it has {', '.join(names)}")
        return found[0]

    def remove(self) -> None:
        """Withdraw the table and all its versions."""
        self._pointer.remove()
        remove(self.root)

    def confirm(self) -> None:
        """Note that a run has found the published version up to date."""
        self._write_state(confirmed={"version": self.published, "at": now()})

    # --- inside -------------------------------------------------------------------------------------------------

    def _folders(self) -> list[str]:
        return [p.name for p in children(self.root) if VERSION_NAME.match(p.name)]

    def _remove_leftovers(self) -> None:
        known = {*self.on_disk(), *_of_late(self._state().get("replaced", {})), STATE_FILE}
        for path in children(self.root):
            if path.name not in known:
                remove(path)

    def _prune(self, keep: int, before: str | None) -> None:
        """Remove the oldest versions; withdrawn ones do not crowd out those that were good."""
        withdrawn, older = self.withdrawn, [name for name in self.on_disk() if name != self.published]
        kinds = ([n for n in older if n not in withdrawn], [n for n in older if n in withdrawn])
        too_old = [name for names in kinds for name in names[: max(0, len(names) - keep)]]
        pruned = [*(name for name in self.leaving if name in self._folders()), *too_old]
        replaced = self._replaced_now(before)
        self._write_state(pruned=pruned, replaced=replaced)  # first: what a killed run half removes is no version
        for name in pruned:
            if name not in replaced:
                remove(self.root / name)

    def _replaced_now(self, before: str | None) -> dict[str, float]:
        return _of_late(self._state().get("replaced", {}) | ({before: time.time()} if before else {}))

    def _state(self) -> dict[str, Any]:
        try:
            state: dict[str, Any] = json.loads(read_bytes(self.root / STATE_FILE))
        except FileNotFoundError:
            return {}
        except ValueError as e:
            raise SchemaError(
                f"{self.root / STATE_FILE} is damaged; delete it, and what was rolled back is forgotten"
            ) from e
        return state

    def _write_state(self, **changes: Any) -> None:  # noqa: ANN401 - JSON
        before = self._state()
        after = {name: value for name, value in (before | changes).items() if value}
        if after != before:
            write_atomic(self.root / STATE_FILE, json.dumps(after, indent=2).encode())


def _is_of(version: str, fingerprint: str) -> bool:
    return version.partition("-")[2] == fingerprint[:8]


def _of_late(replaced: Mapping[str, float]) -> dict[str, float]:
    now = time.time()
    return {name: at for name, at in replaced.items() if 0 <= now - at < READ_S}
