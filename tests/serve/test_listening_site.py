"""A listening test is built: which songs, equal clips, nothing that tells which clip is which, and clear complaints."""

import json
import re
from collections import Counter

import av
import numpy as np
import pytest
import soundfile as sf
from scipy import stats

from listening_sites import GENRES, PER_GENRE, make_out, write_likes
from musicrec.audio.loudness import CEILING, TARGET_LUFS, equally_loud, loudness
from musicrec.serve.listening_test.chosen_songs import Chosen, with_repeats
from musicrec.serve.listening_test.clip_files import RATE, faded
from musicrec.serve.listening_test.key_file import read_key
from musicrec.serve.recommend import Recommender
from musicrec.store.store import Store

pytestmark = pytest.mark.thorough
N_PARTICIPANTS = 4
HOW = ("--seconds", 2, "--seed", 20_261_130)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return make_out(tmp_path_factory.mktemp("listening"))


@pytest.fixture(scope="module")
def built(out, tmp_path_factory):
    """A whole test, its key, and the songs by id."""
    from click.testing import CliRunner

    from musicrec.cli import cli

    folder = tmp_path_factory.mktemp("built")
    likes = write_likes(folder / "likes.csv", out, N_PARTICIPANTS)
    arguments = ["listening-test", "build", out.out, "--likes", likes, "--out", folder / "test", *HOW]
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert f"{N_PARTICIPANTS} participants, {N_PARTICIPANTS * 17} clips, seed 20261130" in result.output
    return folder / "test"


@pytest.fixture(scope="module")
def key(built):
    return read_key(built / "key.json")


@pytest.fixture(scope="module")
def tracks(out):
    return out.read("tracks").to_pandas().set_index("track_id")


def build(command, out, likes, folder, *options):
    return command("listening-test", "build", out.out, "--likes", likes, "--out", folder, *options)


def likes_of(tracks, participant):
    i = int(participant.removeprefix("person "))
    return [tracks.index[j] for j in (i, i + 1, i + 2 * PER_GENRE)]


# --- which songs ------------------------------------------------------------------------------------------------------


def test_the_recommended_songs_are_those_of_the_recommender(out, key, tracks):
    recommender = Recommender(out.out)
    for code, clips in key.clips.items():
        likes = likes_of(tracks, key.names[code])
        expected = {line.song.track_id for line in recommender.recommend(likes, 5)}
        first = [clip for clip in clips if clip.repeat_of is None]
        assert {clip.track_id for clip in first if clip.conditions == ("recommended",)} == expected
        assert len({clip.track_id for clip in first}) == 15
        assert not {clip.track_id for clip in first} & set(likes)


def test_half_of_the_set_is_matched_on_genre(key, tracks):
    for clips in key.clips.values():
        genres = {
            condition: Counter(
                tracks.genre[clip.track_id] for clip in clips if clip.conditions == condition and not clip.repeat_of
            )
            for condition in (("recommended",), ("set", "matched"), ("set", "random"))
        }
        assert genres["set", "matched"] == genres["recommended",]
        assert genres["set", "random"].total() == 5


def test_two_songs_come_twice_late_and_under_another_name(key):
    for clips in key.clips.values():
        names = [clip.clip for clip in clips]
        repeats = [clip for clip in clips if clip.repeat_of]
        assert len(names) == len(set(names)) == 17
        assert len(repeats) == 2
        for clip in repeats:
            first = next(other for other in clips if other.clip == clip.repeat_of)
            assert (first.track_id, first.conditions, first.repeat_of) == (clip.track_id, clip.conditions, None)
            assert names.index(clip.clip) - names.index(first.clip) >= 5


@pytest.mark.parametrize(("n_songs", "n", "expected"), [(15, 2, 2), (15, 0, 0), (2, 5, 1), (6, 9, 2)])
def test_as_many_songs_are_repeated_as_can_be(n_songs, n, expected):
    songs = [Chosen(str(i), ("set",)) for i in range(n_songs)]
    order = with_repeats(songs, n, np.random.default_rng(0))
    assert [song for song, repeated in order if repeated is None] == songs
    repeats = [(song, repeated) for song, repeated in order if repeated is not None]
    assert len(repeats) == expected
    assert all(songs[repeated] == song for song, repeated in repeats)


