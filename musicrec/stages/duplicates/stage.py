"""Find the files that hold one recording, by their sound, and publish which recording each is.

The fingerprints are made from the mel-spectrograms that extract has stored: nothing is decoded. They are kept in a
table of their own, so a night makes those of new and changed songs only, and compares these with all others.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from musicrec.cluster.tasks import connect
from musicrec.errors import ConfigError
from musicrec.features.fingerprint import STEP_S
from musicrec.schemas import OK, RECORDINGS, SKIPPED, Reason
from musicrec.settings import DuplicatesSettings
from musicrec.similarity.duplicates.chance import chance
from musicrec.similarity.duplicates.groups import Groups, group
from musicrec.stages.duplicates.fingerprint_rows import TABLE, bring_up_to_date
from musicrec.stages.duplicates.kept_matches import FOLDER, save
from musicrec.stages.duplicates.matching import Songs, find_matches, made_by, read_songs
from musicrec.stages.finish import finish
from musicrec.store.outcomes import Counts, Outcome, outcomes_table
from musicrec.store.store import Store

FIGURES = "duplicates"  # in the lineage of the table


@dataclass(frozen=True)
class DuplicatesCounts(Counts):
    """Counts, and what was found."""

    found: str

    def __str__(self) -> str:
        return f"{super().__str__()}; {self.found}"


def duplicates(store: Store, settings: DuplicatesSettings, *, address: str | None = None) -> DuplicatesCounts:
    """Bring the tables ``fingerprints`` and ``recordings`` up to date with ``mel``.

    Parameters
    ----------
    store : Store
        OUT, with ``mel``.
    settings : DuplicatesSettings
        How unlike two files of one recording may be.
    address : str, optional
        Ray cluster; embedded by default.

    Raises
    ------
    ConfigError
        There are no spectrograms, or they are too coarse for fingerprints.
    """
    if not store.exists("mel"):
        raise ConfigError(f"{store.out} has no mel-spectrograms to compare; run: musicrec extract {store.out}")
    n_new = bring_up_to_date(store, settings, address)
    songs = read_songs(store)
    name = settings.fingerprint(store.footer(TABLE)["fingerprint"])
    if not store.exists("recordings") or store.footer("recordings")["fingerprint"] != name:
        connect(address)
        _publish(store, settings, name, songs)
    outcomes = _outcomes(store, songs, name)
    counts = finish(store, settings, outcomes, name, fresh=n_new, most_failed=None)
    return DuplicatesCounts(**vars(counts), found=describe(store.footer("recordings")["lineage"][FIGURES]))


def _publish(store: Store, settings: DuplicatesSettings, name: str, songs: Songs) -> None:
    found = find_matches(store, settings, songs)
    groups = group(found.matches, len(songs.track_ids), settings.max_bit_errors)
    first, second = groups.representative[found.tested].T
    tested = chance(found.errors[first != second], settings.max_bit_errors)
    is_copy = groups.representative != np.arange(len(songs.track_ids))
    figures = {
        "songs": len(songs.track_ids),
        "copies": int(is_copy.sum()),
        "recordings_with_copies": len(np.unique(groups.representative[is_copy])),
        "tested": tested._asdict(),
    }
    made_of = {TABLE: store.footer(TABLE)["fingerprint"]}
    version = store.new_version("recordings", settings, name, made_of=made_of, **{FIGURES: figures})
    version.write_part(_to_table(songs.track_ids, groups))
    save(found.kept, version.folder / FOLDER, made_by(settings, len(songs.track_ids)))
    store.publish(version)


def _to_table(track_ids: pa.Array, groups: Groups) -> pa.Table:
    columns = [
        track_ids,
        track_ids.take(pa.array(groups.representative)),
        pa.array(groups.errors.astype(np.float32)),
        pa.array(groups.speed.astype(np.float32)),
        pa.array((groups.offset * STEP_S).astype(np.float32)),
    ]
    return pa.Table.from_arrays(columns, schema=RECORDINGS)


def describe(figures: dict[str, Any]) -> str:
    """Return in a sentence what was found, and how often different recordings may have been taken for one."""
    tested = figures["tested"]
    found = f"copies: {figures['copies']}, originals: {figures['recordings_with_copies']}"
    if not tested["n_pairs"]:
        return found
    return (
        f"{found}; of {tested['n_pairs']} pairs of different recordings, {tested['n_alike']} are as alike "
        f"(the most alike differ in {tested['lowest']:.1%} of their bits), so at most {tested['bound']:.2g} of such "
        f"pairs are, with 95 % confidence"
    )


def _outcomes(store: Store, songs: Songs, name: str) -> pa.Table:
    compared, short = set(songs.track_ids.to_pylist()), set(songs.short)
    rows = []
    for track_id in store.track_ids():
        if track_id in compared:
            rows.append(Outcome(track_id, "duplicates", OK, fingerprint=name))
        elif track_id in short:
            detail = "less than 8 s of its clip is above -60 dB"
            rows.append(Outcome(track_id, "duplicates", SKIPPED, Reason.TOO_SHORT, detail))
        else:
            rows.append(Outcome(track_id, "duplicates", SKIPPED, Reason.NO_FEATURES, "extract did not come through"))
    return outcomes_table(rows)
