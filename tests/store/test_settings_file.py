"""A settings file that cannot be read says what is wrong with it, and where."""

import re

import pytest

from musicrec.errors import ConfigError
from musicrec.settings import STAGES, ExtractSettings, SimilarSettings
from musicrec.store.settings_file import SettingsFile, read_toml


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file or directory; give the path of a TOML file"),
        (b"[extract", "is not valid TOML: "),
        (b'[extract]\nx = "\xff"', "is not valid TOML: 'utf-8' codec can't decode"),
        (b"[mixing]\n[remix]\n", f"unknown table [mixing]; expected one of {', '.join(STAGES)}"),
        (b"extract = 3", "extract = 3; expected a table [extract] of settings"),
    ],
)
def test_a_file_that_is_no_settings_file_is_refused_in_one_line(tmp_path, content, said):
    path = tmp_path / "settings.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=re.escape(f"settings file {path}") + ".*" + re.escape(said)) as e:
        read_toml(path)
    assert "\n" not in str(e.value)


def test_settings_that_are_not_set_are_not_written(tmp_path):
    settings = SettingsFile(tmp_path / "settings.toml")
    settings.record(SimilarSettings())
    unset = {name for name, value in SimilarSettings() if value is None}
    assert unset
    assert not unset & read_toml(settings.path)["similar"].keys()


def test_differences_are_told_one_after_another(tmp_path):
    settings = SettingsFile(tmp_path / "settings.toml")
    settings.record(ExtractSettings())
    with pytest.raises(
        ConfigError, match=re.escape("settings (offset_s: 30.0 → 0.0; n_mels: 128 → 64); use another OUT")
    ):
        settings.check(ExtractSettings(n_mels=64, offset_s=0), force=False)
