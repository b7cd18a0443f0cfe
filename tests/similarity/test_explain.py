"""Why a song is not in a list: the verdicts agree with the lists, and with what plain loops find."""

import numpy as np
import pytest

from musicrec.settings import Rules
from musicrec.similarity import refine, songs_of
from musicrec.similarity.explain import why_not

N = 30


def catalog(seed):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(N, 4)).astype(np.float32)
    vectors[5] = vectors[6]

    def some(prefix, k):
        return [None if rng.random() < 0.1 else f"{prefix}{i}" for i in rng.integers(0, k, N)]

    columns = {
        "artist_ids": some("artist", 6), "album_id": some("album", 8), "recording": some("recording", 14),
        "content_hash": some("content", 25), "genre": some("genre", 3),
        "duration_s": rng.integers(100, 104, N).astype(float).tolist(), "sound": some("sound", 20),
        "rock": [None if rng.random() < 0.2 else x for x in rng.random(N).round(1).tolist()],
    }  # fmt: skip
    seconds = some("artist", 20)
    pairs = zip(columns["artist_ids"], seconds, strict=True)
    columns["artist_ids"] = [[*dict.fromkeys(filter(None, pair))] for pair in pairs]
    return vectors, columns


RULES = [
    {},
    {"metric": "euclidean"},
    {"no_same_artist": True},
    {"max_per_artist": 1},
    {"max_per_artist": 2, "no_same_artist": True, "max_per_album": 1},
    {"no_duplicates": True},
    {"duplicate_score": 0.9},
    {"min_score": 0.3},
    {"genre": "only"},
    {"genre": "only", "max_per_artist": 1},
    {"genre": "boost", "genre_weight": 0.4, "max_per_artist": 1},
    {"hubness": "mutual_proximity", "max_per_artist": 1},
    {"hubness": "csls", "genre": "only"},
    {"hubness": "local_scaling", "no_duplicates": True, "min_score": 0.1},
    {"require_tag": ["rock=0.5"]},
    {"exclude_tag": ["rock=0.5"], "max_per_artist": 1, "genre": "only"},
    {"require_tag": ["rock=0.2"], "exclude_tag": ["rock=0.7"], "hubness": "csls"},
    {"require_tag": ["rock=0.4"], "genre": "boost", "genre_weight": 0.4},
    {"no_same_artist": True, "max_per_artist": 1, "max_per_album": 1, "no_duplicates": True, "min_score": -0.2},
]


ALONE = ("no_same_artist", "min_score", "duplicate_score", "no_duplicates", "require_tag", "exclude_tag")


def cosine(vectors, row, other):
    a, b = vectors[row].astype(np.float64), vectors[other].astype(np.float64)
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def own(columns, name, row, other):
    if name == "artist_ids":
        return bool({*columns[name][row]} & {*columns[name][other]})
    return columns[name][row] is not None and columns[name][row] == columns[name][other]


def assert_true(verdict, rules, vectors, columns, row, other, found):
    """The reason holds, as plain loops see it."""
    similarity = cosine(vectors, row, other)
    match verdict.kept_out_by:
        case "genre":
            assert columns["genre"][row] != columns["genre"][other]
        case "require_tag":
            score = columns["rock"][other]
            assert score is None or score < float(rules.require_tag[0].split("=")[1])
        case "exclude_tag":
            assert columns["rock"][other] >= float(rules.exclude_tag[0].split("=")[1])
        case "min_score":
            assert similarity < rules.min_score
        case "duplicate_score":
            assert similarity >= rules.duplicate_score - 1e-6
            assert columns["duration_s"][row] == columns["duration_s"][other]
        case "no_same_artist":
            assert own(columns, "artist_ids", row, other)
        case "max_per_artist" | "max_per_album":
            name = {"max_per_artist": "artist_ids", "max_per_album": "album_id"}[verdict.kept_out_by]
            assert len(verdict.instead) == getattr(rules, verdict.kept_out_by)
            assert all(own(columns, name, song, other) and song in found for song in verdict.instead)
        case "no_duplicates":
            pairs = [(row, other), *((song, other) for song in verdict.instead)]
            assert any(own(columns, name, *pair) for pair in pairs for name in ("recording", "content_hash", "sound"))
            assert set(verdict.instead) <= set(found)
        case "n":
            assert len(found) == rules.n
            assert verdict.instead == [found[-1]]
            if rules.hubness == "none" and rules.genre != "boost":
                assert verdict.score <= cosine(vectors, row, found[-1]) + 1e-6 or rules.metric == "euclidean"
        case "hubness":
            assert verdict.rank > 4 * rules.n


@pytest.mark.thorough
@pytest.mark.parametrize("how", RULES, ids=lambda how: " ".join(f"{k}={v}" for k, v in how.items()) or "none")
@pytest.mark.parametrize("n", [4, 40])
def test_verdicts_agree_with_the_lists_and_are_true(how, n):
    vectors, columns = catalog(0)
    rules, seen = Rules(n=n, **how), set()
    tags = np.array([columns["rock"]] * len(rules.require_tag + rules.exclude_tag), np.float32).reshape(-1, N).T
    songs = songs_of(columns, tags=tags)
    lists = refine(vectors, songs, rules)
    for row in range(0, N, 10):
        found = [song for song in lists.ids[row].tolist() if song >= 0]
        scores = dict(zip(lists.ids[row].tolist(), lists.scores[row].tolist(), strict=True))
        order = sorted((s for s in range(N) if s != row), key=lambda s: (-round(cosine(vectors, row, s), 6), s))
        for other in order:
            verdict = why_not(vectors, songs, rules, row, other)
            assert (verdict.kept_out_by == "") == (other in found)
            assert verdict.n_others == N - 1
            if rules.metric == "cosine":
                assert verdict.rank == order.index(other) + 1
                assert verdict.similarity == pytest.approx(cosine(vectors, row, other), abs=1e-6)
            if other in found:
                assert verdict.score == scores[other]
            else:
                assert_true(verdict, rules, vectors, columns, row, other, found)
            seen.add(verdict.kept_out_by)
    expected = {name for name in how if name in ALONE}
    assert expected <= seen
