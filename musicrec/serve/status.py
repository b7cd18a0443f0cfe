"""What is published in one OUT: versions, sizes, dates, what made them, and whether they are still up to date."""

import datetime
import json
from typing import Any, NamedTuple

import pyarrow.compute as pc

from musicrec.errors import MusicrecError, SchemaError
from musicrec.files.parquet import rows_in
from musicrec.files.paths import AnyPath, children, files_below
from musicrec.schemas import OK
from musicrec.serve.lookup import SimilarTable
from musicrec.settings import STAGES
from musicrec.store.made_with import side_by_side
from musicrec.store.pointer import parts_of
from musicrec.store.store import Store, maker_of

Figures = dict[str, Any]

REPORTED = ("command", "ended_at", "exit_code", "error")
RUNS = "_runs"  # folder of the reports of runs
CLOCKS_APART = datetime.timedelta(minutes=10)  # a time that is further in the future is a mistake


class VersionStatus(NamedTuple):
    """One version of a table or model."""

    name: str
    version: str
    is_published: bool
    withdrawn_at: str | None  # by a rollback; ISO 8601 in UTC, as all times
    created_at: str | None
    confirmed_at: str | None  # when a run last found it up to date, after it was made
    rows: int | None  # None: a model
    size_bytes: int
    made_by: str  # stage and its code version, model, settings that matter
    figures: Figures  # those that its gate checked
    damage: str | None  # what is wrong with its files
    versions: str | None = None  # of libraries, if they differ from row to row


class TableStatus(NamedTuple):
    """A published version, and whether it was made from what is published now."""

    version: VersionStatus
    is_up_to_date: bool | None  # None: not known without running the stage
    why_not: str | None


class Status(NamedTuple):
    """Everything that :func:`status` reports on one OUT."""

    out: str
    tables: list[TableStatus]
    problems: list[Figures]  # stage, status, reason, tracks: of tracks that did not come through
    broken_off: Figures | None = None  # command, ended_at, exit_code, error: of the last run, if that was not done


def status(store: Store) -> Status:
    """Return what is published, whether it is up to date, and why tracks did not come through."""
    tables = [_table_status(store, name) for name in store.published()]
    return Status(str(store.out), tables, problems(store), broken_off(store))


def broken_off(store: Store) -> Figures | None:
    """Return what its report says of the last run, if it did not end with 0; None if it did, or left no report.

    ``ray job submit`` ends with 0 for a job that was stopped.
    """
    reports = children(store.out / RUNS, "*.json")
    try:
        run = json.loads(reports[-1].read_text())
        return {name: run[name] for name in REPORTED} if run["exit_code"] else None
    except (OSError, ValueError, LookupError, TypeError):  # none, half a report, or one that is just being removed
        return None


def complaint(store: Store, name: str, max_age: datetime.timedelta | None) -> str | None:
    """Return what is wrong with a table that must exist, be whole and not too old; None if nothing is.

    The age counts from when the table was made, or last found up to date by a run. It is wrong too if all these times
    are in the future.
    """
    if not store.exists(name):
        return f"{store.out} has no {name} yet; run: musicrec {maker_of(name)} {store.out}"
    version = version_status(store, name, str(store.versions(name).published))
    damage = version.damage or (_sidecar_damage(store) if name == "similar" else None)
    if damage:
        return damage
    age = age_of(version)
    if age is not None and age < -CLOCKS_APART:
        return (
            f"{store.out / name} is from {max(_times(version))}, which is in the future: the clock of this machine, or "
            f"of the one that made it, is or was wrong; set it, then run: musicrec refresh {store.out}"
        )
    if max_age is not None and (age is None or age > max_age):
        age_text = "of unknown age" if age is None else f"{in_words(age)} old"
        limit = in_words(max_age)
        return f"{store.out / name} is {age_text}, older than the {limit} asked for; run: musicrec refresh {store.out}"
    return None


def _sidecar_damage(store: Store) -> str | None:
    try:
        SimilarTable(store.out)
    except (MusicrecError, OSError, ValueError, EOFError) as e:  # pyarrow's errors are ValueErrors too
        problem = " ".join(str(e).split())
        return f"table {store.out / 'similar'} is damaged ({problem}); run: musicrec similar {store.out}"
    return None


def age_of(version: VersionStatus) -> datetime.timedelta | None:
    """Return the time since a version was made, or last found up to date; negative if all its times are in the future.

    A clock that was wrong once does no harm: a time in the future does not count beside one that is not.
    """
    now = datetime.datetime.now(datetime.UTC)
    ages = [now - datetime.datetime.fromisoformat(time) for time in _times(version)]
    return min((age for age in ages if age >= -CLOCKS_APART), default=min(ages, default=None))


def _times(version: VersionStatus) -> list[str]:
    """Return when a version was made, and last found up to date."""
    return [time for time in (version.created_at, version.confirmed_at) if time]


def in_words(age: datetime.timedelta) -> str:
    """Return an age such as ``36 h``, in the largest unit of which there are two or more."""
    seconds = age.total_seconds()
    unit, length = next(((u, s) for u, s in (("d", 86400), ("h", 3600), ("min", 60)) if seconds >= 2 * s), ("s", 1))
    return f"{seconds / length:.3g} {unit}"


# --- versions -----------------------------------------------------------------------------------------------------


def versions_of(store: Store, name: str) -> list[VersionStatus]:
    """Return all versions of a table that are on disk, the oldest first.

    Raises
    ------
    SchemaError
        Nothing is published under that name.
    """
    store.path(name)
    return [version_status(store, name, version) for version in store.versions(name).on_disk()]


