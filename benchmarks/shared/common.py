"""Helpers of the benchmarks: the data they run on, one thread, CPU time, and tables."""

import csv
import os
import platform
import sys
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stderr
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from typing import TypeVar

from threadpoolctl import threadpool_info

from benchmarks.shared.results import add_table, record
from musicrec.audio.formats import EXTENSIONS
from musicrec.monitor.text_table import Cell, text_table
from musicrec.settings import CatalogSettings
from musicrec.stages.catalog.stage import catalog
from musicrec.store.store import Store

FOREIGN_KERNEL = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # with these, NumPy's product is that of another processor
BEFORE_AVX2 = {"Prescott", "Core2", "Penryn", "Nehalem", "Sandybridge", "Barcelona", "Bulldozer", "Piledriver"}
BEFORE_AVX512 = BEFORE_AVX2 | {"Haswell", "Zen", "Excavator", "Steamroller"}
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
DEFAULT_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"

Result = TypeVar("Result")


def parser(description: str | None, example: str) -> ArgumentParser:
    """Make the command line of a benchmark, with ``--data`` and an example."""
    made = ArgumentParser(
        description=description, epilog=f"example:\n  {example}", formatter_class=RawDescriptionHelpFormatter
    )
    made.add_argument(
        "--data",
        type=Path,
        default=Path(os.environ.get("MUSICREC_DATA", DEFAULT_DATA)),
        help="folder of real audio with gtzan, gtzan_crops and songs (default: $MUSICREC_DATA or ../shared/data)",
    )
    return made


def audio_files(folder: Path, extensions: Iterable[str] = EXTENSIONS) -> list[Path]:
    """Return the audio files below a folder, sorted; end the program with one line if there are none."""
    files = sorted(path for path in folder.rglob("*") if path.suffix in set(extensions))
    if not files:
        sys.exit(f"no audio in {folder}; expected {', '.join(sorted(extensions))}: give --data or set MUSICREC_DATA")
    return files


def write_manifest(file: Path, clips: list[Path], n: int) -> None:
    """List `n` tracks in a manifest, the clips over and over; the folder of a clip is its genre."""
    with file.open("w", newline="", encoding="utf-8") as f:
        rows = csv.writer(f)
        rows.writerow(["track_id", "path", "genre"])
        listed = (clips[i % len(clips)].absolute() for i in range(n))
        rows.writerows([f"{i:05d}", clip, clip.parent.name] for i, clip in enumerate(listed))


def catalogued(out: Path, clips: list[Path], n: int) -> Path:
    """Make an OUT with a catalog of `n` tracks and nothing else."""
    store = Store(out)
    store.create()
    manifest = out.with_suffix(".csv")
    write_manifest(manifest, clips, n)
    with redirect_stderr(StringIO()):
        catalog(store, CatalogSettings(source=str(manifest), kind="manifest"))
    return out


def evenly(items: Sequence[Result], n: int | None) -> list[Result]:
    """Return at most `n` of the items, spread over all of them; all for None."""
    if n is None or n >= len(items):
        return list(items)
    return [items[i * len(items) // n] for i in range(n)]


def one_thread() -> None:
    """Start this program again with one thread for each library, unless it was: they read the number when loaded.

    NumPy then multiplies by the kernel of this processor, whatever the environment says.
    """
    clean = {name: value for name, value in os.environ.items() if name not in FOREIGN_KERNEL}
    wanted = clean | dict.fromkeys(THREAD_VARIABLES, "1")
    if wanted != dict(os.environ):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], wanted)


def cpu(call: Callable[[], Result]) -> tuple[Result, float]:
    """Return the result of a call, and the CPU seconds of this process with all its threads."""
    started = time.process_time()
    result = call()
    return result, time.process_time() - started


def wall(call: Callable[[], Result]) -> tuple[Result, float]:
    """Return the result of a call, and its wall seconds."""
    started = time.perf_counter()
    result = call()
    return result, time.perf_counter() - started


def print_machine(*packages: str, kept_as: str = "") -> None:
    """Print where this runs, and on which versions; what is printed after it is kept as JSON.

    `kept_as` is added to the name of that file, so that another size or table does not take the place of the usual one.

    The program ends if the environment gives NumPy's product the kernel of another processor: all that is measured
    beside that product would be wrong.
    """
    if foreign := [f"{name}={os.environ[name]}" for name in FOREIGN_KERNEL if name in os.environ]:
        sys.exit(f"{' '.join(foreign)} slows NumPy's product, to which others are compared; unset it")
    if slow := [kernel for kernel in kernels() if is_foreign(kernel, cpu_flags())]:
        sys.exit(f"NumPy multiplies by {', '.join(slow)}, a kernel for older processors, to which others are compared")
    versions = {package: version(package) for package in ("musicrec", *packages)}
    machine = {"processor": processor(), "cpus": os.cpu_count(), "python": platform.python_version(), "blas": blas()}
    said = " ".join(f"{name}={value}" for name, value in sorted(os.environ.items()) if name in THREAD_VARIABLES)
    listed = "  ".join(f"{package} {installed}" for package, installed in versions.items())
    print(f"{machine['processor']}, {machine['cpus']} CPUs, Python {machine['python']}; {machine['blas']}")
    print(f"{said or 'no variable sets threads'}\n{listed}\n")
    record({**machine, "versions": versions}, kept_as)


def blas() -> str:
    """Return which kernel NumPy multiplies with, and on how many threads."""
    libraries = [library for library in threadpool_info() if library["user_api"] == "blas"]
    texts = (
        f"{x['internal_api']} {x['version']}, {x.get('architecture')}, {x['num_threads']} threads" for x in libraries
    )
    return "; ".join(dict.fromkeys(texts))


def kernels() -> list[str]:
    """Return the kernels that NumPy multiplies with."""
    return [x["architecture"] for x in threadpool_info() if x["user_api"] == "blas" and "architecture" in x]


def is_foreign(kernel: str, flags: set[str]) -> bool:
    """Return whether a kernel leaves the widest registers of a processor with these flags unused."""
    return kernel in (BEFORE_AVX512 if "avx512f" in flags else BEFORE_AVX2 if "avx2" in flags else set())


def cpu_flags() -> set[str]:
    """Return what the processor can do, as Linux names it; nothing elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return set()
    return set(next((line.split(":")[1].split() for line in text.splitlines() if line.startswith("flags")), []))


def processor() -> str:
    """Return the name of the processor, as the system gives it."""
    try:
        names = [
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ]
    except OSError:
        names = []
    return next(iter(names), platform.processor() or platform.machine())


def print_table(head: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    """Print rows in columns under their heads."""
    cells = list(rows)
    add_table(head, cells)
    print(text_table(head, cells), flush=True)
    print(flush=True)


def verdict(ok: bool) -> str:
    """Return whether a bar was reached, in words."""
    return "reached" if ok else "NOT reached"
