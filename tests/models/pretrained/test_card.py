"""A card says all that is needed to run a network, or one line says what is wrong with it."""

import pytest
import tomli_w

from musicrec.errors import ConfigError
from musicrec.models.pretrained.card import Card, read_card, to_toml
from onnx_files import card

GOLDEN = {"signal": "tone", "vector": [0.5, 1.0]}


def written(folder, **changed):
    says = card().model_dump(mode="json") | changed
    path = folder / "card.toml"
    path.write_text(tomli_w.dumps({name: value for name, value in says.items() if value is not None}))
    return path


def test_a_card_that_was_written_is_read(tmp_path):
    made = card(tags_output="tags", tags=("calm", "loud"), golden=[GOLDEN], pooling="mean+std")
    (tmp_path / "card.toml").write_text(to_toml(made))
    assert read_card(tmp_path / "card.toml") == made


def test_the_vectors_of_other_settings_have_another_fingerprint():
    others = [card(hop_s=0.4), card(pooling="max"), card(short="pad"), card(weights="00")]
    assert len({one.fingerprint() for one in (card(), *others)}) == 5


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"licence": None}, "setting card.licence: it has no default; give it a value"),
        ({"licence": ""}, "setting card.licence = ''"),
        ({"name": "a/b"}, "setting card.name = 'a/b': expected letters, digits"),
        ({"name": "embeddings"}, "setting card.name = 'embeddings': expected letters, digits"),
        ({"front_end": "mel"}, "setting card.front_end = 'mel'"),
        ({"sample_rate": 44_100}, "sample_rate 44100: front end musicnn reads 16000 Hz"),
        ({"window_s": 0.001}, "window_s 0.001: expected at least one frame of front end musicnn"),
        ({"hop_s": 0.0}, "setting card.hop_s = 0.0"),
        ({"tags": ["calm"]}, "tags and tags_output: expected both or neither"),
        ({"golden": [GOLDEN, GOLDEN]}, "golden: expected one vector for a signal, and all of one length"),
        ({"golden": [GOLDEN | {"vector": [float("nan")]}]}, "setting card.golden.0.vector.0 = nan"),
        ({"golden": [GOLDEN | {"signal": "song"}]}, "setting card.golden.0.signal = 'song'"),
        ({"window": 3}, "setting card.window = 3: no such setting; expected one of name, licence"),
    ],
)
def test_a_bad_card_is_one_clear_line(tmp_path, changed, line):
    path = written(tmp_path, **changed)
    with pytest.raises(ConfigError) as e:
        read_card(path)
    assert str(e.value).startswith(f"{path}: ")
    assert line in str(e.value)
    assert "\n" not in str(e.value)


def test_a_card_that_is_no_toml_or_is_not_there(tmp_path):
    (tmp_path / "card.toml").write_text("name: small")
    with pytest.raises(ConfigError, match=r"card .*card.toml is not TOML \(.*\); correct it"):
        read_card(tmp_path / "card.toml")
    with pytest.raises(ConfigError, match=r"card .*none.toml: No such file or directory; expected a TOML file"):
        read_card(tmp_path / "none.toml")


def test_a_card_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        card().name = "other"  # type: ignore[misc]
    assert Card.model_config["extra"] == "forbid"
