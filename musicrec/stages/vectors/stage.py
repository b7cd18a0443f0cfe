"""Bring the vectors of a file into OUT as a space of its own, the table ``vectors/NAME``.

The footer of the table holds the settings, so that a night can look whether the file has changed. A file that has not
changed is not read again while the catalog stays the same.
"""

from dataclasses import dataclass

import pyarrow as pa

from musicrec.errors import ConfigError
from musicrec.files.paths import AnyPath, to_path
from musicrec.files.s3_errors import explain_s3_errors
from musicrec.schemas import FAILED, OK, SKIPPED, Reason
from musicrec.settings import VectorsSettings, resolve
from musicrec.stages.vectors.vector_file import Found, content_hash, match, metadata_of, reading
from musicrec.store.lineage import digest, made_by
from musicrec.store.outcomes import Counts, Outcome, count, outcomes_table, save_outcomes
from musicrec.store.spaces import PublishedSpace, SpaceCard, publish_space, read_space, songs_left_out, table_of
from musicrec.store.store import Store

COLUMNS = ["track_id", "uri", "recording"]  # of tracks: what names the songs of a file


@dataclass(frozen=True)
class VectorsCounts(Counts):
    """Counts, and what is worth knowing of the file and its space."""

    notes: tuple[str, ...]

    def __str__(self) -> str:
        return "; ".join([super().__str__(), *self.notes])


def add_vectors(store: Store, settings: VectorsSettings) -> VectorsCounts:
    """Publish the vectors of a file as ``vectors/NAME``, unless file, settings and songs are those of before.

    Parameters
    ----------
    store : Store
        OUT, locked by the caller, with a catalog.
    settings : VectorsSettings
        The file, and what made its vectors. What is not given may be in the metadata of the file.

    Returns
    -------
    VectorsCounts
        How many songs have a vector. The others are in ``outcomes``, each with its reason.

    Raises
    ------
    SchemaError
        The file cannot be used at all. What is published stays.
    ConfigError
        The settings contradict the metadata of the file.
    """
    file = to_path(settings.file)
    tracks = store.read("tracks", COLUMNS).sort_by("track_id").combine_chunks()
    with reading(file) as content:
        about = {
            "file": content_hash(file),
            "songs": digest(*(tracks[column].to_pylist() for column in COLUMNS)),
        }
        if _is_current(store, settings, about):
            return _finish(store, settings, 0)
        card = _card(settings, metadata_of(content), file)
        found = match(file, content, tracks)
    dimension = found.matrix.shape[1]
    space = PublishedSpace(settings.name, card.space_id(dimension, about["file"]), dimension, card)
    ids = tracks["track_id"].combine_chunks()
    left_out = _left_out(table_of(settings.name), ids, found)
    own = ids.take(pa.array(found.songs))
    publish_space(store, settings, space, own, found.matrix, left_out=left_out, read=about)
    strange = f"rows of songs that are not in the catalog: {found.n_strange:,}" if found.n_strange else ""
    return _finish(store, settings, len(found.songs), strange)


def refresh_vectors(store: Store, name: str) -> VectorsCounts:
    """Bring the vectors of a space up to date with its file; if the file is gone, they stay.

    Parameters
    ----------
    store : Store
        OUT, locked by the caller.
    name : str
        Name of a space that :func:`add_vectors` has published.

    Raises
    ------
    SchemaError, ConfigError
        As for :func:`add_vectors`.
    """
    settings = resolve(VectorsSettings, store.footer(table_of(name))["settings"])
    file = to_path(settings.file)
    with explain_s3_errors(file):
        if not file.exists():
            return _finish(store, settings, 0, f"{file} is gone, its vectors stay")
    return add_vectors(store, settings)


def is_of_file(store: Store, name: str) -> bool:
    """Return whether the vectors of a space were read from a file."""
    table = table_of(name)
    return store.exists(table) and store.footer(table)["algorithm"].startswith(f"{VectorsSettings.stage} ")


def _is_current(store: Store, settings: VectorsSettings, about: dict[str, str]) -> bool:
    """Return whether the published vectors were made of the same file, settings and songs."""
    if not store.exists(table_of(settings.name)):
        return False
    footer, made = store.footer(table_of(settings.name)), made_by(settings)
    same = all(footer[part] == made[part] for part in ("algorithm", "settings"))
    return same and bool(footer["lineage"].get("read") == about)


def _card(settings: VectorsSettings, metadata: dict[str, str], file: AnyPath) -> SpaceCard:
    """Return what made the vectors, by the settings or else by the file's metadata."""
    known: dict[str, str] = {}
    for name in SpaceCard._fields:
        given, said = getattr(settings, name), metadata.get(name, "")
        if given and said and given != said:
            raise ConfigError(f"{file} says {name} = {said!r}, the command {given!r}; correct the one that is wrong")
        known[name] = given or said
    return SpaceCard(**known | {"source": known["source"] or str(file)})


def _left_out(table: str, track_ids: pa.Array, found: Found) -> pa.Table:
    """Return the outcomes of the songs whose rows of the file cannot be used."""
    return outcomes_table(
        Outcome(track_ids[song].as_py(), table, SKIPPED if problem.reason == Reason.NO_VECTOR else FAILED, *problem)
        for song, problem in found.problems.items()
    )


def _finish(store: Store, settings: VectorsSettings, fresh: int, note: str = "") -> VectorsCounts:
    """Save the outcome of every song of the catalog, by what is published."""
    table, track_ids = table_of(settings.name), store.track_ids()
    fingerprint = store.footer(table)["fingerprint"]
    have = set(store.read(table, ["track_id"])["track_id"].to_pylist())
    left_out = {row["track_id"]: Outcome(**row) for row in songs_left_out(store, settings.name).to_pylist()}
    rows = outcomes_table(
        Outcome(t, table, OK, fingerprint=fingerprint)
        if t in have
        else left_out.get(t, Outcome(t, table, SKIPPED, Reason.NO_VECTOR, "the file has no row for it"))
        for t in track_ids
    )
    counts = count(table, track_ids, rows, fresh)
    save_outcomes(store, table, rows, settings, fingerprint)
    space = read_space(store, settings.name)
    licence = "" if space.card.licence else "licence unknown: name it with --licence"
    notes = (f"{space.dimension} numbers each, space {space.space_id}", licence, note)
    return VectorsCounts(**vars(counts), notes=tuple(filter(None, notes)))
