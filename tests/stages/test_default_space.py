"""A new OUT takes the best space whose models are on the machine, and says so; nothing switches by itself."""

import pytest

from musicrec.models.pretrained import library
from musicrec.models.pretrained.card import to_toml
from musicrec.settings import SimilarSettings
from musicrec.stages import default_space
from musicrec.stages.chain import chain_settings, stages
from musicrec.stages.default_space import SPACE, tell_default
from onnx_files import card

SOURCE = {"catalog": {"source": "/music"}}


@pytest.fixture
def musicnn(tmp_path, monkeypatch):
    """The card of a model of that name on this machine."""
    monkeypatch.setenv("MUSICREC_CACHE", str(tmp_path / "cache"))
    folder = library.models_folder() / "musicnn"
    folder.mkdir(parents=True)
    (folder / library.CARD).write_text(to_toml(card(name="musicnn", tags_output="tags", tags=("rock", "jazz"))))


def space(store, **similar):
    return chain_settings(store, {**SOURCE, "similar": similar}).similar.space


def test_the_default_is_written_as_settings_write_it():
    assert SimilarSettings(space=SPACE).space == SPACE


def test_without_the_model_songs_are_compared_by_embeddings(store, capsys):
    assert space(store) == ()
    tell_default(store, chain_settings(store, SOURCE).similar)
    assert capsys.readouterr() == ("", "")


def test_a_new_out_takes_the_model_and_says_what_it_costs(store, musicnn, capsys):
    settings = chain_settings(store, SOURCE)
    assert settings.similar.space == SPACE
    assert list(stages(store, settings))[-2:] == ["vectors/musicnn", "similar"]
    tell_default(store, settings.similar)
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "songs are compared by features + musicnn + tags/musicnn: about 0.05 s of CPU time a song; "
        "to compare them by the trained model instead: --space embeddings"
    )


def test_a_space_that_is_given_is_taken_as_it_is(store, musicnn, capsys):
    for given, taken in ((["embeddings"], ()), (["features"], ("features",)), ([], ())):
        assert space(store, space=given) == taken
        tell_default(store, SimilarSettings(space=given))
    assert capsys.readouterr().err == ""
    assert space(store, n=7) == SPACE  # another setting is no choice of a space


@pytest.mark.parametrize("kept", [(), ("features",), ("mert=1", "features=0.3")])
def test_an_out_keeps_the_space_that_it_was_compared_in(store, musicnn, capsys, kept):
    store.settings.record(SimilarSettings(space=kept))
    assert space(store) == SimilarSettings(space=kept).space
    tell_default(store, chain_settings(store, SOURCE).similar)
    assert capsys.readouterr().err == ""


def test_an_out_of_a_musicrec_without_spaces_keeps_embeddings(store, musicnn):
    store.settings.path.write_text("[similar]\nn = 20\n")
    assert space(store) == ()


def test_an_out_with_a_table_but_without_its_settings_keeps_embeddings(store, musicnn, monkeypatch):
    monkeypatch.setattr(type(store), "exists", lambda self, name: name == "similar")
    assert default_space.default_space(store) == ()


def test_an_out_of_the_default_stays_there_where_the_model_is_gone(store):
    """It is missed when it is needed; no other space takes its place."""
    store.settings.record(SimilarSettings(space=SPACE))
    assert space(store) == SPACE
