"""An exported model is used like the one it was made from."""

import logging

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from runtime_helpers import batch_of

from sarcover.bundle import load_model
from sarcover.errors import SarcoverError
from sarcover.models import build_model
from sarcover.models.augmented import Augmented
from sarcover.runtimes import RuntimeModel, load_runtime


class Recorder:
    """An engine that keeps its input and gives the first band, or what is left of it, as the only logit."""

    title, precision = "Recorder", "float32"

    def __init__(self):
        self.inputs = []

    def __call__(self, inputs):
        self.inputs.append(dict(inputs))
        return np.nan_to_num(inputs["sar"][:, :1]) * inputs["valid"][:, None]


@pytest.fixture(scope="module")
def pair(exported):
    return load_model(exported), load_runtime(exported, "onnx")


@settings(max_examples=15, deadline=None)
@given(count=st.integers(1, 5), height=st.integers(1, 70), width=st.integers(1, 70), seed=st.integers(0, 99))
def test_any_batch_of_any_size_gives_the_logits_of_torch(pair, count, height, width, seed):
    ours, theirs = pair
    batch = batch_of(ours, count, height, width, seed=seed)
    with torch.inference_mode():
        expected, found = ours(batch), theirs(batch)
    assert found.shape == expected.shape
    assert found.dtype == torch.float32
    assert torch.allclose(found, expected, atol=1e-5)


def test_everything_else_is_the_models_own(pair):
    ours, theirs = pair
    assert theirs.bundle.legend.num_classes == 3
    assert theirs.inputs == ("sar",)
    assert theirs.architecture == ours.architecture
    assert not theirs.binary
    assert not theirs.training
    assert theirs.runtime.startswith("ONNX Runtime ")
    assert theirs.runtime.endswith(", float32")
    weights = theirs.state_dict()
    assert list(weights) == list(ours.state_dict())
    with pytest.raises(AttributeError):
        theirs.no_such_thing  # noqa: B018


def test_without_masks_finite_pixels_are_valid(pair):
    ours, theirs = pair
    batch = {"sar": batch_of(ours, 2, 32, 32)["sar"]}
    with torch.inference_mode():
        assert torch.allclose(theirs(batch), ours(batch), atol=1e-5)


def test_turned_batches_of_test_time_augmentation(pair):
    """Flips and quarter turns are no contiguous arrays."""
    ours, theirs = pair
    batch = batch_of(ours, 2, 32, 48)
    with torch.inference_mode():
        expected, found = Augmented(ours, "dihedral")(batch), Augmented(theirs, "dihedral")(batch)
    assert torch.allclose(found, expected, atol=1e-5)


def test_logits_outlive_the_next_batch(exported):
    for runtime in ("onnx", "openvino"):
        model = load_runtime(exported, runtime)
        with torch.inference_mode():
            first = model(batch_of(model, 2, 32, 32, seed=0))
            kept = first.clone()
            model(batch_of(model, 2, 32, 32, seed=1))
        assert torch.equal(first, kept)


def test_wrong_batches_are_told_as_by_the_model(pair):
    _, theirs = pair
    with pytest.raises(SarcoverError, match="the model needs 'sar' input"):
        theirs({"optical": torch.zeros(1, 3, 32, 32)})
    with pytest.raises(SarcoverError, match="'sar' input does not fit the model"):
        theirs({"sar": torch.zeros(1, 3, 32, 32)})


def test_window_of_another_size_is_computed_by_torch(pair, caplog):
    ours, _ = pair
    engine = Recorder()
    model = RuntimeModel(ours, engine, patch=32)
    with caplog.at_level(logging.WARNING, "sarcover"), torch.inference_mode():
        assert model(batch_of(ours, 2, 32, 32)).shape == (2, 1, 32, 32)
        assert not caplog.records
        other = batch_of(ours, 2, 32, 48)
        assert torch.equal(model(other), ours(other))
        model(other)
    assert len(engine.inputs) == 1
    (record,) = caplog.records  # once, not for every batch
    assert "windows of 32 px: those of 32 x 48 px are computed by torch" in record.getMessage()


def test_padding_is_no_data(pair):
    ours, _ = pair
    engine = Recorder()
    batch = {"sar": torch.ones(1, 2, 20, 33)}
    logits = RuntimeModel(ours, engine, patch=None)(batch)
    (inputs,) = engine.inputs
    assert inputs["sar"].shape == (1, 2, 32, 64)
    assert inputs["valid"].sum() == 20 * 33
    assert np.isnan(inputs["sar"]).sum() == 2 * (32 * 64 - 20 * 33)
    assert torch.equal(logits, torch.ones(1, 1, 20, 33))


def test_input_that_may_be_absent_is_nowhere_valid():
    shape = {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 32, 64]}
    model = build_model(
        "claire", size="tiny", sar_bands=1, optical_bands=3, num_classes=2, shape=shape
    ).eval()
    engine = Recorder()
    RuntimeModel(model, engine, patch=32)({"sar": torch.ones(2, 1, 32, 32)})
    (inputs,) = engine.inputs
    assert list(inputs) == ["sar", "valid", "optical", "optical_valid"]
    assert inputs["optical"].shape == (2, 3, 32, 32)
    assert np.isnan(inputs["optical"]).all()
    assert not inputs["optical_valid"].any()
    assert inputs["valid"].all()


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_the_process_goes_on_computing_with_denormal_numbers(exported, runtime):
    model = load_runtime(exported, runtime)
    model(batch_of(load_model(exported), 1, 16, 16))
    assert (np.array([1e-310]) * 1.0)[0] > 0
