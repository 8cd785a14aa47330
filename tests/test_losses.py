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
    shares = 1 - 8 * np.array(published)  # the weights of 9 classes sum to 1, the w_k of equation 1 to 8
    expected = [0.0922, 0.1381, 0.1452, 0.0944, 0.4598, 0.0253, 0.0034, 0.0349, 0.0067]
    np.testing.assert_allclose(shares, expected, atol=5e-5)
    np.testing.assert_allclose(shares.sum(), 1, atol=2e-7)
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


shapes = st.tuples(*(st.integers(1, high) for high in (3, 6, 7, 7)))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    shape=shapes,
    ignored=st.sampled_from([0.0, 0.3, 0.95, 1.0]),
    spread=st.sampled_from([0.1, 2.0, 30.0]),
    numbers=st.tuples(*[st.floats(0, 3)] * 3),
    gamma=st.just(0.0) | st.floats(0.5, 3),  # between, rounding of 1 - p alone is 1e-16 ** gamma
)
def test_focal_dice_is_the_formula_for_any_batch(seed, shape, ignored, spread, numbers, gamma):
    batch, classes, height, width = shape
    logits, target, counts = example(seed, batch, classes + 1, height, width, ignored)
    logits = logits * spread / 2
    scale, focal, dice = numbers
    given_alpha = torch.tensor(numpy_alpha(counts))
    loss = losses.focal_dice_loss(
        *torch_args(logits, target),
        given_alpha,
        alpha_scale=scale,
        gamma=gamma,
        lambda_focal=focal,
        lambda_dice=dice,
    )
    if (target == 255).all():
        assert loss.item() == 0
    else:
        expected = numpy_focal_dice(logits, target, numpy_alpha(counts), scale, gamma, focal, dice, 1e-6)
        assert loss.item() == pytest.approx(expected, abs=1e-10)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    shape=shapes,
    ignored=st.sampled_from([0.0, 0.3, 0.95, 1.0]),
    water=st.sampled_from([0.0, 0.1, 1.0]),
    lambda_dice=st.floats(0, 3),
)
def test_bce_dice_is_the_formula_for_any_batch(seed, shape, ignored, water, lambda_dice):
    batch, _, height, width = shape
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (batch, 1, height, width))
    target = np.where(rng.random((batch, height, width)) < water, 1, 0)
    target[rng.random(target.shape) < ignored] = 255
    loss = losses.bce_dice_loss(*torch_args(logits, target), lambda_dice=lambda_dice)
    expected = numpy_bce_dice(logits, target, lambda_dice)
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


def numpy_bce_dice(logits, target, lambda_dice):
    """Section II b, over valid pixels; nothing without any."""
    valid = target != 255
    if not valid.any():
        return 0.0
    p, g = 1 / (1 + np.exp(-logits[:, 0][valid])), target[valid]
    entropy = -np.mean(g * np.log(p) + (1 - g) * np.log(1 - p))
    dice = 1 - (2 * (p * g).sum() + 1e-6) / (p.sum() + g.sum() + 1e-6)
    return entropy + lambda_dice * dice


def test_bce_dice_is_cross_entropy_plus_dice_of_equal_weight():
    logits, target, _ = example(classes=1)
    target = np.where(target == 255, 255, np.random.default_rng(1).integers(0, 2, target.shape))
    loss = losses.segmentation_loss("bce-dice", [3, 1])(*torch_args(logits, target))
    assert loss.item() == pytest.approx(numpy_bce_dice(logits, target, 1.0), abs=1e-10)


def every_loss():
    alpha = torch.full((K,), 1 / K, dtype=torch.float64)
    yield pytest.param(lambda z, y: losses.focal_dice_loss(z, y, alpha), K, id="focal-dice")
    yield pytest.param(lambda z, y: losses.focal_dice_loss(z, y, alpha, gamma=0.5), K, id="gamma<1")
    yield pytest.param(losses.cross_entropy, K, id="cross-entropy")
    yield pytest.param(lambda z, y: losses.cross_entropy(z, y, alpha), K, id="weighted cross-entropy")
    yield pytest.param(losses.bce_dice_loss, 1, id="bce-dice")
    yield pytest.param(lambda z, y: losses.rift_loss(z, y, alpha), K, id="rift")
    yield pytest.param(lambda z, y: losses.rift_loss(z, y, alpha, gamma=0.5), K, id="rift gamma<1")


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


