"""The norm of the convolutional parts: BatchNorm of the global batch, on any device."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sarcover.processes import several_processes, shared_sum


class BatchNorm(nn.BatchNorm2d):
    """BatchNorm (Ioffe & Szegedy 2015) over the pixels of all processes; PyTorch's own does so on GPUs alone.

    Once trained it is a fixed scale and shift: the level of the backscatter, which tells land covers apart,
    comes through, and map windows agree where they overlap. GroupNorm takes the level of each patch out.

    A batch with one value a channel has no spread; it takes the running statistics.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same, in the dtype of x."""
        if not self.training:
            return super().forward(x)
        if several_processes():
            return self._over_processes(x)
        if x.numel() == x.shape[1]:
            return self._fixed(x)
        return super().forward(x)

    def _fixed(self, x: Tensor) -> Tensor:
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, False, eps=self.eps
        )

    def _over_processes(self, x: Tensor) -> Tensor:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        values = x.to(self.weight.dtype)
        own = torch.cat([values.sum((0, 2, 3)), values.new_tensor([x.numel() / x.shape[1]])])
        *_, count = (total := shared_sum(own)).detach()
        if count < 2:
            return self._fixed(x)
        centred = values - (mean := total[:-1] / count)[:, None, None]
        variance = shared_sum(centred.square().sum((0, 2, 3))) / count
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        out: Tensor = centred * scale[:, None, None] + self.bias[:, None, None]
        return out.to(x.dtype)
