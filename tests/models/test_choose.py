"""Models of spaces choose their strength of regularisation as scikit-learn's own search does on the same folds."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from musicrec.models import TrainingSet
from musicrec.models.training import train_model
from musicrec.models.tuning import CHOOSING_FOLDS, GRIDS_OF_SPACES, choose
from musicrec.models.weights import song_weights
from musicrec.settings import TrainSettings

pytestmark = pytest.mark.thorough

N, D = 60, 12
SETTINGS = TrainSettings(model="logistic", space=("musicnn",))
LEARN = np.arange(N) % 5 > 0


def songs(seed=0, spread=2.0, per_artist=3):
    """Songs of 3 genres; each artist plays one genre in a manner of its own."""
    draw = np.random.default_rng(seed)
    y = (np.arange(N) // per_artist % 3).astype(np.int32)
    artist = np.arange(N) // per_artist
    of_artist = spread * draw.normal(size=(artist.max() + 1, D))
    X = draw.normal(size=(N, D)) + of_artist[artist] + 1.5 * np.eye(3, D)[y]
    ids = [f"s{i:03d}" for i in range(N)]
    return TrainingSet(ids, X.astype(np.float32), y, list("abc"), [f"artist {a}" for a in artist], ids, {})


def by_scikit_learn(of, balance):
    """Accuracy of each C on the inner folds, each song counted once."""
    rows = np.flatnonzero(LEARN)
    X, y, artists = of.X[rows].astype(float), of.y[rows], np.array(of.groups)[rows]
    splitter = StratifiedGroupKFold(CHOOSING_FOLDS, shuffle=True, random_state=SETTINGS.seed)
    found = {}
    for C in GRIDS_OF_SPACES["logistic"][0]["C"]:
        said = np.empty_like(y)
        for learn, test in splitter.split(X, y, artists):
            model = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=2000))
            weights = song_weights(y[learn], artists[learn].tolist(), balance)
            said[test] = model.fit(X[learn], y[learn], logisticregression__sample_weight=weights).predict(X[test])
        found[C] = accuracy_score(y, said)
    return found


@pytest.mark.parametrize("balance", ["none", "genre+artist"])
def test_the_choice_is_that_of_scikit_learn_on_the_same_folds(balance):
    of = songs()
    expected = by_scikit_learn(of, balance)
    assert len(set(expected.values())) > 1
    found = choose(of, LEARN, SETTINGS.model_copy(update={"balance": balance}))
    assert found == {"C": max(expected, key=expected.get)}


def test_songs_that_are_held_out_have_no_part_in_the_choice():
    of = songs()
    other = of._replace(X=of.X.copy(), y=of.y.copy())
    other.X[~LEARN] = 1e3
    other.y[~LEARN] = 0
    assert choose(other, LEARN, SETTINGS) == choose(of, LEARN, SETTINGS)


def test_a_model_is_trained_with_its_choice_unless_it_is_given_settings():
    of = songs()
    card = {"model": "logistic", "classes": of.classes, "input": {"reads": "spaces", "shape": [D]}}
    trained = train_model(of, LEARN, ~LEARN, SETTINGS, card)
    assert trained.card["chosen"] == choose(of, LEARN, SETTINGS) == {"C": trained.pipeline[-1].C}
    given = train_model(of, LEARN, ~LEARN, SETTINGS.model_copy(update={"params": '{"C": 7}'}), card)
    assert (given.pipeline[-1].C, "chosen" in given.card) == (7, False)
    plain = train_model(of, LEARN, ~LEARN, TrainSettings(model="logistic"), card)
    assert (plain.pipeline[-1].C, "chosen" in plain.card) == (1.0, False)


def test_songs_of_one_artist_a_genre_leave_nothing_to_choose():
    of = songs()._replace(groups=[f"artist {label}" for label in songs().y])
    assert choose(of, LEARN, SETTINGS) == {}
    assert choose(of, LEARN, TrainSettings(model="knn", space=("musicnn",))) == {}
