"""The plug-in for Navidrome, built and run by Extism as Navidrome runs it, over a real service.

Here is what Navidrome does on its side: it lets the plug-in send requests by its function ``http_send``.
"""

import base64
import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import pytest

from musicrec import __version__
from player_catalog import COSINES, IDS, TITLES
from serving import ask, serving

extism = pytest.importorskip("extism", reason="no Extism, which runs the plug-in: `make test-players` adds it")
pytest.importorskip("ziglang", reason="no Zig, which compiles the plug-in: `make test-players` adds it")
pytestmark = pytest.mark.thorough  # compiles, and starts a server

BUILD = Path(__file__).parent.parent.parent / "deploy" / "navidrome" / "build.py"
EXPORTS = {
    "similar": "nd_get_sonic_similar_tracks",
    "path": "nd_find_sonic_path",
    "mix": "nd_get_similar_songs_by_track",
}
PLACE = extism.ValType.I64


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    path = tmp_path_factory.mktemp("plugin") / "musicrec.ndp"
    subprocess.run([sys.executable, BUILD, path], check=True)
    return path


def sent(request):
    """The answer to a request of the plug-in, as Navidrome puts it."""
    body = base64.b64decode(request.get("body", ""), validate=True)
    asked = urllib.request.Request(request["url"], body, request["headers"], method=request["method"])
    try:
        response = urllib.request.urlopen(asked, timeout=request["timeoutMs"] / 1000)
    except urllib.error.HTTPError as e:
        response = e
    except OSError as e:
        return {"error": str(e)}
    with response:
        content = base64.b64encode(response.read()).decode()
        return {"result": {"statusCode": response.status, "headers": dict(response.headers), "body": content}}


@pytest.fixture
def run(package):
    """Call an export; return what it returned. What Navidrome answers may be given instead."""

    def run(name, content, answer=None, **config):
        @extism.host_fn(signature=([PLACE], [PLACE]))
        def http_send(plugin, inputs, outputs):
            run.requests.append(json.loads(plugin.input_string(inputs[0]))["request"])
            plugin.return_string(outputs[0], json.dumps(sent(run.requests[-1])) if answer is None else answer)

        with extism.Plugin(module, config=config, functions=[http_send]) as plugin:
            return json.loads(bytes(plugin.call(EXPORTS[name], json.dumps(content).encode())))

    run.requests = []
    module = zipfile.ZipFile(package).read("plugin.wasm")
    return run


def ref(i, **changed):
    return {"id": f"nd{i}", "name": TITLES[i], "artist": f"Artist {i}", "album": f"Album {i}"} | changed


def direct(port, name, content):
    return json.loads(ask(port, f"/navidrome/{name}", "POST", content)[1])


def test_the_package_holds_what_navidrome_loads(package):
    with zipfile.ZipFile(package) as content:
        assert content.namelist() == ["manifest.json", "plugin.wasm"]
        manifest = json.loads(content.read("manifest.json"))
        assert content.read("plugin.wasm")[:8] == b"\0asm\1\0\0\0"
    assert {"name", "author", "version"} <= manifest.keys()
    assert manifest["version"] == __version__
    assert manifest["permissions"]["http"]["requiredHosts"] == ["*"]  # the user says where the service is
    assert manifest["config"]["schema"]["properties"].keys() == {"url", "token"}


def test_the_same_sources_make_the_same_package(package, tmp_path):
    subprocess.run([sys.executable, BUILD, tmp_path / "again.ndp"], check=True)
    assert (tmp_path / "again.ndp").read_bytes() == package.read_bytes()


def test_what_the_service_answers_comes_through(run, navidrome_port):
    url = f"http://127.0.0.1:{navidrome_port}"
    found = run("similar", {"song": ref(5), "count": 5}, url=url)
    assert found == direct(navidrome_port, "similar", {"song": ref(5), "count": 5})
    best = sorted((4, 6), key=lambda j: -COSINES[5, j])
    assert [match["similarity"] for match in found["matches"]] == pytest.approx([COSINES[5, j] for j in best], abs=1e-6)
    ends = {"startSong": ref(0), "endSong": ref(7), "count": 4}
    path = run("path", ends, url=f"{url}/")
    assert [match["song"]["id"] for match in path["matches"]] == [IDS[0], IDS[2], IDS[5], IDS[7]]
    assert run("mix", ref(5, count=1), url=f" {url}")["songs"] == [found["matches"][0]["song"]]


