"""What a benchmark prints, kept as JSON in ``benchmarks/results``, which the documentation shows."""

import atexit
import datetime
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from musicrec.monitor.text_table import Cell

FOLDER = Path(__file__).resolve().parents[1] / "results"


class _Recorder:
    """A stream that passes on what is written, and keeps it."""

    def __init__(self, stream: TextIO, machine: Mapping[str, Any], file: Path) -> None:
        self._stream, self._file = stream, file
        self._written: list[str] = []
        self.content: dict[str, Any] = {**machine, "tables": []}

    def write(self, text: str) -> int:
        self._written.append(text)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - of the stream
        return getattr(self._stream, name)

    def save(self) -> None:
        output = "".join(self._written).strip().splitlines()
        if not output:
            return
        self._file.parent.mkdir(exist_ok=True)
        self._file.write_text(json.dumps(self.content | {"output": output}, indent=1, ensure_ascii=False) + "\n")
        print(f"kept in {self._file}", file=sys.stderr)


_recorder: _Recorder | None = None


def record(machine: Mapping[str, Any], kept_as: str = "") -> None:
    """Keep all that the program prints from now on, once it ends.

    Parameters
    ----------
    machine : mapping
        Where it runs, and on which versions.
    kept_as : str
        What is added to the name of the file: "million" for ``serve.service.million.json``.
    """
    global _recorder  # noqa: PLW0603 - one program, one output
    spec = sys.modules["__main__"].__spec__
    if _recorder or spec is None or not spec.name.startswith("benchmarks."):
        return
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    arguments = [Path(text).name if Path(text).is_absolute() else text for text in sys.argv[1:]]  # not where it ran
    head = {"benchmark": spec.name, "arguments": arguments, "date": today, **machine}
    name = spec.name.removeprefix("benchmarks.") + (f".{kept_as}" if kept_as else "")
    _recorder = _Recorder(sys.stdout, head, FOLDER / f"{name}.json")
    sys.stdout = _recorder  # type: ignore[assignment]
    atexit.register(_recorder.save)


def add_table(head: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """Keep a table as such too, for programs that read the file."""
    if _recorder:
        _recorder.content["tables"].append({"head": list(head), "rows": [list(row) for row in rows]})
