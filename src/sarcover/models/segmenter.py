"""What every segmentation model shares: its inputs, their normalisation, padding to the size it needs, and
what its logits mean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sarcover.errors import SarcoverError
from sarcover.models.normalise import Normalisation


class Inputs(NamedTuple):
    """A normalised batch, padded to what the architecture needs: invalid and padded pixels are 0.

    sar: (B, C, H, W); valid: (B, H, W) bool; optical: (B, C_o, H, W); optical_valid: (B, H, W) bool. The
    optical pair is None for models without optical input. absent: optional inputs that the batch does not
    have; they are 0 and nowhere valid.
    """

    sar: Tensor
    valid: Tensor
    optical: Tensor | None
    optical_valid: Tensor | None
    absent: frozenset[str] = frozenset()


class Segmenter(nn.Module):
    """A model that turns a batch into class logits; the base of every segmentation model.

    A subclass writes `segment(inputs) -> (B, K, H, W)`, says in `multiple` what H and W are padded to, and
    sets `encoder` if it has one that pretraining can fill.

    Args:
        name: name of the architecture, as `build_model` knows it.
        size: one of `sizes`.
        sar_bands: radar bands it takes.
        optical_bands: optical bands it takes; 0 for none.
        num_classes: number of classes K.
        settings: the other settings of the architecture, complete, as plain values (they are saved as YAML).
        clipped: the normalisation of each input also clips outliers.

    Attributes:
        sizes: the sizes it comes in.
        binary: the model tells class 1 from class 0 by a single logit; else it has a logit for each class.
        optional_inputs: those of "sar" and "optical" that a batch may lack, though not all of them at once.
    """

    sizes: ClassVar[tuple[str, ...]] = ("tiny", "small", "base")
    binary: ClassVar[bool] = False
    optional_inputs: tuple[str, ...] = ()
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
        clipped: bool = False,
    ) -> None:
        if self.binary and num_classes != 2:
            raise SarcoverError(
                f"{name} tells one class from the rest",
                expected="a legend of 2 classes, such as jaxa-water",
                got=f"{num_classes} classes",
                do="prepare the store with --legend jaxa-water, or choose another model",
            )
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
        self.sar_norm = Normalisation(sar_bands, clipped=clipped)
        self.optical_norm = Normalisation(optical_bands, clipped=clipped) if optical_bands else None
        self.encoder = None
        self.multiple = 1

    @classmethod
    def optional_inputs_of(cls, settings: Mapping[str, Any]) -> tuple[str, ...]:
        """`optional_inputs` of a model with these settings."""
        return cls.optional_inputs

    @property
    def outputs(self) -> int:
        """Channels of the logits: one a class, or one of a binary model."""
        return 1 if self.binary else int(self.architecture["num_classes"])

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Class logits of a batch of any height and width >= 1.

        Args:
            batch: `sar` (B, C, H, W) dB, NaN where invalid; `valid` (B, H, W) bool, where absent the pixels
                whose bands are all finite; for models with optical input `optical` (B, C_o, H, W)
                reflectance 0..1 and `optical_valid` (B, H, W) bool, likewise. Other keys are left alone. A
                pixel that is not finite is never valid, whatever the mask says. Without one of the
                `optional_inputs` it is as if no pixel of it were valid.

        Returns:
            (B, K, H, W) logits, (B, 1, H, W) of a binary model (`class_logits` makes them two); those of
            invalid pixels mean nothing.

        Raises:
            SarcoverError: an input is missing or its number of bands is not the model's.
        """
        inputs, (height, width) = self.prepare(batch)
        if inputs.sar.shape[0] == 0:  # which not all layers bear
            return inputs.sar.new_zeros(0, self.outputs, height, width)
        return self.segment(inputs)[..., :height, :width]

    def prepare(self, batch: Mapping[str, Tensor]) -> tuple[Inputs, tuple[int, int]]:
        """The batch normalised and padded, and its height and width before that. Errors as in `forward`."""
        wanted = {"sar": ("valid", self.sar_norm), "optical": ("optical_valid", self.optical_norm)}
        absent = frozenset(name for name in self.optional_inputs if name not in batch)
        if absent.issuperset(self.inputs):
            raise SarcoverError(
                "the batch has no input of the model",
                expected=" or ".join(repr(name) for name in self.inputs),
                got=f"a batch of {sorted(batch)}",
            )
        given = {
            name: _input(batch, name, mask, norm)
            for name, (mask, norm) in wanted.items()
            if norm is not None and name not in absent
        }
        _, anywhere = next(iter(given.values()))
        height, width = anywhere.shape[-2:]
        for name, (_, norm) in wanted.items():
            if norm is not None and name in absent:
                nothing = norm.mean.new_zeros(len(anywhere), norm.channels, height, width)
                given[name] = (nothing, torch.zeros_like(anywhere))
        pad = (0, -width % self.multiple, 0, -height % self.multiple)
        padded = {name: (F.pad(x, pad), F.pad(valid, pad)) for name, (x, valid) in given.items()}
        optical, optical_valid = padded.get("optical", (None, None))
        return Inputs(*padded["sar"], optical, optical_valid, absent), (height, width)

    def segment(self, inputs: Inputs) -> Tensor:
        """Logits (B, K, H, W), or (B, 1, H, W) of a binary model, of a normalised, padded batch."""
        raise NotImplementedError


def class_logits(logits: Tensor, threshold: float = 0.5) -> Tensor:
    """One logit a class, whatever the model: the class of highest logit is the model's decision.

    A single logit z is class 1 where sigmoid(z) >= threshold. It becomes (0, z - logit(threshold)), which are
    linear in z: so blended class logits decide as the blended z would. At .5 their softmax is the sigmoid; at
    any other threshold it is shifted, so that the decision still lies at one half.

    Args:
        logits: (B, K, H, W), or (B, 1, H, W) of a binary model.
        threshold: least probability of class 1, between 0 and 1; for a single logit alone.

    Returns:
        (B, K, H, W) unchanged, or (B, 2, H, W) float32 (float64 for float64 logits).
    """
    if logits.shape[1] != 1:
        return logits
    z = logits if logits.dtype == torch.float64 else logits.float()
    margin = z - math.log(threshold / (1 - threshold))
    # "At least": the highest of two equal logits would be class 0.
    margin = torch.where(margin == 0, torch.finfo(margin.dtype).eps, margin)
    return torch.cat([torch.zeros_like(margin), margin], 1)


def check_threshold(model: nn.Module, threshold: float) -> None:
    """Refuses a threshold that `class_logits` cannot use for this model.

    Raises:
        SarcoverError: it is not between 0 and 1, or not the default where the model has nothing to threshold.
    """
    if not 0.0 < threshold < 1.0:
        raise SarcoverError("threshold", expected="a probability between 0 and 1", got=str(threshold))
    if threshold != 0.5 and not getattr(model, "binary", False):
        raise SarcoverError(
            "the model decides for the most probable class, not by a threshold",
            expected="a model of one class against the rest, such as alos2-water",
            do="leave out the threshold",
        )


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
    valid = torch.isfinite(x.sum(1))  # of all bands; no sum of dB overflows
    if mask in batch:
        valid = valid & batch[mask]
    return norm(x, valid), valid
