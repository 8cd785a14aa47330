"""Losses against independent NumPy in float64, and what training relies on."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcover import losses
from sarcover.errors import SarcoverError

K = 5


def example(seed=0, batch=2, classes=K, height=6, width=7, ignored=0.2):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (batch, classes, height, width))
    target = rng.integers(0, classes, (batch, height, width))
    target[rng.random(target.shape) < ignored] = 255
    counts = rng.integers(1, 1000, classes)
    return logits, target, counts


def softmax(logits):
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def numpy_alpha(counts):
    weights = 1 - counts / counts.sum()
    return weights / weights.sum()


def numpy_focal_dice(logits, target, alpha, scale, gamma, lambda_focal, lambda_dice, eps):
    """Equations 2 to 4, pixel by pixel."""
    probability = softmax(logits)
    classes = logits.shape[1]
    focal, pixels = 0.0, 0
    overlap, predicted, labelled = np.zeros(classes), np.zeros(classes), np.zeros(classes)
    for b, row, column in np.argwhere(target != 255):
        p, label = probability[b, :, row, column], target[b, row, column]
        focal += -scale * alpha[label] * (1 - p[label]) ** gamma * np.log(p[label] + eps)
        pixels += 1
        overlap[label] += p[label]
        predicted += p
        labelled[label] += 1
    dice = 1 - np.mean((2 * overlap + eps) / (predicted + labelled + eps))
    return lambda_focal * focal / pixels + lambda_dice * dice


def torch_args(logits, target):
    return torch.tensor(logits), torch.tensor(target)


def test_class_weights_are_equation_1():
    _, _, counts = example()
    alpha = losses.class_weights(torch.tensor(counts))
    assert alpha.dtype == torch.float64
    np.testing.assert_allclose(alpha.numpy(), numpy_alpha(counts), rtol=1e-14)


def test_published_weights_come_back_from_the_published_class_shares():
    """The authors' nine weights are those of the class shares .092 (water) to .0067 (greenhouse)."""
    published = [0.11347487, 0.10774269, 0.10684644, 0.11319541, 0.06752731]
    published += [0.12183155, 0.12457897, 0.12064208, 0.12416070]
    shares = 1 - 8 * np.array(published)
    np.testing.assert_allclose(shares[[4, 6]], [0.4598, 0.0034], atol=5e-5)
    pixels = torch.tensor(np.round(shares * 80_497 * 256**2))
    np.testing.assert_allclose(losses.class_weights(pixels), published, atol=2e-8)


@pytest.mark.parametrize("counts", [[0, 0, 0], [5], [], [3, -1]])
def test_counts_without_meaning_are_refused(counts):
    with pytest.raises(SarcoverError, match="pixel counts"):
        losses.class_weights(torch.tensor(counts))


def test_class_without_pixels_gets_the_rarest_weight_in_cross_entropy():
    weights = losses.inverse_sqrt_weights(torch.tensor([900, 100, 0]))
    np.testing.assert_allclose(weights / weights[0], [1, 3, 3])
    assert (weights * torch.tensor([0.9, 0.1, 0.0])).sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("scale", "gamma", "focal", "dice", "eps"),
    [
        (2.25, 1.1, 0.57, 0.32, 1e-6),
        (1.0, 2.0, 1.0, 0.0, 1e-6),
        (0.5, 0.5, 0.0, 1.0, 1e-3),
        (1, 0, 1, 1, 1e-6),
    ],
)
def test_focal_dice_is_equations_2_to_4(scale, gamma, focal, dice, eps):
    logits, target, counts = example()
    alpha = numpy_alpha(counts)
    loss = losses.focal_dice_loss(
        *torch_args(logits, target),
        torch.tensor(alpha),
        alpha_scale=scale,
        gamma=gamma,
        lambda_focal=focal,
        lambda_dice=dice,
        eps=eps,
    )
    expected = numpy_focal_dice(logits, target, alpha, scale, gamma, focal, dice, eps)
    assert loss.item() == pytest.approx(expected, abs=1e-10)


def test_focal_dice_defaults_are_the_papers():
    logits, target, counts = example(seed=3)
    loss = losses.segmentation_loss("focal-dice", counts.tolist())(*torch_args(logits, target))
    expected = numpy_focal_dice(logits, target, numpy_alpha(counts), 2.25, 1.1, 0.57, 0.32, 1e-6)
    assert loss.item() == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_is_the_weighted_mean_over_valid_pixels(weighted):
    logits, target, counts = example()
    loss = losses.segmentation_loss("cross-entropy", counts.tolist(), class_weighted=weighted)
    weights = 1 / np.sqrt(counts / counts.sum()) if weighted else np.ones(K)
    probability, total, weight = softmax(logits), 0.0, 0.0
    for b, row, column in np.argwhere(target != 255):
        label = target[b, row, column]
        total -= weights[label] * np.log(probability[b, label, row, column])
        weight += weights[label]
    assert loss(*torch_args(logits, target)).item() == pytest.approx(total / weight, abs=1e-10)


def test_bce_dice_is_cross_entropy_plus_dice():
    logits, target, _ = example(classes=1)
    target = np.where(target == 255, 255, np.random.default_rng(1).integers(0, 2, target.shape))
    valid = target != 255
    p, g = 1 / (1 + np.exp(-logits[:, 0][valid])), target[valid]
    entropy = -np.mean(g * np.log(p) + (1 - g) * np.log(1 - p))
    dice = 1 - (2 * (p * g).sum() + 1e-6) / (p.sum() + g.sum() + 1e-6)
    loss = losses.bce_dice_loss(*torch_args(logits, target), lambda_dice=0.7)
    assert loss.item() == pytest.approx(entropy + 0.7 * dice, abs=1e-10)


