"""Scenes and labels of different systems and pixels in one store: on one lattice, labels by nearest pixel."""

import numpy as np
import pytest
from patch_helpers import (
    UTM,
    distinct_dn,
    make_store,
    mosaic,
    placed,
    write_legend,
    write_raster,
    write_scene,
)
from pyproj import Transformer
from rasterio.crs import CRS
from rasterio.transform import Affine

from sarcover import SarcoverError
from sarcover.patches.companions import Companions
from sarcover.patches.grids import Degrees, Grid, coincide
from sarcover.scene import open_scene


def grid_of(store, name):
    scene = next(each for each in store.meta.scenes if each["name"] == name)
    return Grid(name, CRS.from_wkt(scene["crs"]), Affine(*scene["transform"]), tuple(scene["shape"]))


def test_larger_pixels_are_mean_power_and_stay_whole_numbers(tmp_path):
    dn = distinct_dn(64, 64, first=2000)
    scene = write_scene(tmp_path / "s.tif", dn)
    store, _ = make_store(tmp_path / "store", scene, resolution=20.0)
    assert (store.meta.dtype, store.meta.unit) == ("uint16", "dn")
    grid = grid_of(store, "s")
    assert (grid.shape, grid.transform) == ((32, 32), Affine(20, 0, 400_000, 0, -20, 3_950_000))
    power = dn.astype(float).reshape(32, 2, 32, 2) ** 2
    assert np.array_equal(mosaic(store, "s", "sar")[0], np.rint(np.sqrt(power.mean((1, 3)))))


def test_two_systems_and_labels_in_a_third(tmp_path):
    """The scenes' pixels coincide in the store; a label is that of the ground below the pixel's middle."""
    dn = np.full((96, 96), 3000, np.uint16)
    one = write_scene(tmp_path / "one.tif", dn)
    x, y = Transformer.from_crs(32654, 32653, always_xy=True).transform(400_500, 3_949_500)
    two = write_scene(
        tmp_path / "two.tif", dn // 2, crs=CRS.from_epsg(32653), transform=Affine(12.5, 0, x, 0, -12.5, y)
    )
    lon, lat = Transformer.from_crs(32654, 4326, always_xy=True).transform(399_500, 3_950_500)
    codes = np.random.default_rng(0).integers(1, 4, (70, 90), dtype=np.uint8)
    place = Affine(3e-4, 0, lon, 0, -3e-4, lat)
    labels = write_raster(tmp_path / "l.tif", codes, crs=CRS.from_epsg(4326), transform=place)
    store, _ = make_store(
        tmp_path / "store", [one, two], labels=labels, legend=write_legend(tmp_path / "legend.yaml"),
        crs="EPSG:32654", resolution=15.0,
    )  # fmt: skip
    grids = [grid_of(store, name) for name in ("one", "two")]
    assert coincide(*grids)
    for grid, number in zip(grids, (3000, 1500), strict=True):
        valid, label = (mosaic(store, grid.name, layer) for layer in ("valid", "label"))
        assert np.unique(mosaic(store, grid.name, "sar")[0][valid]).tolist() == [number]
        assert valid.mean() > 0.8
        rows, cols = np.mgrid[: grid.shape[0], : grid.shape[1]] + 0.5
        lons, lats = Transformer.from_crs(32654, 4326, always_xy=True).transform(*grid.to_world(rows, cols))
        col, row = (lons - lon) / 3e-4, (lat - lats) / 3e-4
        there = (col > 0) & (col < 90) & (row > 0) & (row < 70) & valid
        clear = there & (np.abs(col - np.rint(col)) > 0.03) & (np.abs(row - np.rint(row)) > 0.03)
        assert clear.sum() > 1000
        expected = codes[row.clip(0, 69).astype(int), col.clip(0, 89).astype(int)] - 1
        assert np.array_equal(label[clear], expected[clear])


