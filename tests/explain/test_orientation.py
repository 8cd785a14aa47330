"""Radar on a map's grid: a scene may lie another way round than its map, which is from north to south."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from explain_helpers import UTM, backscatter, landscape, write_map, write_raster, write_scene

from sarcover.config import ExplainSettings
from sarcover.errors import SarcoverError
from sarcover.explain.evidence import collect
from sarcover.explain.radar import open_radar
from sarcover.mapping.grid import Place, north_up
from sarcover.scene import open_scene

INDEX = landscape((24, 35))
DB = backscatter(INDEX)
HEIGHT, WIDTH = INDEX.shape


def mirrored(down: int, right: int) -> Affine:
    """The ground of `UTM` counted from another corner: with -1 from the south, or from the east."""
    a, _, c, _, e, f = UTM[:6]
    left, top = c + (0 if right > 0 else a * WIDTH), f + (0 if down > 0 else e * HEIGHT)
    return Affine(a * right, 0, left, 0, e * down, top)


@pytest.mark.parametrize("crs", ["EPSG:32654", None])
@pytest.mark.parametrize(("down", "right"), [(1, 1), (-1, 1), (1, -1), (-1, -1)])
def test_radar_lies_on_the_map_whatever_way_round_its_file_is(
    tmp_path: Path, crs: str | None, down: int, right: int
) -> None:
    turned = DB[:, ::down, ::right].copy()
    path = write_scene(
        tmp_path / "scene.tif", turned, bands=("HH", "HV"), crs=crs, transform=mirrored(down, right)
    )
    scene = open_scene(path)
    place = north_up(Place(scene.shape, scene.crs, scene.transform))  # where `map` puts the map
    assert place.transform == UTM
    radar = open_radar([str(path)], place, None, unit=None, bands=None)
    db, valid = radar.read(3, 5, 17, 20)
    np.testing.assert_array_equal(db, DB[:, 3:20, 5:25].astype(np.float32))
    np.testing.assert_array_equal(valid, np.isfinite(DB[0, 3:20, 5:25]))


def test_a_south_up_scene_and_companion_give_the_evidence_of_their_north_up_twins(tmp_path: Path) -> None:
    path = str(write_map(tmp_path / "map.tif", INDEX))
    optical = np.random.default_rng(3).uniform(0.02, 0.5, (3, HEIGHT, WIDTH)).astype(np.float32)
    found: list[dict[str, Any]] = []
    for name, down in (("twin", 1), ("odd", -1)):
        lies = {"transform": mirrored(down, 1)}
        scene = write_scene(tmp_path / name / "scene.tif", DB[:, ::down].copy(), bands=("HH", "HV"), **lies)
        companion = write_raster(tmp_path / name / "optical.tif", optical[:, ::down].copy(), **lies)
        settings = ExplainSettings(map=path, scenes=(str(scene),), optical=(str(companion),))
        found.append(collect(settings)["areas"])
    assert found[1] == found[0]
    assert found[0]["map"]["classes"]["C1"]["backscatter"]["HH"]["pixels"] > 0


def test_a_scene_of_another_size_without_a_place_on_earth_is_refused(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", DB[:, 1:], bands=("HH", "HV"), crs=None)
    with pytest.raises(SarcoverError, match="is not the scene of this map"):
        open_radar([str(path)], Place(INDEX.shape, None, UTM), None, unit=None, bands=None)
