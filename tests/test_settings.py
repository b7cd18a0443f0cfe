"""Settings win in a known order, refuse what they do not know, and give a fingerprint that means one thing."""

import json
import math
import os
import subprocess
import sys
from typing import get_args

import pytest
from pydantic import ValidationError

from musicrec.errors import ConfigError
from musicrec.features import FEATURE_SETS
from musicrec.settings import STAGES, CatalogSettings, ExtractSettings, FeatureSet, SimilarSettings, resolve
from musicrec.store.settings_file import read_toml

EXAMPLES = {stage: cls(source="/music") if cls is CatalogSettings else cls() for stage, cls in STAGES.items()}
FIELDS = [(stage, name) for stage, cls in STAGES.items() for name in cls.model_fields]


def another(value):
    """A value of the same type that is not `value`."""
    match value:
        case None:
            return 1
        case bool():
            return not value
        case str():
            return f"{value}x"
        case tuple():
            return value[:-1] or ("a+b",)
        case _:
            return value + 1


# --- resolving ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "n"),
    [
        ([], 50),
        ([{}, {}], 50),
        ([{}, {}, {"n": 3}], 3),
        ([{}, {"n": 2}, {"n": 3}], 2),
        ([{"n": 1}, {"n": 2}, {"n": 3}], 1),
        ([{"n": None}, {"n": 2}], 2),
        ([{"metric": "euclidean"}, {"n": 2, "metric": "cosine"}], 2),
    ],
)
def test_the_earlier_layer_wins_and_none_says_nothing(layers, n):
    assert resolve(SimilarSettings, *layers).n == n


def test_layers_are_merged_setting_by_setting():
    settings = resolve(SimilarSettings, {"metric": "euclidean"}, {"metric": "cosine", "n": 2}, {"max_churn": 0.5})
    assert settings == SimilarSettings(metric="euclidean", n=2, max_churn=0.5)


def test_zero_and_false_are_values_not_silence():
    assert resolve(ExtractSettings, {"offset_s": 0}, {"offset_s": 7}).offset_s == 0


@pytest.mark.parametrize(
    ("stage", "name", "value", "expected"),
    [
        ("similar", "n", 0, "greater than or equal to 1"),
        ("similar", "n", 10_001, "less than or equal to 10000"),
        ("similar", "n", "many", "valid integer"),
        ("similar", "metric", "manhattan", "'cosine' or 'euclidean'"),
        ("similar", "max_churn", 1.5, "less than or equal to 1"),
        ("extract", "sample_rate", 22050.5, "valid integer"),
        ("extract", "duration_s", 0, "greater than 0"),
        ("extract", "duration_s", 601.0, "less than or equal to 600"),
        ("extract", "duration_s", math.nan, "finite number"),
        ("extract", "feature_sets", (), "at least 1"),
        ("train", "test_fraction", 0.6, "less than 0.6"),
        ("train", "learning_rate", -1.0, "greater than 0"),
        ("train", "model", "lstm", "'mlp'"),
        ("train", "seed", -1, "greater than or equal to 0"),
        ("catalog", "kind", "vinyl", "'folder'"),
        ("catalog", "source", "https://host/songs", "expected a folder or s3://bucket/prefix"),
        ("extract", "segment_s", 31.0, "expected 0, or 0.1 s to the 30 s of the clip"),
        ("embed", "modle", "mlp", "no such setting; expected one of model"),
    ],
)
def test_a_wrong_setting_is_refused_by_name_value_and_expectation(stage, name, value, expected):
    with pytest.raises(ConfigError) as e:
        resolve(STAGES[stage], {name: value}, EXAMPLES[stage].model_dump())
    assert f"{stage}.{name} = {value!r}: " in str(e.value)
    assert expected in str(e.value)
    assert "\n" not in str(e.value)
    assert "Value error" not in str(e.value)


@pytest.mark.parametrize(("stage", "name"), [f for f in FIELDS if isinstance(getattr(EXAMPLES[f[0]], f[1]), float)])
def test_infinity_is_refused(stage, name):
    with pytest.raises(ConfigError, match=name):
        resolve(STAGES[stage], {name: math.inf})


