"""A map against a reference: which pixels count."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin
from rasterio.windows import Window

from sarcover.assessment import compare, label_windows
from sarcover.legend import LandClass, Legend
from sarcover.scene import open_scene

LEGEND = Legend(
    "two",
    "two classes",
    "test",
    (LandClass(5, "Water", "#0000ff", (1,)), LandClass(9, "Land", "#00ff00", (2,))),
)


def raster(path: Path, values: np.ndarray, left: float = 0.0, **tags: str) -> Path:
    profile = {"driver": "GTiff", "height": values.shape[0], "width": values.shape[1], "count": 1}
    place = {"crs": "EPSG:32654", "transform": from_origin(5e5 + left, 4e6, 10, 10)}
    with rasterio.open(path, "w", dtype=values.dtype, **profile, **place) as file:
        file.write(values, 1)
        file.update_tags(**tags)
    return path


def test_pixels_without_reference_or_class_do_not_count(tmp_path: Path) -> None:
    mapped = raster(tmp_path / "map.tif", np.array([[5, 9, 9, 255]], np.uint8))  # the legend's codes
    reference = np.array([[0, 0, 255, 1]], np.uint8)  # classes
    result = compare(mapped, LEGEND, [(Window(0, 0, 4, 1), reference)], split="test")
    assert result["confusion"] == [[1, 1], [0, 0]]
    assert (result["n_pixels"], result["oa"], result["n_unmapped"]) == (2, 0.5, 1)
    assert result["split"] == "test"


def test_windows_add_up_to_the_whole_scene(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shape = (1100, 1030)  # more than one window along both axes
    scene = raster(tmp_path / "scene_HH.tif", rng.integers(100, 9000, shape, np.uint16), UNIT="dn")
    truth = rng.integers(1, 3, shape, np.uint8)
    # The reference lies 20 m further east: it begins with the scene's third column.
    labels = raster(tmp_path / "labels.tif", truth, left=20)
    mapped = rng.choice(np.array([5, 9], np.uint8), shape)
    result = compare(
        raster(tmp_path / "map.tif", mapped), LEGEND, label_windows(open_scene(scene), labels, LEGEND)
    )
    agree = (mapped[:, 2:] == 5) == (truth[:, :-2] == 1)
    assert result["n_pixels"] == agree.size
    assert result["oa"] == pytest.approx(agree.mean())
