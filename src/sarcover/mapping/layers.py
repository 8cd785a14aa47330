"""How sure the model is of each pixel: layers that lie beside a map, as bytes.

All are computed from the blended logits, so they describe what the model says of a pixel, whatever is done
to the map afterwards. A byte times the layer's scale is a number from 0 to 1; GIS programs read the scale
from the file and show that number.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sarcover.config import Layer
from sarcover.legend import Legend

PERCENT = 0.01
"""Of confidence: a byte is a percentage."""
SCALE = 0.004
"""Of entropy, margin and probabilities: 250 steps from 0 to 1, and a short decimal number."""


@dataclass(frozen=True)
class LayerKind:
    """What one layer holds.

    Attributes:
        title: one line for people.
        scale: a byte times this is the number from 0 to 1.
    """

    title: str
    scale: float


KINDS: Mapping[Layer, LayerKind] = {
    "confidence": LayerKind("probability of the mapped class", PERCENT),
    "entropy": LayerKind("entropy of the class probabilities, over its largest value", SCALE),
    "margin": LayerKind("probability of the mapped class less that of the second", SCALE),
    "probabilities": LayerKind("probability of each class", SCALE),
}


def compute(logits: Tensor, names: Iterable[Layer]) -> dict[Layer, Tensor]:
    """The layers of some logits.

    confidence: the largest of the class probabilities p (softmax of the logits), percent.
    entropy: -sum p ln p / ln K, 0 for one certain class to 1 for all alike (Shannon 1948); 0 if K is 1.
    margin: the largest p less the second largest; 1 if K is 1.
    probabilities: p, a band a class.

    Args:
        logits: (K, h, w) float32, K classes. What is not finite gives bytes that mean nothing.
        names: which layers.

    Returns:
        name -> (b, h, w) uint8 on the logits' device, b = K for probabilities, else 1: the number over the
        layer's scale, rounded to nearest; never 255.
    """
    with torch.inference_mode():
        p = logits.softmax(0).nan_to_num_()
        return {name: _quantised(_of(p, name), KINDS[name].scale) for name in names}


def band_names(name: Layer, legend: Legend) -> list[str]:
    """What the layer's bands are called."""
    if name != "probabilities":
        return [KINDS[name].title]
    return [f"probability of {cls}" for cls in legend.names]


def layer_path(out: Path, name: Layer) -> Path:
    """Where a layer of the map `out` lies: entropy.tif beside map.tif, else with the map's name before it."""
    return out.with_name(f"{name}.tif" if out.stem == "map" else f"{out.stem}_{name}.tif")


def _of(p: Tensor, name: Layer) -> Tensor:
    """Class probabilities (K, h, w) -> (b, h, w), 0 to 1."""
    if name == "probabilities":
        return p
    if name == "entropy":
        entropy: Tensor = torch.special.entr(p).sum(0, keepdim=True)
        return entropy / math.log(len(p)) if len(p) > 1 else entropy
    best, index = p.max(0, keepdim=True)
    if name == "confidence" or len(p) == 1:
        return best
    second = p.scatter(0, index, -1).amax(0, keepdim=True)  # twice as fast as topk
    return best - second


def _quantised(values: Tensor, scale: float) -> Tensor:
    return (values * round(1 / scale)).round_().to(torch.uint8)
