"""The STAC item of a map: map.json, so that catalogues find it and know what its numbers mean."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from pyproj import CRS
from pyproj.exceptions import CRSError

from sarcover import __version__, stac
from sarcover.config import Layer
from sarcover.legend import IGNORE, Legend
from sarcover.mapping import layers
from sarcover.mapping.area import to_world
from sarcover.mapping.footprint import footprint
from sarcover.scene.remote import gdal_name, is_remote

COG = "image/tiff; application=geotiff; profile=cloud-optimized"
_MEDIA_TYPES = {
    ".json": stac.GEOJSON,
    ".tif": "image/tiff; application=geotiff",
    ".tiff": "image/tiff; application=geotiff",
    ".gpkg": "application/geopackage+sqlite3",
    ".parquet": "application/vnd.apache.parquet",
    ".vrt": "application/xml",
    ".qml": "application/xml",
    ".xml": "application/xml",
}


@dataclass(frozen=True)
class MapRecord:
    """What a map's item says, but for its files.

    Attributes:
        name: id of the item.
        shape: (H, W).
        transform: pixels to map coordinates.
        wkt: coordinate system; None for none.
        legend: of the codes.
        counts: (K,) pixels of each class.
        acquired: when the scenes were taken, those that say it.
        lineage: how the map was made, a sentence or two.
        software: name -> version of what made it, beside sarcover.
    """

    name: str
    shape: tuple[int, int]
    transform: Affine
    wkt: str | None
    legend: Legend
    counts: tuple[int, ...]
    acquired: tuple[datetime, ...]
    lineage: str
    software: Mapping[str, str]


def map_item(
    record: MapRecord, assets: Sequence[stac.Asset], origins: Sequence[stac.Origin]
) -> dict[str, Any]:
    """The item as JSON (STAC 1.1.0; classification, file, processing, projection and raster extensions).

    A map without coordinate system has no geometry; one whose scenes do not say their time has the time of
    its making, and says so.
    """
    place = footprint(record.shape, record.transform, record.wkt)
    lineage = record.lineage
    if not record.acquired:
        lineage += " The time of acquisition is not known: the item's datetime is when the map was made."
    properties = {
        "title": f"Land cover: {record.legend.title}",
        "description": f"A land-cover map made from radar. Classes: {', '.join(record.legend.names)}.",
        "processing:software": {"sarcover": __version__, **record.software},
        "processing:lineage": lineage,
        "processing:level": "L4",
        **_projection(record),
    }
    return stac.item(
        record.name,
        geometry=None if place is None else place.geometry,
        bbox=None if place is None else place.bbox,
        times=record.acquired,
        properties=properties,
        extensions=[stac.CLASSIFICATION, stac.PROCESSING, stac.PROJECTION, stac.RASTER],
        assets=assets,
        origins=origins,
    )


def map_asset(record: MapRecord, path: Path, name: str) -> stac.Asset:
    """The map itself; path: where it is now; name: of the file when it is done."""
    band = {
        "name": "land_cover",
        "classification:classes": stac.classes(record.legend, record.legend.codes, record.counts),
    }
    fields = {**_pixels(record), "bands": [band]}
    return stac.Asset("map", path, f"./{name}", COG, "land-cover map", ("data",), fields)


def layer_asset(record: MapRecord, layer: Layer, path: Path, name: str) -> stac.Asset:
    """One of the layers beside the map."""
    kind = layers.KINDS[layer]
    bands = [{"name": text} for text in layers.band_names(layer, record.legend)]
    fields = {**_pixels(record), "raster:scale": kind.scale, "raster:offset": 0, "bands": bands}
    return stac.Asset(layer, path, f"./{name}", COG, kind.title, ("data", "metadata"), fields)


def side_asset(key: str, path: Path, name: str, title: str, role: str) -> stac.Asset:
    """A style, the polygons, or another file beside the map."""
    return stac.Asset(key, path, f"./{name}", media_type(name), title, (role,))


def origin(target: str | Path, beside: Path, title: str) -> stac.Origin:
    """A link to what the map is made from.

    Args:
        target: a file, or an address, in GDAL's words, too. Where a STAC item lies beside a file under its
            name with .json, the link leads there.
        beside: the item that will link.
        title: one line for people.
    """
    if is_remote(target):
        address = _address(gdal_name(target))
        return stac.Origin(address, media_type(address), title)
    path = Path(target).resolve()
    own = path.with_suffix(".json")
    found = own if path.suffix != ".json" and _is_item(own) else path
    relative = os.path.relpath(found, beside.resolve().parent)
    href = Path(relative).as_posix()
    return stac.Origin(href if href.startswith(".") else f"./{href}", media_type(found.name), title)


def media_type(name: str) -> str:
    """What the ending of a file's name says is in it; empty if nothing known."""
    return _MEDIA_TYPES.get(Path(name).suffix.lower(), "")


def _address(name: str) -> str:
    """A file's address from its name in GDAL's virtual file systems, of those that have one."""
    for prefix, scheme in (
        ("/vsicurl/", ""),
        ("/vsis3/", "s3://"),
        ("/vsigs/", "gs://"),
        ("/vsiaz/", "az://"),
    ):
        if name.startswith(prefix):
            return scheme + name.removeprefix(prefix)
    return name


def _is_item(path: Path) -> bool:
    """Whether a JSON file looks like a STAC item: no more than its beginning is read."""
    try:
        with path.open(encoding="utf-8") as file:
            head = file.read(4096)
    except (OSError, UnicodeDecodeError):
        return False
    return '"stac_version"' in head and '"Feature"' in head


def _projection(record: MapRecord) -> dict[str, Any]:
    """Fields of the projection extension: the grid of all rasters."""
    code, wkt2 = _names(record.wkt)
    height, width = record.shape
    corners = np.array([(0, 0), (width, 0), (0, height), (width, height)], dtype=np.float64)
    placed = to_world(record.transform, corners)
    fields: dict[str, Any] = {
        "proj:code": code,
        "proj:shape": [height, width],
        "proj:transform": list(record.transform)[:6],
        "proj:bbox": [*placed.min(0).tolist(), *placed.max(0).tolist()],
    }
    return fields if wkt2 is None else {**fields, "proj:wkt2": wkt2}


def _names(wkt: str | None) -> tuple[str | None, str | None]:
    """A coordinate system's code, "EPSG:32654", and where it has none its definition."""
    if wkt is None:
        return None, None
    try:
        crs = CRS.from_wkt(wkt)
        authority = crs.to_authority()
        return (":".join(authority), None) if authority else (None, crs.to_wkt())
    except CRSError:
        return None, None


def _pixels(record: MapRecord) -> dict[str, Any]:
    """Fields of every raster of a map: bytes, 255 for nodata, and the side of a pixel in metres."""
    fields: dict[str, Any] = {"data_type": "uint8", "nodata": IGNORE, "raster:sampling": "area"}
    metres = _metres(record.wkt)
    if metres is not None:
        side = math.sqrt(abs(record.transform.determinant)) * metres
        fields["raster:spatial_resolution"] = float(f"{side:.6g}")
    return fields


def _metres(wkt: str | None) -> float | None:
    """Metres in a unit of a projected coordinate system; None for others, whose pixels differ in size."""
    if wkt is None:
        return None
    try:
        crs = CRS.from_wkt(wkt)
    except CRSError:
        return None
    return crs.axis_info[0].unit_conversion_factor if crs.is_projected and crs.axis_info else None
