"""Alpha-balanced focal loss against independent NumPy in float64."""

import numpy as np
import pytest
import torch

from sarcover import losses
from sarcover.errors import SarcoverError

K = 4


def example(seed=0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (2, K, 5, 6))
    target = rng.integers(0, K, (2, 5, 6))
    target[rng.random(target.shape) < 0.2] = 255
    return logits, target


def numpy_focal(logits, target, alpha, gamma):
    """Pixel by pixel."""
    terms = []
    for b, row, column in np.argwhere(target != 255):
        scores, label = logits[b, :, row, column], target[b, row, column]
        p = np.exp(scores[label]) / np.exp(scores).sum()
        terms.append(-alpha[label] * (1 - p) ** gamma * np.log(p))
    return np.mean(terms)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_is_what_numpy_computes(gamma):
    logits, target = example()
    alpha = np.array([0.2, 1.0, 3.0, 0.7])
    found = losses.focal_loss(torch.tensor(logits), torch.tensor(target), torch.tensor(alpha), gamma=gamma)
    assert found.item() == pytest.approx(numpy_focal(logits, target, alpha, gamma), rel=1e-12)


def test_focal_is_rift_without_its_tversky_term():
    logits, target = map(torch.tensor, example(1))
    counts = [50, 20, 5, 100]
    focal = losses.segmentation_loss("focal", counts, gamma=1.5)
    rift = losses.segmentation_loss("rift", counts, gamma=1.5, lambda_focal=1.0, lambda_tversky=0.0)
    assert focal(logits, target).item() == pytest.approx(rift(logits, target).item(), rel=1e-12)


def test_gradient_is_finite_where_a_class_is_certain_and_nothing_is_labelled():
    logits = torch.full((1, K, 2, 2), -80.0, requires_grad=True)
    with torch.no_grad():
        logits[:, 0] = 80.0
    certain, wrong = torch.zeros(1, 2, 2, dtype=torch.int64), torch.ones(1, 2, 2, dtype=torch.int64)
    loss = losses.segmentation_loss("focal", [1] * K)
    for target in (certain, wrong, torch.full_like(certain, 255)):
        (gradient,) = torch.autograd.grad(loss(logits, target), logits)
        assert gradient.isfinite().all()


def test_focal_has_a_gamma_and_nothing_else():
    assert losses.loss_settings("focal") == {"gamma": 2.0}
    with pytest.raises(SarcoverError, match="lambda_focal is no setting of the focal loss; expected gamma"):
        losses.segmentation_loss("focal", [1, 2], lambda_focal=1.0)
