"""What a network sees in training: the same whatever the number of workers, and mixed as it says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musicrec.models import with_defaults
from musicrec.models.augment import MASKS, WIDEST, cutmix, mixup, spec_augment
from musicrec.models.batches import Batches
from musicrec.models.inputs import Features, Pictures, Spectrograms
from musicrec.settings import TrainSettings

N, CLASSES, FRAMES, BANDS = 23, 3, 12, 5
PLAIN = {"kind": "standardised", "fill": [0.0] * BANDS, "floor": [None] * BANDS, "mean": [0.0] * BANDS,
         "scale": [1.0] * BANDS, "whiten": None}  # fmt: skip
MIXING = {"mixup": 0.4, "cutmix": 1.0, "spec_augment": True}
SEEDS = st.integers(0, 2**31)


def songs(kind):
    """Each song has a level of its own, and each cell of one song another noise."""
    draw = np.random.default_rng(0)
    if kind == "features":
        return draw.normal(size=(N, BANDS)).astype(np.float32), Features((BANDS,), PLAIN)
    if kind == "images":
        return draw.integers(0, 256, (N, 4, 4, 3)).astype(np.uint8), Pictures((4, 4, 3))
    lengths = draw.integers(4, 40, N)
    return [draw.uniform(-80, 0, (n, BANDS)).astype(np.float16) for n in lengths], Spectrograms((FRAMES, BANDS), 1)


def batches(kind, rows=None, model="resnet", weights=None, **settings):
    table, read = songs(kind)
    y = (np.arange(N) % CLASSES).astype(np.int32)
    full = with_defaults(TrainSettings(model=model, **({"spec_augment": False} | settings)))
    return Batches(
        table,
        y,
        [f"artist {i % 7}" for i in range(N)],
        np.arange(N) if rows is None else np.asarray(rows),
        weights=np.ones(N) if weights is None else weights,
        reader=read,
        n_classes=CLASSES,
        settings=full,
    )


def by_song(steps):
    """Everything that is seen of each song in an epoch."""
    return {
        song: (x.tobytes(), target.tobytes(), label, artist, weight)
        for batch in steps
        for x, target, label, artist, song, weight in zip(*batch[:6], strict=True)
    }


# --- shares of workers --------------------------------------------------------------------------------------------


@pytest.mark.thorough
@given(st.sampled_from(["features", "mel", "images"]), st.booleans(), st.integers(2, 25), st.integers(2, N), SEEDS)
def test_workers_share_the_steps_of_one(kind, mixed, size, n_learned, seed):
    rows = np.random.default_rng(seed).permutation(N)[:n_learned]
    weights = np.random.default_rng(seed).uniform(0.1, 3, N)
    learn = batches(kind, rows, weights=weights, batch_size=size, seed=seed, **(MIXING if mixed else {}))
    alone = list(learn.epoch(3))
    assert len(alone) <= learn.steps == -(-n_learned // size)
    seen = np.concatenate([batch.songs for batch in alone])
    assert len(set(seen)) == len(seen)
    assert set(seen) <= set(rows)
    assert n_learned - len(seen) <= 1  # one song alone waits for another epoch
    for world in (1, 2, 3):
        shares = [list(learn.epoch(3, rank, world)) for rank in range(world)]
        steps = [batch for batch in alone if batch.size >= world]
        for step, *parts in zip(steps, *shares, strict=True):
            assert {part.size for part in parts} == {step.size} == {len(step.songs)}
            assert min(len(part.songs) for part in parts) >= 1
            together = [song for part in parts for song in part.songs]
            assert sorted(together) == sorted(step.songs)
            assert by_song(parts) == by_song([step])


def test_every_epoch_and_every_seed_has_an_order_of_its_own():
    def order(seed, epoch):
        return np.concatenate([b.songs for b in batches("mel", batch_size=8, seed=seed).epoch(epoch)]).tolist()

    orders = [order(seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert len(set(map(tuple, orders))) == 4
    assert all(sorted(one) == list(range(N)) for one in orders)
    assert order(0, 1) == orders[1]


def test_an_example_depends_on_seed_epoch_and_song_alone():
    def seen(seed=1, epoch=2, **how):
        return by_song(batches("mel", seed=seed, **MIXING, **how).epoch(epoch))

    assert seen(batch_size=4) == seen(batch_size=12)
    other_epoch, other_seed = seen(epoch=3), seen(seed=2)
    for song, example in seen().items():
        assert example != other_epoch[song]
        assert example != other_seed[song]


def test_a_batch_says_of_each_song_what_it_is():
    table, _ = songs("features")
    weights = np.linspace(0.5, 1.5, N)
    for batch in batches("features", model="mlp", weights=weights, batch_size=6).epoch(0):
        np.testing.assert_array_equal(batch.inputs, table[batch.songs])
        np.testing.assert_array_equal(batch.weights, weights[batch.songs].astype(np.float32))
        np.testing.assert_array_equal(batch.labels, batch.songs % CLASSES)
        np.testing.assert_array_equal(batch.targets, np.eye(CLASSES)[batch.labels])
        np.testing.assert_array_equal(batch.artists, batch.songs % 7)


# --- mixing -------------------------------------------------------------------------------------------------------


@pytest.mark.thorough
@given(
    st.sampled_from(["features", "mel", "images"]), st.sampled_from([{"mixup": 0.3}, {"cutmix": 0.3}, MIXING]), SEEDS
)
def test_mixed_targets_sum_to_one_and_the_song_itself_keeps_at_least_half(kind, mixing, seed):
    seen = list(batches(kind, seed=seed, batch_size=12, **mixing).epoch(0))
    targets, labels = (np.concatenate([getattr(b, name) for b in seen]) for name in ("targets", "labels"))
    np.testing.assert_allclose(targets.sum(axis=1), 1, rtol=1e-6)
    assert targets.min() >= 0
    assert targets[np.arange(len(labels)), labels].min() >= 0.5


@pytest.mark.thorough
@given(
    st.sampled_from(["features", "mel", "images"]), st.sampled_from([{"mixup": 0.3}, {"cutmix": 0.3}, MIXING]), SEEDS
)
def test_a_mixture_costs_what_both_songs_cost_each_by_its_share_and_its_weight(kind, mixing, seed):
    """Both losses are linear in the target, so the weighted target says what a mixture costs."""
    of_genre = np.array([0.2, 1.0, 3.0])
    plain, weighted = (
        list(batches(kind, weights=weights, seed=seed, batch_size=12, **mixing).epoch(0))
        for weights in (np.ones(N), of_genre[np.arange(N) % CLASSES])
    )
    for one, other in zip(plain, weighted, strict=True):
        np.testing.assert_array_equal(one.inputs, other.inputs)
        np.testing.assert_array_equal(one.weights, 1)  # so that a training without balance is what it was
        np.testing.assert_allclose(other.targets.sum(axis=1), 1, rtol=1e-6)
        np.testing.assert_allclose(other.weights[:, None] * other.targets, one.targets * of_genre, rtol=1e-5, atol=1e-7)


def test_songs_are_mixed_with_songs_that_are_learned_from_alone():
    rows = np.array([0, 3, 6, 9])  # all of the first class
    for epoch in range(20):
        for batch in batches("mel", rows, batch_size=4, **MIXING).epoch(epoch):
            np.testing.assert_allclose(batch.targets[:, 0], 1, rtol=1e-6)


@given(st.floats(0, 1), SEEDS)
def test_mixup_is_the_weighted_mean(share, seed):
    x, y = np.random.default_rng(seed).normal(size=(2, 6, 4)).astype(np.float32)
    mixed = mixup(x, y, share)
    assert mixed.dtype == np.float32
    np.testing.assert_allclose(mixed, share * x.astype(float) + (1 - share) * y, atol=1e-6)


@pytest.mark.thorough
@given(st.integers(1, 40), st.floats(0, 1), SEEDS)
def test_cutmix_takes_its_share_of_rows_in_one_stretch_from_the_other(n, share, seed):
    draw = np.random.default_rng(seed)
    x, y = np.zeros((n, 3), np.float32), np.ones((n, 3), np.float32)
    mixed = cutmix(x, y, share, draw)
    taken = mixed[:, 0] == 1
    np.testing.assert_array_equal(mixed, np.where(taken[:, None], y, x))
    assert abs(taken.sum() - (1 - share) * n) <= 0.5
    assert (np.diff(np.flatnonzero(taken)) == 1).all()
    assert not x.any()  # the song itself stays as it is


def test_cutmix_takes_the_stretch_from_where_it_puts_it():
    x, y = np.zeros((9, 2), np.float32), np.arange(1, 19, dtype=np.float32).reshape(9, 2)
    starts = set()
    for seed in range(40):
        mixed = cutmix(x, y, 2 / 3, np.random.default_rng(seed))
        at = np.flatnonzero(mixed[:, 0])
        np.testing.assert_array_equal(mixed[at], y[at])
        starts.add(int(at[0]))
    assert starts == set(range(7))


@pytest.mark.thorough
@given(st.integers(1, 60), st.integers(1, 60), SEEDS)
def test_spec_augment_changes_stripes_and_nothing_else(frames, bands, seed):
    x = np.random.default_rng(seed + 1).normal(size=(frames, bands)).astype(np.float32)
    before = x.copy()
    masked = spec_augment(x, np.random.default_rng(seed))
    np.testing.assert_array_equal(x, before)
    changed = masked != x
    rows, columns = changed.all(axis=1), changed.all(axis=0)
    inside = rows[:, None] | columns[None]
    np.testing.assert_array_equal(masked[~inside], x[~inside])
    np.testing.assert_array_equal(changed, inside)
    np.testing.assert_array_equal(masked[inside], x.mean())
    for stripes, length in ((rows, frames), (columns, bands)):
        assert stripes.sum() <= MASKS * int(WIDEST * length)
        starts = np.flatnonzero(np.diff(stripes.astype(int), prepend=0) == 1)
        assert len(starts) <= MASKS


@pytest.mark.parametrize("kind", ["features", "images"])
def test_only_spectrograms_get_stripes(kind):
    plain, asked = (by_song(batches(kind, spec_augment=s).epoch(0)) for s in (False, True))
    assert plain == asked
    striped, whole = (by_song(batches("mel", spec_augment=s).epoch(0)) for s in (True, False))
    assert striped != whole