@pytest.mark.parametrize("i", range(len(TITLES)))
def test_no_name_is_too_awkward(run, navidrome_port, i):
    for content in (
        {"song": ref(i), "count": 5},
        {"song": ref(i, mbid=f"00000000-0000-0000-0000-00000000000{i}"), "count": 5},
    ):
        if content["song"]["name"] or "mbid" in content["song"]:
            assert len(run("similar", content, url=f"http://127.0.0.1:{navidrome_port}")["matches"]) == 2


@pytest.mark.parametrize("n", [*range(17), 100_000, 1_000_000])
def test_texts_of_any_length_go_to_and_fro(run, n):
    content = {"song": {"name": "ü" * n}}
    answer = {"matches": ["夜" * n]}
    body = base64.b64encode(json.dumps(answer, ensure_ascii=False).encode()).decode()
    assert run("similar", content, json.dumps({"result": {"statusCode": 200, "body": body}})) == answer
    (request,) = run.requests
    assert json.loads(base64.b64decode(request.pop("body"), validate=True)) == content
    assert request == {
        "method": "POST", "url": "http://127.0.0.1:8090/navidrome/similar", "timeoutMs": 9000,
        "headers": {"Content-Type": "application/json"},
    }  # fmt: skip


@pytest.mark.parametrize("token", ["secret", 'of "mine" \\ ü', " spaces "])
def test_the_token_is_brought_along(run, navidrome_out, token):
    content = {"song": ref(5), "count": 5}
    with serving(navidrome_out.out, token.strip()) as port:
        url = f"http://127.0.0.1:{port}"
        with pytest.raises(extism.Error, match=r"musicrec: .*a token is needed"):
            run("similar", content, url=url)
        if token.isascii():  # a header of Python's client is
            assert run("similar", content, url=url, token=token)["matches"]
    run("similar", content, json.dumps({"result": {"statusCode": 200, "body": "e30="}}), token=token)
    assert run.requests[-1]["headers"]["Authorization"] == f"Bearer {token.strip()}"


def test_why_there_is_no_answer_is_told(run, navidrome_port):
    url = f"http://127.0.0.1:{navidrome_port}"
    with pytest.raises(extism.Error, match=r"musicrec: .*no song is 'Nobody' by 'Artist 5'"):
        run("similar", {"song": ref(5, name="Nobody"), "count": 5}, url=url)
    with pytest.raises(extism.Error, match=r"musicrec: .*count; expected"):
        run("mix", ref(5), url=url)
    with pytest.raises(extism.Error, match=r"musicrec cannot be reached: .*refused"):
        run("similar", {"song": ref(5), "count": 5}, url="http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ('{"error": "host is not allowed"}', "musicrec cannot be reached: host is not allowed"),
        ("{}", "brought no answer"),
        ('{"result": null}', "brought no answer"),
        ('{"result": {"statusCode": 200, "body": "%%%"}}', "not in base64"),
        ('{"result": {"statusCode": 500, "body": ""}}', "musicrec: "),
        ('{"result": {"body": "e30="}}', "musicrec: "),
        ("not JSON", "its answer not read"),
        ("", "its answer not read"),
        ('{"result": {"statusCode": []}}', "its answer not read"),
        ("[" * 100_000, "its answer not read"),
    ],
)
def test_an_answer_of_another_kind_is_an_error(run, answer, said):
    with pytest.raises(extism.Error, match=said):
        run("similar", {"song": ref(5), "count": 5}, answer)


def test_a_long_error_is_cut(run):
    body = base64.b64encode(b"x" * 100_000).decode()
    with pytest.raises(extism.Error) as e:
        run("similar", {}, json.dumps({"result": {"statusCode": 500, "body": body}}))
    assert 500 <= str(e.value).count("x") < 600


def test_every_capability_is_there_and_no_other(package):
    module = zipfile.ZipFile(package).read("plugin.wasm")
    assert {name.decode() for name in re.findall(rb"nd_[a-z_]+", module)} == set(EXPORTS.values())
