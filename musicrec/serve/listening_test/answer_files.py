"""Read the files of answers that participants send. Whatever cannot be used is counted and named."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from musicrec.serve.listening_test.key_file import Key

FORMAT, VERSION = "musicrec listening test: answers", 1
COLUMNS = ["participant", "clip", "track_id", "conditions", "repeat_of", "like", "known", "rating"]
Row = dict[str, Any]


class LeftOut(NamedTuple):
    """Something that is not in the score.

    Attributes
    ----------
    reason : str
        Why: ``no file``, ``unreadable``, ``other test``, ``participant twice``, ``unknown clip``, ``clip twice``,
        ``bad answer`` or ``no answer``.
    n : int
        How many answers; participants for ``no file``, and files for the next three reasons.
    file : str
        Name of the file, empty where there is none.
    detail : str
        One line that explains it.
    """

    reason: str
    n: int
    file: str
    detail: str


class Answers(NamedTuple):
    """What can be used of the files.

    Attributes
    ----------
    rows : pandas.DataFrame
        A row for each answer, with the columns ``COLUMNS``; those of repeats are among them.
    left_out : list of LeftOut
        The rest.
    """

    rows: pd.DataFrame
    left_out: list[LeftOut]


class _File(NamedTuple):
    """A file of this test."""

    name: str
    code: str
    answers: list[Any]


def files_of(paths: Iterable[Path]) -> list[Path]:
    """Return files, and for each folder the .json files in it, by name."""
    return [file for path in paths for file in (sorted(path.glob("*.json")) if path.is_dir() else [path])]


def read_answers(files: Sequence[Path], key: Key) -> Answers:
    """Read files of answers.

    If a participant sent several files, the one with the most usable answers counts; of two equal ones, the first by
    name.

    Parameters
    ----------
    files : sequence of Path
        In any order, with files of other tests or damaged ones among them.
    key : Key
        The key of the test.
    """
    left_out: list[LeftOut] = []
    found = [_read(file, key) for file in files]
    ours = [file for file in found if isinstance(file, _File)]
    left_out += [file for file in found if isinstance(file, LeftOut)]
    rows: list[Row] = []
    for code in key.clips:
        sent = sorted((file for file in ours if file.code == code), key=lambda file: -len(_usable(file, key)[0]))
        left_out += [_twice(file, sent[0], key) for file in sent[1:]]
        if sent:
            used, faults = _usable(sent[0], key)
            rows += used
            left_out += faults
    if absent := [key.names[code] for code in key.clips if code not in {file.code for file in ours}]:
        left_out.append(LeftOut("no file", len(absent), "", f"nothing usable from {', '.join(absent)}"))
    return Answers(pd.DataFrame(rows, columns=COLUMNS), left_out)


def _read(file: Path, key: Key) -> _File | LeftOut:
    try:
        found = json.loads(file.read_bytes())
    except OSError as e:
        return LeftOut("unreadable", 1, str(file), e.strerror or str(e))
    except (ValueError, RecursionError) as e:
        return LeftOut("unreadable", 1, str(file), f"no valid JSON, perhaps cut off ({e})")
    if not isinstance(found, dict) or (found.get("format"), found.get("version")) != (FORMAT, VERSION):
        return LeftOut("unreadable", 1, str(file), "valid JSON, but not the answers of a listening test")
    if found.get("test") != key.test:
        return LeftOut("other test", 1, str(file), f"answers of test {found.get('test')!r}; the key is of {key.test!r}")
    code, answers = found.get("participant"), found.get("answers")
    if not isinstance(code, str) or code not in key.clips or not isinstance(answers, list):
        return LeftOut("other test", 1, str(file), f"the key has no participant {code!r}, or the file no answers")
    return _File(str(file), code, answers)


def _twice(file: _File, used: _File, key: Key) -> LeftOut:
    same = "the same answers as" if file.answers == used.answers else "not as many answers as, or named after,"
    return LeftOut("participant twice", 1, file.name, f"{key.names[file.code]} sent {same} {used.name}")


def _usable(file: _File, key: Key) -> tuple[list[Row], list[LeftOut]]:
    """Return the answers of a participant that can be used, and what cannot."""
    clips = {clip.clip: clip for clip in key.clips[file.code]}
    rows: dict[str, Row] = {}
    faults: list[LeftOut] = []
    seen: set[str] = set()
    for answer in file.answers:
        name = answer.get("clip") if isinstance(answer, dict) else None
        fault = _fault(answer, name, clips, seen)
        if fault:
            faults.append(LeftOut(fault[0], 1, file.name, f"{key.names[file.code]}, clip {name}: {fault[1]}"))
        elif isinstance(name, str):
            values = {column: answer[column] for column in ("like", "known", "rating")}
            rows[name] = {"participant": file.code, **clips[name]._asdict(), **values}
        if isinstance(name, str):
            seen.add(name)
    if missing := [name for name in clips if name not in seen]:
        detail = f"{key.names[file.code]} gave none to {len(missing)} of {len(clips)} clips"
        faults.append(LeftOut("no answer", len(missing), file.name, detail))
    return list(rows.values()), faults


def _fault(answer: Any, name: Any, clips: Iterable[str], seen: set[str]) -> tuple[str, str] | None:  # noqa: ANN401
    """Return what is wrong with an answer; None if nothing is."""
    if not isinstance(name, str) or name not in clips:
        return "unknown clip", "the test has no such clip for this participant"
    if name in seen:
        return "clip twice", "answered before; the first answer counts"
    for column in ("like", "known"):
        if not isinstance(answer.get(column), bool):
            return "bad answer", f"{column} is {answer.get(column)!r}; expected true or false"
    rating = answer.get("rating")
    if isinstance(rating, bool) or not isinstance(rating, int | float) or not 0 <= rating <= 100:
        return "bad answer", f"rating is {rating!r}; expected 0 to 100"
    return None
