"""Run a pretrained model on one song, and make its row: its outcome and, if that is ``ok``, its vector and tags."""

import time
from collections.abc import Callable, Iterable, Iterator
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
SECONDS_A_CLOCK = 600.0  # of sound: the clock of a longer song starts anew
OUTPUTS = pa.schema(
    [("track_id", pa.string()), ("embedding", pa.list_(pa.float32())), ("tags", pa.list_(pa.float32()))]
)  # staged only


def output_table(n_numbers: int) -> Table:
    """Return the table of rows that are staged, with so many numbers each."""
    return Table("outputs", OUTPUTS, ID_BYTES + 4 * n_numbers)


def pretrained_row(
    track: Wanted, settings: PretrainedSettings, stage: str, model: Pretrained, restart_clock: Callable[[], None]
) -> dict[str, Any]:
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
    restart_clock : callable
        Called after each ten minutes of the song.

    Returns
    -------
    dict
        Columns of ``outcomes``, and of ``OUTPUTS``. Nothing is raised: the outcome says what is wrong with the file.
    """
    started = time.perf_counter()
    try:
        row = _full_row(track, settings, stage, model, restart_clock)
    except DecodeError as e:
        row = outcome_row(track, stage, FAILED, e.reason, e.detail)
    except Exception as e:  # a fault with one file must not stop the others
        row = outcome_row(track, stage, FAILED, Reason.ERROR, faults.describe(e))
    return row | {"seconds": time.perf_counter() - started}


def _full_row(
    track: Wanted, settings: PretrainedSettings, stage: str, model: Pretrained, restart_clock: Callable[[], None]
) -> dict[str, Any]:
    rate, passed = model.card.sample_rate, _Passed()
    output = model.embed_blocks(passed.watch(_clip(track, settings, rate), SECONDS_A_CLOCK * rate, restart_clock))
    if problem := problem_of(passed.n_samples, passed.peak, rate, MIN_DURATION_S):
        return outcome_row(track, stage, *problem)
    if output is None:
        detail = f"{passed.n_samples / rate:.2f} s, less than a window of {model.card.window_s:g} s"
        return outcome_row(track, stage, SKIPPED, Reason.TOO_SHORT, detail)
    if problem := _problem_of(output, len(model.card.golden[0].vector)):
        return outcome_row(track, stage, *problem)
    tags = np.zeros(0, np.float32) if output.tags is None else output.tags
    return outcome_row(track, stage, OK) | {"embedding": output.vector, "tags": tags}


def _clip(track: Wanted, settings: PretrainedSettings, rate: int) -> Iterable[audio.Samples]:
    """Return the clip in blocks; only a whole song has more than one."""
    if not settings.duration_s:
        return audio.stream(track.uri, sample_rate=rate)
    return [audio.load(track.uri, sample_rate=rate, offset_s=settings.offset_s, duration_s=settings.duration_s)]


class _Passed:
    """What is known of the blocks of a clip that have passed."""

    def __init__(self) -> None:
        self.n_samples, self.peak = 0, 0.0

    def watch(
        self, blocks: Iterable[audio.Samples], step: float, reached: Callable[[], None]
    ) -> Iterator[audio.Samples]:
        """Pass the blocks on; call `reached` each time that so many more samples have passed."""
        for block in blocks:
            before, self.n_samples = self.n_samples, self.n_samples + len(block)
            self.peak = max(self.peak, float(np.abs(block).max(initial=0.0)))
            if before // step < self.n_samples // step:
                reached()
            yield block


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
