"""Make ``tests/data/kept`` anew: a few synthetic songs, and the OUT that the code of the day makes of them.

usage: python tests/data/make_kept.py FOLDER      FOLDER/songs and FOLDER/out are made; move both into tests/data/kept

The tests read this OUT to see that code of today still understands what earlier code has written. So make it anew only
when a format has to change, and say so in the changelog. The tables hold FOLDER's path: choose a neutral one.
"""

import os
import shutil
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import soundfile as sf

from musicrec.settings import CatalogSettings, EmbedSettings, ExtractSettings, SimilarSettings, TrainSettings
from musicrec.stages.catalog.stage import catalog
from musicrec.stages.catalog.synthetic import STYLES, render
from musicrec.stages.embed import embed
from musicrec.stages.extract.stage import extract
from musicrec.stages.similar.stage import similar
from musicrec.stages.train.stage import train
from musicrec.store.store import Store

RATE, SECONDS = 22_050, 1.0
SHOWN = ("bells", "drone", "pluck", "rain")
SONGS = 4  # of each style
OTHER_MODELS = ("whitened_svm", "kmeans", "birch", "dbscan")  # with svm, they pickle every class of ours


def write_songs(folder: Path) -> None:
    """Short songs of a few styles, one that is silent, and one that is none."""
    for index, style in enumerate(style for style in STYLES if style.name in SHOWN):
        for number in range(1, SONGS + 1):
            name = f"synthetic-{style.name}"
            path = folder / name / f"{name}-{number}.flac"
            path.parent.mkdir(parents=True, exist_ok=True)
            song = render(style, np.random.default_rng((index, number)), SECONDS, RATE)
            with sf.SoundFile(path, "w", RATE, 1, format="flac") as file:
                file.title, file.artist = f"Synthetic {style.name} {number}", f"Synthetic artist {4 * index + number}"
                file.write(song)
    sf.write(folder / "synthetic-rain" / "silent.flac", np.zeros(RATE, np.float32), RATE)
    (folder / "synthetic-rain" / "text.flac").write_text("A text that only its name calls audio.\n")


def main(folder: Path) -> None:
    """Make the songs, and run every stage on them."""
    write_songs(folder / "songs")
    os.chdir(folder)  # settings.toml names the songs by a path from here
    store = Store(folder / "out")
    store.create()
    catalog(store, CatalogSettings(source="songs"))
    extract(store, ExtractSettings())
    for model in (*OTHER_MODELS, "svm"):
        train(store, TrainSettings(model=model))
    embed(store, EmbedSettings(model="svm"))
    with mock.patch(
        "musicrec.similarity.search.blocks.available", return_value=("product",)
    ):  # which every machine has
        similar(store, SimilarSettings(n=5))
    for name in (".lock", "_work"):
        if (path := folder / "out" / name).is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
