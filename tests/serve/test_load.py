"""Lists of songs, asked all the while tables are published and rolled back: none fails, none is of two versions."""

import http.client
import json
import threading
import time
from contextlib import closing

import numpy as np
import pyarrow as pa
import pytest

from musicrec.schemas import EMBEDDINGS, RECOMMENDATIONS, TRACKS
from musicrec.serve.sidecar import SIDECAR_COLUMNS
from musicrec.serve.table_writer import write_table
from musicrec.settings import CatalogSettings, EmbedSettings, RecommendSettings, SimilarSettings
from musicrec.store.store import Store
from serving import most_similar, serving

pytestmark = pytest.mark.thorough  # each test starts a server

IDS = [f"song {i}" for i in range(5)]
NEWCOMER = "zz newcomer"  # vectors and recommendations have it a night before the lists do
ALL = [*IDS, NEWCOMER]
N_OTHERS = len(IDS) - 1
PASSWORD = "secret"


def vectors_of(night):
    vectors = np.random.default_rng(night).normal(size=(len(ALL), 3)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def publish(store, name, night, settings, content):
    with store.new_version(name, settings, f"{night:08d}") as version:
        version.write_part(content)
        store.publish(version, keep=3)


def publish_night(store, night):
    """Publish vectors, recommendations and lists; titles and scores tell the night."""
    vectors = vectors_of(night)
    schema = EMBEDDINGS.remove(EMBEDDINGS.get_field_index("probabilities"))
    rows = [{"track_id": t, "model_id": "m", "embedding": list(v)} for t, v in zip(ALL, vectors, strict=True)]
    publish(store, "embeddings", night, EmbedSettings(), pa.Table.from_pylist(rows, schema))
    line = {"user_id": "ada", "method": "max", "because": IDS[0]}
    rows = [line | {"rank": i + 1, "track_id": t, "score": float(night)} for i, t in enumerate([NEWCOMER, *IDS[1:]])]
    publish(store, "recommendations", night, RecommendSettings(), pa.Table.from_pylist(rows, RECOMMENDATIONS))
    titled = [{"track_id": t, "title": f"{t} of night {night}", "artist": f"by {t}", "genre": None} for t in IDS]
    names = pa.Table.from_pylist(titled, pa.schema([TRACKS.field(name) for name in SIDECAR_COLUMNS]))
    with store.new_version("similar", SimilarSettings(), f"{night:08d}") as version:
        write_table(version, names, *most_similar(vectors[: len(IDS)], N_OTHERS))
        store.publish(version, keep=3)


@pytest.fixture
def nightly(tmp_path):
    store = Store(tmp_path / "out")
    store.create()
    store.settings.record(CatalogSettings(source="/music"))
    tracks = [{"track_id": t, "uri": f"/music/{t}", "title": t, "artist": f"by {t}"} for t in ALL]
    publish(store, "tracks", 1, CatalogSettings(source="/music"), pa.Table.from_pylist(tracks, TRACKS))
    publish_night(store, 1)
    return store


def of_songs(body):
    """Title and score of each song of a list."""
    return {song["track_id"]: (song["title"], song["score"]) for song in json.loads(body)}


def of_player(body):
    """The same of what players get."""
    matches = json.loads(body)["subsonic-response"]["sonicMatch"]
    return {match["entry"]["id"]: (match["entry"]["title"], match["similarity"]) for match in matches}


def cosines(night):
    """The scores of the songs beside the first."""
    vectors = vectors_of(night)
    return dict(zip(IDS[1:], (vectors @ vectors[0])[1 : len(IDS)].tolist(), strict=True))


def similarities(night):
    return {track_id: max(0.0, score) for track_id, score in cosines(night).items()}


def numbers(night):
    return dict.fromkeys(IDS[1:], float(night))


@pytest.mark.parametrize("n_requests", [100, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("path", "read", "scores", "is_of_table"),
    [
        pytest.param("/songs/song%200/similar", of_songs, cosines, True, id="similar"),
        pytest.param("/recommend?like=song%200", of_songs, cosines, False, id="recommend"),
        pytest.param("/users/ada/recommendations", of_songs, numbers, False, id="users"),
        pytest.param(
            f"/rest/getSonicSimilarTracks?id=song%200&apiKey={PASSWORD}&f=json",
            of_player,
            similarities,
            True,
            id="players",
        ),
    ],
)
def test_no_list_fails_or_mixes_nights_while_tables_are_published_and_rolled_back(
    nightly, path, read, scores, is_of_table, n_requests
):
    """Titles are of one version, the one that the answer names, and scores are all of one night.

    Both are of the same night in the lists of the table. Recommendations are published by themselves, and songs like
    some likes are compared by the vectors of today.
    """
    stop, asked, wrong, seen = threading.Event(), [0], [], set()
    of_night = {night: scores(night) for night in (1, 2, 3, 4)}

    def night_of(found):
        """Return the night that all scores are of."""
        close = [
            n
            for n, right in of_night.items()
            if {t: s for t, (_, s) in found.items()} == pytest.approx(right, abs=1e-5)
        ]
        return close[0] if close else None

    def ask(port):
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            while not stop.is_set():
                connection.request("GET", path)
                response = connection.getresponse()
                status, body, tag = response.status, response.read(), response.headers["etag"]
                found = read(body) if status == 200 else {}
                titles = {title.rpartition(" ")[2] for title, _ in found.values()}
                titled, scored = (int(*titles) if len(titles) == 1 else None), night_of(found)
                is_named = tag is None or tag.strip('"').endswith(f"-{titled or 0:08d}")
                if titled is None or scored is None or not is_named:
                    wrong.append((status, tag, body))
                seen.add((titled, scored))
                asked[0] += 1

    with serving(nightly.out, password=PASSWORD) as port:
        clients = [threading.Thread(target=ask, args=(port,)) for _ in range(2)]
        for client in clients:
            client.start()
        for turn, night in enumerate((2, 3, None, 3, 4, None), 1):
            if night:
                publish_night(nightly, night)
            else:
                nightly.rollback("similar")
            time.sleep(0.6)
            while any(client.is_alive() for client in clients):
                is_seen = night is None or night in [titled for titled, _ in list(seen)]
                if is_seen and asked[0] >= turn * n_requests / 6:
                    break
                time.sleep(0.1)
        stop.set()
        for client in clients:
            client.join()
    assert wrong == []
    assert asked[0] >= n_requests
    assert {titled for titled, _ in seen} == {1, 2, 3, 4}
    assert not is_of_table or all(titled == scored for titled, scored in seen)
