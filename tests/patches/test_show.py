"""`store show`: where a store lies, and pictures of what there is to draw."""

import pytest
from patch_helpers import distinct_dn, make_store, write_scene
from rasterio.crs import CRS
from rasterio.transform import from_origin

from sarcover import SarcoverError
from sarcover.config import StoreFilterSettings, StoreShowSettings
from sarcover.patches import filter_store, show_store


def test_bounds_across_the_antimeridian_are_those_of_the_store(tmp_path):
    scenes = [
        write_scene(
            tmp_path / f"{name}.tif",
            distinct_dn(16, 16),
            crs=CRS.from_epsg(4326),
            transform=from_origin(west, 10, 1e-4, 1e-4),
        )
        for name, west in (("a", 179.99), ("b", -179.995))
    ]
    store, _ = make_store(tmp_path / "store", scenes)
    bounds = show_store(StoreShowSettings(str(tmp_path / "store")))["bounds"]
    assert bounds == pytest.approx([179.99, 9.9984, -179.9934, 10.0])
    filter_store(StoreFilterSettings(str(tmp_path / "store"), str(tmp_path / "all"), bounds=tuple(bounds)))
    shown = show_store(StoreShowSettings(str(tmp_path / "all")))
    assert (shown["patches"], shown["bounds"]) == (store.meta.patches, bounds)


def test_a_picture_of_nothing_is_refused(tmp_path):
    make_store(tmp_path / "store", write_scene(tmp_path / "s.tif", distinct_dn(16, 16), crs=None))
    with pytest.raises(SarcoverError, match="has nothing to draw: no georeference and no labels"):
        show_store(StoreShowSettings(str(tmp_path / "store"), str(tmp_path / "p.png")))
    assert not (tmp_path / "p.png").exists()
    assert show_store(StoreShowSettings(str(tmp_path / "store")))["bounds"] is None
