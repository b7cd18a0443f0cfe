"""Files of answers: what can be used is scored, the rest is counted and named."""

import json

import pytest

from musicrec.errors import ConfigError
from musicrec.serve.listening_test.answer_files import read_answers
from musicrec.serve.listening_test.key_file import read_key
from musicrec.serve.listening_test.scored_answers import score_answers
from synthetic_raters import synthetic_answers, synthetic_test

N_CLIPS = 17


@pytest.fixture
def files(tmp_path):
    return synthetic_test(tmp_path, synthetic_answers(1, effect=25, n_participants=8))


@pytest.fixture
def key(files):
    return read_key(files[0].parent / "key.json")


def changed(file, change):
    content = json.loads(file.read_text())
    content = change(content) or content
    file.write_text(json.dumps(content))


def told(files, key):
    return [(left.reason, left.n) for left in read_answers(files, key).left_out]


def test_whole_files_leave_nothing_out(files, key):
    rows, left_out = read_answers(files, key)
    assert left_out == []
    assert len(rows) == 8 * N_CLIPS
    assert rows["repeat_of"].notna().sum() == 8 * 2


def test_of_two_files_of_a_participant_the_one_with_more_usable_answers_counts(files, key):
    junk = files[0].with_name("a-junk.json")
    junk.write_text(files[0].read_text())
    changed(junk, lambda content: content.update(answers=[None] * 50))
    rows, left_out = read_answers([junk, *files], key)
    assert len(rows) == 8 * N_CLIPS
    assert [(left.reason, left.file) for left in left_out] == [("participant twice", str(junk))]


def cut(file):
    file.write_bytes(file.read_bytes()[:-40])


def replaced(**values):
    def change(file):
        changed(file, lambda content: content["answers"][3].update(values))

    return change


