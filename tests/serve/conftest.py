"""A service over the catalog of players, which the tests of Navidrome's plug-in share."""

import pytest

from player_catalog import make_out
from serving import serving


@pytest.fixture(scope="module")
def navidrome_out(tmp_path_factory):
    return make_out(tmp_path_factory.mktemp("navidrome"))


@pytest.fixture(scope="module")
def navidrome_port(navidrome_out):
    with serving(navidrome_out.out) as port:
        yield port
