"""A map with everything beside it: layers, style, polygons and STAC item, of the same map, all or none."""

import errno
import hashlib
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import geopandas
import numpy as np
import pytest
import rasterio
import torch
from mapping_helpers import (
    CODES,
    LEGEND,
    LEVELS,
    Convolutions,
    NearestLevel,
    backscatter,
    expected_codes,
    read_map,
    with_bundle,
    write_scene,
)
from rasterio.enums import Resampling
from rasterio.features import sieve
from scipy.special import softmax

from sarcover.bundle import load_model, save_bundle
from sarcover.errors import SarcoverError
from sarcover.mapping import map_scene
from sarcover.mapping.outputs import Outputs
from sarcover.models import build_model
from stac_schemas import validate

ALL = {"layers": ("probabilities", "margin", "entropy", "confidence"), "polygons": "parquet"}


def make(folder: Path, db: np.ndarray, **settings: Any) -> Path:
    folder.mkdir(exist_ok=True)
    scene = write_scene(folder / "scene.tif", db, tags={"ACQUIRED": "2022-09-05T03:00:00"})
    model = with_bundle(NearestLevel())
    return map_scene(model, scene, folder / "map.tif", device="cpu", **settings).path


def holey(shape: tuple[int, int] = (80, 90)) -> np.ndarray:
    db = backscatter(shape)
    db[20:40, 30:60] = np.nan
    return db


def test_layers_hold_what_the_logits_say(tmp_path: Path) -> None:
    db = holey()
    make(tmp_path, db, **ALL)
    p = softmax([-((np.nan_to_num(db).astype(np.float64) - level) ** 2) for level in LEVELS], axis=0)
    ordered = np.sort(p, axis=0)
    entropy = -np.sum(p * np.log(np.maximum(p, 1e-300)), axis=0, keepdims=True) / np.log(4)
    wanted = {
        "confidence": ordered[-1:],
        "entropy": entropy,
        "margin": ordered[-1:] - ordered[-2:-1],
        "probabilities": p,
    }
    for name, values in wanted.items():
        with rasterio.open(tmp_path / f"{name}.tif") as raster:
            bands, scale = raster.read(), raster.scales[0]
            assert (raster.dtypes[0], raster.nodata, raster.offsets[0]) == ("uint8", 255, 0)
            assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            assert raster.overviews(raster.count) == [2]
            assert raster.scales == (scale,) * raster.count
            overview = raster.read(1, out_shape=(40, 45), resampling=Resampling.nearest)
        assert bands.shape == values.shape
        np.testing.assert_array_equal(bands == 255, np.broadcast_to(np.isnan(db), bands.shape))
        np.testing.assert_allclose(
            (bands * scale)[:, ~np.isnan(db)], values[:, ~np.isnan(db)], atol=scale / 2 + 1e-4
        )
        corner = bands[0, :20, :30].astype(float).reshape(10, 2, 15, 2).mean((1, 3))
        np.testing.assert_allclose(overview[:10, :15], corner, atol=0.5 + 1e-6)
    with rasterio.open(tmp_path / "probabilities.tif") as raster:
        assert raster.descriptions == tuple(f"probability of {name}" for name in LEGEND.names)


@pytest.mark.parametrize("layers", [("margin",), ("entropy", "confidence")])
def test_only_the_layers_asked_for_are_there(tmp_path: Path, layers: tuple[str, ...]) -> None:
    make(tmp_path, holey((20, 30)), layers=layers)
    there = {path.stem for path in tmp_path.glob("*.tif")} - {"scene", "map"}
    assert there == set(layers)


