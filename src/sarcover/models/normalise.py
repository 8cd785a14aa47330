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
    its own split.

    Args:
        channels: number of bands C.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))

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

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Normalised bands.

        Args:
            x: (B, C, H, W), anything (NaN included) where invalid.
            valid: (B, H, W) bool.

        Returns:
            (B, C, H, W) in the buffers' dtype: (x - mean) / std where valid, exactly 0 elsewhere.
        """
        normalised = (x.to(self.mean.dtype) - self.mean[:, None, None]) / self.std[:, None, None]
        return torch.where(valid[:, None], normalised, 0.0)
