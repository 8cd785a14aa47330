"""A map against a reference, window by window."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from rasterio.windows import Window

from sarcover.legend import IGNORE, Legend
from sarcover.metrics import confusion_matrix, scores
from sarcover.scene import OnGrid, Scene

SIDE = 1024  # pixels of a window: 1 MB of labels


def compare(
    map_path: str | Path,
    legend: Legend,
    reference: Iterable[tuple[Window, NDArray[np.uint8]]],
    *,
    split: str = "",
) -> dict[str, Any]:
    """Scores of a map at the pixels where there is a reference and the map has a class.

    Args:
        map_path: map.tif, holding the legend's codes.
        legend: the legend of the map.
        reference: windows of the map's grid with their classes, (h, w), 0..K-1 or 255; no two may overlap.
        split: what the reference covers; goes into the scores.

    Returns:
        The content of metrics.json, and `n_unmapped`: pixels with a reference where the map holds nodata.
    """
    confusion = torch.zeros(legend.num_classes, legend.num_classes, dtype=torch.int64)
    unmapped = 0
    with rasterio.open(map_path) as source:
        for window, classes in reference:
            mapped = legend.index_of_codes(source.read(1, window=window))
            unmapped += int(((mapped == IGNORE) & (classes != IGNORE)).sum())
            target = torch.from_numpy(np.where(mapped == IGNORE, IGNORE, classes))
            confusion += confusion_matrix(torch.from_numpy(mapped), target, legend.num_classes)
    return scores(confusion, legend.names, split) | {"n_unmapped": unmapped}


def label_windows(
    scene: Scene, labels: str | Path, legend: Legend
) -> Iterator[tuple[Window, NDArray[np.uint8]]]:
    """The whole reference on the scene's grid, window by window: what `compare` takes."""
    grid = OnGrid(labels, scene.crs, scene.transform, scene.shape)
    height, width = scene.shape
    for row in range(0, height, SIDE):
        for column in range(0, width, SIDE):
            window = Window(column, row, min(SIDE, width - column), min(SIDE, height - row))
            yield window, legend.encode(grid.read(window))
