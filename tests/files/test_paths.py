"""Addresses as users write them."""

import pytest

from musicrec.files.paths import to_path


def test_the_home_folder_is_known_by_its_sign(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    assert str(to_path("~/Music")) == "/home/ada/Music"


@pytest.mark.parametrize("address", ["~tilde/x", "a/~/b", "~"])
def test_a_tilde_elsewhere_is_a_letter(monkeypatch, tmp_path, address):
    monkeypatch.chdir(tmp_path)
    assert to_path(address) == tmp_path / address
