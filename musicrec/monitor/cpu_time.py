"""CPU time that a run uses, its Ray workers on this machine included."""

import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

PROC = Path("/proc")
SECONDS_BETWEEN_LOOKS = 1.0

Process = tuple[int, int]  # id and time of start, because ids are reused


class CpuMeter:
    """Adds up the CPU time of this process and of all its descendants; a context manager.

    This process does not wait for Ray's workers, and the system forgets their CPU time when they end. So a thread reads
    it every second. What a process uses in its last second may be missing.
    """

    def __init__(self) -> None:
        self._ticks: dict[Process, int] = {}
        self._over = threading.Event()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self._over.set()

    def seconds(self) -> float | None:
        """Return the CPU seconds until now; None where the system has no ``/proc``."""
        with self._lock:
            self._look()
            return sum(self._ticks.values()) / os.sysconf("SC_CLK_TCK") if self._ticks else None

    def _watch(self) -> None:
        while not self._over.wait(SECONDS_BETWEEN_LOOKS):
            with self._lock:
                self._look()

    def _look(self) -> None:
        parents, found = {}, {}
        for folder in PROC.glob("[0-9]*"):
            try:
                fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
            except OSError:  # it has ended meanwhile
                continue
            pid = int(folder.name)
            parents[pid] = int(fields[1])  # proc(5), less the id and the name
            found[pid] = ((pid, int(fields[19])), int(fields[11]) + int(fields[12]))  # user and system time
        ours = {os.getpid()} | {pid for pid, (process, _) in found.items() if process in self._ticks}
        while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
            ours |= more
        self._ticks.update(found[pid] for pid in ours & found.keys())