def test_acquisitions_of_one_place_are_told_apart_by_date(tmp_path):
    dn = distinct_dn(16, 16)
    scenes = [
        write_scene(tmp_path / day / "scene.tif", dn, ACQUIRED=f"{day}T09:00:00Z")
        for day in ("2022-09-01", "2022-09-15")
    ]
    store, _ = make_store(tmp_path / "store", scenes)
    assert [scene["name"] for scene in store.meta.scenes] == ["scene_20220901", "scene_20220915"]
    assert sorted(str(date)[:10] for date in store.index["date"]) == ["2022-09-01", "2022-09-15"]


def test_what_a_mosaics_mask_marks_is_left_out_of_a_store(tmp_path):
    mask = np.full((16, 16), 255, np.uint8)
    mask[:4], mask[4, 0] = 50, 150
    write_raster(tmp_path / "t/N35E139_20_mask_F02DAR.tif", mask)
    write_raster(tmp_path / "t/N35E139_20_sl_HH_F02DAR.tif", distinct_dn(16, 16, first=500))
    for number, (kinds, lost) in enumerate((((), 0), (("ocean",), 64), (("ocean", "shadow"), 65))):
        store, _ = make_store(tmp_path / f"store{number}", tmp_path / "t", leave_out=kinds)
        assert (~store.read(0)["valid"]).sum() == lost


def test_pixels_of_different_sizes_in_one_store_are_said_unless_a_size_is_asked_for(tmp_path):
    fine = write_scene(tmp_path / "fine.tif", distinct_dn(32, 32))
    coarse = write_scene(
        tmp_path / "coarse.tif", distinct_dn(32, 32), transform=Affine(50, 0, 4e5, 0, -50, 4e6)
    )
    _, summary = make_store(tmp_path / "store", [coarse, fine])
    (warning,) = summary["warnings"]
    assert "pixels of 10 m in fine and of 50 m in coarse are in one store" in warning
    _, summary = make_store(tmp_path / "lattice", [coarse, fine], resolution=50.0)
    assert summary["warnings"] == []


def test_tiles_in_degrees_have_pixels_alike_wherever_they_lie(tmp_path):
    tiles = [
        write_scene(
            tmp_path / f"N{north}.tif",
            distinct_dn(16, 16),
            crs=CRS.from_epsg(4326),
            transform=Affine(2e-4, 0, 139, 0, -2e-4, north),
        )
        for north in (24, 46)
    ]
    _, summary = make_store(tmp_path / "store", tiles)
    assert summary["warnings"] == []


def test_requests_that_cannot_be(tmp_path):
    scene = write_scene(tmp_path / "s.tif", distinct_dn(16, 16))
    nowhere = write_scene(tmp_path / "n.tif", distinct_dn(16, 16), crs=None)
    for scenes, settings, message in (
        (nowhere, {"crs": "EPSG:32654"}, "n has no coordinate system"),
        (scene, {"crs": "EPSG:none"}, "no coordinate system is called"),
        (scene, {"resolution": 0.0}, "resolution; expected a positive pixel size"),
    ):
        with pytest.raises(SarcoverError, match=message):
            make_store(tmp_path / "store", scenes, **settings)


def test_scenes_that_lack_a_polarisation_are_listed_together(tmp_path):
    both = np.stack([distinct_dn(16, 16), distinct_dn(16, 16)])
    scenes = [write_scene(tmp_path / "a.tif", both, bands=("HH", "HV"))]
    scenes += [write_scene(tmp_path / f"{name}.tif", distinct_dn(16, 16)) for name in "bcdef"]
    with pytest.raises(SarcoverError) as error:
        make_store(tmp_path / "store", scenes)
    assert "5 of 6 scenes have other polarisations than a" in str(error.value)
    assert "HH in b, HH in c, HH in d and 2 more; take --bands HH, which all have" in str(error.value)


