"""Metrics for Prometheus, which Ray exports with its own: set where the work is done, in tasks and in the driver.

Each node serves them, named ``ray_musicrec_…``, at its metrics port (``ray start --metrics-export-port``).
"""

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ray.util.metrics import Counter, Histogram

SECONDS = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0]  # buckets for the seconds of a track


class _Metrics(NamedTuple):
    tracks: "Counter"
    audio_bytes: "Counter"
    seconds: "Counter"
    track_seconds: "Histogram"


@cache
def _metrics() -> _Metrics:
    """Return the metrics of this process, made when they are first set: by then it belongs to a cluster."""
    from ray.util.metrics import Counter, Histogram

    return _Metrics(
        Counter("musicrec_tracks", "Tracks that a stage is done with.", ("stage", "status", "reason")),
        Counter("musicrec_audio_bytes", "Size of the audio files that were decoded.", ("stage",)),
        Counter("musicrec_seconds", "Seconds that tracks took, added up.", ("stage",)),
        Histogram("musicrec_track_seconds", "Seconds that a track took.", SECONDS, ("stage",)),
    )


def count_tracks(stage: str, status: str, reason: str | None = None, n: int = 1) -> None:
    """Count `n` more tracks that a stage is done with."""
    if n:
        _metrics().tracks.inc(n, {"stage": stage, "status": status, "reason": reason or ""})


def decoded(stage: str, status: str, reason: str | None, seconds: float, size_bytes: int) -> None:
    """Count one more track whose audio a stage is done with."""
    count_tracks(stage, status, reason)
    _metrics().seconds.inc(seconds, {"stage": stage})
    _metrics().track_seconds.observe(seconds, {"stage": stage})  # Ray keeps only its buckets: its sum is a guess
    if size_bytes:
        _metrics().audio_bytes.inc(size_bytes, {"stage": stage})
