"""A map of many tiles made by one process: its pixels, its files, and what is done a second time."""

import json
import os
import shutil
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
from affine import Affine
from fleet_helpers import (
    FIRST,
    LEFT,
    RESOLUTION,
    SECOND,
    SIDE,
    TOP,
    fleet,
    pixels,
    tile_bytes,
    write_bundle,
    write_scenes,
)
from mapping_helpers import LEGEND, backscatter, write_scene
from rasterio.enums import ColorInterp

import sarcover.mapping.fleet.unit as unit_module
from sarcover.cli import _failed_items, plain
from sarcover.errors import SarcoverError
from sarcover.mapping import map_scene, read_legend
from sarcover.mapping.fleet import is_fleet
from sarcover.runtimes import load_runtime
from stac_schemas import validate

LAYERS = ("confidence", "probabilities")


def write_broken(path: Path) -> None:
    """A scene that opens, but one block of its pixels is lost, 144 to 160 down and to the right."""
    values = backscatter((500, 500), seed=5)
    transform = Affine(10, 0, LEFT + 1000, 0, -10, TOP)
    write_scene(path, values, transform=transform, tiled=True, blockxsize=16, blockysize=16, compress="lzw")
    with rasterio.open(path) as raster:
        at = int(raster.get_tag_item("BLOCK_OFFSET_9_9", "TIFF", bidx=1))
    with path.open("r+b") as file:
        file.seek(at)
        file.write(bytes(16))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[str]]:
    folder = tmp_path_factory.mktemp("inputs")
    return write_bundle(folder / "bundle"), write_scenes(folder / "scenes")


