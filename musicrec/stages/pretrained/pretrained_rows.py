"""Run a pretrained model on one song, and make its row: its outcome and, if that is ``ok``, its vector and tags."""

import time
from typing import Any

import numpy as np
import pyarrow as pa

from musicrec import audio
from musicrec.errors import DecodeError
from musicrec.models.pretrained.session import Output, Pretrained
from musicrec.schemas import FAILED, OK, SKIPPED, Reason
from musicrec.settings import PretrainedSettings
from musicrec.stages.extract import faults
from musicrec.stages.extract.track_rows import ID_BYTES, Problem, Wanted, outcome_row, problem_of
from musicrec.store.table_spec import Table

MIN_DURATION_S = 0.1  # as extract
OUTPUTS = pa.schema(
    [("track_id", pa.string()), ("embedding", pa.list_(pa.float32())), ("tags", pa.list_(pa.float32()))]
)  # staged only


def output_table(n_numbers: int) -> Table:
    """Return the table of rows that are staged, with so many numbers each."""
    return Table("outputs", OUTPUTS, ID_BYTES + 4 * n_numbers)


def pretrained_row(track: Wanted, settings: PretrainedSettings, stage: str, model: Pretrained) -> dict[str, Any]:
    """Make the row of one song.

    Parameters
    ----------
    track : Wanted
        Which file.
    settings : PretrainedSettings
        Which part of it is read.
    stage : str
        Stage of the outcome.
    model : Pretrained
        The model.

    Returns
    -------
    dict
        Columns of ``outcomes``, and of ``OUTPUTS``. Nothing is raised: the outcome says what is wrong with the file.
    """
    started = time.perf_counter()
    try:
        row = _full_row(track, settings, stage, model)
    except DecodeError as e:
        row = outcome_row(track, stage, FAILED, e.reason, e.detail)
    except Exception as e:  # a fault with one file must not stop the others
        row = outcome_row(track, stage, FAILED, Reason.ERROR, faults.describe(e))
    return row | {"seconds": time.perf_counter() - started}


def _full_row(track: Wanted, settings: PretrainedSettings, stage: str, model: Pretrained) -> dict[str, Any]:
    rate = model.card.sample_rate
    y = audio.load(track.uri, sample_rate=rate, offset_s=settings.offset_s, duration_s=settings.duration_s)
    if problem := problem_of(y, rate, MIN_DURATION_S):
        return outcome_row(track, stage, *problem)
    output = model.embed(y)
    if output is None:
        detail = f"{len(y) / rate:.2f} s, less than a window of {model.card.window_s:g} s"
        return outcome_row(track, stage, SKIPPED, Reason.TOO_SHORT, detail)
    if problem := _problem_of(output, len(model.card.golden[0].vector)):
        return outcome_row(track, stage, *problem)
    tags = np.zeros(0, np.float32) if output.tags is None else output.tags
    return outcome_row(track, stage, OK) | {"embedding": output.vector, "tags": tags}


def _problem_of(output: Output, dimension: int) -> Problem | None:
    """Return why a vector cannot be compared; None if it can."""
    vector = output.vector
    if not np.isfinite(vector).all() or (output.tags is not None and not np.isfinite(output.tags).all()):
        return Problem(FAILED, Reason.NOT_FINITE, "the model gave NaN or infinity")
    if len(vector) != dimension:
        return Problem(FAILED, Reason.WRONG_LENGTH, f"the model gave {len(vector)} numbers, and {dimension} for others")
    if not vector.any():
        return Problem(FAILED, Reason.ZERO_VECTOR, "the model gave a vector of zeros")
    return None