@pytest.mark.parametrize("n_songs", [1, 2, 3, 4])
def test_a_repeat_always_comes_after_its_song(n_songs):
    songs = [Chosen(str(i), ("set",)) for i in range(n_songs)]
    for seed in range(50):
        order = with_repeats(songs, 2, np.random.default_rng(seed))
        for at, (song, repeated) in enumerate(order):
            if repeated is not None:
                assert order[repeated] == (song, None)
                assert repeated < at


def test_a_seed_gives_the_same_test_and_what_one_hears_does_not_depend_on_others(out, built, tmp_path, command):
    lines = (built.parent / "likes.csv").read_text().splitlines(keepends=True)
    (tmp_path / "two.csv").write_text("".join([lines[0], *lines[4:7], *lines[1:4]]))
    code, *_ = command(
        "listening-test", "build", out.out, "--likes", tmp_path / "two.csv", "--out", tmp_path / "t", *HOW
    )
    assert code == 0
    again, first = read_key(tmp_path / "t" / "key.json"), read_key(built / "key.json")
    assert again.table == first.table == out.path("similar").name
    assert again.test != first.test
    assert again.clips == {code: first.clips[code] for code in again.clips}
    for name in {clip.clip for clips in again.clips.values() for clip in clips}:
        file = f"site/clips/{name}.mp3"
        assert (tmp_path / "t" / file).read_bytes() == (built / file).read_bytes()


def test_without_a_seed_each_test_is_another(out, tmp_path, command):
    likes = write_likes(tmp_path / "likes.csv", out, 1)
    keys = []
    for name in "ab":
        code, *_ = command(
            "listening-test", "build", out.out, "--likes", likes, "--out", tmp_path / name, "--seconds", 2
        )
        assert code == 0
        keys.append(read_key(tmp_path / name / "key.json"))
    assert keys[0].seed != keys[1].seed
    assert keys[0].test != keys[1].test


def test_the_seeds_own_design_compares_the_two_methods(out, tmp_path, tracks, command):
    likes = write_likes(tmp_path / "likes.csv", out, 2)
    code, *_ = build(command, out, likes, tmp_path / "t", "--design", "methods", *HOW)
    assert code == 0
    key, recommender = read_key(tmp_path / "t" / "key.json"), Recommender(out.out)
    assert key.design == "methods"
    for code, clips in key.clips.items():
        for condition, method in (("method 1", "cosine"), ("method 2", "genre")):
            liked = likes_of(tracks, key.names[code])
            expected = recommender.recommend(liked, 5, by="embedding", method=method)
            found = {clip.track_id for clip in clips if condition in clip.conditions}
            assert found == {line.song.track_id for line in expected}
    assert len({clip.conditions for clips in key.clips.values() for clip in clips}) >= 2


# --- equal clips ------------------------------------------------------------------------------------------------------


def decoded(file):
    with av.open(str(file)) as container:
        stream = container.streams.audio[0]
        samples = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(stream)])
        return samples, stream.rate, dict(container.metadata) | dict(stream.metadata), stream.layout.nb_channels


def test_clips_are_equally_long_equally_loud_and_have_no_tags(built):
    files = sorted((built / "site" / "clips").iterdir())
    assert len(files) == N_PARTICIPANTS * 17
    for file in files[::5]:
        samples, rate, tags, channels = decoded(file)
        assert (rate, channels, tags) == (RATE, 1, {"encoder": "LAME3.100"})
        assert len(samples) == pytest.approx(2 * RATE, abs=1200)  # an mp3 frame
        assert loudness(samples, rate).lufs == pytest.approx(TARGET_LUFS, abs=0.5)


def test_loudness_is_that_of_ebu_tech_3341():
    """A 1 kHz tone of −23 dBFS in both channels has −23 LUFS; in one channel, 3.01 less."""
    tone = np.sin(2 * np.pi * 1000 * np.arange(20 * 48_000) / 48_000).astype(np.float32)
    for level in (-33, -23, -13):
        assert loudness(10 ** (level / 20) * tone, 48_000).lufs == pytest.approx(level - 3.01, abs=0.1)
    two_parts = np.concatenate([tone * 10 ** (-72 / 20), tone * 10 ** (-20 / 20)])  # the quiet part is gated
    assert loudness(two_parts, 48_000).lufs == pytest.approx(-23.01, abs=0.15)


def test_a_peak_between_samples_is_seen():
    y = (0.5 * np.sin(2 * np.pi * np.arange(3 * 48_000) / 4 + np.pi / 4)).astype(np.float32)
    assert np.abs(y).max() < 0.36
    assert loudness(y, 48_000).true_peak == pytest.approx(0.5, abs=0.04)


