"""Splits keep artists apart, also where songs have several."""

import numpy as np
import pytest

from musicrec.models import held_out, training_set
from musicrec.models.dataset import folds


@pytest.mark.parametrize("seed", range(5))
def test_no_artist_stands_on_both_sides_of_a_split(seed):
    rng = np.random.default_rng(seed)
    n_artists = rng.choice([0, 1, 2, 3], 80, p=[0.1, 0.6, 0.2, 0.1])
    artists = [[f"artist {a}" for a in rng.integers(0, 60, n)] for n in n_artists]
    genres = rng.choice(["jazz", "rock"], 80).tolist()
    songs = training_set([f"{i:02d}" for i in range(80)], np.zeros((80, 2), np.float32), genres, artists)
    splits = [(~held_out(songs, 0.2, seed), held_out(songs, 0.2, seed)), *folds(songs.y, songs.groups, 3, seed)]
    assert sum(test.sum() for _, test in splits) > 80 * 0.5
    for learn, test in splits:
        learned, tested = ({a for i in np.flatnonzero(side) for a in artists[i]} for side in (learn, test))
        assert not learned & tested
