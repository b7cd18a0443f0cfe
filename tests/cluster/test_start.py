"""The Ray that a command starts for itself."""

import os
import signal
import time

import pytest

from benchmarks.chain.kills_command import Command
from musicrec.settings import CatalogSettings
from musicrec.stages.catalog.stage import catalog
from musicrec.store.store import Store

SECONDS = 120


@pytest.mark.engine
def test_a_worker_that_is_killed_as_it_starts_stops_no_command(monkeypatch, synthetic, tmp_path):
    store = Store(tmp_path / "out")
    store.create()
    catalog(store, CatalogSettings(source=str(synthetic)))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    command = Command(["extract", str(store.out), "--limit", "2"], tmp_path / "log")
    try:
        while not (workers := command.processes().get("idle worker")):
            assert command.wait(0) is None, command.complaint
            time.sleep(0.005)  # it has registered within a second of its start
        os.kill(workers[0], signal.SIGKILL)
        assert command.wait(SECONDS) == 0, command.complaint
    finally:
        command.clean_up(0)
    assert store.read("features").num_rows == 2