def test_the_item_describes_the_files_that_are_there(tmp_path: Path) -> None:
    path = make(tmp_path, holey(), **ALL)
    item = json.loads((tmp_path / "map.json").read_text())
    validate(item)
    assert set(item["assets"]) == {
        "map", "confidence", "entropy", "margin", "probabilities", "style", "polygons",
    }  # fmt: skip
    for asset in item["assets"].values():
        file = tmp_path / asset["href"]
        assert asset["file:size"] == file.stat().st_size
        assert asset["file:checksum"] == "1220" + hashlib.sha256(file.read_bytes()).hexdigest()
    codes = read_map(path)
    classes = item["assets"]["map"]["bands"][0]["classification:classes"]
    assert {land["value"]: land["count"] for land in classes} == {
        code: int((codes == code).sum()) for code in CODES
    }
    assert item["id"] == "scene_map"
    assert item["properties"]["datetime"] == "2022-09-05T03:00:00Z"
    assert item["properties"]["proj:code"] == "EPSG:32654"
    assert [(link["rel"], link["href"]) for link in item["links"]] == [("derived_from", "./scene.tif")]


def test_the_item_leads_to_that_of_the_model(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_bundle(
        tmp_path / "bundle", build_model("unet", size="tiny", num_classes=4), kind="segmenter", legend=LEGEND,
        bands=("HH",), unit="db", radiometry="unknown", optical_bands=(), patch=32, training={}, metrics=None,
    )  # fmt: skip
    scene = write_scene(tmp_path / "scene.tif", holey())
    out = tmp_path / "maps" / "N35E139.tif"
    map_scene(load_model(tmp_path / "bundle"), scene, out, device="cpu", confidence=True)
    item = json.loads(out.with_suffix(".json").read_text())
    validate(item)
    assert item["id"] == "N35E139"
    links = [link["href"] for link in item["links"] if link["rel"] == "derived_from"]
    assert links == ["../bundle/item.json", "../scene.tif"]
    model = json.loads((out.parent / links[0]).read_text())
    validate(model)
    assert model["properties"]["mlm:name"] == "unet-tiny-four-levels"
    assert item["assets"]["confidence"]["href"] == "./N35E139_confidence.tif"
    assert sorted(path.name for path in out.parent.iterdir()) == [
        "N35E139.json", "N35E139.qml", "N35E139.tif", "N35E139.tif.aux.xml",
        "N35E139_confidence.qml", "N35E139_confidence.tif",
    ]  # fmt: skip


def test_a_sieved_map_is_the_sieve_of_the_map(tmp_path: Path) -> None:
    """Its statistics, overviews, item and polygons, too."""
    db = holey()
    plain = expected_codes(np.nan_to_num(db), ~np.isnan(db))
    wanted = sieve(plain, 30, mask=plain != 255, connectivity=4)
    assert (wanted != plain).any()
    result = map_scene(
        with_bundle(NearestLevel()), write_scene(tmp_path / "scene.tif", db), tmp_path / "map.tif",
        device="cpu", sieve=30, polygons="gpkg", layers=("confidence",),
    )  # fmt: skip
    np.testing.assert_array_equal(read_map(result.path), wanted)
    counts = {name: int((wanted == code).sum()) for code, name in zip(CODES, LEGEND.names, strict=True)}
    assert result.counts == counts
    item = json.loads((tmp_path / "map.json").read_text())
    classes = item["assets"]["map"]["bands"][0]["classification:classes"]
    assert {land["title"]: land["count"] for land in classes} == counts
    assert "30 pixels" in item["properties"]["processing:lineage"]
    table = geopandas.read_file(tmp_path / "map.gpkg")
    assert table.geometry.area.sum() == pytest.approx(100.0 * (wanted != 255).sum(), rel=1e-9)
    assert not list(tmp_path.glob(".*"))


def test_polygons_have_a_smallest_size_of_their_own(tmp_path: Path) -> None:
    db = holey()
    path = make(tmp_path, db, polygons="parquet", min_area=30, simplify=1.0)
    plain = expected_codes(np.nan_to_num(db), ~np.isnan(db))
    np.testing.assert_array_equal(read_map(path), plain)
    table = geopandas.read_parquet(tmp_path / "map.parquet")
    assert 0 < len(table) < 60
    merged = sieve(plain, 30, mask=plain != 255, connectivity=4)
    exact = make(tmp_path / "exact", db, polygons="parquet", min_area=30)
    same = geopandas.read_parquet(exact.with_suffix(".parquet"))
    for code in CODES:
        assert same.geometry[same["code"] == code].area.sum() == pytest.approx(100 * (merged == code).sum())


@pytest.mark.parametrize("crs", [None, "EPSG:4326"])
def test_every_output_of_maps_elsewhere_or_nowhere(tmp_path: Path, crs: str | None) -> None:
    transform = None if crs is None else rasterio.Affine(1e-4, 0, 139, 0, -1e-4, 36)
    scene = write_scene(tmp_path / "scene.tif", holey(), crs=crs, transform=transform)
    map_scene(with_bundle(NearestLevel()), scene, tmp_path / "map.tif", device="cpu", sieve=5, **ALL)  # type: ignore[arg-type]
    item = json.loads((tmp_path / "map.json").read_text())
    validate(item)
    assert (item["geometry"] is None) == (crs is None)
    assert "is not known" in item["properties"]["processing:lineage"]
    table = geopandas.read_parquet(tmp_path / "map.parquet")
    assert table["area_m2"].isna().all() == (crs is None)


def test_every_output_of_a_map_of_nodata(tmp_path: Path) -> None:
    make(tmp_path, np.full((30, 40), np.nan, np.float32), sieve=5, min_area=9, **ALL)
    validate(json.loads((tmp_path / "map.json").read_text()))
    assert len(geopandas.read_parquet(tmp_path / "map.parquet")) == 0
    for name in ("map", "confidence", "entropy", "margin", "probabilities"):
        with rasterio.open(tmp_path / f"{name}.tif") as raster:
            assert (raster.read() == 255).all()


def test_styles_lie_where_qgis_looks_for_them(tmp_path: Path) -> None:
    make(tmp_path, holey((20, 30)), layers=("margin",))
    for stem, kind in (("map", "paletted"), ("margin", "singlebandpseudocolor")):
        root = ElementTree.parse(tmp_path / f"{stem}.qml").getroot()
        assert root.find("pipe/rasterrenderer").get("type") == kind  # type: ignore[union-attr]


@pytest.mark.parametrize("late", ["write_polygons", "map_stac.map_item"])
def test_a_failure_at_the_end_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: str
) -> None:
    def full(*args: object, **settings: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(f"sarcover.mapping.publication.{late}", full)
    with pytest.raises(SarcoverError, match=r"map\.(parquet|json): the disk is full"):
        make(tmp_path, holey(), **ALL)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name[0] != ".") == ["scene.tif"]


