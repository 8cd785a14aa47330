"""Scenes on disk, and models whose maps can be told beforehand."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning
from torch import Tensor, nn

from sarcover.bundle import Bundle
from sarcover.legend import LandClass, Legend
from sarcover.models.segmenter import Inputs, Segmenter

LEVELS = (-24.0, -18.0, -12.0, -6.0)
CODES = (3, 7, 40, 200)
LEGEND = Legend(
    name="four-levels",
    title="Four levels of backscatter",
    source="test",
    classes=tuple(
        LandClass(code, f"{-level:g} dB down", colour, (code,))
        for code, level, colour in zip(
            CODES, LEVELS, ("#0000ff", "#00ff00", "#ffff00", "#ff0010"), strict=True
        )
    ),
)


class NearestLevel(Segmenter):
    """The class whose level is nearest to the first band."""

    def __init__(self, sar_bands: int = 1, optical_bands: int = 0) -> None:
        super().__init__(
            name="nearest-level",
            size="tiny",
            sar_bands=sar_bands,
            optical_bands=optical_bands,
            num_classes=len(LEVELS),
            settings={},
        )
        self.register_buffer("levels", torch.tensor(LEVELS))
        self.passes = 0

    def segment(self, inputs: Inputs) -> Tensor:
        self.passes += 1
        band = inputs.sar[:, :1] if inputs.optical is None else inputs.sar[:, :1] + inputs.optical[:, :1]
        return -((band - self.levels[:, None, None]) ** 2)


class Convolutions(Segmenter):
    """Two 5 x 5 convolutions: a receptive field with radius 4, and logits that depend on all of it."""

    def __init__(self) -> None:
        super().__init__(
            name="convolutions", size="tiny", sar_bands=1, optical_bands=0, num_classes=4, settings={}
        )
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.Conv2d(6, 4, 5, padding=2))
        self.sar_norm.set([-15.0], [5.0])

    def segment(self, inputs: Inputs) -> Tensor:
        logits: Tensor = self.layers(inputs.sar)
        return logits


def with_bundle(model: Segmenter, **changes: Any) -> Segmenter:
    described: dict[str, Any] = {
        "kind": "segmenter",
        "architecture": model.architecture,
        "legend": LEGEND,
        "bands": ("HH",),
        "unit": "db",
        "radiometry": "unknown",
        "optical_bands": (),
        "patch": 32,
        "normalisation": {},
        "training": {},
        "metrics": None,
    }
    model.bundle = Bundle(**{**described, **changes})
    return model


def expected_codes(db: np.ndarray, valid: np.ndarray | bool = True) -> np.ndarray:
    """What NearestLevel maps, by NumPy."""
    nearest = np.abs(np.nan_to_num(db)[..., None] - np.array(LEVELS)).argmin(-1)
    return np.where(valid, np.array(CODES, dtype=np.uint8)[nearest], 255).astype(np.uint8)


def backscatter(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """float32 dB, smooth enough for regions, with every class in it."""
    random = np.random.default_rng(seed)
    coarse = random.uniform(-28, -2, (*shape[:-2], -(-shape[-2] // 5), -(-shape[-1] // 5)))
    fine = np.repeat(np.repeat(coarse, 5, -2), 5, -1)[..., : shape[-2], : shape[-1]]
    return (fine + random.uniform(-1.0, 1.0, shape)).astype(np.float32)


def write_scene(
    path: Path,
    values: np.ndarray,
    *,
    bands: tuple[str, ...] | None = ("HH",),
    unit: str | None = "db",
    tags: dict[str, str] | None = None,
    **profile: Any,
) -> Path:
    """A GeoTIFF of values (H, W) or (C, H, W), in UTM unless the profile says otherwise."""
    values = values if values.ndim == 3 else values[None]
    settings = {"crs": "EPSG:32654", "transform": Affine(10, 0, 400_000, 0, -10, 4_000_000), **profile}
    settings |= {"count": values.shape[0], "height": values.shape[1], "width": values.shape[2]}
    settings = {key: value for key, value in settings.items() if value is not None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver="GTiff", dtype=values.dtype, **settings) as raster:
            raster.write(values)
            if bands is not None:
                raster.descriptions = bands
            raster.update_tags(**({"UNIT": unit} if unit else {}), **(tags or {}))
    return path


def read_map(path: Path) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as raster:
            codes: np.ndarray = raster.read(1)
            return codes
