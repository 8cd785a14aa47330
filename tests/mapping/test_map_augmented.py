"""Maps with test-time augmentation."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from mapping_helpers import (
    CODES,
    Convolutions,
    NearestLevel,
    backscatter,
    expected_codes,
    read_map,
    with_bundle,
    write_scene,
)

from sarcover.errors import SarcoverError
from sarcover.mapping import map_scene
from sarcover.models.augmented import Augmented


@pytest.mark.parametrize("tta", ["look", "flips", "dihedral"])
def test_a_model_of_single_pixels_makes_the_same_map(tmp_path: Path, tta: str) -> None:
    db = backscatter((41, 70))
    scene = write_scene(tmp_path / "scene.tif", db)
    result = map_scene(with_bundle(NearestLevel()), scene, tmp_path / "map.tif", device="cpu", tta=tta)
    np.testing.assert_array_equal(read_map(result.path), expected_codes(db))


def test_the_map_and_its_confidence_are_those_of_the_mean_probability(tmp_path: Path) -> None:
    db = backscatter((32, 32))  # one window: no blending
    model = with_bundle(Convolutions())
    scene = write_scene(tmp_path / "scene.tif", db)
    plain = map_scene(model, scene, tmp_path / "plain.tif", device="cpu")
    settings = {"tta": "dihedral", "scales": (1.0, 0.5), "confidence": True}
    result = map_scene(model, scene, tmp_path / "map.tif", device="cpu", **settings)
    with torch.no_grad():
        p = Augmented(model, "dihedral", (1.0, 0.5))({"sar": torch.tensor(db)[None, None]}).softmax(1)[0]
    codes = read_map(result.path)
    np.testing.assert_array_equal(codes, np.array(CODES)[p.argmax(0)])
    assert (codes != read_map(plain.path)).any()
    assert result.confidence is not None
    np.testing.assert_allclose(read_map(result.confidence), 100 * p.amax(0), atol=0.51)
    with rasterio.open(result.path) as raster, rasterio.open(plain.path) as without:
        assert raster.tags()["SARCOVER_TTA"] == "dihedral, scales 1 0.5"
        assert raster.tags()["SARCOVER_MODEL_SHA256"] == without.tags()["SARCOVER_MODEL_SHA256"]
        assert "SARCOVER_TTA" not in without.tags()


def test_scales_that_mean_nothing_are_refused(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", backscatter((32, 32)))
    with pytest.raises(SarcoverError, match="scales"):
        map_scene(with_bundle(NearestLevel()), scene, tmp_path / "map.tif", device="cpu", scales=(0.0,))
    assert not (tmp_path / "map.tif").exists()
