"""STAC items, item collections and catalogues as scenes; and names that only GDAL can open."""

import http.server
import json
import multiprocessing
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
from affine import Affine
from mapping_helpers import NearestLevel, backscatter, expected_codes, read_map, with_bundle, write_scene

from sarcover.errors import SarcoverError
from sarcover.mapping import map_scene
from sarcover.mapping.catalog import find
from sarcover.scene.remote import gdal_name, is_remote

TIFF = "image/tiff; application=geotiff"


def item(folder: Path, name: str, day: int, assets: dict[str, dict[str, Any]]) -> pystac.Item:
    """An item whose files lie beside it."""
    made = pystac.Item(name, None, None, datetime(2022, 5, day, tzinfo=UTC), {})
    for key, asset in assets.items():
        made.add_asset(
            key,
            pystac.Asset(asset["href"], roles=asset.get("roles"), media_type=asset.get("type", TIFF),
                         extra_fields=asset.get("more", {})),
        )  # fmt: skip
    made.set_self_href(str(folder / f"{name}.json"))
    return made


def two_polarisations(folder: Path, name: str, seed: int, column: int = 0) -> np.ndarray:
    db = backscatter((2, 30, 40), seed)
    transform = Affine(10, 0, 400_000 + 10 * column, 0, -10, 4_000_000)
    for band, values in zip(("a", "b"), db, strict=True):
        write_scene(folder / f"{name}_{band}.tif", values, bands=None, transform=transform)
    return db


def assets(name: str) -> dict[str, dict[str, Any]]:
    """Radar by the names of its assets, and what must not be taken for it."""
    return {
        "thumbnail": {"href": f"./{name}_vv.png", "roles": ["thumbnail"], "type": "image/png"},
        "vv": {"href": f"./{name}_a.tif", "roles": ["data"]},
        "product-vh": {"href": f"./{name}_b.tif", "roles": ["data"]},
        "schema-vh": {"href": f"./{name}.xml", "roles": ["metadata"], "type": "text/xml"},
    }


MODEL = {"bands": ("VH", "VV")}


def mapped(document: Any, out: Path, **settings: Any) -> Any:
    model = with_bundle(NearestLevel(sar_bands=2), **MODEL)
    result = map_scene(model, document, out, device="cpu", **settings)
    return result, read_map(out)


def test_an_item_is_a_scene_named_dated_and_with_its_polarisations(tmp_path: Path) -> None:
    db = two_polarisations(tmp_path, "s1", 0)
    item(tmp_path, "s1", 3, assets("s1")).save_object(include_self_link=False)
    (found,) = find([tmp_path / "s1.json"])
    assert found.bands == ("VV", "VH")
    scene = found.open(None, None)
    assert (scene.name, scene.bands) == ("s1", ("VV", "VH"))
    assert scene.acquired == datetime(2022, 5, 3, tzinfo=UTC)
    _, codes = mapped(tmp_path / "s1.json", tmp_path / "map.tif")
    np.testing.assert_array_equal(codes, expected_codes(db[1]))


def test_metadata_of_an_asset_say_its_polarisation(tmp_path: Path) -> None:
    db = two_polarisations(tmp_path, "s1", 0)
    item(
        tmp_path,
        "s1",
        3,
        {
            "first": {"href": "./s1_a.tif", "more": {"sar:polarizations": ["VH"]}},
            "second": {"href": "./s1_b.tif", "more": {"sar:polarizations": ["VV"]}},
        },
    ).save_object(include_self_link=False)
    _, codes = mapped(tmp_path / "s1.json", tmp_path / "map.tif")
    np.testing.assert_array_equal(codes, expected_codes(db[0]))


def test_what_the_file_names_its_bands_counts_before_the_order_of_the_items_words(tmp_path: Path) -> None:
    """`sar:polarizations` says which there are, in any order."""
    db = backscatter((2, 30, 40))
    write_scene(tmp_path / "all.tif", db, bands=("VV", "VH"))
    more = {"sar:polarizations": ["VH", "VV"]}
    item(tmp_path, "x", 1, {"image": {"href": "./all.tif", "more": more}}).save_object(False)
    scene = find([tmp_path / "x.json"])[0].open(None, None)
    assert scene.bands == ("VH", "VV")
    np.testing.assert_array_equal(scene.read()[0], db[::-1])


def test_one_asset_with_the_role_data_holds_all_bands(tmp_path: Path) -> None:
    db = backscatter((2, 30, 40))
    write_scene(tmp_path / "all.tif", db, bands=("VV", "VH"))
    item(tmp_path, "x", 1, {"image": {"href": "./all.tif", "roles": ["data"]}}).save_object(False)
    _, codes = mapped(tmp_path / "x.json", tmp_path / "map.tif")
    np.testing.assert_array_equal(codes, expected_codes(db[1]))


def collection(folder: Path) -> tuple[Path, list[np.ndarray]]:
    """Two items side by side, overlapping by 10 columns, in a catalogue of their own folders."""
    made = pystac.Collection("c", "two scenes", pystac.Extent.from_dict(
        {"spatial": {"bbox": [[0, 0, 1, 1]]}, "temporal": {"interval": [[None, None]]}}
    ))  # fmt: skip
    fields = []
    for number, name in enumerate(("old", "new")):
        (folder / name).mkdir()
        fields.append(two_polarisations(folder / name, name, number, column=30 * number))
        made.add_item(item(folder / name, name, 10 + number, assets(name)))
    made.normalize_hrefs(str(folder))
    made.save(pystac.CatalogType.SELF_CONTAINED)
    return folder / "collection.json", fields


