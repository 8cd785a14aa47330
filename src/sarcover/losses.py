"""Losses of segmentation: functions of logits and labels that leave ignored pixels out.

All of them compute in float32 or better, also under autocast; take (B, K, H, W) logits and (B, H, W) int64
labels in 0..K-1 or `ignore_index`; and are 0 with a gradient of 0 where a batch has no valid pixel.
Equations are those of arXiv 2601.15705, section II.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from sarcover.errors import SarcoverError

Loss = Callable[[Tensor, Tensor], Tensor]
LOSSES = ("cross-entropy", "focal-dice")


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
    """Class weights 1 / sqrt(f_k) for cross-entropy: (K,) float64, mean 1 over the pixels counted.

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

    Dice is averaged over all K classes, as equation 3 says. So a class that no label of the batch has adds
    1 - eps / (sum p + eps): nearly 1 as soon as any probability is on it, 0 only if none is. It pushes down
    what the batch cannot show, and makes the loss of small batches larger than that of big ones.

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
        Scalar >= 0, float32 (float64 for float64 logits).
    """
    logits, target, valid = _prepared(logits, target, ignore_index)
    _, K, *_ = logits.shape
    probability = logits.softmax(1)
    p_t = probability.gather(1, target[:, None])[:, 0]
    weight = alpha_scale * alpha.to(logits)[target]
    # Below 1e-12 only the gradient matters: that of a power gamma < 1 is infinite at 0.
    focal = -weight * (1 - p_t).clamp(min=1e-12) ** gamma * torch.log(p_t + eps)
    labelled = (target[:, None] == torch.arange(K, device=target.device)[:, None, None]) & valid[:, None]
    dice = _dice_coefficient(probability, labelled, valid[:, None], eps)
    return lambda_focal * _mean(focal, valid) + lambda_dice * (1 - dice.mean())


def cross_entropy(
    logits: Tensor, target: Tensor, weights: Tensor | None = None, *, ignore_index: int = 255
) -> Tensor:
    """Cross-entropy over valid pixels; with class weights (K,) the weighted mean over them.

    Args and result as in `focal_dice_loss`.
    """
    logits, target, valid = _prepared(logits, target, ignore_index)
    loss = F.cross_entropy(logits, target, reduction="none")
    weight = valid.to(logits) if weights is None else valid * weights.to(logits)[target]
    return (loss * weight).sum() / weight.sum().clamp(min=torch.finfo(logits.dtype).tiny)


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
    dice = _dice_coefficient(logits.sigmoid(), labelled, valid[:, None], eps)
    return _mean(entropy, valid) + lambda_dice * (1 - dice.mean())


def segmentation_loss(
    name: str, class_counts: Sequence[int] | Tensor, *, class_weighted: bool = False
) -> Loss:
    """The loss of a recipe, by name, with its class weights made of the training split's counts.

    Args:
        name: "cross-entropy" or "focal-dice".
        class_counts: (K,) labelled pixels of each class in the training split.
        class_weighted: weight cross-entropy by the inverse square root of the class frequency.

    Returns:
        A function of logits (B, K, H, W) and labels (B, H, W).
    """
    counts = torch.as_tensor(class_counts)
    if name == "cross-entropy":
        return partial(cross_entropy, weights=inverse_sqrt_weights(counts) if class_weighted else None)
    if name == "focal-dice":
        if class_weighted:
            raise SarcoverError(
                "class_weights is a setting of the cross-entropy loss",
                do="leave it off: focal-dice always weights its classes (equation 1)",
            )
        return partial(focal_dice_loss, alpha=class_weights(counts))
    raise SarcoverError(f"no loss is called {name!r}", expected=" or ".join(LOSSES))


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


def _mean(loss: Tensor, valid: Tensor) -> Tensor:
    """Mean of (B, H, W) over the valid pixels; 0 if there is none."""
    return torch.where(valid, loss, 0.0).sum() / valid.sum().clamp(min=1)


def _dice_coefficient(probability: Tensor, labelled: Tensor, valid: Tensor, eps: float) -> Tensor:
    """The dice ratio of equation 3 for each class: (K,).

    probability: (B, K, H, W); labelled: (B, K, H, W) bool, the one-hot labels; valid: (B, 1, H, W) bool.
    """
    pixels = (0, 2, 3)
    overlap = torch.where(labelled, probability, 0.0).sum(pixels)
    predicted = torch.where(valid, probability, 0.0).sum(pixels)
    return (2 * overlap + eps) / (predicted + labelled.sum(pixels) + eps)