def version_status(store: Store, name: str, version: str) -> VersionStatus:
    """Return the status of one version of a table or model, whether its files are whole or not."""
    versions = store.versions(name)
    folder = versions.root / version
    footer, rows, damage = _read(store, name, folder)
    is_published = version == versions.published
    return VersionStatus(
        name=name,
        version=version,
        is_published=is_published,
        withdrawn_at=versions.withdrawn.get(version),
        created_at=footer.get("created_at"),
        confirmed_at=versions.confirmed_at if is_published else None,
        rows=rows,
        size_bytes=sum(files_below(folder).values()),
        made_by=_made_by(footer),
        figures=footer.get("lineage", {}).get("gate", {}),
        damage=damage,
        versions=side_by_side(footer.get("versions", [])),
    )


def _read(store: Store, name: str, folder: AnyPath) -> tuple[Figures, int | None, str | None]:
    """Return footer, number of rows, and what is wrong."""
    if name.startswith("models/"):
        return _model_footer(folder), None, None
    try:
        footer = store.footer(name, folder.name)
        return footer, sum(map(rows_in, children(parts_of(folder), "*.parquet"))), None
    except SchemaError as e:
        return {}, None, str(e)
    except (OSError, ValueError) as e:  # pyarrow's errors are ValueErrors too
        return {}, None, f"table {store.out / name} is damaged ({' '.join(str(e).split())})"


def _model_footer(folder: AnyPath) -> Figures:
    """Return what a model's card says, in the form of a table's footer."""
    card = folder / "model.json"
    if not card.exists():
        return {"algorithm": "train"}
    content = json.loads(card.read_bytes())
    made = datetime.datetime.fromtimestamp(card.stat().st_mtime, datetime.UTC).isoformat(timespec="seconds")
    return {"created_at": made, "algorithm": "train", "fingerprint": content.get("model_id")}


def _made_by(footer: Figures) -> str:
    settings, lineage = footer.get("settings", {}), footer.get("lineage", {})
    of_list = [f"n={settings['n']}", settings["metric"]] if {"n", "metric"} <= settings.keys() else []
    model = [f"{lineage['model']} {lineage.get('model_id', '')[:8]}"] if "model" in lineage else []
    model += [f"space {name} {space['id'][:8]}" for name, space in lineage.get("spaces", {}).items()]
    how = lineage.get("compared", {})
    approximate = [f"approximate (recall {how['recall']:.3f})"] if how.get("exact") is False else []
    return ", ".join([footer.get("algorithm", "unknown"), *of_list, *approximate, *model])


# --- up to date ---------------------------------------------------------------------------------------------------


def _table_status(store: Store, name: str) -> TableStatus:
    version = version_status(store, name, str(store.versions(name).published))
    if version.damage or version.rows is None:
        return TableStatus(version, None, version.damage)
    footer = store.footer(name)
    if older := name != "outcomes" and _older_algorithm(footer["algorithm"]):
        return TableStatus(version, False, older)
    if footer["algorithm"].startswith("extract "):
        return TableStatus(version, *_covers_catalog(store))
    made_of = footer["lineage"].get("made_of")
    if not made_of:
        return TableStatus(version, None, _rolled_back(store, version))
    others = [source for source, fingerprint in made_of.items() if _fingerprint(store, source) != fingerprint]
    why_not = f"not made of the published {', '.join(others)}" if others else None
    return TableStatus(version, not others, _rolled_back(store, version) or why_not)


def _older_algorithm(algorithm: str) -> str | None:
    """Return in words that a stage computes other values today than those of a table, if it does."""
    stage, _, version = algorithm.partition(" ")
    if stage not in STAGES or version == str(STAGES[stage].code_version):
        return None
    return f"made by {algorithm}, and this musicrec has {stage} {STAGES[stage].code_version}"


def _rolled_back(store: Store, version: VersionStatus) -> str | None:
    """Return which later version a rollback withdrew, in words, if it did."""
    later = [(name, at) for name, at in store.versions(version.name).withdrawn.items() if name > version.version]
    return f"a rollback withdrew {max(later)[0]} on {max(later)[1][:10]}" if later else None


def _covers_catalog(store: Store) -> tuple[bool, str | None]:
    """Return whether extract has looked at every track, and if not, why not."""
    done = store.read("outcomes", ["track_id"], pc.field("stage") == "extract")["track_id"]
    tracks = store.read("tracks", ["track_id"])["track_id"]
    left = len(tracks) - pc.sum(pc.is_in(tracks, done.combine_chunks())).as_py() if len(tracks) else 0
    return not left, f"{left} tracks are not decoded yet" if left else None


def _fingerprint(store: Store, name: str) -> str | None:
    """Return the fingerprint of the published table or model; None if it is gone or cannot be read."""
    version = store.versions(name).published
    if version is None:
        return None
    footer, _, _ = _read(store, name, store.versions(name).root / version)
    return footer.get("fingerprint")


def problems(store: Store) -> list[Figures]:
    """Count the tracks that did not come through by stage, status and reason."""
    if not store.exists("outcomes"):
        return []
    key = ["stage", "status", "reason"]
    counts = store.read("outcomes", key, pc.field("status") != OK).group_by(key).aggregate([([], "count_all")])
    rows = counts.rename_columns([*key, "tracks"]).to_pylist()
    return sorted(rows, key=lambda row: (row["stage"], row["status"], -row["tracks"], row["reason"] or ""))