def test_a_missing_setting_is_not_shown_as_an_empty_dictionary():
    with pytest.raises(ConfigError, match=r"catalog\.source") as e:
        resolve(CatalogSettings)
    assert "{}" not in str(e.value)


# --- files --------------------------------------------------------------------------------------------------------


def toml(tmp_path, text):
    path = tmp_path / "my.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_settings_file_holds_one_table_a_stage(tmp_path):
    path = toml(tmp_path, '[similar]\nn = 5\n[catalog]\nsource = "/müsik"\n')
    assert read_toml(path) == {"similar": {"n": 5}, "catalog": {"source": "/müsik"}}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[similar", "not valid TOML"),
        (b"\xff\xfe", "not valid TOML"),
        ("[similarity]\nn = 5\n", r"unknown table \[similarity\]; expected one of catalog, extract"),
        ("similar = 3\n", "similar = 3; expected a table"),
    ],
)
def test_a_settings_file_that_says_nothing_sensible_is_refused_by_path(tmp_path, text, complaint):
    path = toml(tmp_path, text)
    with pytest.raises(ConfigError, match=complaint) as e:
        read_toml(path)
    assert str(path) in str(e.value)


@pytest.mark.parametrize("name", ["missing.toml", ""])
def test_a_settings_file_that_cannot_be_read_is_refused_by_path(tmp_path, name):
    with pytest.raises(ConfigError, match="give the path of a TOML file") as e:
        read_toml(tmp_path / name)
    assert str(tmp_path / name) in str(e.value)


# --- fingerprints -------------------------------------------------------------------------------------------------

PRINT_ALL = """
import json
from musicrec.settings import STAGES
required = {"catalog": {"source": "/music"}}
print(json.dumps({s: cls(**required.get(s, {})).fingerprint("x") for s, cls in STAGES.items()}))
"""


@pytest.mark.parametrize("seed", ["0", "4711"])
def test_fingerprints_are_the_same_in_every_process(seed):
    environment = os.environ | {"PYTHONHASHSEED": seed}
    printed = subprocess.run([sys.executable, "-c", PRINT_ALL], env=environment, capture_output=True, check=True)
    assert json.loads(printed.stdout) == {stage: s.fingerprint("x") for stage, s in EXAMPLES.items()}


@pytest.mark.parametrize(("stage", "name"), FIELDS)
def test_a_fingerprint_changes_with_every_setting(stage, name):
    settings = EXAMPLES[stage]
    changed = settings.model_copy(update={name: another(getattr(settings, name))})
    assert changed.fingerprint("x") != settings.fingerprint("x")
    assert settings.differences(changed) == [f"{name}: {getattr(settings, name)} → {getattr(changed, name)}"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_fingerprint_changes_with_every_input_and_with_the_code(stage, monkeypatch):
    settings = EXAMPLES[stage]
    inputs = [(), ("",), ("a",), ("a", "b"), ("b", "a"), ("ab",), ("a", "b", "")]
    names = [settings.fingerprint(*given) for given in inputs]
    monkeypatch.setattr(type(settings), "code_version", settings.code_version + 1)
    names += [settings.fingerprint(*given) for given in inputs]
    assert len(set(names)) == 2 * len(inputs)
    assert all(len(name) == 16 and set(name) <= set("0123456789abcdef") for name in names)


def test_stages_with_the_same_settings_have_different_fingerprints():
    assert len({s.fingerprint() for s in EXAMPLES.values()}) == len(STAGES)


def test_equal_settings_have_one_fingerprint_however_they_were_written():
    written = [{"offset_s": 30}, {"offset_s": 30.0}, {"feature_sets": ["iiitd41", "gtzan57"]}, {}]
    assert len({resolve(ExtractSettings, given).fingerprint("x") for given in written}) == 1


@pytest.mark.parametrize(("stage", "name"), FIELDS)
def test_settings_are_frozen_and_every_setting_is_described(stage, name):
    settings = EXAMPLES[stage]
    with pytest.raises(ValidationError, match="frozen"):
        setattr(settings, name, getattr(settings, name))
    assert type(settings).model_fields[name].description


def test_a_feature_set_can_be_asked_for_by_its_name():
    assert get_args(FeatureSet) == tuple(FEATURE_SETS)