def test_no_clip_is_amplified_beyond_its_ceiling():
    rng = np.random.default_rng(0)
    clicks = (1e-3 * rng.normal(size=3 * RATE)).astype(np.float32)
    clicks[::RATE] = 0.5
    loud, lufs = equally_loud(clicks, RATE)
    measured = loudness(loud, RATE)
    assert measured.lufs == pytest.approx(lufs, abs=0.2)
    assert measured.true_peak <= CEILING * 1.02
    assert measured.lufs < TARGET_LUFS - 3
    assert equally_loud(np.zeros(RATE, np.float32), RATE) is None


def test_a_clip_begins_and_ends_softly_and_has_its_length():
    for n in (RATE // 2, RATE, 2 * RATE):
        clip = faded(np.ones(RATE, np.float32), n)
        assert len(clip) == n
        assert clip[0] == clip[-1] == 0
        assert clip[RATE // 4] == 1


# --- blind ------------------------------------------------------------------------------------------------------------


def test_nothing_in_the_site_names_a_song_a_participant_or_a_condition(built, key, tracks, out):
    words = {*tracks.index, *tracks.title, *tracks.artist, *GENRES, *key.names.values(), str(out.out), str(key.seed)}
    words |= {"recommended", "matched", "random", "method", "condition", "cosine", "repeat_of", "track_id"}
    for file in (built / "site").rglob("*"):
        assert not [word for word in words if word in file.name]
        if file.is_file():
            content = file.read_bytes().lower()
            text = content if file.suffix == ".html" else content[:4096] + content[-4096:]
            found = [word for word in words if len(word) > 3 and word.lower().encode() in text]
            assert found == []
    assert sorted(path.name for path in built.iterdir()) == ["key.json", "links.csv", "site"]


def test_files_differ_in_their_names_and_sound_alone(built):
    files = [file.stat() for file in (built / "site" / "clips").iterdir()]
    assert len({(file.st_size, file.st_mtime, file.st_mode) for file in files}) == 1
    heads = {file.read_bytes()[:32] for file in (built / "site" / "clips").iterdir()}
    assert len(heads) == 1


def test_pages_differ_in_their_random_names_alone(built, key):
    pages = [(built / "site" / f"{code}.html").read_text() for code in key.clips]
    assert len({re.sub(r"[0-9a-f]{16}", "…", page) for page in pages}) == 1
    for page, (code, clips) in zip(pages, key.clips.items(), strict=True):
        data = json.loads(re.search(r'<script type="application/json" id="test">(.*?)</script>', page)[1])
        assert data["about"]["participant"] == code
        assert data["clips"] == [clip.clip for clip in clips]
        assert re.findall(r"(?:https?:)?//[\w.]+", page.replace("// ", "")) == []


def test_neither_order_nor_name_nor_bytes_tell_the_condition(out, tmp_path):
    """Guess whether a clip is recommended by anything a participant could see, over many participants; all fail."""
    from musicrec.serve.listening_test.chosen_songs import Chooser, Plan
    from musicrec.serve.listening_test.site import _chosen

    ids = out.read("tracks", ["track_id"])["track_id"].to_pylist()
    likes = {f"p{i}": [ids[(5 * i) % 36], ids[(5 * i + 7) % 36]] for i in range(60)}
    chooser = Chooser(Store(out.out), Plan(), 5, lambda track_id: True)
    _, clips = _chosen(chooser, likes, 2)
    rows = [
        (
            "recommended" in clip.conditions,
            turn,
            int(clip.clip, 16),
            int(clip.clip[-1], 16),
            sorted(names).index(clip.clip),
        )
        for several in clips.values()
        for names in [[clip.clip for clip in several]]
        for turn, clip in enumerate(several)
    ]
    is_recommended, *clues = map(np.array, zip(*rows, strict=True))
    for clue in clues:
        p = stats.mannwhitneyu(clue[is_recommended], clue[~is_recommended]).pvalue
        assert p > 0.01


# --- complaints -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("likes", "options", "said"),
    [
        ("participant,track_id\nada,nowhere\n", [], "participant 'ada': "),
        ("participant,track_id\nada,\n", [], "likes.csv, line 2: track_id is empty"),
        ("participant,track_id\n\nada,synthetic-rain-12\n,synthetic-rain-13\n", [], "line 4: participant is empty"),
        ("participant,song\nada,x\n", [], "has the columns participant, song; expected participant and track_id"),
        ("participant,track_id\n", [], "names no song"),
        ("", [], "names no song"),
        (b"\xff\xfe\x00", [], "is not UTF-8"),
        (None, [], "cannot be read"),
        ("synthetic-rain-12\n", ["--songs", 36], "ask for fewer by --songs"),
        ("synthetic-rain-12\n", ["--songs", 60, "--recommended", 40], "only 35 of 40 recommended songs"),
        ("synthetic-rain-12\n", ["--seconds", 9], "35 songs were passed over, such as synthetic-rain-"),
    ],
)
def test_what_cannot_be_built_is_one_line(out, tmp_path, command, likes, options, said):
    if likes is not None:
        (tmp_path / "likes.csv").write_bytes(likes if isinstance(likes, bytes) else likes.encode())
    how = ("--seconds", 2, "--seed", 1, *options)
    code, text, complaint = build(command, out, tmp_path / "likes.csv", tmp_path / "t", *how)
    assert code != 0
    assert text == ""
    assert complaint.count("\n") == 1
    assert said in complaint
    assert not (tmp_path / "t").exists()


def test_one_song_a_line_is_one_participant(out, tmp_path, command):
    (tmp_path / "ada.txt").write_text("\ufefftrack_id\r\nsynthetic-rain-12\r\n\r\nsynthetic-bells-01\r\n")
    options = ("--songs", 4, "--recommended", 2, "--repeats", 0, *HOW)
    code, text, _ = build(command, out, tmp_path / "ada.txt", tmp_path / "t", *options)
    assert code == 0
    assert "1 participant, 4 clips" in text
    assert (tmp_path / "t" / "links.csv").read_text().splitlines()[1].startswith("ada,site/")


def test_a_folder_that_holds_something_is_left_alone(out, tmp_path, command):
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "mine").write_text("mine")
    likes = write_likes(tmp_path / "likes.csv", out, 1)
    code, _, complaint = build(command, out, likes, tmp_path / "t", *HOW)
    assert code == 2
    assert "holds something already" in complaint
    assert [path.name for path in (tmp_path / "t").iterdir()] == ["mine"]