def every_loss():
    alpha = torch.full((K,), 1 / K, dtype=torch.float64)
    yield pytest.param(lambda z, y: losses.focal_dice_loss(z, y, alpha), K, id="focal-dice")
    yield pytest.param(lambda z, y: losses.focal_dice_loss(z, y, alpha, gamma=0.5), K, id="gamma<1")
    yield pytest.param(losses.cross_entropy, K, id="cross-entropy")
    yield pytest.param(lambda z, y: losses.cross_entropy(z, y, alpha), K, id="weighted cross-entropy")
    yield pytest.param(losses.bce_dice_loss, 1, id="bce-dice")


@pytest.mark.parametrize(("loss", "classes"), every_loss())
def test_gradient_is_that_of_the_value(loss, classes):
    logits, target, _ = example(classes=classes, height=3, width=4)
    logits, target = torch_args(logits, np.where(target == 255, 255, target % max(classes, 2)))
    assert torch.autograd.gradcheck(lambda z: loss(z, target), logits.requires_grad_())


@pytest.mark.parametrize(("loss", "classes"), every_loss())
def test_batch_without_valid_pixels_costs_nothing(loss, classes):
    logits = torch.randn(2, classes, 4, 4, requires_grad=True)
    value = loss(logits, torch.full((2, 4, 4), 255))
    value.backward()
    assert value.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize(("loss", "classes"), every_loss())
def test_ignored_pixels_neither_count_nor_learn(loss, classes):
    logits, target, _ = example(classes=classes)
    logits, target = torch_args(logits, np.where(target == 255, 255, target % max(classes, 2)))
    ignored = (target == 255)[:, None].expand_as(logits)
    elsewhere = torch.where(ignored, 30.0, logits).requires_grad_()
    value = loss(elsewhere, target)
    value.backward()
    assert value.item() == pytest.approx(loss(logits, target).item(), abs=1e-12)
    assert not elsewhere.grad[ignored].any()
    assert elsewhere.grad[~ignored].all()


@pytest.mark.parametrize(("loss", "classes"), every_loss())
def test_extreme_logits_keep_value_and_gradient_finite(loss, classes):
    logits = torch.tensor([-200.0, 200.0, 0.0, 88.0]).repeat(2, classes, 4, 1).requires_grad_()
    target = torch.randint(0, max(classes, 2), (2, 4, 4), generator=torch.Generator().manual_seed(0))
    value = loss(logits, target)
    value.backward()
    assert value.isfinite()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("loss", "classes"), every_loss())
def test_half_precision_logits_are_computed_in_float32(loss, classes, dtype):
    logits, target, _ = example(classes=classes)
    logits, target = torch_args(logits, np.where(target == 255, 255, target % max(classes, 2)))
    with torch.autocast("cpu", dtype):
        value = loss(logits.to(dtype), target)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(loss(logits.to(dtype).double(), target).item(), rel=1e-5)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), order=st.permutations(range(K)))
def test_names_of_classes_and_places_of_pixels_do_not_matter(seed, order):
    logits, target, counts = example(seed, height=3, width=4)
    renamed = np.append(np.argsort(order), 255)[np.where(target == 255, K, target)]
    places = np.random.default_rng(seed).permutation(target.size)

    def shuffled(values):  # (2, k, 3, 4) with the pixels of both images exchanged
        flat = np.moveaxis(values, 1, 0).reshape(values.shape[1], -1)[:, places]
        return np.moveaxis(flat.reshape(-1, 2, 3, 4), 0, 1)

    before = losses.segmentation_loss("focal-dice", counts.tolist())(*torch_args(logits, target))
    after = losses.segmentation_loss("focal-dice", counts[list(order)].tolist())(
        *torch_args(shuffled(logits[:, list(order)]), shuffled(renamed[:, None])[:, 0])
    )
    assert after.item() == pytest.approx(before.item(), abs=1e-12)


def test_absent_class_costs_dice_only_where_probability_is_on_it():
    target = torch.zeros(1, 2, 2, dtype=torch.int64)
    certain = torch.tensor([100.0, -100.0]).view(1, 2, 1, 1).expand(1, 2, 2, 2).double()
    alpha = torch.tensor([0.5, 0.5])
    only_dice = {"lambda_focal": 0.0, "lambda_dice": 1.0}
    assert losses.focal_dice_loss(certain, target, alpha, **only_dice).item() == pytest.approx(0, abs=1e-12)
    unsure = losses.focal_dice_loss(certain * 0, target, alpha, **only_dice).item()
    assert unsure == pytest.approx(1 - (2 * 2 / (2 + 4) + 0) / 2, abs=1e-6)


def test_unknown_names_and_misplaced_weights_are_refused():
    with pytest.raises(SarcoverError, match="cross-entropy or focal-dice"):
        losses.segmentation_loss("dice", [1, 2])
    with pytest.raises(SarcoverError, match="setting of the cross-entropy"):
        losses.segmentation_loss("focal-dice", [1, 2], class_weighted=True)


def test_labels_of_another_size_are_refused():
    with pytest.raises(ValueError, match="expected"):
        losses.cross_entropy(torch.zeros(1, 3, 4, 4), torch.zeros(1, 1, 4, dtype=torch.int64))
