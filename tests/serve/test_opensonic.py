"""A client that others wrote searches, finds what sounds alike, and plays it."""

import asyncio

import pytest

from player_catalog import ALL, IDS, SOUND, make_out
from serving import serving

libopensonic = pytest.importorskip(
    "libopensonic", reason="no py-opensonic, which is under the GPL: `make test-players` adds it"
)
pytestmark = pytest.mark.thorough  # starts a server

PASSWORD = "sesame ü"


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    with serving(make_out(tmp_path_factory.mktemp("opensonic")).out, password=PASSWORD) as port:
        yield port


def asked(port, questions, **login):
    """Let a client ask."""

    async def ask():
        client = libopensonic.AsyncConnection("http://127.0.0.1", port=port, **login)
        try:
            return await questions(client)
        finally:
            await client.cleanup()

    return asyncio.run(ask())


@pytest.mark.parametrize("use_get", [False, True])
@pytest.mark.parametrize("legacy_auth", [False, True])
def test_a_client_plays_a_song_like_the_one_that_it_found(port, use_get, legacy_auth):
    async def questions(client):
        assert await client.ping()
        names = {extension.name for extension in await client.get_open_subsonic_extensions()}
        assert str(libopensonic.Extensions.SONIC_SIMILARITY) in names
        assert (await client.get_license())["license"] == {"valid": True}
        found = (await client.search3("vibe", song_count=1)).song
        song = await client.get_song(found[0].id)
        assert (song.id, song.duration, song.isrc) == (IDS[6], 68, ["DEAAA2600006"])
        best, *_ = await client.get_sonic_similar_tracks(song.id, 5)
        assert best.entry.id in (IDS[5], IDS[7])
        assert 0 < best.similarity < 1
        whole = await (await client.stream(best.entry.id)).read()
        part = await (await client.stream(best.entry.id, byte_range="bytes=100-199")).read()
        assert (whole, part) == (SOUND[best.entry.id], whole[100:200])

    asked(port, questions, username="ann", password=PASSWORD, use_get=use_get, legacy_auth=legacy_auth)


def test_a_client_walks_from_one_song_to_another_by_its_key(port):
    async def questions(client):
        path = await client.find_sonic_path(IDS[0], IDS[7], 4)
        assert [match.entry.id for match in path] == [IDS[0], IDS[2], IDS[5], IDS[7]]
        assert sorted(song.id for song in (await client.search3("", song_count=500)).song) == sorted(ALL)
        with pytest.raises(libopensonic.errors.DataNotFoundError):
            await client.get_song("nobody")
        with pytest.raises(libopensonic.errors.DataNotFoundError):
            await client.stream("nobody")

    asked(port, questions, api_key=PASSWORD)


def test_a_wrong_password_is_refused(port):
    async def questions(client):
        with pytest.raises(libopensonic.errors.CredentialError):
            await client.get_license()

    asked(port, questions, username="ann", password="wrong")
