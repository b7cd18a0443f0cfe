"""What the service has answered, in Prometheus' text format."""

from collections import Counter, defaultdict
from threading import Lock

HELP = {
    "musicrec_requests_total": ("counter", "Answers by kind of request and status."),
    "musicrec_request_seconds_total": ("counter", "Seconds that they took."),
    "musicrec_songs": ("gauge", "Songs in the table that is served."),
    "musicrec_table_info": ("gauge", "The version that is served."),
}


class RequestCounts:
    """Counts of answers; many threads may add to them."""

    def __init__(self) -> None:
        self._answers: Counter[tuple[str, int]] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._lock = Lock()

    def add(self, kind: str, status: int, seconds: float) -> None:
        """Count an answer."""
        with self._lock:
            self._answers[kind, status] += 1
            self._seconds[kind] += seconds

    def text(self, version: str, n_songs: int) -> str:
        """Return all counts, and what is served."""
        with self._lock:
            samples: dict[str, list[tuple[str, float]]] = {
                "musicrec_requests_total": [
                    (f'{{request="{kind}",status="{status}"}}', n)
                    for (kind, status), n in sorted(self._answers.items())
                ],
                "musicrec_request_seconds_total": [
                    (f'{{request="{kind}"}}', round(s, 6)) for kind, s in sorted(self._seconds.items())
                ],
                "musicrec_songs": [("", n_songs)],
                "musicrec_table_info": [(f'{{version="{version}"}}', 1)],
            }
        lines = []
        for name, (kind, about) in HELP.items():
            lines += [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
            lines += [f"{name}{labels} {value}" for labels, value in samples[name]]
        return "\n".join([*lines, ""])
