"""CPU time that a run has used, its Ray workers on this machine included."""

import os
from pathlib import Path

_PROC = Path("/proc")


def cpu_seconds() -> float | None:
    """CPU seconds of this process and of all that descend from it, dead ones as far as somebody waited for them.

    None where the system has no ``/proc``.
    """
    ticks, parents = {}, {}
    for folder in _PROC.glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        pid = int(folder.name)
        parents[pid] = int(fields[1])  # proc(5): fields are counted from the one after the name
        ticks[pid] = sum(map(int, fields[11:15]))  # user and system, its own and its dead children's
    ours = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return sum(ticks[pid] for pid in ours) / os.sysconf("SC_CLK_TCK") if ours <= ticks.keys() else None
