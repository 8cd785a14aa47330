"""A model of two modalities maps with radar alone where it can do without the other."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from mapping_helpers import backscatter, read_map, with_bundle, write_scene

from sarcover.mapping import map_scene
from sarcover.models import build_model


def test_without_a_companion_claire_maps_as_with_one_that_is_nowhere_valid(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(1)
    claire = build_model("claire", size="tiny", optical_bands=2, num_classes=4)
    claire.sar_norm.set([-15.0], [7.0])
    torch.nn.init.normal_(claire.get_submodule("classify").weight)  # maps of several classes
    model = with_bundle(claire, optical_bands=("red", "nir"), patch=64)
    scene = write_scene(tmp_path / "scene.tif", backscatter((70, 90)))
    reflectance = np.random.default_rng(3).uniform(0, 1, (2, 70, 90)).astype(np.float32)
    bands = {"bands": ("red", "nir"), "unit": None}
    clear = write_scene(tmp_path / "clear.tif", reflectance, **bands)
    clouded = write_scene(tmp_path / "clouded.tif", reflectance * np.nan, **bands)

    def mapped(companion: Path | None) -> np.ndarray:
        more = {"device": "cpu", "confidence": True, "overwrite": True}
        done = map_scene(model, scene, tmp_path / "map.tif", optical=companion, **more)
        assert done.confidence is not None
        return np.stack([read_map(done.path), read_map(done.confidence)])

    with caplog.at_level(logging.WARNING):
        alone = mapped(None)
    assert "scene is mapped with radar alone: no optical companion is named" in caplog.text
    np.testing.assert_array_equal(alone, mapped(clouded))
    assert (alone != mapped(clear)).mean() > 0.1
    assert len(np.unique(alone[0])) > 1
