"""Addresses as users write them."""

import pytest

from musicrec.files.paths import real_path, to_path


def test_the_home_folder_is_known_by_its_sign(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    assert str(to_path("~/Music")) == "/home/ada/Music"


@pytest.mark.parametrize("address", ["~tilde/x", "a/~/b", "~"])
def test_a_tilde_elsewhere_is_a_letter(monkeypatch, tmp_path, address):
    monkeypatch.chdir(tmp_path)
    assert to_path(address) == tmp_path / address


def test_links_are_followed_and_those_in_a_circle_left_as_they_are(tmp_path):
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    (tmp_path / "link").symlink_to(tmp_path / "songs")
    assert real_path(to_path(tmp_path / "link")) == str(tmp_path.resolve() / "songs")
    assert real_path(to_path(tmp_path / "circle")) == str(tmp_path.resolve() / "circle")
