"""What is made of the finished tiles: their index, one virtual raster a layer, a style, a STAC collection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import shapely
from rasterio.crs import CRS

from sarcover.config import Layer
from sarcover.files import atomic_file, disk_errors, write_json
from sarcover.legend import Legend
from sarcover.mapping import cog, style
from sarcover.mapping.fleet.collection import TileItem, collection
from sarcover.mapping.fleet.folder import FleetFolder
from sarcover.mapping.fleet.tiles import Box, Lattice
from sarcover.mapping.fleet.vrt import Piece, write_vrt
from sarcover.mapping.footprint import Footprint, footprint
from sarcover.mapping.layers import KINDS, layer_path
from sarcover.scene.raster import open_dataset

INDEX, MAP, COLLECTION_FILE = "tiles.parquet", "map.vrt", "collection.json"
_OF_ONE_TILE = ("SARCOVER_SCENE", "TIFFTAG_DATETIME", "AREA_OR_POINT")


@dataclass(frozen=True)
class Fleet:
    """A map of many tiles, as far as it has come.

    Attributes:
        folder: where it lies.
        lattice: its pixels.
        box: what it covers.
        legend: of its codes.
        layers: rasters beside each tile.
        records: of the finished tiles, by name.
        failed: tiles that could not be made, by name, with the reason.
    """

    folder: FleetFolder
    lattice: Lattice
    box: Box
    legend: Legend
    layers: tuple[Layer, ...]
    records: Mapping[str, dict[str, Any]]
    failed: Mapping[str, tuple[Box, str]]

    @cached_property
    def done(self) -> list[dict[str, Any]]:
        """Records of the tiles that have files."""
        return [record for record in self.records.values() if record["status"] == "done"]

    def footprint(self, box: Box) -> Footprint | None:
        """Where on earth a tile lies."""
        place = self.lattice.place(box)
        return footprint(place.shape, place.transform, place.crs.to_wkt() if place.crs else None)

    @property
    def counts(self) -> dict[str, int]:
        """Pixels of each class, by name."""
        return {
            cls.name: sum(record["counts"][str(cls.code)] for record in self.done)
            for cls in self.legend.classes
        }


def write_results(fleet: Fleet) -> None:
    """Writes all of it, anew.

    Raises:
        SarcoverError: a disk that is full.
    """
    path = fleet.folder.path
    with disk_errors(path):
        _write_index(fleet, path / INDEX)
        if fleet.done:
            _write_rasters(fleet, path)
            items = [_item(fleet, record) for record in fleet.done]
            code = CRS.from_user_input(fleet.lattice.crs).to_string()
            content = collection(fleet.legend, fleet.layers, items, code)
            write_json(path / COLLECTION_FILE, content)


def _write_index(fleet: Fleet, path: Path) -> None:
    import geopandas

    rows = [_row(fleet, record) for record in fleet.records.values()]
    rows += [
        {**_where(fleet, name, box), "status": "failed", "reason": reason}
        for name, (box, reason) in fleet.failed.items()
    ]
    rows.sort(key=lambda row: str(row["name"]))
    columns = [*_where(fleet, "", fleet.box), "status", "reason", *_class_columns(fleet.legend), "nodata"]
    columns += ["seconds", "cpu_seconds", "worker", "scenes"]
    columns.append(columns.pop(columns.index("geometry")))
    frame = geopandas.GeoDataFrame(rows, columns=columns, geometry="geometry", crs=4326)
    for name in (*_class_columns(fleet.legend), "nodata"):
        frame[name] = frame[name].astype("Int64")
    with atomic_file(path) as temporary:
        frame.to_parquet(temporary, index=False)


def _row(fleet: Fleet, record: Mapping[str, Any]) -> dict[str, Any]:
    done = record["status"] == "done"
    pixels = {
        column: record["counts"][str(code)] if done else None
        for column, code in _class_columns(fleet.legend).items()
    }
    known = {key: record[key] for key in ("status", "seconds", "cpu_seconds", "worker", "scenes")}
    nodata = record["nodata"] if done else None
    return {**_where(fleet, record["name"], Box(*record["box"])), **known, **pixels, "nodata": nodata}


def _class_columns(legend: Legend) -> dict[str, int]:
    """Name of a column -> code of the class whose pixels it counts."""
    return {f"n_{code}": code for code in legend.codes}


def _where(fleet: Fleet, name: str, box: Box) -> dict[str, Any]:
    left, bottom, right, top = fleet.lattice.bounds(box)
    place = fleet.footprint(box)
    geometry = None if place is None else shapely.geometry.shape(place.geometry)
    return {"name": name, "geometry": geometry, "left": left, "bottom": bottom, "right": right, "top": top}


def _write_rasters(fleet: Fleet, path: Path) -> None:
    """map.vrt and its style, and the same for each layer."""
    tags = _common_tags(fleet)
    look = cog.map_look(fleet.legend, tags)
    pieces = [(Path(record["files"][0]), Box(*record["box"])) for record in fleet.done]
    relative = Path(fleet.folder.tiles.name)
    files = [Piece((relative / file).as_posix(), box) for file, box in pieces]
    write_vrt(path / MAP, fleet.lattice, fleet.box, look, files, fleet.legend)
    _write_text(path / "map.qml", style.map_style(fleet.legend))
    for name in fleet.layers:
        files = [Piece((relative / layer_path(file, name).name).as_posix(), box) for file, box in pieces]
        look = cog.layer_look(name, fleet.legend, tags)
        write_vrt(path / f"{name}.vrt", fleet.lattice, fleet.box, look, files)
        _write_text(path / f"{name}.qml", style.layer_style(KINDS[name].title))


def _common_tags(fleet: Fleet) -> dict[str, str]:
    """What the tiles say of the model, which is the same of all."""
    first = fleet.folder.tiles / fleet.done[0]["files"][0]
    with open_dataset(first) as raster:
        tags = raster.tags()
    return {key: value for key, value in tags.items() if key not in _OF_ONE_TILE}


def _write_text(path: Path, text: str) -> None:
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _item(fleet: Fleet, record: Mapping[str, Any]) -> TileItem:
    place = fleet.footprint(Box(*record["box"]))
    file = (Path(fleet.folder.tiles.name) / record["files"][0]).with_suffix(".json").as_posix()
    first, last = record["times"]
    return TileItem(record["name"], file, None if place is None else place.bbox, first, last)