@pytest.fixture(scope="module")
def whole(inputs: tuple[str, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished map; tests only look at it, or copy it."""
    out = tmp_path_factory.mktemp("whole") / "japan"
    result = fleet(*inputs, out, layers=LAYERS)
    assert (result.missing, result.kept, result.items) == (0, 0, ())
    return out


def test_the_tiles_together_are_the_map_of_one_call(
    whole: Path, inputs: tuple[str, list[str]], tmp_path: Path
) -> None:
    with rasterio.open(whole / "map.vrt") as raster:
        bounds, crs = tuple(raster.bounds), raster.crs
    out = tmp_path / "one.tif"
    settings = {"margin": 4, "device": "cpu", "layers": LAYERS, "bounds": bounds, "crs": crs.to_string()}
    model, scenes = inputs
    map_scene(load_runtime(model, "torch"), scenes, out, resolution=RESOLUTION, **settings)
    expected = pixels(out)
    assert len(np.unique(expected)) >= 4  # or the comparison says little
    np.testing.assert_array_equal(pixels(whole / "map.vrt"), expected)
    for name in LAYERS:
        np.testing.assert_array_equal(pixels(whole / f"{name}.vrt"), pixels(tmp_path / f"one_{name}.tif"))


def test_tiles_are_those_of_the_lattice_that_scenes_touch(whole: Path) -> None:
    size = SIDE * RESOLUTION
    touched = set()
    for (left, top), (height, width) in (FIRST, SECOND):
        for row in range(int(-top // size), int(-(top - 10 * height) // size) + 1):
            for column in range(int(left // size), int((left + 10 * width) // size) + 1):
                touched.add((column * size, -row * size))
    index = geopandas.read_parquet(whole / "tiles.parquet")
    assert set(zip(index.left, index.top, strict=True)) == touched
    assert set(index.name) == {f"N{top:07.0f}E{left:07.0f}" for left, top in touched}
    assert {path.stem for path in (whole / "tiles").glob("N???????E???????.tif")} == set(index.name)


def test_the_index_tells_of_every_tile(whole: Path) -> None:
    index = geopandas.read_parquet(whole / "tiles.parquet")
    assert index.crs.to_epsg() == 4326
    assert (index.status == "done").all()
    codes = [*LEGEND.codes, 255]
    for row in index.itertuples():
        tile = pixels(whole / "tiles" / f"{row.name}.tif")
        counted = [*(getattr(row, f"n_{code}") for code in LEGEND.codes), row.nodata]
        assert counted == [int((tile == code).sum()) for code in codes]
        assert row.worker.endswith(f":{os.getpid()}")
        assert row.seconds > 0
        with rasterio.open(whole / "tiles" / f"{row.name}.tif") as raster:
            assert raster.bounds == (row.left, row.bottom, row.right, row.top)
    both = index[[len(names) == 2 for names in index.scenes]]
    assert 0 < len(both) < len(index)


def test_the_virtual_raster_has_colours_and_names(whole: Path) -> None:
    with rasterio.open(whole / "map.vrt") as raster:
        assert raster.colorinterp == (ColorInterp.palette,)
        assert raster.nodata == 255
        colours = raster.colormap(1)
        assert [colours[code] for code in LEGEND.codes] == [
            (0, 0, 255, 255), (0, 255, 0, 255), (255, 255, 0, 255), (255, 0, 16, 255),
        ]  # fmt: skip
        assert colours[255][3] == 0
        assert raster.tags(1)["CLASS_40"] == LEGEND.names[2]
        assert "SARCOVER_MODEL_SHA256" in raster.tags()
        assert "SARCOVER_SCENE" not in raster.tags()  # of one tile
    assert read_legend(whole / "map.vrt") == LEGEND
    text = (whole / "map.vrt").read_text()
    assert text.count("<Category>") + text.count("<Category />") == 201
    with rasterio.open(whole / "probabilities.vrt") as raster:
        assert raster.descriptions == tuple(f"probability of {name}" for name in LEGEND.names)
        assert raster.scales == (0.004,) * 4


def test_the_collection_validates_and_leads_to_every_tile(whole: Path) -> None:
    import pystac

    content = json.loads((whole / "collection.json").read_text())
    assert validate(content)
    collection = pystac.Collection.from_file(str(whole / "collection.json"))
    items = list(collection.get_items())
    assert len(items) == len(list((whole / "tiles").glob("*.json")))
    for item in items:
        assert item.get_collection().id == collection.id
        assert Path(item.assets["map"].get_absolute_href()).exists()
        assert validate(json.loads(Path(item.get_self_href()).read_text()))
    west, south, east, north = collection.extent.spatial.bboxes[0]
    for item in items:
        assert west <= item.bbox[0] < item.bbox[2] <= east
        assert south <= item.bbox[1] < item.bbox[3] <= north
    start, end = collection.extent.temporal.intervals[0]
    assert (start.month, end.month) == (1, 2)
    for asset in collection.assets.values():
        assert Path(asset.get_absolute_href()).exists()


def test_finished_tiles_are_kept_and_lost_ones_made_again(
    whole: Path, inputs: tuple[str, list[str]], tmp_path: Path
) -> None:
    out = Path(shutil.copytree(whole, tmp_path / "japan"))
    before = tile_bytes(out)
    lost, unrecorded = sorted(out.glob("tiles/N???????E???????.tif"))[:2]
    lost.unlink()
    (out / ".fleet" / f"{unrecorded.stem}.json").unlink()  # its worker died between the two
    kept = [path for path in out.glob("tiles/N???????E???????.tif") if path != unrecorded]
    times = {path: path.stat().st_mtime_ns for path in kept}
    result = fleet(*inputs, out, layers=LAYERS)
    assert (result.made, result.kept) == (2, len(kept))
    assert {path: path.stat().st_mtime_ns for path in kept} == times
    assert tile_bytes(out) == before


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"layers": ("confidence",)}, "another layers"),
        ({"overlap": 12}, "another overlap"),
        ({"tile": "32"}, "another tile"),
        ({"resolution": 20.0}, "another resolution"),
    ],
)
def test_other_settings_are_refused(
    whole: Path, inputs: tuple[str, list[str]], changed: dict, words: str
) -> None:
    before = tile_bytes(whole)
    with pytest.raises(SarcoverError, match=rf"made with other settings; got {words}.*--overwrite"):
        fleet(*inputs, whole, **{"layers": LAYERS, **changed})
    assert tile_bytes(whole) == before


def test_another_model_is_refused_and_with_overwrite_replaces_all(
    whole: Path, inputs: tuple[str, list[str]], tmp_path: Path
) -> None:
    out = Path(shutil.copytree(whole, tmp_path / "japan"))
    other = write_bundle(tmp_path / "other", seed=1)
    with pytest.raises(SarcoverError, match="got another model"):
        fleet(other, inputs[1], out, layers=LAYERS)
    result = fleet(other, inputs[1], out, overwrite=True)
    assert (result.made, result.kept) == (result.tiles, 0)
    assert not list(out.glob("tiles/*probabilities*"))  # of the map before
    fresh = fleet(other, inputs[1], tmp_path / "fresh")
    assert fresh.tiles == result.tiles
    assert tile_bytes(out) == tile_bytes(tmp_path / "fresh")


def test_a_new_scene_changes_the_tiles_it_reaches_and_no_others(
    inputs: tuple[str, list[str]], tmp_path: Path
) -> None:
    model, (first, second) = inputs
    out = tmp_path / "out"
    alone = fleet(model, [first], out)
    with pytest.raises(SarcoverError, match=r"finished tiles were made of other scenes"):
        fleet(model, [first, second], out)
    both = fleet(model, [first, second], out, overwrite=True)
    assert 0 < both.kept < alone.tiles
    fleet(model, [first, second], tmp_path / "fresh")
    assert tile_bytes(out) == tile_bytes(tmp_path / "fresh")
    fleet(model, [first], out, overwrite=True)  # and without it again
    assert len(geopandas.read_parquet(out / "tiles.parquet")) == alone.tiles
    assert len(list(out.glob("tiles/*.tif"))) == alone.tiles


def test_a_bad_scene_costs_its_tiles_and_no_others(inputs: tuple[str, list[str]], tmp_path: Path) -> None:
    """One opens, but a block of its pixels is lost; another one does not even open."""
    model, (first, _) = inputs
    broken, nothing, out = tmp_path / "broken.tif", tmp_path / "nothing.tif", tmp_path / "out"
    write_broken(broken)
    nothing.write_bytes(b"not a raster")
    bounds = (float(LEFT), TOP - 1920.0, LEFT + 3200.0, float(TOP))
    result = fleet(model, [first, str(broken), str(nothing)], out, retries=1, bounds=bounds)
    assert result.missing + result.made == result.tiles == 15
    index = geopandas.read_parquet(out / "tiles.parquet").set_index("name")
    failed = index[index.status == "failed"]
    around = (LEFT + 2440, TOP - 1600, LEFT + 2600, TOP - 1440)  # the lost block
    for name, tile in index.iterrows():
        away = max(
            around[0] - tile.right, tile.left - around[2], around[1] - tile.top, tile.bottom - around[3]
        )
        assert (away < 0) <= (name in failed.index) <= (away < 320)  # a window's side
    assert failed.reason.str.contains("broken.tif").all()
    assert _failed_items(plain(result)) == 2
    assert any("nothing.tif" in item["error"] for item in result.items)
    assert any(name in item["error"] for item in result.items for name in failed.index)
    assert not [name for name in failed.index if (out / "tiles" / f"{name}.tif").exists()]
    fleet(model, [first], tmp_path / "alone", bounds=bounds)
    alone, good = tile_bytes(tmp_path / "alone"), tile_bytes(out)
    untouched = [f"N{TOP - row:07d}E{LEFT:07d}.tif" for row in (0, 640, 1280)]
    assert [good[name] for name in untouched] == [alone[name] for name in untouched]


def test_with_a_scene_that_cannot_be_opened_no_finished_tile_is_lost(
    inputs: tuple[str, list[str]], tmp_path: Path
) -> None:
    model, (first, second) = inputs
    own = tmp_path / "second.tif"
    shutil.copy2(second, own)
    out = tmp_path / "out"
    fleet(model, [first, str(own)], out)
    before = tile_bytes(out)
    own.write_bytes(b"away")
    result = fleet(model, [first, str(own)], out, overwrite=True)
    assert (result.made, result.kept) == (0, len(before))
    assert len(result.items) == 1
    assert tile_bytes(out) == before


def test_a_failing_tile_is_tried_again(
    inputs: tuple[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []
    real = unit_module.map_scene

    def flaky(*given: object, **settings: object) -> object:
        tried.append(str(given[2]))
        if len(tried) in (1, 2):
            raise SarcoverError("the network is away")
        return real(*given, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(unit_module, "map_scene", flaky)
    model, scenes = inputs
    result = fleet(model, scenes[:1], tmp_path / "out", retries=2)
    assert (result.missing, result.made) == (0, result.tiles)
    assert tried.count(tried[0]) == 3
    tried.clear()
    result = fleet(model, scenes[:1], tmp_path / "again", retries=1)
    assert result.missing == 1
    assert "the network is away" in result.items[0]["error"]


def test_bounds_cut_tiles_and_make_the_map_that_was_asked_for(
    inputs: tuple[str, list[str]], whole: Path, tmp_path: Path
) -> None:
    bounds = (LEFT + 512.0, TOP - 1203.0, LEFT + 1500.0, TOP - 300.0)
    fleet(*inputs, tmp_path / "part", bounds=bounds)
    with rasterio.open(tmp_path / "part" / "map.vrt") as part, rasterio.open(whole / "map.vrt") as all_of:
        assert part.bounds == (LEFT + 510, TOP - 1210, LEFT + 1500, TOP - 300)
        window = all_of.window(*part.bounds)
        np.testing.assert_array_equal(part.read(1), all_of.read(1, window=window))
    with pytest.raises(SarcoverError, match="no scene reaches the tiles asked for"):
        fleet(*inputs, tmp_path / "far", bounds=(0.0, 0.0, 500.0, 500.0))
    assert not (tmp_path / "far").exists()


@pytest.mark.parametrize("suffix", [".parquet", ".geojson"])
def test_tiles_of_a_file(inputs: tuple[str, list[str]], whole: Path, tmp_path: Path, suffix: str) -> None:
    """Polygons by name: the box around each, in whole pixels; one where no scene is stays away."""
    import shapely

    named = {
        "north-west": shapely.box(LEFT + 101, TOP - 699, LEFT + 799, TOP - 101),
        "south": shapely.Point(LEFT + 1400, TOP - 1200).buffer(300),
        "sea": shapely.box(LEFT - 9000, TOP, LEFT - 8000, TOP + 900),
    }
    file = tmp_path / f"tiles{suffix}"
    frame = geopandas.GeoDataFrame({"name": list(named)}, geometry=list(named.values()), crs=32654)
    if suffix == ".parquet":
        frame.to_parquet(file)
    else:
        frame.to_file(file)
    result = fleet(*inputs, tmp_path / "out", tile=None, tiles=str(file))
    assert result.tiles == 2
    with rasterio.open(whole / "map.vrt") as all_of:
        for name in ("north-west", "south"):
            with rasterio.open(tmp_path / "out" / "tiles" / f"{name}.tif") as tile:
                inside = named[name].bounds
                assert np.all(np.abs(np.subtract(tile.bounds, inside)) < 10.01)
                assert tile.bounds.left <= inside[0]
                assert tile.bounds.top >= inside[3]
                window = all_of.window(*tile.bounds)
                np.testing.assert_array_equal(tile.read(1), all_of.read(1, window=window))


def test_scenes_of_a_catalogue(inputs: tuple[str, list[str]], whole: Path, tmp_path: Path) -> None:
    model, scenes = inputs
    features = [
        {
            "type": "Feature",
            "stac_version": "1.1.0",
            "stac_extensions": [],
            "id": f"item{number}",
            "geometry": {"type": "Point", "coordinates": [139.9, 36.1]},
            "bbox": [139.9, 36.1, 139.9, 36.1],
            "properties": {"datetime": f"2024-0{number + 1}-01T00:00:00Z"},
            "links": [],
            "assets": {"HH": {"href": path, "roles": ["data"], "type": "image/tiff"}},
        }
        for number, path in enumerate(scenes)
    ]
    file = tmp_path / "items.json"
    file.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    fleet(model, [str(file)], tmp_path / "out")
    np.testing.assert_array_equal(pixels(tmp_path / "out" / "map.vrt"), pixels(whole / "map.vrt"))
    index = geopandas.read_parquet(tmp_path / "out" / "tiles.parquet")
    assert set(np.concatenate(index.scenes)) == {"item0", "item1"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"tiles": "x.geojson"}, "--tile and --tiles"),
        ({"address": "tcp://a:1"}, "--address is for a cluster; add --engine dask"),
        ({"workers": 2}, "--workers is for a cluster"),
        ({"engine": "dask", "address": "tcp://a:1", "workers": 2}, "has workers of its own"),
        ({"engine": "dask", "workers": 0}, "workers; expected 1 or more; got 0"),
        ({"retries": -1}, "retries"),
        ({"tile": "12parsec"}, "tile; expected a side"),
        ({"tile": "645m"}, "tile 645m; expected a whole number of pixels"),
        ({"tile": "1deg"}, "expected metres"),
        ({"bounds": (5.0, 0.0, 1.0, 9.0)}, "left bottom right top"),
        ({"resolution": -1.0}, "resolution"),
        ({"crs": "EPSG:4326", "resolution": None}, "add --resolution"),
    ],
)
def test_settings_that_make_no_fleet(
    inputs: tuple[str, list[str]], tmp_path: Path, settings: dict, words: str
) -> None:
    with pytest.raises(SarcoverError) as raised:
        fleet(*inputs, tmp_path / "out", **settings)
    assert words in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_somebody_elses_folder_and_a_files_name_are_refused(
    inputs: tuple[str, list[str]], tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("dear")
    with pytest.raises(SarcoverError, match="holds something else"):
        fleet(*inputs, tmp_path / "mine", overwrite=True)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    with pytest.raises(SarcoverError, match="is the name of a file; expected a folder"):
        fleet(*inputs, tmp_path / "map.tif")


def test_two_at_once_in_one_folder_are_refused(inputs: tuple[str, list[str]], whole: Path) -> None:
    from sarcover.lock import lock_folder

    held = lock_folder(whole / ".fleet", "japan")
    try:
        with pytest.raises(SarcoverError, match="is being made by another process"):
            fleet(*inputs, whole, layers=LAYERS)
    finally:
        os.close(held)


def test_the_commands_of_the_documentation_are_right() -> None:
    """Its page is not run, for it needs a country and a cluster; its flags and settings are checked."""
    import re
    import shlex

    from sarcover.cli_adapter import parse
    from sarcover.config import MapSettings

    page = (Path(__file__).parents[2] / "docs" / "fleet.md").read_text(encoding="utf-8")
    commands = re.findall(r"^sarcover map (.*)$", page, re.MULTILINE)
    assert len(commands) == 4
    for words in commands:
        assert is_fleet(parse("map", MapSettings, shlex.split(words)))
    scripts = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(scripts) == 2
    for script in scripts:
        compile(script, "fleet.md", "exec")
    assert set(re.findall(r"^ {12}(\w+)=", scripts[0], re.MULTILINE)) <= set(MapSettings.__dataclass_fields__)


def test_a_yaml_file_may_say_all_of_it(tmp_path: Path) -> None:
    from sarcover.cli_adapter import parse
    from sarcover.config import MapSettings

    file = tmp_path / "map.yaml"
    file.write_text("model: m\nout: o\nscenes: [a.tif]\ntile: 8192px\nengine: dask\nworkers: 4\n")
    settings = parse("map", MapSettings, ["--config", str(file), "--retries", "5"])
    assert (settings.tile, settings.engine, settings.workers, settings.retries) == ("8192px", "dask", 4, 5)
