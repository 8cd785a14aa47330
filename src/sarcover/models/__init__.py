"""Segmentation models, by name."""

from __future__ import annotations

import difflib
import inspect
from typing import Any

from sarcover.errors import SarcoverError
from sarcover.models.alos2 import Alos2Refined, Alos2Water, SwinUPerNet
from sarcover.models.claire import Claire
from sarcover.models.segmenter import Segmenter, check_threshold, class_logits
from sarcover.models.specsar_former import SpecSarFormer
from sarcover.models.unet import UNet

__all__ = ["MODELS", "Segmenter", "build_model", "check_threshold", "class_logits", "model_settings"]

MODELS: dict[str, type[Segmenter]] = {
    "unet": UNet,
    "swin-upernet": SwinUPerNet,
    "alos2-refined": Alos2Refined,
    "alos2-water": Alos2Water,
    "claire": Claire,
    "specsar-former": SpecSarFormer,
}
_COMMON = ("self", "size", "sar_bands", "optical_bands", "num_classes")


def build_model(
    name: str,
    *,
    size: str = "base",
    sar_bands: int = 1,
    optical_bands: int = 0,
    num_classes: int,
    **settings: Any,
) -> Segmenter:
    """A new model with random weights.

    Args:
        name: "unet", "swin-upernet", "alos2-refined", "alos2-water", "claire" or "specsar-former".
        size: tiny, small or base; large and huge of the models with the MixMIM encoder.
        sar_bands: radar bands of the input.
        optical_bands: optical bands of the input; 0 for none.
        num_classes: number of classes K; 2 for alos2-water, whose single logit decides between them.
        settings: further settings of that model; those left out have its defaults.

    Returns:
        A module with `forward(batch) -> logits (B, K, H, W)`, of alos2-water (B, 1, H, W); its
        `architecture` rebuilds it.

    Raises:
        SarcoverError: an unknown name, size or setting, or values that make no model.
    """
    if name not in MODELS:
        raise SarcoverError(
            f"no model is called {name!r}", expected=" or ".join(MODELS), do=_nearest(name, MODELS)
        )
    if size not in MODELS[name].sizes:
        raise SarcoverError(f"{name} has no size {size!r}", expected=" or ".join(MODELS[name].sizes))
    if sar_bands < 1 or optical_bands < 0 or num_classes < 2:
        raise SarcoverError(
            f"{name}: bands and classes",
            expected="at least one radar band and two classes",
            got=f"{sar_bands} radar bands, {optical_bands} optical bands, {num_classes} classes",
        )
    known = model_settings(name)
    for key in settings:
        if key not in known:
            raise SarcoverError(
                f"{name} has no setting {key!r}", expected=" or ".join(known), do=_nearest(key, known)
            )
    build: Any = MODELS[name]
    model: Segmenter = build(
        size=size, sar_bands=sar_bands, optical_bands=optical_bands, num_classes=num_classes, **settings
    )
    return model


def model_settings(name: str) -> list[str]:
    """The settings that a model has beside its size, bands and classes."""
    return [key for key in inspect.signature(MODELS[name].__init__).parameters if key not in _COMMON]


def _nearest(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.4)
    return f"did you mean {close[0]!r}?" if close else ""