@pytest.mark.parametrize("name", ["map.json", "map.qml", "entropy.tif", "entropy.qml", "map.gpkg"])
def test_nothing_beside_the_map_is_replaced_unasked(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    again = {"layers": ("entropy",), "polygons": "gpkg"}
    with pytest.raises(SarcoverError, match=rf"{name.replace('.', chr(92) + '.')} exists already"):
        make(tmp_path, holey((20, 20)), **again)
    assert (tmp_path / name).read_text() == "mine"
    assert not (tmp_path / "map.tif").exists()
    make(tmp_path, holey((20, 20)), **again, overwrite=True)
    assert (tmp_path / name).read_bytes() != b"mine"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sieve": -1}, "sieve; expected 0 or more pixels; got -1"),
        ({"polygons": "gpkg", "simplify": float("nan")}, "simplify; expected 0 or more pixels; got nan"),
        ({"min_area": 5}, "are for polygons; .*--polygons"),
        ({"out": Path("a/map.json")}, r"map\.json is no name for a map; .* write to map\.tif"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SarcoverError, match=message):
        Outputs(**{"out": Path("map.tif"), **settings})


def test_layers_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    """Of windows that overlap, that is: the blended logits are what they are computed from."""
    scene = write_scene(tmp_path / "scene.tif", holey())
    found = []
    for batch in (1, 7):
        folder = tmp_path / str(batch)
        model = with_bundle(Convolutions())
        map_scene(model, scene, folder / "map.tif", device="cpu", batch=batch, layers=("probabilities",))
        with rasterio.open(folder / "probabilities.tif") as raster:
            found.append(raster.read().astype(int))
    assert np.abs(found[0] - found[1]).max() <= 1
    total = found[0].sum(0)[~np.isnan(holey())]
    assert np.abs(total - 250).max() <= 2
