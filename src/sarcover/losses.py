"""Losses of segmentation: functions of logits and labels that leave ignored pixels out.

All of them compute in float32 or better, also under autocast; take (B, K, H, W) logits and (B, H, W) int64
labels in 0..K-1 or `ignore_index`; and are 0 with a gradient of 0 where a batch has no valid pixel.
Equations are those of arXiv 2601.15705, section II, but for RIFT, which is CLAIRE's.

Where several processes train together, the batch of these equations is the global one: neither the mean over
N valid pixels nor the dice ratio of a batch is the mean of those of its parts. So each loss is a function of
sums over pixels, and these are summed over the processes first (`sum_over_processes`); every process gets the
loss of the global batch, and the gradients that DDP or FSDP average are those of one process with all of it.
All processes must call the loss together. Batches whose gradients are accumulated into one step stay apart:
their losses are averaged.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sarcover.errors import SarcoverError
from sarcover.processes import sum_over_processes

Loss = Callable[[Tensor, Tensor], Tensor]


def class_weights(pixel_counts: Tensor) -> Tensor:
    """Subtraction-normalised class weights: equation 1.

    f_k = n_k / sum n, w_k = 1 - f_k, alpha_k = w_k / sum w.

    Args:
        pixel_counts: (K,) labelled pixels of each class in the training split.

    Returns:
        alpha: (K,) float64, sums to 1; the rarer the class, the larger, at most 1 / (K - 1).
    """
    weights = 1 - _frequencies(pixel_counts)
    return weights / weights.sum()


def inverse_sqrt_weights(pixel_counts: Tensor) -> Tensor:
    """Class weights 1 / sqrt(f_k), for focal loss and RIFT as well: (K,) float64, mean 1 over all pixels.

    A class without a pixel gets the weight of the rarest class that has one.
    """
    frequency = _frequencies(pixel_counts)
    weights = frequency.clamp(min=frequency[frequency > 0].min().item()).rsqrt()
    return weights / (frequency * weights).sum()


def focal_dice_loss(
    logits: Tensor,
    target: Tensor,
    alpha: Tensor,
    *,
    alpha_scale: float = 2.25,
    gamma: float = 1.1,
    lambda_focal: float = 0.57,
    lambda_dice: float = 0.32,
    eps: float = 1e-6,
    ignore_index: int = 255,
) -> Tensor:
    """Focal plus dice loss with scaled class weights: equations 2 to 4.

    Dice is averaged over all K classes, as equation 3 says, also over those that no label of the batch has.
    Such a class adds 1 - eps / (P + eps), P its summed probability: a constant 1 / K in the loss as soon as
    P >> eps, so the loss of small batches is larger than that of big ones. The logits hardly feel it: its
    gradient is of the order of eps / P. Leaving it out of the mean would instead weigh the other classes by
    K / (those present), which changes from batch to batch; here each always has 1 / K.

    Args:
        logits: (B, K, H, W).
        target: (B, H, W) int64, 0..K-1 or `ignore_index`.
        alpha: (K,) weights of the classes in the focal term, of `class_weights`.
        alpha_scale: factor on `alpha`.
        gamma: focusing parameter; 0 is a weighted cross-entropy.
        lambda_focal: weight of the focal term (mean over valid pixels).
        lambda_dice: weight of the dice term.
        eps: inside the logarithm and the dice ratio.
        ignore_index: label of pixels that do not count.

    Returns:
        Scalar, float32 (float64 for float64 logits); at least 0, but for the eps in the logarithm.
    """
    logits, target, valid = _prepared(logits, target, ignore_index)
    _, K, *_ = logits.shape
    probability = logits.softmax(1)
    p_t = probability.gather(1, target[:, None])[:, 0]
    weight = alpha_scale * alpha.to(logits)[target]
    focal = _focal(weight, 1 - p_t, torch.log(p_t + eps), gamma)
    labelled = _one_hot(target, valid, K)
    focal_sum, pixels, *areas = sum_over_processes(
        torch.where(valid, focal, 0.0).sum(), valid.sum(), *_areas(probability, labelled, valid[:, None])
    )
    return lambda_focal * focal_sum / pixels.clamp(min=1) + lambda_dice * _dice_loss(areas, eps)


def cross_entropy(
    logits: Tensor, target: Tensor, weights: Tensor | None = None, *, ignore_index: int = 255
) -> Tensor:
    """Cross-entropy over valid pixels; with class weights (K,) the weighted mean over them.

    Args and result as in `focal_dice_loss`.
    """
    logits, target, valid = _prepared(logits, target, ignore_index)
    loss = F.cross_entropy(logits, target, reduction="none")
    weight = valid.to(logits) if weights is None else valid * weights.to(logits)[target]
    loss_sum, weight_sum = sum_over_processes((loss * weight).sum(), weight.sum())
    return loss_sum / weight_sum.clamp(min=torch.finfo(logits.dtype).tiny)


def bce_dice_loss(
    logits: Tensor, target: Tensor, *, lambda_dice: float = 1.0, eps: float = 1e-6, ignore_index: int = 255
) -> Tensor:
    """Binary cross-entropy plus soft dice over valid pixels: section II, "water detection loss".

    Args:
        logits: (B, 1, H, W); the class is there where sigmoid(logits) is high.
        target: (B, H, W) int64, 1, 0 or `ignore_index`.
        lambda_dice: weight of the dice term.
        eps: in the dice ratio.
        ignore_index: label of pixels that do not count.

    Returns:
        Scalar >= 0, float32 (float64 for float64 logits).
    """
    logits, target, valid = _prepared(logits, target, ignore_index)
    if logits.shape[1] != 1:
        raise ValueError(f"binary logits are (B, 1, H, W), got {tuple(logits.shape)}")
    entropy = F.binary_cross_entropy_with_logits(logits[:, 0], target.to(logits), reduction="none")
    labelled = ((target == 1) & valid)[:, None]
    entropy_sum, pixels, *areas = sum_over_processes(
        torch.where(valid, entropy, 0.0).sum(),
        valid.sum(),
        *_areas(logits.sigmoid(), labelled, valid[:, None]),
    )
    return entropy_sum / pixels.clamp(min=1) + lambda_dice * _dice_loss(areas, eps)


def rift_loss(
    logits: Tensor,
    target: Tensor,
    weights: Tensor,
    *,
    gamma: float = 2.0,
    tversky_alpha: float = 0.3,
    tversky_beta: float = 0.7,
    lambda_focal: float = 0.5,
    lambda_tversky: float = 0.5,
    eps: float = 1e-6,
    ignore_index: int = 255,
) -> Tensor:
    """RIFT, the Rare-Instance Focal-Tversky loss of CLAIRE (arXiv 2509.11952).

        focal    = -1/N sum_n w_y(n) (1 - p_y(n))^gamma log p_y(n)       over the N valid pixels
        TP_c = sum_n p_c g_c,  FP_c = sum_n p_c (1 - g_c),  FN_c = sum_n (1 - p_c) g_c
        tversky  = 1 - 1/K sum_c (TP_c + eps) / (TP_c + alpha FP_c + beta FN_c + eps)
        RIFT     = lambda_focal focal + lambda_tversky tversky

    p: softmax probability, g: one-hot label. The paper states a hybrid of weighted focal and Tversky loss;
    its equation, weights and constants were not at hand. So the terms are those of Lin et al. 2017 (arXiv
    1708.02002) and Salehi et al. 2017 (arXiv 1706.05721) with their common defaults: gamma 2, alpha .3 on
    false and beta .7 on missed pixels (the names are swapped in some papers), equal parts of both. The focal
    term is the plain mean over valid pixels, with the exact log p of log-softmax; eps is in the ratio alone.
    As to a class that no label of the batch has, see `focal_dice_loss`.

    Args:
        logits: (B, K, H, W).
        target: (B, H, W) int64, 0..K-1 or `ignore_index`.
        weights: (K,) weights w of the classes in the focal term; `segmentation_loss` gives those of
            `inverse_sqrt_weights`, of the training split's frequencies.
        gamma: focusing parameter; 0 is a weighted cross-entropy.
        tversky_alpha: weight of false positives; with alpha = beta = .5 the ratio is dice.
        tversky_beta: weight of false negatives.
        lambda_focal: weight of the focal term.
        lambda_tversky: weight of the Tversky term.
        eps: in the Tversky ratio.
        ignore_index: label of pixels that do not count.

    Returns:
        Scalar >= 0, float32 (float64 for float64 logits).
    """
    logits, target, valid = _prepared(logits, target, ignore_index)
    _, K, *_ = logits.shape
    log_probability = logits.log_softmax(1)
    log_p = log_probability.gather(1, target[:, None])[:, 0]
    focal = _focal(weights.to(logits)[target], -torch.expm1(log_p), log_p, gamma)
    labelled = _one_hot(target, valid, K)
    focal_sum, pixels, *areas = sum_over_processes(
        torch.where(valid, focal, 0.0).sum(),
        valid.sum(),
        *_areas(log_probability.exp(), labelled, valid[:, None]),
    )
    overlap, predicted, reference = areas
    wrong = tversky_alpha * (predicted - overlap) + tversky_beta * (reference - overlap)
    tversky = 1 - ((overlap + eps) / (overlap + wrong + eps)).mean()
    return lambda_focal * focal_sum / pixels.clamp(min=1) + lambda_tversky * tversky


def focal_loss(
    logits: Tensor, target: Tensor, weights: Tensor, *, gamma: float = 2.0, ignore_index: int = 255
) -> Tensor:
    """Alpha-balanced focal loss over valid pixels (Lin et al. 2017, arXiv 1708.02002).

        focal = -1/N sum_n alpha_y(n) (1 - p_y(n))^gamma log p_y(n)

    That of SpecSAR-Former (arXiv 2410.03962), whose alpha and gamma were not at hand: gamma is the common 2,
    and `segmentation_loss` gives `inverse_sqrt_weights` for alpha, as to RIFT.

    Args:
        logits: (B, K, H, W).
        target: (B, H, W) int64, 0..K-1 or `ignore_index`.
        weights: (K,) alpha of each class.
        gamma: focusing parameter; 0 is a weighted cross-entropy.
        ignore_index: label of pixels that do not count.

    Returns:
        Scalar >= 0, float32 (float64 for float64 logits).
    """
    logits, target, valid = _prepared(logits, target, ignore_index)
    log_p = logits.log_softmax(1).gather(1, target[:, None])[:, 0]
    focal = _focal(weights.to(logits)[target], -torch.expm1(log_p), log_p, gamma)
    focal_sum, pixels = sum_over_processes(torch.where(valid, focal, 0.0).sum(), valid.sum())
    return focal_sum / pixels.clamp(min=1)


LOSSES: dict[str, Callable[..., Tensor]] = {
    "cross-entropy": cross_entropy,
    "focal": focal_loss,
    "focal-dice": focal_dice_loss,
    "bce-dice": bce_dice_loss,
    "rift": rift_loss,
}
_NO_SETTINGS = ("eps", "ignore_index")


def loss_settings(name: str) -> dict[str, float]:
    """The numbers that a recipe may choose for a loss, with the values they have if it does not.

    Args:
        name: one of `LOSSES`.

    Raises:
        SarcoverError: an unknown name.
    """
    if name not in LOSSES:
        raise SarcoverError(f"no loss is called {name!r}", expected=" or ".join(LOSSES))
    parameters = inspect.signature(LOSSES[name]).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in _NO_SETTINGS}


def segmentation_loss(
    name: str, class_counts: Sequence[int] | Tensor, *, class_weighted: bool = False, **settings: float
) -> Loss:
    """The loss of a recipe, by name, with its class weights made of the training split's counts.

    Args:
        name: one of `LOSSES`.
        class_counts: (K,) labelled pixels of each class in the training split.
        class_weighted: weight cross-entropy by the inverse square root of the class frequency.
        settings: some of `loss_settings(name)`.

    Returns:
        A function of logits (B, K, H, W), (B, 1, H, W) for bce-dice, and labels (B, H, W).

    Raises:
        SarcoverError: an unknown name, or a setting that this loss does not have.
    """
    known = loss_settings(name)
    for key in settings:
        if key not in known:
            raise SarcoverError(
                f"{key} is no setting of the {name} loss", expected=" or ".join(known) or "no setting"
            )
    if class_weighted and name != "cross-entropy":
        raise SarcoverError(
            "class_weights is a setting of the cross-entropy loss",
            do="leave it off, or choose --loss cross-entropy",
        )
    counts = torch.as_tensor(class_counts)
    weights: dict[str, Any] = {}
    if name == "cross-entropy" and class_weighted:
        weights = {"weights": inverse_sqrt_weights(counts)}
    if name == "focal-dice":
        weights = {"alpha": class_weights(counts)}
    if name in ("focal", "rift"):
        weights = {"weights": inverse_sqrt_weights(counts)}
    return partial(LOSSES[name], **weights, **settings)


def _frequencies(pixel_counts: Tensor) -> Tensor:
    """Share of each class, (K,) float64."""
    counts = torch.as_tensor(pixel_counts).to(torch.float64)
    if counts.ndim != 1 or counts.numel() < 2 or bool((counts < 0).any()) or not counts.sum() > 0:
        raise SarcoverError(
            "class weights need the pixel counts of the training split",
            expected="two or more classes and at least one labelled pixel",
            got=str(counts.tolist()),
        )
    return counts / counts.sum()


def _prepared(logits: Tensor, target: Tensor, ignore_index: int) -> tuple[Tensor, Tensor, Tensor]:
    """Logits in float32 or better, labels with 0 in place of the ignored ones, and where they are valid."""
    if logits.ndim != 4 or target.shape != logits.shape[:1] + logits.shape[2:]:
        raise ValueError(
            f"logits (B, K, H, W) and labels (B, H, W) expected, got {tuple(logits.shape)} and "
            f"{tuple(target.shape)}"
        )
    valid = target != ignore_index
    target = torch.where(valid, target, 0)
    return logits if logits.dtype == torch.float64 else logits.float(), target, valid


def _focal(weight: Tensor, missing: Tensor, log_p: Tensor, gamma: float) -> Tensor:
    """-weight (1 - p)^gamma log p of each pixel, all (B, H, W); `missing` is 1 - p of the labelled class."""
    # At 0 the gradient of a power gamma < 1 is infinite, though that on the logits goes to 0: so it is 0.
    missing = missing.clamp(min=torch.finfo(missing.dtype).tiny)
    return -weight * missing**gamma * log_p


def _one_hot(target: Tensor, valid: Tensor, K: int) -> Tensor:
    """Labels (B, H, W) as (B, K, H, W) bool; nothing where they are not valid."""
    return (target[:, None] == torch.arange(K, device=target.device)[:, None, None]) & valid[:, None]


def _areas(probability: Tensor, labelled: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The three sums of equation 3 for each class, each (K,): p g, p and g over the valid pixels.

    probability: (B, K, H, W); labelled: (B, K, H, W) bool, the one-hot labels; valid: (B, 1, H, W) bool.
    """
    pixels = (0, 2, 3)
    overlap = torch.where(labelled, probability, 0.0).sum(pixels)
    predicted = torch.where(valid, probability, 0.0).sum(pixels)
    return overlap, predicted, labelled.sum(pixels)


def _dice_loss(areas: Sequence[Tensor], eps: float) -> Tensor:
    """Equation 3 of its sums, as `_areas` gives them; 0 if there is no pixel."""
    overlap, predicted, labelled = areas
    return 1 - ((2 * overlap + eps) / (predicted + labelled + eps)).mean()
