"""A night in which part of the source cannot be read takes no song out of any table, and says so."""

import errno
import os
import shutil

import pytest

from musicrec.errors import Unread
from musicrec.stages.chain import chain_settings, refresh, run
from musicrec.store.store import Store

pytestmark = pytest.mark.usefixtures("ray_session")
TABLES = ("tracks", "features", "mel", "similar")


def test_songs_that_cannot_be_read_keep_their_place_in_every_table(synthetic, tmp_path, monkeypatch, capsys):
    source = tmp_path / "songs"
    for i, song in enumerate(sorted(synthetic.rglob("*-01.*"))[:4]):
        (source / str(i % 2)).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(song, source / str(i % 2) / song.name)
    store = Store(tmp_path / "out")
    store.create()
    run(store, chain_settings(store, {"catalog": {"source": str(source)}}), show=lambda counts: None)
    before = {name: (store.path(name).resolve(), store.read(name)) for name in TABLES}
    lines, scandir = [], os.scandir

    def broken(path="."):
        if str(path) == str(source / "1"):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(path))
        return scandir(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", broken)
        with pytest.raises(Unread):
            refresh(store, chain_settings(store), max_removed_fraction=0, show=lines.append)
    assert "2 songs could not be read" in capsys.readouterr().err
    assert {name: (store.path(name).resolve(), store.read(name)) for name in TABLES} == before
    assert any(line.startswith("extract: 4 ok + 0 skipped + 0 failed = 4 (none decoded now)") for line in lines)
    outcomes = store.read("outcomes").to_pandas().query("reason == 'unreadable'")
    assert outcomes.stage.tolist() == ["catalog"] * 2
    lines.clear()
    refresh(store, chain_settings(store), show=lines.append)
    assert lines[0].startswith("catalog: 4 ok + 0 skipped + 0 failed = 4 (none read now)")
    assert {name: store.path(name).resolve() for name in TABLES} == {name: path for name, (path, _) in before.items()}
