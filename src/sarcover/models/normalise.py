"""Normalisation as part of the model: nobody can feed a model with the wrong statistics."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sarcover.errors import SarcoverError


class Normalisation(nn.Module):
    """Brings each band to mean 0 and standard deviation 1, and invalid pixels to exactly 0.

    The statistics are buffers, saved with the weights: `mean` and `std`, each (C,) float32 in the unit of the
    input (dB for radar, reflectance 0..1 for optical bands). They start as 0 and 1; training sets them from
    its own split. So are the limits `lower` and `upper` of a normalisation that clips, which start as none.

    Args:
        channels: number of bands C.
        clipped: bring values beyond the limits to them, before all else.
    """

    mean: Tensor
    std: Tensor
    lower: Tensor
    upper: Tensor

    def __init__(self, channels: int, *, clipped: bool = False) -> None:
        super().__init__()
        self.clipped = clipped
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))
        if clipped:
            self.register_buffer("lower", torch.full((channels,), torch.finfo(torch.float32).min))
            self.register_buffer("upper", torch.full((channels,), torch.finfo(torch.float32).max))

    @property
    def channels(self) -> int:
        """Number of bands C."""
        return self.mean.numel()

    def set(self, mean: Sequence[float] | Tensor, std: Sequence[float] | Tensor) -> None:
        """Sets the statistics, one value a band.

        Raises:
            SarcoverError: not one value a band, a value that is not finite, or a deviation that is not > 0.
        """
        new_mean, new_std = (torch.as_tensor(values).to(self.mean) for values in (mean, std))
        for name, values in (("mean", new_mean), ("std", new_std)):
            if values.shape != self.mean.shape:
                raise SarcoverError(
                    f"normalisation: {name} does not match the bands",
                    expected=f"{self.channels} values",
                    got=f"{values.numel()}",
                )
        if not bool(torch.isfinite(new_mean).all() and torch.isfinite(new_std).all() and (new_std > 0).all()):
            raise SarcoverError(
                "normalisation: statistics that cannot be used",
                expected="finite means and standard deviations > 0",
                got=f"mean {new_mean.tolist()}, std {new_std.tolist()}",
            )
        self.mean.copy_(new_mean)
        self.std.copy_(new_std)

    def set_limits(self, lower: Sequence[float] | Tensor, upper: Sequence[float] | Tensor) -> None:
        """Sets the limits of a normalisation that clips, one pair a band.

        Raises:
            SarcoverError: it does not clip; not one pair a band, or one that leaves nothing between.
        """
        if not self.clipped:
            raise SarcoverError("normalisation: it does not clip", do="build the model with clip_outliers")
        low, high = (torch.as_tensor(values).to(self.mean) for values in (lower, upper))
        if low.shape != self.mean.shape or high.shape != self.mean.shape or not bool((low < high).all()):
            raise SarcoverError(
                "normalisation: limits that cannot be used",
                expected=f"{self.channels} lower ones, each below its upper one",
                got=f"{low.tolist()} and {high.tolist()}",
            )
        self.lower.copy_(low)
        self.upper.copy_(high)

    def statistics(self) -> dict[str, list[float]]:
        """`mean` and `std` of each band, and `lower` and `upper` if it clips."""
        return {name: buffer.tolist() for name, buffer in self.named_buffers()}

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Normalised bands.

        Args:
            x: (B, C, H, W), anything (NaN included) where invalid.
            valid: (B, H, W) bool.

        Returns:
            (B, C, H, W) in the buffers' dtype: (x - mean) / std where valid, x first clipped if it clips;
            exactly 0 elsewhere.
        """
        x = x.to(self.mean.dtype)
        if self.clipped:
            x = torch.clamp(x, self.lower[:, None, None], self.upper[:, None, None])
        normalised = (x - self.mean[:, None, None]).div_(self.std[:, None, None])
        return torch.where(valid[:, None], normalised, 0.0)
