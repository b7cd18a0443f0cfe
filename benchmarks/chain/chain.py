"""The chain twice on one OUT, and the start of the light commands: what a person at the terminal waits for.

usage: python -m benchmarks.chain.chain [SOURCE]      (a synthetic catalog by default)
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from musicrec.serve.lookup import SimilarTable
from musicrec.stages.catalog.synthetic import write_catalog

STARTS = 5


def timed(*arguments: object) -> float:
    """Return the wall seconds of one musicrec command."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "musicrec", *map(str, arguments)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Print first run, second run, their ratio, and the start times of lookup and --help beside Python's own."""
    with tempfile.TemporaryDirectory() as folder:
        out, source = Path(folder) / "out", Path(folder) / "synthetic"
        if sys.argv[1:]:
            source = Path(sys.argv[1]).absolute()
        else:
            write_catalog(source)
        command = ("run", out, "--source", source, "--space", "embeddings")  # the same chain on every machine
        first, second = timed(*command), timed(*command)
        print(f"first run {first:.1f} s   second run {second:.1f} s   ratio {second / first:.3f}   {source.name}")
        track = next(SimilarTable(out).songs()).track_id
        starts: dict[str, list[float]] = {"python -c pass": [], "--help": [], "lookup": []}
        for _ in range(STARTS):  # interleaved: a busy moment of the machine hits all alike
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", "pass"], check=True)
            starts["python -c pass"].append(time.perf_counter() - started)
            starts["--help"].append(timed("--help"))
            starts["lookup"].append(timed("lookup", out, track))
        for name, seconds in starts.items():
            print(f"{name:15} median {median(seconds):.2f} s of {STARTS}")


if __name__ == "__main__":
    main()
