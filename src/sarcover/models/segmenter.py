"""What every segmentation model shares: its inputs, their normalisation, and padding to the size it needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sarcover.errors import SarcoverError
from sarcover.models.normalise import Normalisation


class Inputs(NamedTuple):
    """A normalised batch, padded to what the architecture needs: invalid and padded pixels are 0.

    sar: (B, C, H, W); valid: (B, H, W) bool; optical: (B, C_o, H, W); optical_valid: (B, H, W) bool. The
    optical pair is None for models without optical input.
    """

    sar: Tensor
    valid: Tensor
    optical: Tensor | None
    optical_valid: Tensor | None


class Segmenter(nn.Module):
    """A model that turns a batch into class logits; the base of every segmentation model.

    A subclass writes `segment(inputs) -> (B, K, H, W)`, says in `multiple` what H and W are padded to, and
    sets `encoder` if it has one that pretraining can fill.

    Args:
        name: name of the architecture, as `build_model` knows it.
        size: tiny, small or base.
        sar_bands: radar bands it takes.
        optical_bands: optical bands it takes; 0 for none.
        num_classes: number of classes K.
        settings: the other settings of the architecture, complete, as plain values (they are saved as YAML).
    """

    encoder: nn.Module | None
    bundle: Any = None  # the description of the bundle it was loaded from

    def __init__(
        self,
        *,
        name: str,
        size: str,
        sar_bands: int,
        optical_bands: int,
        num_classes: int,
        settings: dict[str, Any],
    ) -> None:
        super().__init__()
        self.architecture: dict[str, Any] = {
            "name": name,
            "size": size,
            "sar_bands": sar_bands,
            "optical_bands": optical_bands,
            "num_classes": num_classes,
            "settings": settings,
        }
        self.inputs: tuple[str, ...] = ("sar", "optical") if optical_bands else ("sar",)
        self.sar_norm = Normalisation(sar_bands)
        self.optical_norm = Normalisation(optical_bands) if optical_bands else None
        self.encoder = None
        self.multiple = 1

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Class logits of a batch of any height and width >= 1.

        Args:
            batch: `sar` (B, C, H, W) dB, NaN where invalid; `valid` (B, H, W) bool, where absent the pixels
                whose bands are all finite; for models with optical input `optical` (B, C_o, H, W)
                reflectance 0..1 and `optical_valid` (B, H, W) bool, likewise. Other keys are left alone. A
                pixel that is not finite is never valid, whatever the mask says.

        Returns:
            (B, K, H, W) logits; those of invalid pixels mean nothing.

        Raises:
            SarcoverError: an input is missing or its number of bands is not the model's.
        """
        sar, valid = _input(batch, "sar", "valid", self.sar_norm)
        height, width = sar.shape[-2:]
        pad = (0, -width % self.multiple, 0, -height % self.multiple)
        optical, optical_valid = None, None
        if self.optical_norm is not None:
            optical, optical_valid = _input(batch, "optical", "optical_valid", self.optical_norm)
            optical, optical_valid = F.pad(optical, pad), F.pad(optical_valid, pad)
        inputs = Inputs(F.pad(sar, pad), F.pad(valid, pad), optical, optical_valid)
        return self.segment(inputs)[..., :height, :width]

    def segment(self, inputs: Inputs) -> Tensor:
        """Logits (B, K, H, W) of a normalised, padded batch."""
        raise NotImplementedError


def _input(batch: Mapping[str, Tensor], name: str, mask: str, norm: Normalisation) -> tuple[Tensor, Tensor]:
    """One modality, normalised, and where it is valid."""
    if name not in batch:
        raise SarcoverError(
            f"the model needs {name!r} input",
            expected=f"{norm.channels} bands",
            got=f"a batch of {sorted(batch)}",
        )
    x = batch[name]
    if x.ndim != 4 or x.shape[1] != norm.channels:
        raise SarcoverError(
            f"the {name!r} input does not fit the model",
            expected=f"(B, {norm.channels}, H, W), one channel a band",
            got=f"{tuple(x.shape)}",
            do="choose the bands that the model was trained with",
        )
    valid = torch.isfinite(x).all(1)
    if mask in batch:
        valid = valid & batch[mask]
    return norm(x, valid), valid
