"""What the stages count is what a node's metrics port tells Prometheus."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

SCRIPT = """
import json, sys, time, urllib.request
import ray
from musicrec.stages.catalog.stage import catalog
from musicrec.stages.extract.stage import extract
from musicrec.settings import CatalogSettings, ExtractSettings
from musicrec.store.store import Store

ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False,
         _system_config={"metrics_report_interval_ms": 500})
store = Store(sys.argv[1])
store.create()
catalog(store, CatalogSettings(source=sys.argv[2]))
n_tracks = extract(store, ExtractSettings()).total
node = ray.nodes()[0]
url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
ended = time.monotonic() + 60
lines, counted = [], 0
while counted < n_tracks and time.monotonic() < ended:
    time.sleep(1)
    text = urllib.request.urlopen(url, timeout=10).read().decode()
    lines = [line for line in text.splitlines() if line.startswith("ray_musicrec_")]
    counted = sum(float(line.split()[-1]) for line in lines if line.startswith("ray_musicrec_tracks_total{"))
print(json.dumps(lines))
"""


@pytest.mark.slow
def test_a_nodes_metrics_port_tells_tracks_by_reason_bytes_and_seconds(synthetic: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-c", SCRIPT, out, synthetic]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=280)
    lines = json.loads(ended.stdout.splitlines()[-1])
    outcomes = pd.read_parquet(out / "outcomes").query("stage == 'extract'")
    expected = Counter(zip(outcomes.status, outcomes.reason.fillna(""), strict=True))
    assert len(expected) > 3
    found = Counter[tuple[str, str]]()
    for labels, value in samples(lines, "ray_musicrec_tracks_total"):
        assert labels["stage"] == "extract"
        found[labels["status"], labels["reason"]] += int(value)
    assert found == expected
    tracks = pd.read_parquet(out / "tracks")
    assert sum(value for _, value in samples(lines, "ray_musicrec_audio_bytes_total")) == tracks.size_bytes.sum()
    assert sum(value for _, value in samples(lines, "ray_musicrec_track_seconds_count")) == len(tracks)
    seconds = sum(value for _, value in samples(lines, "ray_musicrec_seconds_total"))
    assert seconds == pytest.approx(outcomes.seconds.sum(), rel=1e-6)


def samples(lines: list[str], name: str) -> list[tuple[dict[str, str], float]]:
    """Labels and value of each sample of a metric, in Prometheus' text format."""
    found = []
    for line in lines:
        head, _, value = line.rpartition(" ")
        if head.startswith(f"{name}{{"):
            pairs = [pair.split("=", 1) for pair in head[len(name) + 1 : -1].rstrip(",").split(",")]
            found.append(({key: text.strip('"') for key, text in pairs}, float(value)))
    return found
