"""What the tests of extract share: an OUT with a catalog, its tables, and whether two are the same."""

import shutil
from pathlib import Path

import pandas as pd

from musicrec.settings import CatalogSettings, ExtractSettings
from musicrec.stages.catalog.stage import catalog
from musicrec.stages.extract.stage import extract
from musicrec.store.store import Store

SETTINGS = ExtractSettings()
CHAIN = {"train": {"epochs": 30, "scaling": "standardised"}, "similar": {"n": 10}}


def new_out(out: Path, source: Path) -> Store:
    store = Store(out)
    store.create()
    catalog(store, CatalogSettings(source=str(source)))
    return store


def tables(store: Store) -> dict[str, pd.DataFrame]:
    """The stage's tables in order of track, which the large ones need not be; no seconds that a decode took."""
    names = ("features", "mel", "segments", "images", "outcomes")
    found = {name: store.read(name).to_pandas() for name in names if store.exists(name)}
    found["outcomes"] = found["outcomes"].query("stage == 'extract'").drop(columns="seconds").reset_index(drop=True)
    found["mel"]["mel"] = found["mel"]["mel"].map(bytes)
    for name in {"mel", "images"} & found.keys():
        found[name] = found[name].sort_values("track_id", ignore_index=True)
    return found


def assert_same(a: dict[str, pd.DataFrame], b: dict[str, pd.DataFrame]) -> None:
    assert a.keys() == b.keys()
    for name, table in a.items():
        pd.testing.assert_frame_equal(table, b[name], check_exact=True)


def own_source(synthetic: Path, tmp_path: Path) -> tuple[Path, list[Path]]:
    source = tmp_path / "synthetic"
    for style in ("synthetic-drone", "synthetic-pluck"):
        shutil.copytree(synthetic / style, source / style)
    return source, sorted(source.rglob("*.wav"))


def assert_as_fresh(store: Store, source: Path, fresh: Path) -> None:
    other = new_out(fresh, source)
    extract(other, SETTINGS)
    assert_same(tables(store), tables(other))
    assert not list((store.out / "_work").rglob("*.parquet"))