def test_absent_class_leaves_each_other_its_share_of_the_dice_and_learns_next_to_nothing():
    """Of three classes the third is absent: the gradient is two thirds of that of the two alone."""
    target = torch.tensor([[[0, 1], [1, 0]]])
    three = torch.randn(1, 3, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    three[:, 2] = -40.0  # hardly any probability on it, but more than eps of it below
    three.requires_grad_()
    two = three[:, :2].detach().requires_grad_()
    for logits in (three, two):
        alpha = torch.ones(logits.shape[1])
        losses.focal_dice_loss(logits, target, alpha, lambda_focal=0.0, lambda_dice=1.0).backward()
    torch.testing.assert_close(three.grad[:, :2], two.grad * 2 / 3, atol=1e-9, rtol=0)
    shown = torch.zeros(1, 3, 2, 2, dtype=torch.float64, requires_grad=True)  # summed probability 4/3
    losses.focal_dice_loss(shown, target, torch.ones(3), lambda_focal=0.0, lambda_dice=1.0).backward()
    of_the_present = torch.zeros(1, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    p = of_the_present.softmax(1)
    g = torch.nn.functional.one_hot(target, 3).movedim(-1, 1)
    ratios = 2 * (p * g).sum((0, 2, 3)) / (p + g).sum((0, 2, 3))
    (-ratios[:2].sum() / 3).backward()
    torch.testing.assert_close(shown.grad, of_the_present.grad, atol=2e-6, rtol=0)


def test_unknown_names_and_misplaced_weights_are_refused():
    with pytest.raises(SarcoverError, match="cross-entropy or focal or focal-dice or bce-dice"):
        losses.segmentation_loss("dice", [1, 2])
    with pytest.raises(SarcoverError, match="gamma is no setting of the bce-dice loss; expected lambda_dice"):
        losses.segmentation_loss("bce-dice", [1, 2], gamma=2.0)
    with pytest.raises(SarcoverError, match="gamma is no setting of the cross-entropy loss"):
        losses.segmentation_loss("cross-entropy", [1, 2], gamma=2.0)
    with pytest.raises(SarcoverError, match="setting of the cross-entropy"):
        losses.segmentation_loss("focal-dice", [1, 2], class_weighted=True)


def test_labels_of_another_size_are_refused():
    with pytest.raises(ValueError, match="expected"):
        losses.cross_entropy(torch.zeros(1, 3, 4, 4), torch.zeros(1, 1, 4, dtype=torch.int64))


def shared_cases():
    """Name, loss, classes and labels of a global batch of four, that two processes share: each takes two."""
    counts = [50, 30, 5, 10, 20]
    _, target, _ = example(seed=7, batch=4)
    uneven = np.where(np.arange(7) < np.array([7, 1, 5, 0])[:, None, None], target, 255)
    one_has_none = np.where(np.array([True, False, True, False])[:, None, None], target, 255)
    for name in losses.LOSSES:
        for weighted in (False, True) if name == "cross-entropy" else (False,):
            loss = losses.segmentation_loss(name, counts, class_weighted=weighted)
            classes = 1 if name == "bce-dice" else K
            for labels in (uneven, one_has_none, np.full_like(target, 255)):
                seen = np.where(labels == 255, 255, labels % max(classes, 2))
                yield f"{name} {weighted} {(seen != 255).sum()}", loss, classes, torch.tensor(seen)


def value_and_gradient(loss, classes, target, part, wrap):
    """Of a convolution on some images of the global batch."""
    torch.manual_seed(0)
    images = torch.randn(4, 2, 6, 7, dtype=torch.float64)
    model = torch.nn.Conv2d(2, classes, 3, padding=1, dtype=torch.float64)
    wrapped = wrap(model)
    value = loss(wrapped(images[part]), target[part])
    value.backward()
    return value.detach(), model.weight.grad, model.bias.grad


def one_of_two(rank, folder):
    torch.distributed.init_process_group("gloo", f"file://{folder}/meeting", world_size=2, rank=rank)
    wrap = torch.nn.parallel.DistributedDataParallel
    part = slice(rank, None, 2)
    results = {name: value_and_gradient(*case, part, wrap) for name, *case in shared_cases()}
    torch.save(results, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_have_the_loss_and_gradient_of_one(tmp_path):
    torch.multiprocessing.spawn(one_of_two, (str(tmp_path),), nprocs=2)
    shared = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    for name, *case in shared_cases():
        alone = value_and_gradient(*case, slice(None), lambda model: model)
        for results in shared:
            for found, expected in zip(results[name], alone, strict=True):
                assert (found - expected).abs().max() <= 1e-12, name
    assert {len(results) for results in shared} == {3 * (len(losses.LOSSES) + 1)}
