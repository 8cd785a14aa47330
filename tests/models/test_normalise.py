"""Statistics travel with the model, and invalid pixels are exactly 0."""

import numpy as np
import pytest
import torch

from sarcover.errors import SarcoverError
from sarcover.models.normalise import Normalisation


def test_valid_pixels_are_normalised_per_band_and_invalid_ones_are_zero():
    norm = Normalisation(2)
    norm.set([-10.4, -17.0], [5.8, 4.0])
    rng = np.random.default_rng(0)
    x = rng.normal(-12, 5, (3, 2, 4, 5)).astype(np.float32)
    valid = rng.random((3, 4, 5)) < 0.6
    x[~np.broadcast_to(valid[:, None], x.shape)] = np.nan
    out = norm(torch.tensor(x), torch.tensor(valid)).numpy()
    expected = (x - np.array([-10.4, -17.0]).reshape(2, 1, 1)) / np.array([5.8, 4.0]).reshape(2, 1, 1)
    np.testing.assert_allclose(out, np.where(valid[:, None], expected, 0), rtol=1e-5, atol=1e-6)
    assert not out[~np.broadcast_to(valid[:, None], out.shape)].any()


@pytest.mark.parametrize("rubbish", [float("nan"), float("inf"), -1e30])
def test_what_lies_under_the_mask_gives_no_gradient(rubbish):
    x = torch.tensor([[[[1.0, rubbish]]]], requires_grad=True)
    norm = Normalisation(1)
    norm.set([2.0], [4.0])
    norm(x, torch.tensor([[[True, False]]])).sum().backward()
    assert x.grad.tolist() == [[[[0.25, 0.0]]]]


def test_statistics_are_saved_with_the_weights_but_not_learned():
    norm = Normalisation(2)
    norm.set(torch.tensor([-8.0, -15.0], dtype=torch.float64), (3.0, 2.5))
    assert {key: value.tolist() for key, value in norm.state_dict().items()} == {
        "mean": [-8.0, -15.0],
        "std": [3.0, 2.5],
    }
    assert not list(norm.parameters())


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ([0.0], [1.0, 1.0], "mean does not match the bands; expected 2 values; got 1"),
        ([0.0, 0.0], [1.0] * 3, "std does not match"),
        ([0.0, 0.0], [1.0, 0.0], "> 0"),
        ([0.0, 0.0], [1.0, -2.0], "> 0"),
        ([0.0, float("nan")], [1.0, 1.0], "finite"),
        ([0.0, 0.0], [1.0, float("inf")], "finite"),
    ],
)
def test_statistics_that_cannot_be_used_are_refused_and_change_nothing(mean, std, message):
    norm = Normalisation(2)
    with pytest.raises(SarcoverError, match=message):
        norm.set(mean, std)
    assert norm.mean.tolist() == [0, 0]
    assert norm.std.tolist() == [1, 1]
