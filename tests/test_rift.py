"""The RIFT loss against independent NumPy in float64. What all losses share is in test_losses.py."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcover import losses
from sarcover.config import FinetuneSettings
from sarcover.errors import SarcoverError
from sarcover.training.objective import recipe_loss, settle

NUMBERS = {"gamma": 2.0, "alpha": 0.3, "beta": 0.7, "focal": 0.5, "tversky": 0.5}  # the documented defaults


def example(seed=0, batch=2, classes=5, height=6, width=7, ignored=0.2, spread=2.0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, spread, (batch, classes, height, width))
    target = rng.integers(0, classes, (batch, height, width))
    target[rng.random(target.shape) < ignored] = 255
    return logits, target, rng.integers(1, 1000, classes)


def numpy_rift(logits, target, weights, gamma, alpha, beta, focal, tversky, eps=1e-6):
    """Facts A3, pixel by pixel; log p by log-sum-exp."""
    classes = logits.shape[1]
    true, false, missed, cost, pixels = np.zeros(classes), np.zeros(classes), np.zeros(classes), 0.0, 0
    for b, row, column in np.argwhere(target != 255):
        z, label = logits[b, :, row, column], target[b, row, column]
        log_p = z - z.max() - np.log(np.exp(z - z.max()).sum())
        p, g = np.exp(log_p), np.arange(classes) == label
        others = p[~g].sum()  # 1 - p_t, without cancellation
        cost -= weights[label] * others**gamma * log_p[label]
        pixels += 1
        true, false, missed = true + p * g, false + p * ~g, missed + g * np.where(g, others, 0)
    if not pixels:
        return 0.0
    index = (true + eps) / (true + alpha * false + beta * missed + eps)
    return focal * cost / pixels + tversky * np.mean(1 - index)


def torch_rift(logits, target, weights, gamma, alpha, beta, focal, tversky, eps=1e-6):
    names = {"tversky_alpha": alpha, "tversky_beta": beta, "lambda_focal": focal, "lambda_tversky": tversky}
    arguments = torch.tensor(logits), torch.tensor(target), torch.tensor(weights)
    return losses.rift_loss(*arguments, gamma=gamma, eps=eps, **names)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    shape=st.tuples(st.integers(1, 3), st.integers(2, 7), st.integers(1, 7), st.integers(1, 7)),
    ignored=st.sampled_from([0.0, 0.3, 0.95, 1.0]),
    spread=st.sampled_from([0.1, 2.0, 30.0]),
    numbers=st.tuples(*[st.floats(0, 3)] * 4),
    gamma=st.just(0.0) | st.floats(0.5, 3),
)
def test_rift_is_the_formula_for_any_batch(seed, shape, ignored, spread, numbers, gamma):
    logits, target, counts = example(seed, *shape, ignored, spread)
    weights = 1 / np.sqrt(counts / counts.sum())
    numbers = dict(zip(("alpha", "beta", "focal", "tversky"), numbers, strict=True), gamma=gamma)
    loss = torch_rift(logits, target, weights, **numbers)
    assert loss.dtype == torch.float64
    assert loss.item() == pytest.approx(numpy_rift(logits, target, weights, **numbers), abs=1e-10, rel=1e-12)


@pytest.mark.parametrize("eps", [1e-6, 1e-2])
def test_eps_is_in_the_tversky_ratio_alone(eps):
    logits, target, _ = example(seed=4)
    weights = np.linspace(0.5, 2, 5)
    loss = torch_rift(logits, target, weights, **NUMBERS, eps=eps)
    assert loss.item() == pytest.approx(numpy_rift(logits, target, weights, **NUMBERS, eps=eps), abs=1e-10)
    only_focal = {**NUMBERS, "tversky": 0.0}
    assert torch.equal(
        torch_rift(logits, target, weights, **only_focal, eps=eps),
        torch_rift(logits, target, weights, **only_focal, eps=0.5),
    )


def test_a_recipe_has_the_documented_defaults_and_weights():
    """Weights 1 / sqrt(f), brought to mean 1 over the training pixels."""
    logits, target, counts = example(seed=5)
    share = counts / counts.sum()
    weights = share**-0.5 / (share * share**-0.5).sum()
    assert (share * weights).sum() == pytest.approx(1)
    loss = losses.segmentation_loss("rift", counts.tolist())(torch.tensor(logits), torch.tensor(target))
    assert loss.item() == pytest.approx(numpy_rift(logits, target, weights, **NUMBERS), abs=1e-10)


def test_settings_reach_the_loss_and_claire_has_it_by_default():
    settled = settle(FinetuneSettings(data="d", out="o", model="claire", tversky_beta=0.9))
    assert (settled.loss, settled.gamma, settled.lambda_tversky) == ("rift", 2.0, 0.5)
    logits, target, counts = example(seed=6)
    share = counts / counts.sum()
    weights = share**-0.5 / (share * share**-0.5).sum()
    loss = recipe_loss(settled, counts.tolist())(torch.tensor(logits), torch.tensor(target))
    expected = numpy_rift(logits, target, weights, **{**NUMBERS, "beta": 0.9})
    assert loss.item() == pytest.approx(expected, abs=1e-10)
    with pytest.raises(SarcoverError, match="tversky_alpha is no setting of the focal-dice loss"):
        settle(FinetuneSettings(data="d", out="o", model="unet", tversky_alpha=0.5))
    nothing = {"loss": "rift", "lambda_focal": 0.0, "lambda_tversky": 0.0}
    with pytest.raises(SarcoverError, match="lambda_focal and lambda_tversky; expected one of them above 0"):
        settle(FinetuneSettings(data="d", out="o", model="unet", **nothing))


def test_with_equal_halves_tversky_is_dice():
    logits, target, _ = example(seed=1)
    arguments = torch.tensor(logits), torch.tensor(target), torch.ones(5)
    only = {"lambda_focal": 0.0, "eps": 1e-12}
    tversky = losses.rift_loss(*arguments, tversky_alpha=0.5, tversky_beta=0.5, lambda_tversky=1.0, **only)
    dice = losses.focal_dice_loss(*arguments, lambda_dice=1.0, **only)
    assert tversky.item() == pytest.approx(dice.item(), abs=1e-10)


def test_beta_above_alpha_makes_missing_a_rare_class_dearer_than_finding_too_much():
    target = torch.zeros(1, 10, 10, dtype=torch.int64)
    target[0, :2, :5] = 1  # 10 rare pixels
    too_few, too_many = target.clone(), target.clone()
    too_few[0, 1] = 0  # 5 of them missed
    too_many[0, 2, :5] = 1  # 5 pixels too many
    cost = {}
    for name, found in (("few", too_few), ("many", too_many)):
        logits = 40.0 * torch.nn.functional.one_hot(found, 2).movedim(-1, 1).double()
        cost[name] = losses.rift_loss(logits, target, torch.ones(2), lambda_focal=0.0).item()
    assert cost["few"] > 1.5 * cost["many"]


def test_certain_and_wrong_in_half_precision_is_finite_with_the_exact_logarithm():
    """Logits of +-300: p_t underflows to 0 in float32, its logarithm is -600."""
    logits = torch.tensor([300.0, -300.0]).view(1, 2, 1, 1).repeat(1, 1, 2, 2)
    target = torch.ones(1, 2, 2, dtype=torch.int64)
    for dtype in (torch.float16, torch.bfloat16):
        z = logits.to(dtype).requires_grad_()
        with torch.autocast("cpu", dtype):
            value = losses.rift_loss(z, target, torch.ones(2), lambda_focal=1.0, lambda_tversky=0.0)
        value.backward()
        assert value.dtype == torch.float32
        expected = 2 * logits.to(dtype)[0, 0, 0, 0].item()
        assert value.item() == pytest.approx(expected, rel=1e-6)
        assert z.grad.isfinite().all()
        assert z.grad.any()
