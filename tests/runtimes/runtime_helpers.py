"""Bundles, batches and scenes for the exported runtimes."""

import json
from pathlib import Path

import numpy as np
import rasterio
import torch
from affine import Affine

from sarcover.bundle import save_bundle
from sarcover.legend import LandClass, Legend

PATCH = 32


def legend(classes):
    return Legend(
        name="test",
        title="A test",
        source="test",
        classes=tuple(LandClass(i + 1, f"class {i}", f"#0000{i:02x}", (i + 1,)) for i in range(classes)),
        ignore=(),
    )


def save(path, model):
    """A bundle of a model with random weights and plausible statistics."""
    bands, optical = model.sar_norm.channels, 0
    model.sar_norm.set([-9.0, -15.5, -12.0][:bands], [4.0, 5.0, 4.5][:bands])
    if model.optical_norm is not None:
        optical = model.optical_norm.channels
        model.optical_norm.set([0.1] * optical, [0.05] * optical)
    save_bundle(
        path,
        model.eval(),
        kind="segmenter",
        legend=legend(model.architecture["num_classes"]),
        bands=("HH", "HV", "VV")[:bands],
        unit="db",
        radiometry="gamma0",
        optical_bands=("blue", "green", "red")[:optical],
        patch=PATCH,
        training={},
        metrics=None,
    )
    return Path(path)


def batch_of(model, *size, seed=0):
    """Radar (and optical) with islands of NaN that differ, and masks that hide some finite pixels, too."""
    random = np.random.default_rng(seed)
    count, height, width = size
    made = {}
    for name, mask, norm in (
        ("sar", "valid", model.sar_norm),
        ("optical", "optical_valid", model.optical_norm),
    ):
        if norm is not None:
            values = random.normal(-12, 5, (count, norm.channels, height, width)).astype(np.float32)
            values = values if name == "sar" else np.abs(values) / 40
            values[:, :, 3:9, 5:12] = np.nan
            made[name] = torch.from_numpy(values)
            made[mask] = torch.from_numpy(random.random((count, height, width)) > 0.1)
    return made


def write_scene(path, height=75, width=90, seed=1):
    """Two bands, float32 dB, with a corner without data."""
    random = np.random.default_rng(seed)
    coarse = random.normal(-12, 5, (2, -(-height // 8), -(-width // 8)))
    values = np.kron(coarse, np.ones((8, 8)))[:, :height, :width] + random.normal(0, 1.5, (2, height, width))
    values[:, :20, :30] = np.nan
    profile = {"driver": "GTiff", "dtype": "float32", "count": 2, "height": height, "width": width}
    place = {"crs": "EPSG:32654", "transform": Affine(10, 0, 400_000, 0, -10, 4_000_000)}
    with rasterio.open(path, "w", **profile, **place) as raster:
        raster.write(values.astype(np.float32))
        raster.descriptions = ("HH", "HV")
        raster.update_tags(UNIT="db")
    return path


def change_record(folder, runtime, **changes):
    """Edits exports.json; `milliseconds` and `torch_milliseconds` are those of the speed."""
    path = folder / "exports.json"
    content = json.loads(path.read_text())
    for key, value in changes.items():
        entry = content[runtime]["speed"] if key.endswith("milliseconds") else content[runtime]
        entry[key] = value
    path.write_text(json.dumps(content))
