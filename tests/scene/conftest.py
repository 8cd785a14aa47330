"""Small rasters as a user has them."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning

DEGREES = Affine(1 / 12000, 0, 138.0, 0, -1 / 12000, 36.0)


@pytest.fixture
def write(tmp_path):
    """write(name, values (H, W) or (C, H, W), *, crs, transform, names, tags, …) -> Path."""

    def _write(name, values, *, crs="EPSG:4326", transform=DEGREES, names=None, tags=None, **options):
        path = Path(tmp_path, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.atleast_3d(values.T).T if values.ndim == 2 else values
        band_tags, scales = options.pop("band_tags", ()), options.pop("scales", None)
        placed = {} if crs is None else {"crs": crs, "transform": transform}
        count, height, width = values.shape
        profile = {
            "driver": options.pop("driver", "GTiff"),
            "dtype": values.dtype,
            "count": count,
            "height": height,
            "width": width,
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path, "w", **profile, **placed, **options) as file:
                file.write(values)
                file.update_tags(**(tags or {}))
                for number, text in enumerate(names or (), 1):
                    file.set_band_description(number, text)
                for number, each in enumerate(band_tags, 1):
                    file.update_tags(number, **each)
                if scales:
                    file.scales = scales
        return path

    return _write


@pytest.fixture
def db():
    """(H, W) float32, 50 x 70: a plausible image in dB, all negative."""
    return np.random.default_rng(0).normal(-12, 2, (50, 70)).astype(np.float32)