FAULTS = {
    "cut off": (cut, [("unreadable", 1), ("no file", 1)]),
    "empty": (lambda file: file.write_bytes(b""), [("unreadable", 1), ("no file", 1)]),
    "not UTF-8": (lambda file: file.write_bytes(b'{"a": "\xff"}'), [("unreadable", 1), ("no file", 1)]),
    "nested": (lambda file: file.write_bytes(b"[" * 200_000), [("unreadable", 1), ("no file", 1)]),
    "gone": (lambda file: file.unlink(), [("unreadable", 1), ("no file", 1)]),
    "other JSON": (lambda file: file.write_text("[1, 2]"), [("unreadable", 1), ("no file", 1)]),
    "other test": (
        lambda file: changed(file, lambda content: content.update(test="t2")),
        [("other test", 1), ("no file", 1)],
    ),
    "other person": (
        lambda file: changed(file, lambda content: content.update(participant=["x"])),
        [("other test", 1), ("no file", 1)],
    ),
    "no list": (
        lambda file: changed(file, lambda content: content.update(answers={})),
        [("other test", 1), ("no file", 1)],
    ),
    "too high": (replaced(rating=101), [("bad answer", 1)]),
    "too low": (replaced(rating=-0.5), [("bad answer", 1)]),
    "not a number": (replaced(rating=float("nan")), [("bad answer", 1)]),
    "text": (replaced(rating="70"), [("bad answer", 1)]),
    "a truth": (replaced(rating=True), [("bad answer", 1)]),
    "no like": (replaced(like=None), [("bad answer", 1)]),
    "known as 1": (replaced(known=1), [("bad answer", 1)]),
    "unknown clip": (replaced(clip="elsewhere"), [("unknown clip", 1), ("no answer", 1)]),
    "no object": (
        lambda file: changed(file, lambda content: content["answers"].__setitem__(3, None)),
        [("unknown clip", 1), ("no answer", 1)],
    ),
    "twice": (
        lambda file: changed(file, lambda content: content["answers"].append(content["answers"][0])),
        [("clip twice", 1)],
    ),
    "missing": (
        lambda file: changed(file, lambda content: content.update(answers=content["answers"][:6])),
        [("no answer", N_CLIPS - 6)],
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_used_is_counted_and_named(files, key, fault):
    damage, expected = FAULTS[fault]
    damage(files[2])
    rows, left_out = read_answers(files, key)
    assert [(left.reason, left.n) for left in left_out] == expected
    assert all("name of p2" in left.detail or left.file == str(files[2]) for left in left_out)
    assert all("\n" not in left.detail for left in left_out)
    lost = sum(n for reason, n in expected if reason in ("bad answer", "no answer")) or N_CLIPS
    lost = 0 if fault == "twice" else lost
    assert len(rows) == 8 * N_CLIPS - lost


def test_of_two_files_of_a_participant_the_fuller_counts(files, key, tmp_path):
    early = tmp_path / "early.json"
    early.write_bytes(files[1].read_bytes())
    changed(early, lambda content: content.update(answers=content["answers"][:4]))
    for order in ([early, *files], [*files, early]):
        rows, left_out = read_answers(order, key)
        assert len(rows) == 8 * N_CLIPS
        (left,) = left_out
        assert (left.reason, left.n, left.file) == ("participant twice", 1, str(early))
        assert "name of p1" in left.detail


def test_the_same_file_twice_counts_once(files, key):
    assert told([*files, files[0]], key) == [("participant twice", 1)]
    once, twice = read_answers(files, key), read_answers([*files, files[0]], key)
    assert once.rows.equals(twice.rows)


def test_the_order_of_files_changes_nothing(files, key):
    assert read_answers(files, key).rows.equals(read_answers(files[::-1], key).rows)


def test_a_participant_whose_file_is_missing_is_named(files, key):
    (left,) = read_answers(files[1:], key).left_out
    assert (left.reason, left.detail) == ("no file", "nothing usable from name of p0")


def test_nothing_to_score_is_one_line(files, key):
    cut(files[0])
    with pytest.raises(ConfigError, match=r"no answer of test t1 can be used in 1 files; .*p0\.json: no valid JSON"):
        score_answers(files[:1], key)


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_the_score_as_text_and_as_json(files, command):
    key = files[0].parent / "key.json"
    cut(files[2])
    code, text, complaint = command("listening-test", "score", *files, "--key", key)
    assert (code, complaint) == (0, "")
    assert "7 of 8 participants, 119 answers used of 8 files" in text
    for part in (
        "unreadable",
        "no file",
        "p of Wilcoxon",
        "Mixed model",
        "kappa 1.00",
        "Next test",
        "Conclusion: these 7",
    ):
        assert part in text
    code, text, complaint = command("listening-test", "score", *files, "--key", key, "--json")
    found = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert (code, found["n_participants"], found["n_invited"], len(found["left_out"])) == (0, 7, 8, 2)
    assert [rate["condition"] for rate in found["rates"]["all songs"]] == ["recommended", "set", "matched", "random"]
    assert [rate["n"] for rate in found["rates"]["all songs"]] == [
        35,
        70,
        35,
        35,
    ]  # an answer that repeats does not count
    assert len(found["comparisons"]["all songs"]) == len(found["comparisons"]["unknown songs"]) == 6
    assert found["comparisons"]["all songs"][0]["paired"]["p_sign_flip"] < 0.05
    assert found["retest"]["same"] == 100
    assert found["conclusion"].startswith("these 7 participants liked recommended songs more often")


@pytest.mark.thorough
def test_the_two_methods_are_compared(tmp_path, command):
    answers = synthetic_answers(2, effect=25, n_participants=9)
    named = {
        ("recommended",): ("method 2",),
        ("set", "random"): ("method 1",),
        ("set", "matched"): ("method 1", "method 2"),
    }
    answers["conditions"] = answers["conditions"].map(named)
    files = synthetic_test(tmp_path, answers, "methods")
    code, text, _ = command("listening-test", "score", *files, "--key", tmp_path / "key.json")
    assert code == 0
    assert "these 9 participants liked method 2 songs more often than method 1 songs" in text
    assert "set" not in text.replace("listening_test", "")
    key = json.loads((tmp_path / "key.json").read_text())
    (tmp_path / "key.json").write_text(json.dumps(key | {"design": "both"}))
    code, _, complaint = command("listening-test", "score", *files, "--key", tmp_path / "key.json")
    assert (code, complaint) == (2, "musicrec: design 'both' of the key is unknown; expected one of set, methods\n")


@pytest.mark.thorough
def test_a_folder_stands_for_its_files(files, command):
    key = files[0].parent / "key.json"
    sent = files[0].parent / "sent"
    sent.mkdir()
    for file in files:
        file.rename(sent / file.name)
    (sent / "notes.txt").write_text("no answers")
    code, text, _ = command("listening-test", "score", sent, "--key", key)
    assert code == 0
    assert "8 of 8 participants, 136 answers used of 8 files." in text
    assert "Left out" not in text
    (sent.parent / "none").mkdir()
    code, _, complaint = command("listening-test", "score", sent.parent / "none", "--key", key)
    assert (code, complaint) == (
        2,
        "musicrec: no answer of test t1 can be used in 0 files; expected those of its site\n",
    )


@pytest.mark.parametrize("content", [b"", b"[]", b'{"format": "x"}', None])
def test_a_key_that_is_none_is_one_line(files, command, content):
    key = files[0].parent / "other.json"
    if content is not None:
        key.write_bytes(content)
    code, text, complaint = command("listening-test", "score", *files, "--key", key)
    assert (code, text) == (2, "")
    assert complaint.startswith(f"musicrec: {key} ")
    assert "expected the key.json" in complaint
    assert complaint.count("\n") == 1
