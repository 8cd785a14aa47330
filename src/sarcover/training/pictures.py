"""Pictures of what a pretrained model sees, hides and fills in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from sarcover.files import atomic_file


def save_pictures(path: Path, views: Mapping[str, Tensor], *, unit: str, norm_pix: bool) -> None:
    """Writes a PNG: a row an image, its first band; input, mix and reconstruction.

    All of a row has one grey scale, the input's 2nd to 98th percentile, so that levels can be compared;
    nodata is white.

    Args:
        path: the file.
        views: `input`, `mixed` and `reconstruction`, each (B, C, H, W) in one unit, NaN where invalid.
        unit: that unit.
        norm_pix: the model fills in shapes within cells; each cell's mean and deviation are the input's.
    """
    columns = [views[name][:, 0].float().cpu().numpy() for name in ("input", "mixed", "reconstruction")]
    filled_in = "reconstruction, each cell at its own level" if norm_pix else "reconstruction"
    titles = ("input", "mix: half is another image", filled_in)
    columns[2] = np.where(np.isnan(columns[0]), np.nan, columns[2])
    figure = Figure(figsize=(9, 3.2 * len(columns[0])), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(columns[0]), len(columns), squeeze=False)
    for *panels, row in zip(*columns, axes, strict=True):
        low, high = _range(panels[0])
        for panel, title, axis in zip(panels, titles, row, strict=True):
            axis.imshow(panel, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
            axis.set_title(f"{title}\n{low:.0f} to {high:.0f} {unit}", fontsize=8)
            axis.set_axis_off()
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=100)


def _range(image: NDArray[Any]) -> tuple[float, float]:
    valid = image[np.isfinite(image)]
    if not valid.size:
        return 0.0, 1.0
    low, high = np.percentile(valid, (2, 98))
    return float(low), float(max(high, low + 1))
