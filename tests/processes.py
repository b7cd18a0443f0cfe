"""What tests that kill processes share."""

from collections.abc import Iterator
from pathlib import Path


def descendants(pid: int) -> Iterator[int]:
    """Processes that a process has started, and those that these have."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    for child in children.read_text().split() if children.exists() else ():
        yield int(child)
        yield from descendants(int(child))


def named(pid: int, name: str) -> list[int]:
    """Those descendants of a process whose command line holds a name, such as that of a task of Ray."""
    lines = {child: Path(f"/proc/{child}/cmdline") for child in descendants(pid)}
    return [child for child, line in lines.items() if line.exists() and name.encode() in line.read_bytes()]
