"""info: what each thing on disk is, as a user meets it."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine

from sarcover import SarcoverError, build_model, map_scene
from sarcover.bundle import load_model, save_bundle
from sarcover.config import InfoSettings, PrepareSettings
from sarcover.info import describe
from sarcover.legend import load_legend
from sarcover.patches import prepare

SIZE = 96


def write(path, values, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"crs": "EPSG:32654", "transform": Affine(10, 0, 412_000, 0, -10, 3_984_000), **options}
    tags, colours = options.pop("tags", {}), options.pop("colours", None)
    with rasterio.open(
        path, "w", driver="GTiff", count=1, dtype=values.dtype, height=SIZE, width=SIZE, **options
    ) as file:
        file.write(values, 1)
        file.update_tags(**tags)
        if colours:
            file.write_colormap(1, colours)
    return path


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A scene, its labels, a store, a bundle and a map."""
    folder = tmp_path_factory.mktemp("work")
    rng = np.random.default_rng(0)
    dn = rng.integers(1000, 9000, (SIZE, SIZE)).astype(np.uint16)
    dn[:24] = 0
    tags = {"UNIT": "dn", "RADIOMETRY": "gamma0", "SENSOR": "simulated L-band"}
    scene = write(folder / "scenes" / "s_20220915_HH.tif", dn, tags=tags)
    write(folder / "scenes" / "s_20220915_HV.tif", dn // 2, tags=tags)
    labels = np.full((SIZE, SIZE), 9, np.uint8)
    labels[:, :32] = 1
    write(folder / "label.tif", labels, nodata=255, colours={1: (0, 0, 100, 255), 9: (0, 172, 86, 255)})
    prepare(
        PrepareSettings(
            out=str(folder / "store"), scenes=(str(scene),), labels=(str(folder / "label.tif"),),
            legend="jaxa-hrlulc-9", patch=32, split="none",
        )
    )  # fmt: skip
    torch.manual_seed(0)
    save_bundle(
        folder / "run" / "bundle",
        build_model("unet", size="tiny", sar_bands=1, num_classes=9),
        kind="segmenter", legend=load_legend("jaxa-hrlulc-9"), bands=("HH",), unit="dn", radiometry="gamma0",
        optical_bands=(), patch=32, training={"job": "finetune"},
        metrics={"oa": 0.5, "miou": 0.25, "split": "val"},
    )  # fmt: skip
    map_scene(load_model(folder / "run"), scene, folder / "map.tif", confidence=True, device="cpu")
    return folder


def one(path, **settings):
    (facts,) = describe(InfoSettings(paths=(str(path),), **settings))
    return json.loads(json.dumps(facts))  # plain values, as --json prints them


def test_a_scene_of_two_files(work):
    facts = one(work / "scenes")
    assert (facts["what"], facts["name"], facts["bands"]) == ("scene", "s_20220915", ["HH", "HV"])
    assert (facts["unit"], facts["calibration_db"], facts["radiometry"]) == ("dn", -83.0, "gamma0")
    assert (facts["sensor"], facts["acquired"][:10]) == ("simulated L-band", "2022-09-15")
    assert (facts["width"], facts["height"], facts["crs"]) == (SIZE, SIZE, "EPSG:32654")
    assert facts["pixel_size"] == [10.0, 10.0]
    assert facts["pixel_size_m"] == pytest.approx([10, 10], rel=1e-3)
    assert facts["bounds"] == [412_000, 3_983_040, 412_960, 3_984_000]


def test_statistics_are_those_of_the_valid_pixels_in_db(work):
    with rasterio.open(work / "scenes" / "s_20220915_HH.tif") as file:
        dn = file.read(1)
    db = 20 * np.log10(dn[dn > 0].astype(float)) - 83
    found = one(work / "scenes" / "s_20220915_HH.tif")["statistics"]["HH"]
    assert found["pixels_looked_at"] == SIZE * SIZE
    assert found["valid_share"] == pytest.approx(0.75)
    assert [found[key] for key in ("minimum", "median", "mean", "maximum")] == pytest.approx(
        [db.min(), np.median(db), db.mean(), db.max()], abs=1e-3
    )


def test_a_scene_without_a_valid_pixel(tmp_path):
    facts = one(write(tmp_path / "empty.tif", np.zeros((SIZE, SIZE), np.uint16)), unit="dn")
    assert facts["statistics"]["band1"] == {"pixels_looked_at": SIZE * SIZE, "valid_share": 0.0}


def test_a_reference_raster(work):
    facts = one(work / "label.tif")
    assert facts["what"] == "reference raster"
    assert facts["shares"] == pytest.approx({"code 1": 1 / 3, "code 9": 2 / 3})


def test_a_store(work):
    facts = one(work / "store")
    assert (facts["what"], facts["bands"], facts["unit"], facts["patch"]) == ("store", ["HH"], "dn", 32)
    assert facts["legend"] == "jaxa-hrlulc-9"
    assert facts["patches"]["train"] == 9  # a fourth of the scene is empty, no row of patches is
    assert facts["labelled_pixels"]["train"]["Water"] == 72 * 32
    assert facts["labelled_pixels"]["train"]["Forest"] == 72 * 64


def test_a_bundle_and_its_run(work):
    for path, what in (
        (work / "run" / "bundle", "bundle: segmenter"),
        (work / "run", "run with a bundle: segmenter"),
    ):
        facts = one(path)
        assert (facts["what"], facts["model"], facts["bands"]) == (what, "unet tiny", ["HH"])
        assert facts["classes"][:2] == ["Water", "Built-up"]
        assert facts["metrics"] == {"split": "val", "oa": 0.5, "miou": 0.25}


def test_a_map_with_the_share_of_each_class(work):
    facts = one(work / "map.tif")
    assert (facts["what"], facts["legend"], facts["model"]) == ("map", "jaxa-hrlulc-9", "unet tiny")
    assert facts["nodata_share"] == pytest.approx(0.25)
    assert set(facts["shares"]) <= set(load_legend("jaxa-hrlulc-9").names)
    assert sum(facts["shares"].values()) == pytest.approx(1)


def test_a_confidence_raster_is_not_taken_for_a_scene(work):
    assert one(work / "confidence.tif")["of"] == "probability of the mapped class"


def test_an_optical_companion(tmp_path):
    path = write(tmp_path / "o.tif", np.full((SIZE, SIZE), 2000, np.uint16))
    (facts,) = describe(InfoSettings(optical=(str(path),)))
    assert (facts["what"], facts["scale"], facts["valid_share"]) == ("optical", 10_000, 1.0)


def test_several_paths_at_once(work):
    facts = describe(InfoSettings(paths=(str(work / "store"), str(work / "run"), str(work / "scenes"))))
    assert [each["what"] for each in facts] == ["store", "run with a bundle: segmenter", "scene"]


def test_a_broken_file_does_not_keep_the_others_from_being_described(work, tmp_path):
    scene = work / "scenes" / "s_20220915_HH.tif"
    (tmp_path / "broken.tif").write_bytes(scene.read_bytes()[:3000])
    (tmp_path / "empty").mkdir()
    named = (tmp_path / "broken.tif", work / "store", tmp_path / "empty", tmp_path / "nowhere", scene)
    facts = describe(InfoSettings(paths=tuple(map(str, named)), optical=(str(tmp_path / "no.tif"),)))
    assert [each["what"] for each in facts if "what" in each] == ["store", "scene"]
    errors = {Path(each["path"]).name: each["error"] for each in facts if "error" in each}
    assert set(errors) == {"broken.tif", "empty", "nowhere", "no.tif"}
    assert "no scenes in" in errors["empty"]
    assert "does not exist" in errors["nowhere"]
    with pytest.raises(SarcoverError, match=r"nowhere does not exist; .*no\.tif does not exist"):
        describe(InfoSettings(paths=("nowhere",), optical=("no.tif",)))


@pytest.mark.parametrize(
    ("paths", "message"),
    [((), "nothing was named"), (("nowhere",), "nowhere does not exist"), ((".",), "no scenes in")],
)
def test_nothing_to_describe(tmp_path, monkeypatch, paths, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SarcoverError, match=message):
        describe(InfoSettings(paths=paths))


def test_a_broken_description(tmp_path):
    (tmp_path / "store.yaml").write_text("[")
    with pytest.raises(SarcoverError, match=r"store\.yaml is not valid YAML"):
        one(tmp_path)


def test_the_real_scenes_say_what_they_are(shared_data):
    scenes = [
        shared_data / name / "hh_hv_vv.tif"
        for name in ("airsar_flevoland", "airsar_sanfrancisco", "alos1_sanfrancisco")
    ]
    for facts in describe(InfoSettings(paths=tuple(map(str, scenes)))):
        assert (facts["unit"], facts["bands"]) == ("linear_power", ["HH", "HV", "VV"])
        assert facts["statistics"]["HV"]["median"] < facts["statistics"]["HH"]["median"]


def test_the_real_mosaic_tile_says_what_it_is(shared_data):
    facts = one(shared_data / "alos2_mosaic")
    assert (facts["name"], facts["unit"], facts["radiometry"]) == ("N23W161_20", "dn", "gamma0")
    assert facts["acquired"][:10] == "2020-09-09"
    assert -25 < facts["statistics"]["HH"]["median"] < -10  # open sea


def test_a_local_coordinate_system_has_no_metres(tmp_path):
    scene = write(
        tmp_path / "quarry.tif",
        np.full((SIZE, SIZE), 900, np.uint16),
        crs=rasterio.CRS.from_wkt('LOCAL_CS["a quarry",UNIT["metre",1]]'),
    )
    facts = one(scene)
    assert (facts["pixel_size"], facts["pixel_size_m"]) == ([10, 10], None)
    assert facts["crs"].startswith("LOCAL_CS")


def test_a_scene_that_gdal_alone_can_find(tmp_path):
    """As one at s3:// or https://: here a file in memory."""
    path = write(tmp_path / "scene_HH.tif", np.full((SIZE, SIZE), 900, np.uint16), tags={"UNIT": "dn"})
    with rasterio.MemoryFile(path.read_bytes(), filename="scene_HH.tif") as there:
        facts = one(there.name)
    assert (facts["what"], facts["bands"], facts["width"]) == ("scene", ["HH"], SIZE)


def test_a_products_flight_angle_and_masks(tmp_path):
    dn = np.full((SIZE, SIZE), 3000, np.uint16)
    write(tmp_path / "t" / "N35E139_20_sl_HH_F02DAR.tif", dn)
    write(tmp_path / "t" / "N35E139_20_linci_F02DAR.tif", np.full((SIZE, SIZE), 38, np.uint8))
    write(tmp_path / "t" / "N35E139_20_mask_F02DAR.tif", np.full((SIZE, SIZE), 255, np.uint8))
    facts = one(tmp_path / "t")
    assert (facts["pass"], facts["look"]) == ("ascending", "right")
    assert (facts["incidence"], facts["incidence_of_each_pixel"]) == (38.0, True)
    assert facts["can_leave_out"] == ["shadow", "layover", "ocean"]
    assert facts["laid_on_the_map"] is None


def test_an_image_that_control_points_place(tmp_path):
    sys.path.append(str(Path(__file__).parent / "scene"))
    from safe_writer import NAME, write_grd

    dn = np.full((60, 80), 900, np.uint16)
    root = write_grd(tmp_path, {"VV": dn}, lambda line, pixel: (138 + pixel * 1e-4, 36 - line * 1e-4))
    facts = one(root)
    assert (facts["name"], facts["crs"], facts["unit"]) == (NAME, "EPSG:32654", "linear_power")
    assert (facts["orbit"], facts["relative_orbit"]) == (44823, 126)
    assert facts["laid_on_the_map"] == "by its control points, without terrain correction"