def mosaic(fields: list[np.ndarray]) -> np.ndarray:
    """VH of the newer over that of the older."""
    canvas = np.zeros((30, 70), np.float32)
    canvas[:, :40] = fields[0][1]
    canvas[:, 30:] = fields[1][1]
    return expected_codes(canvas)


def test_a_collection_is_a_mosaic_of_its_items(tmp_path: Path) -> None:
    path, fields = collection(tmp_path)
    result, codes = mapped(path, tmp_path / "map.tif")
    assert result.scenes == ("new", "old")
    np.testing.assert_array_equal(codes, mosaic(fields))


def test_an_item_collection_as_a_search_gives_it(tmp_path: Path) -> None:
    path, fields = collection(tmp_path)
    items = []
    for each in pystac.Collection.from_file(str(path)).get_items():
        each.make_asset_hrefs_absolute()
        items.append(each)
    pystac.ItemCollection(items).save_object(str(tmp_path / "found.json"))
    _, codes = mapped(tmp_path / "found.json", tmp_path / "map.tif")
    np.testing.assert_array_equal(codes, mosaic(fields))


class Ranges(http.server.SimpleHTTPRequestHandler):
    """Files with byte ranges, as object stores serve them."""

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        first, last = 0, len(data) - 1
        if wanted:
            first, last = int(wanted[1]), min(last, int(wanted[2] or last))
        self.send_response(206 if wanted else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(last + 1 - first))
        if wanted:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.end_headers()
        self.wfile.write(data[first : last + 1])


def serve(folder: Path, port: Any) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Ranges, directory=str(folder))) as running:
        port.send(running.server_address[1])
        running.serve_forever()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The folder "remote" over HTTP, by a process of its own: GDAL may hold this one's interpreter."""
    (tmp_path / "remote").mkdir()
    context = multiprocessing.get_context("forkserver")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(tmp_path / "remote", theirs), daemon=True)
    process.start()
    assert ours.poll(60)
    yield f"http://127.0.0.1:{ours.recv()}"
    process.kill()
    process.join()


def test_a_collection_at_a_url_is_read_from_there(tmp_path: Path, server: str) -> None:
    _, fields = collection(tmp_path / "remote")
    result, codes = mapped(f"{server}/collection.json", tmp_path / "map.tif")
    assert result.scenes == ("new", "old")
    np.testing.assert_array_equal(codes, mosaic(fields))
    file = f"{server}/old/old_a.tif"
    map_scene(
        with_bundle(NearestLevel(), bands=("VV",)), file, tmp_path / "one.tif", device="cpu", bands=("VV",)
    )
    np.testing.assert_array_equal(read_map(tmp_path / "one.tif"), expected_codes(fields[0][0]))


def test_a_file_at_a_url_that_is_not_there_is_one_line(tmp_path: Path, server: str) -> None:
    with pytest.raises(SarcoverError, match=r"gone\.tif cannot be read as a raster"):
        map_scene(with_bundle(NearestLevel()), f"{server}/gone.tif", tmp_path / "map.tif", device="cpu")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "cannot be read as a STAC item or collection; got JSONDecodeError"),
        ('{"type": "Topology"}', "cannot be read as a STAC item or collection"),
        ("[1, 2]", "cannot be read as a STAC item or collection"),
        (None, "cannot be read as a STAC item or collection; got"),
    ],
)
def test_documents_that_are_no_catalogue(tmp_path: Path, content: str | None, said: str) -> None:
    path = tmp_path / "a.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SarcoverError) as error:
        find([path])
    assert said in str(error.value)


def test_a_catalogue_at_a_url_where_nobody_answers_is_one_line() -> None:
    with pytest.raises(SarcoverError, match=r"a\.json cannot be read as a STAC item or collection"):
        find(["http://127.0.0.1:9/a.json"])


def test_an_item_without_radar_says_what_it_has(tmp_path: Path) -> None:
    item(tmp_path, "s2", 1, {"B04": {"href": "b4.jp2"}, "B08": {"href": "b8.jp2"}}).save_object(False)
    with pytest.raises(SarcoverError, match=r"STAC item s2 has no asset that is its radar; .*got B04, B08"):
        find([tmp_path / "s2.json"])
    failed: list[str] = []
    assert find([tmp_path / "s2.json"], failed) == []
    assert "s2 has no asset" in failed[0]
    (tmp_path / "none.json").write_text(json.dumps({"type": "FeatureCollection", "features": []}))
    with pytest.raises(SarcoverError, match=r"none\.json holds no scene"):
        find([tmp_path / "none.json"])


@pytest.mark.parametrize(
    ("name", "gdal"),
    [
        ("https://host/a/b.tif", "/vsicurl/https://host/a/b.tif"),
        (Path("https://host/a/b.tif"), "/vsicurl/https://host/a/b.tif"),
        (Path("/vsicurl/https://host/b.tif"), "/vsicurl/https://host/b.tif"),
        ("s3://bucket/key/b.tif", "/vsis3/bucket/key/b.tif"),
        (Path("s3://bucket/b.tif"), "/vsis3/bucket/b.tif"),
        ("gs://bucket/b.tif", "/vsigs/bucket/b.tif"),
        ("/vsizip/a.zip/b.tif", "/vsizip/a.zip/b.tif"),
    ],
)
def test_names_of_remote_files_as_gdal_takes_them(name: str | Path, gdal: str) -> None:
    assert gdal_name(name) == gdal
    assert is_remote(name)


@pytest.mark.parametrize("name", ["a.tif", "/data/s3/a.tif", "C:/data/a.tif", "dir.https/a.tif"])
def test_local_names_stay(name: str) -> None:
    assert gdal_name(name) == name
    assert not is_remote(name)
