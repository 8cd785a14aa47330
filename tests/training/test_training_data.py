import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sarcover.errors import SarcoverError
from sarcover.training.data import (
    PatchDataset,
    global_batch,
    partners_differ,
    step_batches,
    to_device_batch,
)


@given(length=st.integers(1, 40), size=st.integers(1, 50), seed=st.integers(0, 3), epochs=st.integers(1, 4))
def test_each_patch_comes_once_an_epoch_and_every_batch_is_full(length, size, seed, epochs):
    steps = -(-length * epochs // size)
    batches = [global_batch(seed, length, size, step) for step in range(steps)]
    assert all(len(batch) == size for batch in batches)
    stream = np.concatenate(batches)
    for epoch in range(epochs):
        assert sorted(stream[epoch * length : (epoch + 1) * length]) == list(range(length))


def test_order_changes_from_epoch_to_epoch_and_with_the_seed():
    first, second = global_batch(0, 64, 64, 0), global_batch(0, 64, 64, 1)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, global_batch(1, 64, 64, 0))


def labels(store, *, rank, world, batch, accumulate, steps=range(3)):
    data = PatchDataset(store, ("train", "val", "test"))
    batches = step_batches(data, steps, seed=5, batch=batch, accumulate=accumulate, rank=rank, world=world)
    return [patch.numpy().tobytes() for parts in batches for patch in parts["label"]]


@pytest.mark.parametrize(("world", "accumulate"), [(2, 1), (1, 2), (2, 2), (4, 1)])
def test_a_step_takes_the_same_patches_however_they_are_shared(store, world, accumulate):
    whole = labels(store, rank=0, world=1, batch=4, accumulate=1)
    shares = [
        labels(store, rank=r, world=world, batch=4 // (world * accumulate), accumulate=accumulate)
        for r in range(world)
    ]
    for step in range(3):
        size = 4 // world
        together = itertools.chain.from_iterable(s[step * size : (step + 1) * size] for s in shares)
        assert sorted(together) == sorted(whole[step * 4 : (step + 1) * 4])


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_batch_within_a_step_is_the_same_for_two_processes_of_half_the_size(store, accumulate):
    """A loss of the whole batch needs more than the same patches in a step."""
    whole = labels(store, rank=0, world=1, batch=6, accumulate=accumulate)
    shares = [labels(store, rank=r, world=2, batch=3, accumulate=accumulate) for r in (0, 1)]
    for batch in range(3 * accumulate):
        together = [patch for share in shares for patch in share[3 * batch : 3 * batch + 3]]
        assert sorted(together) == sorted(whole[6 * batch : 6 * batch + 6])


def test_batches_can_begin_at_any_step(store):
    all_steps = labels(store, rank=0, world=1, batch=3, accumulate=1, steps=range(10))
    later = labels(store, rank=0, world=1, batch=3, accumulate=1, steps=range(7, 10))
    assert all_steps[7 * 3 :] == later


def test_a_batch_holds_db_and_nan_where_invalid(store):
    samples = PatchDataset(store, "train").stack(range(4))
    batch = to_device_batch(samples, store.meta, torch.device("cpu"))
    valid = samples["valid"].numpy()
    dn = samples["sar"].numpy().astype(np.float64)
    expected = 20 * np.log10(np.where(valid[:, None], dn, 1)) - 83
    assert batch["sar"].dtype == torch.float32
    assert np.array_equal(np.isnan(batch["sar"].numpy()), ~valid[:, None])
    np.testing.assert_allclose(batch["sar"].numpy()[valid[:, None]], expected[valid[:, None]], atol=1e-4)
    assert batch["label"].dtype == torch.int64
    assert (batch["label"][~batch["valid"]] == 255).all()
    assert torch.equal(batch["label"][batch["valid"]], samples["label"][samples["valid"]].long())


def test_optical_numbers_become_reflectance_and_0_where_invalid(store):
    meta = replace(store.meta, optical_bands=("red", "nir"), optical_scale=10_000.0, optical_dtype="uint16")
    numbers = np.random.default_rng(0).integers(1, 10_001, (1, 2, 64, 64), dtype=np.uint16)
    optical_valid = np.random.default_rng(1).random((1, 64, 64)) < 0.8
    samples = PatchDataset(store, "train").stack([0]) | {
        "optical": torch.from_numpy(numbers),
        "optical_valid": torch.from_numpy(optical_valid),
    }
    batch = to_device_batch(samples, meta, torch.device("cpu"))
    expected = np.where(optical_valid[:, None], numbers / 10_000, 0)
    assert batch["optical"].dtype == torch.float32
    np.testing.assert_allclose(batch["optical"].numpy(), expected, rtol=1e-6)
    assert np.array_equal(batch["optical_valid"].numpy(), optical_valid)


def test_a_number_without_a_logarithm_becomes_nodata(store):
    samples = PatchDataset(store, "train").stack([0])
    samples["sar"][0, 0, 40, 40] = 0
    batch = to_device_batch(samples, store.meta, torch.device("cpu"))
    assert not batch["valid"][0, 40, 40]
    assert batch["sar"][0, 0, 40, 40].isnan()
    assert batch["label"][0, 40, 40] == 255


def test_a_split_without_patches_is_refused(make_store):
    with pytest.raises(SarcoverError, match=r"no patch of split val.*8 train"):
        PatchDataset(make_store(val=0), "val")


@given(
    length=st.integers(2, 40),
    pairs=st.integers(1, 10),
    world=st.integers(1, 4),
    accumulate=st.integers(1, 2),
    step=st.integers(0, 30),
    seed=st.integers(0, 3),
)
def test_no_patch_is_its_own_partner(length, pairs, world, accumulate, step, seed):
    size = min(2 * pairs, length // 2 * 2)
    whole = global_batch(seed, length, size * accumulate * world, step)
    for rank, part in itertools.product(range(world), range(accumulate)):
        batch = whole[rank::world].reshape(accumulate, size)[part]
        paired = partners_differ(batch, length)
        assert (paired != paired[::-1]).all()
        assert np.array_equal(paired, partners_differ(batch, length))
        assert ((paired >= 0) & (paired < length)).all()
        if max(np.bincount(batch)) <= size // 2:  # the very patches, so that each comes once an epoch
            assert sorted(paired) == sorted(batch)
        if (batch != batch[::-1]).all():
            assert np.array_equal(paired, batch)


def test_pretraining_asks_for_batches_whose_partners_differ(store):
    data = PatchDataset(store, "train")
    steps = range(40)
    for batch in step_batches(data, steps, seed=0, batch=6, accumulate=1, rank=0, world=1, paired=True):
        sar = batch["sar"]
        assert all(not torch.equal(image, other) for image, other in zip(sar, sar.flip(0), strict=True))