def test_songs_that_cannot_be_played_are_passed_over_and_named(tmp_path, command):
    out = make_out(tmp_path)
    likes = write_likes(tmp_path / "likes.csv", out, 1)
    ids = out.read("tracks", ["track_id"])["track_id"].to_pylist()
    first, second, third = (line.song.track_id for line in Recommender(out.out).recommend([ids[0], ids[1], ids[24]], 3))
    songs = tmp_path / "songs"
    (songs / f"{first}.wav").unlink()
    sf.write(songs / f"{second}.wav", np.zeros(2 * 22_050), 22_050)
    sf.write(songs / f"{third}.wav", 0.1 * np.ones(22_050), 22_050)
    code, text, _ = build(command, out, likes, tmp_path / "t", *HOW)
    assert code == 0
    assert f"passed over {first}: missing" in text
    assert f"passed over {second}: silent" in text
    assert f"passed over {third}: too short: 1.0 s; expected 2 s" in text
    (clips,) = read_key(tmp_path / "t" / "key.json").clips.values()
    assert not {first, second, third} & {clip.track_id for clip in clips}
    assert len(clips) == 17


def test_a_clip_that_would_clip_is_quieter_and_named(tmp_path, command):
    out = make_out(tmp_path)
    likes = write_likes(tmp_path / "likes.csv", out, 1)
    ids = out.read("tracks", ["track_id"])["track_id"].to_pylist()
    (first,) = (line.song.track_id for line in Recommender(out.out).recommend([ids[0], ids[1], ids[24]], 1))
    clicks = 1e-3 * np.random.default_rng(0).normal(size=2 * 22_050)
    clicks[5000::11_025] = 0.5
    sf.write(tmp_path / "songs" / f"{first}.wav", clicks, 22_050)
    code, text, _ = command("listening-test", "build", out.out, "--likes", likes, "--out", tmp_path / "t", *HOW)
    assert code == 0
    assert re.findall(r"^quieter than the others, as it would clip: (\S+), -\d\d\.\d LUFS$", text, re.M) == [first]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--design", "methods", "--songs", "9"], "--songs goes with --design set"),
        (["--songs", "5"], "--recommended 5 leaves no songs to compare with"),
    ],
)
def test_options_that_do_not_go_together(out, tmp_path, command, options, said):
    code, _, complaint = build(command, out, tmp_path / "x", tmp_path / "t", *options)
    assert code == 2
    assert said in complaint
