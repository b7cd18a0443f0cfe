"""The score of a listening test: from files of answers to figures, a JSON object and a text."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from musicrec.errors import ConfigError
from musicrec.evaluate.listening_test.conclusion import conclusion
from musicrec.evaluate.listening_test.conditions import (
    COMPARED,
    MEASURES,
    Comparison,
    Rate,
    compare_conditions,
    rates,
)
from musicrec.evaluate.listening_test.retest import Retest, retest
from musicrec.serve.listening_test.answer_files import LeftOut, read_answers
from musicrec.serve.listening_test.key_file import Key

ALL, UNKNOWN = "all songs", "unknown songs"


class Score(NamedTuple):
    """What the answers say.

    Attributes
    ----------
    test, seed, design, table
        As in the key.
    n_participants, n_invited, n_files, n_answers : int
        Participants with an answer, and all of the key; files; answers used, repeats included.
    left_out : list of LeftOut
        Everything that was not used, with its reason.
    rates : dict of str to list of Rate
        By condition; for all songs, and for those that the participant did not know.
    comparisons : dict of str to list of Comparison
        The same, for each measure and comparison.
    retest : Retest or None
        Agreement of repeated answers.
    conclusion : str
        One sentence.
    """

    test: str
    seed: int
    design: str
    table: str
    n_participants: int
    n_invited: int
    n_files: int
    n_answers: int
    left_out: list[LeftOut]
    rates: dict[str, list[Rate]]
    comparisons: dict[str, list[Comparison]]
    retest: Retest | None
    conclusion: str


def score_answers(files: Sequence[Path], key: Key) -> Score:
    """Score files of answers.

    Raises
    ------
    ConfigError
        No file holds an answer that can be used, or the key names no known design.
    """
    if key.design not in COMPARED:
        raise ConfigError(f"design {key.design!r} of the key is unknown; expected one of {', '.join(COMPARED)}")
    rows, left_out = read_answers(files, key)
    first = rows[rows["repeat_of"].isna()]
    if first.empty:
        why = next((f"{left.file}: {left.detail}" for left in left_out if left.file), "expected those of its site")
        raise ConfigError(f"no answer of test {key.test} can be used in {len(files)} files; {why}")
    by_songs = {ALL: first, UNKNOWN: first[~first["known"].astype(bool)]}
    comparisons = {songs: _compared(chosen, key.design) for songs, chosen in by_songs.items()}
    return Score(
        key.test, key.seed, key.design, key.table,
        rows["participant"].nunique(), len(key.clips), len(files), len(rows), left_out,
        {songs: rates(chosen) for songs, chosen in by_songs.items()},
        comparisons, _retest(rows), conclusion(comparisons[ALL][0]),
    )  # fmt: skip


def _compared(rows: pd.DataFrame, design: str) -> list[Comparison]:
    return [compare_conditions(rows, measure, *pair) for measure in MEASURES for pair in COMPARED[design]]


def _retest(rows: pd.DataFrame) -> Retest | None:
    again = rows[rows["repeat_of"].notna()]
    names = ["participant", "clip"]
    both = again.merge(rows, left_on=["participant", "repeat_of"], right_on=names, suffixes=("_2", ""))
    return retest(both["like"], both["like_2"], both["rating"], both["rating_2"])


def score_as_json(score: Score) -> dict[str, Any]:
    """Return a score as JSON holds it: named tuples as objects, NaN as null."""
    return {name: _plain(value) for name, value in score._asdict().items()}


def _plain(value: Any) -> Any:  # noqa: ANN401
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