def test_the_first_scenes_pixels_are_taken_where_only_a_system_is_asked_for(tmp_path):
    scene = write_scene(tmp_path / "s.tif", distinct_dn(32, 32), transform=placed(3, 5))
    store, _ = make_store(tmp_path / "store", scene, crs="EPSG:32653")
    transform = grid_of(store, "s").transform
    assert transform.a == pytest.approx(10, rel=5e-3)  # a zone off, UTM stretches
    assert transform.a == -transform.e
    assert store.meta.scenes[0]["crs"] != UTM.to_wkt()


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        ((10, 0, 11, 1), (10.9, 0.9, 12, 2), True),
        ((10, 0, 11, 1), (11.1, 0, 12, 1), False),
        ((10, 0, 11, 1), (10, 1.1, 11, 2), False),
        ((179, 0, -179, 1), (-179.5, 0, -179.2, 1), True),  # across the antimeridian
        ((179, 0, -179, 1), (179.2, 0, 179.5, 1), True),
        ((179, 0, -179, 1), (170, 0, 178, 1), False),
        ((179, 0, 181, 1), (-180, 0, -179.5, 1), True),  # longitudes beyond it
        ((-180, -90, 180, 90), (5, 5, 6, 6), True),
    ],
)
def test_boxes_meet_also_across_the_antimeridian(one, other, meet):
    assert Degrees(*one).meets(Degrees(*other)) is meet
    assert Degrees(*other).meets(Degrees(*one)) is meet


def test_ground_that_nobody_knows_may_be_anywhere():
    disc = CRS.from_proj4("+proj=geos +h=35785831 +lon_0=140 +units=m")
    local = CRS.from_wkt('LOCAL_CS["here",UNIT["metre",1]]')
    around = Affine(3000, 0, -6e6, 0, -3000, 6e6)
    for crs in (disc, local):
        assert Degrees.around(crs, around, (4000, 4000)).meets(Degrees(139, 35, 140, 36))


@pytest.mark.parametrize(
    ("crs", "transform", "shape", "places"),
    [
        ("ESRI:54009", (10_000, 0, -18_041_000, 0, -10_000, 9_000_000), (1800, 3608), [(-60, -9), (140, 35)]),
        ("EPSG:3832", (10_000, 0, -20_037_508, 0, -10_000, 15_000_000), (3000, 4007), [(139, 35), (-70, 5)]),
        ("EPSG:3995", (5000, 0, -2_000_000, 0, -5000, 2_000_000), (800, 800), [(0, 90), (170, 75)]),
        (
            "EPSG:32601",
            (10, 0, 166_000, 0, -10, 4_000_000),
            (10_000, 10_000),
            [(-179.9, 35.8)],
        ),
    ],
)
def test_the_box_of_a_grid_holds_all_its_ground(crs, transform, shape, places):
    """World maps, one about the date line, a pole, a zone at the antimeridian."""
    box = Degrees.around(CRS.from_user_input(crs), Affine(*transform), shape)
    assert box.holds(*np.array(places, np.float64).T).all()
    for lon, lat in places:
        assert box.meets(Degrees(lon, lat, lon, lat))


def test_footprints_beyond_the_earth_are_empty():
    world = Affine(10_000, 0, -18_041_000, 0, -10_000, 9e6)
    grid = Grid("s", CRS.from_user_input("ESRI:54009"), world, (1800, 3600))
    beyond, there = grid.footprints(np.array([0, 896]), np.array([0, 1800]), 256)
    assert beyond.is_empty
    assert there.area > 0


def test_of_many_label_tiles_only_those_near_a_scene_are_laid_on_it(tmp_path):
    scene = open_scene(write_scene(tmp_path / "s.tif", distinct_dn(64, 64)))
    labels = np.ones((64, 64), np.uint8)
    near = write_raster(tmp_path / "near.tif", labels, transform=scene.transform)
    far = [
        write_raster(
            tmp_path / f"far{n}.tif",
            labels,
            transform=scene.transform * Affine.translation(64 * (100 + n), 0),
        )
        for n in range(3)
    ]
    found = Companions.find([str(tmp_path / "near.tif"), *map(str, far)], "labels", alone=True)
    assert found.of(scene) == [near]
