"""Learning rates and what they apply to: schedule, parameter groups, layer-wise decay, weight averaging."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from sarcover.models.mixmim import MixMIMEncoder

# Not matrices of a linear map, though they have more than one axis; the released code decays both.
NEVER_DECAYED = ("mask_token", "relative_position_bias_table")
AVERAGE = "average"


def learning_rate(step: float, *, total: float, warmup: float, peak: float, minimum: float = 0.0) -> float:
    """Linear warm-up from 0, then half a cosine from `peak` to `minimum` (as MixMAE and MAE train).

    Args:
        step: steps done so far, 0 <= step <= total; epochs work as well, for all three.
        total: length of the training.
        warmup: length of the warm-up, at its beginning.
    """
    if step < warmup:
        return peak * step / warmup
    share = (step - warmup) / max(total - warmup, 1e-12)
    return minimum + (peak - minimum) * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))


def parameter_groups(
    model: nn.Module,
    weight_decay: float,
    *,
    layer_decay: float = 1.0,
    encoder: MixMIMEncoder | None = None,
) -> list[dict[str, Any]]:
    """Groups for AdamW; each also holds `rate_scale`, the factor on the learning rate.

    Weights decay, except in biases, norms, the mask token and the bias tables. (The released code decays the
    last two.)

    The rate of encoder layer i of n (patch embedding 0, blocks 1..n, each merging with the block after it,
    the final norm with the last block) is scaled by layer_decay^(n + 1 - i). What is not in the encoder
    learns at the full rate. (The released code scales its head by layer_decay^1, like the last block.)

    Args:
        model: what is trained; frozen parameters are left out.
        weight_decay: of the matrices.
        layer_decay: factor from layer to layer, downwards.
        encoder: the part of `model` with layers; needed if layer_decay is not 1.
    """
    if layer_decay != 1.0 and encoder is None:
        raise ValueError("layer-wise decay needs an encoder with layers")
    scales: dict[nn.Parameter, float] = {}
    if encoder is not None:
        depths = encoder.settings["depths"]
        layers = sum(depths) + 1
        for name, parameter in encoder.named_parameters():
            if parameter.requires_grad:
                scales[parameter] = layer_decay ** (layers - encoder_layer(name, depths))
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decay = weight_decay if _decays(name, parameter) else 0.0
            scale = scales.get(parameter, 1.0)
            group = {"params": [], "weight_decay": decay, "rate_scale": scale}
            groups.setdefault((scale, decay), group)["params"].append(parameter)
    return list(groups.values())


def encoder_layer(name: str, depths: Sequence[int]) -> int:
    """The layer that a parameter of `MixMIMEncoder` belongs to, 0 to sum(depths)."""
    part, *rest = name.split(".")
    if part == "patch_embed":
        return 0
    if part == "norm":
        return sum(depths)
    if part == "layers" and rest[1] == "blocks":
        return sum(depths[: int(rest[0])]) + int(rest[2]) + 1
    if part == "layers" and rest[1] == "downsample":
        return sum(depths[: int(rest[0]) + 1]) + 1
    raise ValueError(f"{name} belongs to no layer of the encoder")


def _decays(name: str, parameter: nn.Parameter) -> bool:
    return parameter.ndim > 1 and name.rpartition(".")[2] not in NEVER_DECAYED


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Gives every group its share of the rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["rate_scale"]


class Average:
    """The running average of a model's weights, and of the statistics that BatchNorm keeps beside them.

    Statistics that the last weights made would not go with averaged weights. The averaged weights lie beside
    Adam's moments, so that sharded training shards them; a checkpoint holds the optimiser and `buffers`.

    Args:
        model: what is trained.
        optimizer: of its parameters.
        decay: share of the old average that stays in a step; 0 is off.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, decay: float) -> None:
        self.model = model
        self.optimizer = optimizer
        self.decay = decay
        self.buffers: dict[str, Tensor] = {}

    @torch.no_grad()
    def update(self, done: int) -> None:
        """Moves the average by one step, after the optimiser's; `done` steps are done.

        The first steps count for more (decay at most (1 + done) / (10 + done)), or the random start would
        stay.
        """
        if not self.decay:
            return
        rest = 1 - min(self.decay, (1 + done) / (10 + done))
        for parameter, state in self.optimizer.state.items():
            state.setdefault(AVERAGE, parameter.detach().clone()).lerp_(parameter.detach(), rest)
        for name, buffer in self.model.named_buffers():
            if buffer.is_floating_point():
                self.buffers.setdefault(name, buffer.clone()).lerp_(buffer, rest)

    @contextmanager
    def used(self) -> Iterator[None]:
        """Inside, the model is its running average; where there is none, nothing changes."""
        states = self.optimizer.state.items()
        pairs = [(parameter.data, state[AVERAGE]) for parameter, state in states if AVERAGE in state]
        live = dict(self.model.named_buffers())
        pairs += [(live[name], average) for name, average in self.buffers.items()]
        _swap(pairs)
        try:
            yield
        finally:
            _swap(pairs)


def _swap(pairs: Sequence[tuple[Tensor, Tensor]]) -> None:
    for weight, average in pairs:
        kept = weight.clone()
        weight.copy_(average)
        average.copy_(kept)
