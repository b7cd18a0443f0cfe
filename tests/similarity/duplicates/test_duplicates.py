"""Pairs of one recording are those that a search of everything finds, and traps that look like one are none."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicrec import features
from musicrec.errors import MusicrecError
from musicrec.features.fingerprint import STEP_S, fingerprints
from musicrec.similarity.duplicates import index as indexes
from musicrec.similarity.duplicates.alignment import LEAST_DELAY, align, own_errors
from musicrec.similarity.duplicates.groups import group
from musicrec.similarity.duplicates.index import BUCKET, make_index, one_in_of
from musicrec.similarity.duplicates.likely_pairs import SLACK, candidates
from musicrec.similarity.duplicates.matches import Matches, match
from musicrec.similarity.duplicates.prints import Prints, least_steps

RATE = 22_050
LEAST = least_steps(STEP_S)
SPEEDS = [1.0, 1.02]


def noise_codes(rng, n, silent=0.0):
    return rng.integers(0, 2**32, n, dtype=np.uint32), rng.random(n) >= silent


def flipped(rng, codes, rate):
    bits = rng.random((len(codes), 32)) < rate
    return codes ^ (bits << np.arange(32, dtype=np.uint64)).sum(1).astype(np.uint32)


def overlay(a, b, offset):
    """The steps of both songs that lie over each other and are audible."""
    t = np.arange(max(0, offset), min(len(a[0]), offset + len(b[0])))
    t = t[a[1][t] & b[1][t - offset]]
    return a[0][t], b[0][t - offset]


def errors_at(a, b, offset):
    x, y = overlay(a, b, offset)
    return np.bitwise_count(x ^ y).sum() / (32 * len(x)) if len(x) else 1.0


# --- one pair -----------------------------------------------------------------------------------------------------


@pytest.mark.thorough
@settings(max_examples=50)
@given(st.integers(0, 2**16), st.integers(1, 60), st.integers(1, 60), st.integers(1, 30), st.sampled_from([0, 0.3]))
def test_the_best_alignment_is_that_of_a_search_of_all_offsets(seed, n_a, n_b, least, silent):
    rng = np.random.default_rng(seed)
    a, b = noise_codes(rng, n_a, silent), noise_codes(rng, n_b, silent)
    offsets = [o for o in range(-n_b, n_a + 1) if len(overlay(a, b, o)[0]) >= least]
    expected = min(((errors_at(a, b, o), o) for o in offsets), default=(1.0, 0))
    found = align(a, b, least)
    assert found.errors == pytest.approx(expected[0])
    assert found.offset == expected[1]


@settings(max_examples=30)
@given(st.integers(0, 2**16), st.integers(1, 60), st.sampled_from([0, 0.3]))
def test_a_song_is_laid_over_itself_at_every_delay(seed, n, silent):
    song = noise_codes(np.random.default_rng(seed), n, silent)
    delays = [delay for delay in range(LEAST_DELAY, n // 2) if len(overlay(song, song, delay)[0])]
    assert own_errors(*song) == pytest.approx(min((errors_at(song, song, d) for d in delays), default=1))


def test_eight_seconds_are_so_many_steps():
    assert (LEAST - 1) * STEP_S < 8 <= LEAST * STEP_S


# --- the index ------------------------------------------------------------------------------------------------------


@pytest.mark.thorough
@settings(max_examples=15)
@given(st.integers(0, 2**16), st.integers(2, 6), st.integers(2, 60), st.booleans())
def test_candidates_are_the_pairs_with_two_codes_in_common_at_one_offset(seed, n_songs, n_codes, is_earlier):
    rng = np.random.default_rng(seed)
    alphabet = rng.integers(0, 2**32, n_codes, dtype=np.uint32)
    songs = [(rng.choice(alphabet, 20), rng.random(20) < 0.8) for _ in range(n_songs)]
    prints = Prints.of(songs)
    found = candidates(make_index(prints, 1), prints, np.arange(n_songs), 1, is_earlier=is_earlier)
    expected = {}
    for row, song in itertools.permutations(range(n_songs), 2):
        votes = [
            t - u
            for (t, code), (u, other) in itertools.product(begins(*songs[row]), begins(*songs[song]))
            if code == other
        ]
        best = max(((sum(o <= v <= o + SLACK for v in votes), -o) for o in votes), default=(0, 0))
        if best[0] >= 2 and (song < row or not is_earlier):
            expected[row, song] = -best[1]
    assert dict(zip(zip(found.row, found.song, strict=True), found.offset, strict=True)) == expected


def begins(codes, audible):
    """The audible steps whose code is not that of the audible step before, with their codes."""
    return [
        (t, code) for t, code in enumerate(codes) if audible[t] and not (t and audible[t - 1] and codes[t - 1] == code)
    ]


def test_the_same_share_of_codes_is_chosen_in_every_song():
    rng = np.random.default_rng(0)
    codes, audible = noise_codes(rng, 4000)
    kept = [{int(key) >> 32 for key in make_index(Prints.of([(codes, audible)]), n).keys} for n in (1, 2, 4)]
    backwards = {int(key) >> 32 for key in make_index(Prints.of([(codes[::-1], audible)]), 4).keys}
    assert kept[0] == set(codes.tolist())
    assert kept[2] < kept[1] < kept[0]
    assert kept[2] == backwards
    assert 0.2 < len(kept[2]) / len(codes) < 0.3


@pytest.mark.parametrize(("n_songs", "expected"), [(0, 2), (200_000, 2), (200_001, 4), (400_001, 8), (1_000_000, 16)])
def test_fewer_codes_are_looked_at_in_larger_catalogs(n_songs, expected):
    assert one_in_of(n_songs) == expected


def test_an_index_of_nothing_finds_nothing():
    nothing = Prints.of([])
    found = candidates(make_index(nothing), nothing, np.arange(0), 2, is_earlier=False)
    assert len(found.row) == 0


def test_too_many_songs_are_refused(monkeypatch):
    monkeypatch.setattr(indexes, "MOST_STEPS", 100)
    rng = np.random.default_rng(0)
    with pytest.raises(MusicrecError, match="2 songs have 120 steps; expected less than 100"):
        make_index(Prints.of([noise_codes(rng, 60), noise_codes(rng, 60)]))


# --- matches --------------------------------------------------------------------------------------------------------


def matches_of(songs, most_errors=0.3, blocks=1):
    """Matches of songs, each given as its fingerprints at all speeds, looked up in several blocks."""
    prints = Prints.of(song[0] for song in songs)
    index, found = make_index(prints), []
    for block in np.array_split(np.arange(len(songs)), blocks):
        for k, speed in enumerate(SPEEDS):
            queries = Prints.of(songs[i][k] for i in block)
            found.append(match(index, prints, queries, block, speed, least=LEAST, most_errors=most_errors))
    return Matches.joined(found)


def played_as_is(codes, audible):
    """The fingerprints of a song that fits no other at another speed."""
    rng = np.random.default_rng(len(codes))
    return [(codes, audible), (rng.integers(0, 2**32, len(codes), dtype=np.uint32), audible)]


@pytest.fixture(scope="module")
def catalog():
    """Random songs, and copies with flipped bits, cut at the start, or silent in parts."""
    rng = np.random.default_rng(1)
    songs = []
    for _ in range(40):
        codes, audible = noise_codes(rng, int(rng.integers(250, 600)))
        songs.append((codes, audible))
        cut = int(rng.integers(0, 60))
        copy = flipped(rng, codes, rng.choice([0.02, 0.05, 0.07]))[cut:]
        songs.append((copy, rng.random(len(copy)) > 0.1))
    return [songs[i] for i in rng.permutation(len(songs))]


@pytest.mark.thorough
def test_matches_are_those_of_a_search_of_all_pairs(catalog):
    found = matches_of([played_as_is(*song) for song in catalog])
    expected = {}
    for earlier, song in itertools.combinations(range(len(catalog)), 2):
        fit = align(catalog[earlier], catalog[song], LEAST)
        if fit.errors <= 0.3:
            expected[song, earlier] = fit
    pairs = dict(zip(zip(*found[:2], strict=True), zip(*found[2:], strict=True), strict=True))
    assert len(expected) == 40
    assert pairs.keys() == expected.keys()
    for (song, earlier), fit in expected.items():
        errors, speed, offset = pairs[song, earlier]
        assert errors == pytest.approx(fit.errors)
        assert (speed, offset) == (1, fit.offset)


@pytest.mark.parametrize("blocks", [2, 7, 80])
def test_matches_do_not_depend_on_how_the_songs_are_divided(catalog, blocks):
    songs = [played_as_is(*song) for song in catalog]
    for one, other in zip(matches_of(songs), matches_of(songs, blocks=blocks), strict=True):
        assert (one == other).all()


def some_catalog(rng, n_songs, n_codes):
    """Songs of few different codes, of which many stand in more songs than a bucket holds."""
    alphabet = rng.integers(0, 2**32, n_codes, dtype=np.uint32)
    return [[(rng.choice(alphabet, 24), rng.random(24) < 0.9) for _ in SPEEDS] for _ in range(n_songs)]


def pairs_of(songs, is_changed=None, most_errors=0.45):
    """Matches of one changed song and any other, at all speeds, and which songs count as changed or are crowded."""
    prints = Prints.of(song[0] for song in songs)
    index, own = make_index(prints, 1, is_changed), np.arange(len(songs))
    found = [
        match(index, prints, Prints.of(song[k] for song in songs), own, speed, least=4, most_errors=most_errors)
        for k, speed in enumerate(SPEEDS)
    ]
    return Matches.joined(found), index.is_changed, index.is_crowded


@pytest.mark.thorough
@settings(max_examples=25)
@given(st.integers(0, 2**16), st.sampled_from([20, 60, 200]), st.sampled_from([40, 300, 3000]), st.booleans())
def test_matches_kept_and_those_of_changed_songs_are_those_of_all(seed, n_songs, n_codes, is_smaller):
    rng = np.random.default_rng(seed)
    before = some_catalog(rng, n_songs, n_codes)
    gone = set(rng.integers(0, n_songs, n_songs // 8 if is_smaller else 0).tolist())
    new = [] if is_smaller else some_catalog(rng, 1 + n_songs // 10, n_codes)
    stays = [k for k in range(n_songs) if k not in gone]
    order = rng.permutation(len(stays) + len(new))  # of the old songs by turns; new ones stand among them
    order[np.isin(order, range(len(stays)))] = np.arange(len(stays))
    songs = [before[stays[k]] if k < len(stays) else new[k - len(stays)] for k in order]
    number = {stays[k]: place for place, k in enumerate(order) if k < len(stays)}

    matches, _, was_crowded = pairs_of(before)
    is_changed = np.array([k >= len(stays) or was_crowded[stays[k]] for k in order])
    found, is_changed, _ = pairs_of(songs, is_changed)
    unchanged = {old for old, place in number.items() if not is_changed[place]}
    kept = {
        (number[song], number[earlier]): rest
        for song, earlier, *rest in zip(*(column.tolist() for column in matches), strict=True)
        if {song, earlier} <= unchanged
    }
    again = {(song, earlier): rest for song, earlier, *rest in zip(*(c.tolist() for c in found), strict=True)}
    everything, _, _ = pairs_of(songs)
    expected = {(song, earlier): rest for song, earlier, *rest in zip(*(c.tolist() for c in everything), strict=True)}
    assert kept | again == expected
    assert not kept.keys() & again.keys()


def test_a_pair_that_others_crowd_out_is_not_kept():
    """The pair has two codes in common, and tonight more songs before it have these codes than a bucket holds."""
    rng, audible = np.random.default_rng(7), np.ones(24, np.bool_)
    codes, _ = noise_codes(rng, 24)
    near = codes ^ np.uint32(1)
    near[[3, 9]] = codes[[3, 9]]

    def other():
        different, _ = noise_codes(rng, 24)
        different[[5, 14]] = codes[[3, 9]]
        return played_as_is(different, audible)

    pair, first = [played_as_is(c, audible) for c in (codes, near)], [other() for _ in range(BUCKET - 10)]
    more = [other() for _ in range(20)]
    tonight = [*more, *first, *pair]
    last = len(tonight) - 1
    before, _, was_crowded = pairs_of([*first, *pair], most_errors=0.1)
    assert (before.song.tolist(), before.earlier.tolist()) == ([BUCKET - 9], [BUCKET - 10])
    assert not was_crowded.any()
    assert last not in pairs_of(tonight, most_errors=0.1)[0].song
    _, is_changed, is_crowded = pairs_of(tonight, np.arange(len(tonight)) < len(more), most_errors=0.1)
    assert is_crowded.all()
    assert is_changed.all()


def test_a_faster_copy_is_found_whichever_of_the_two_comes_first():
    rng = np.random.default_rng(2)
    codes, audible = noise_codes(rng, 500)
    slow = [(codes, audible), noise_codes(rng, 490)]
    fast = [(slow[1][0][50:], slow[1][1][50:]), noise_codes(rng, 400)]  # as the slow one at 1.02, from step 50 on
    others = [played_as_is(*noise_codes(rng, 400)) for _ in range(3)]
    (song,), (earlier,), _, (speed,), (offset,) = matches_of([*others, slow, fast])
    assert (song, earlier, speed) == (4, 3, 1.02)
    assert offset == pytest.approx(50 * 1.02)  # it begins so many steps of the slow one after its start
    (song,), (earlier,), _, (speed,), (offset,) = matches_of([fast, *others, slow])
    assert (song, earlier, speed) == (4, 0, 1 / 1.02)
    assert offset == -50  # the slow one begins before the fast one, by so many of the fast one's steps


def test_more_copies_than_a_bucket_holds_are_one_group():
    rng = np.random.default_rng(3)
    codes, audible = noise_codes(rng, 250)
    copies = [played_as_is(flipped(rng, codes, 0.01), audible) for _ in range(BUCKET + 20)]
    groups = group(matches_of(copies), len(copies), 0.3)
    assert (groups.representative == 0).all()


# --- groups ---------------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(st.integers(0, 2**16), st.integers(1, 12), st.floats(0, 1), st.sampled_from([0.1, 0.2]))
def test_a_song_joins_the_representative_that_it_fits_best(seed, n_songs, density, most_errors):
    rng = np.random.default_rng(seed)
    pairs = [p for p in itertools.combinations(range(n_songs), 2) if rng.random() < density]
    errors = rng.integers(0, 6, len(pairs)) / 20
    columns = [np.array([j for _, j in pairs], np.int64), np.array([i for i, _ in pairs], np.int64), errors]
    found = Matches.joined([Matches(*columns, np.ones(len(pairs)), np.zeros(len(pairs)))])
    groups = group(found, n_songs, most_errors)
    fit = {(i, j): e for (i, j), e in zip(pairs, errors, strict=True) if e <= most_errors}
    representative = {}
    for song in range(n_songs):
        stand = [(fit[i, song], i) for i in range(song) if representative[i] == i and (i, song) in fit]
        representative[song] = min(stand)[1] if stand else song
        assert groups.errors[song] == (min(stand)[0] if stand else 0)
    assert groups.representative.tolist() == [representative[song] for song in range(n_songs)]


def test_of_two_matches_of_a_pair_the_better_counts_then_the_slower_change():
    two = Matches(
        np.array([1, 1, 1]), np.array([0, 0, 0]), np.array([0.1, 0.1, 0.2]), np.array([1.02, 1, 1]), np.zeros(3)
    )
    joined = Matches.joined([two])
    assert [column.tolist() for column in joined] == [[1], [0], [0.1], [1], [0]]


def test_a_medley_joins_one_song_and_does_not_make_two_songs_one():
    rng = np.random.default_rng(4)
    one, other = noise_codes(rng, 500), noise_codes(rng, 500)
    medley = np.concatenate([one[0][:250], other[0][:250]]), np.ones(500, np.bool_)
    found = matches_of([played_as_is(*song) for song in (one, other, medley)])
    assert set(zip(found.song, found.earlier, strict=True)) == {(2, 0), (2, 1)} or len(found.song) == 0
    groups = group(found, 3, 0.3)
    assert groups.representative[:2].tolist() == [0, 1]


# --- traps ----------------------------------------------------------------------------------------------------------


def songs_of(clips):
    mels = [features.mel(clip.astype(np.float32), RATE).astype(np.float16) for clip in clips]
    return [fingerprints(mel, RATE, SPEEDS) for mel in mels]


def melody(seed, seconds):
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE)) / RATE
    y = np.zeros(len(t))
    for start in np.arange(0, seconds, 0.2):
        rest = np.clip(t - start, 0, None)
        hz = 220 * 2 ** rng.uniform(0, 3)
        y += (t >= start) * np.exp(-4 * rest) * np.minimum(rest / 0.01, 1) * np.sin(2 * np.pi * hz * t)
    return 0.2 * y + 1e-3 * rng.normal(size=len(t))


@pytest.mark.thorough
def test_real_sound_at_another_speed_is_found_and_another_melody_is_not():
    import soxr

    y = melody(0, 14)
    clips = [y, soxr.resample(y, RATE * 1.02, RATE), melody(1, 14)]
    found = matches_of(songs_of(clips))
    assert [column.tolist() for column in found[:2]] == [[1], [0]]
    assert found.errors[0] < 0.15
    assert found.speed[0] == pytest.approx(1.02)


def test_shared_silence_makes_no_recording():
    pause = np.zeros(20 * RATE)
    clips = [np.concatenate([melody(seed, 4), pause, melody(seed + 10, 4)]) for seed in range(3)]
    assert len(matches_of(songs_of(clips), most_errors=0.5).song) == 0


def test_tones_and_metronomes_make_no_recording():
    t = np.arange(20 * RATE) / RATE
    tones = [np.sin(2 * np.pi * hz * t) for hz in (440, 440.5, 441)]
    clicks = [np.sin(2 * np.pi * 1000 * t) * ((t + later) % beat < 0.02) for beat in (0.5, 0.37) for later in (0, 0.1)]
    songs = songs_of([*tones, *clicks])
    assert align(songs[3][0], songs[4][0], LEAST).errors < 0.2
    assert len(matches_of(songs, most_errors=0.5).song) == 0


@pytest.mark.thorough
def test_an_overlap_under_eight_seconds_proves_nothing():
    y = melody(0, 15)
    clips = [y, y[round(6.5 * RATE) :], y[round(7.5 * RATE) :]]
    found = matches_of(songs_of(clips))
    assert (1, 0) in set(zip(found.song, found.earlier, strict=True))
    assert (2, 0) not in set(zip(found.song, found.earlier, strict=True))
