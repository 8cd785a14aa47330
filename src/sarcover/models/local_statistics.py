"""Mean and spread of the backscatter around each pixel.

A single pixel is mostly speckle. A network that gets these beside the bands need not learn first to average
it away, which counts where labels or training steps are few.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOWS = (3, 7, 15, 31)


def statistics_of(bands: int) -> int:
    """How many maps `masked_statistics` makes of so many bands."""
    return 2 * len(WINDOWS) * bands


def masked_statistics(x: Tensor, valid: Tensor, stride: int = 1) -> Tensor:
    """Mean and standard deviation of the valid pixels in windows of 3, 7, 15 and 31 pixels.

    Args:
        x: (B, C, H, W), 0 where invalid.
        valid: (B, H, W) bool.
        stride: step between windows, pixels; the first is centred on pixel (0, 0).

    Returns:
        (B, 8 C, H / stride, W / stride): for each window the C means, then the C deviations; 0 where no
        pixel of a window is valid.
    """
    C = x.shape[1]
    moments = torch.cat([x, x.square(), valid[:, None].to(x)], 1)
    features = []
    for window in WINDOWS:
        half = window // 2
        # Rows, then columns: 2 k additions a pixel instead of k squared.
        sums = F.avg_pool2d(moments, (window, 1), (stride, 1), (half, 0))
        sums = F.avg_pool2d(sums, (1, window), (1, stride), (0, half))
        share = sums[:, 2 * C :].clamp(min=0.5 / window**2)  # less than one pixel: none
        mean, square = sums[:, :C] / share, sums[:, C : 2 * C] / share
        features += [mean, (square - mean.square()).clamp(min=0).sqrt()]
    return torch.cat(features, 1)
