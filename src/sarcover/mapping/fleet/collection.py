"""The STAC collection of a map's tiles: collection.json, with a link to every tile's item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sarcover import __version__, stac
from sarcover.config import Layer
from sarcover.legend import Legend
from sarcover.mapping.fleet.unit import COLLECTION
from sarcover.mapping.layers import KINDS
from sarcover.mapping.stac import COG, media_type

STAC_VERSION = "1.1.0"
_WORLD = [-180.0, -90.0, 180.0, 90.0]


@dataclass(frozen=True)
class TileItem:
    """What the collection has to know of a tile.

    Attributes:
        name: its id.
        href: of its item, relative to the collection.
        bbox: west, south, east, north in degrees; None where nobody knows.
        first, last: times of acquisition, ISO 8601 in UTC.
    """

    name: str
    href: str
    bbox: tuple[float, float, float, float] | None
    first: str
    last: str


def collection(
    legend: Legend, layers: Sequence[Layer], items: Sequence[TileItem], crs: str
) -> dict[str, Any]:
    """The collection as JSON (STAC 1.1.0).

    Args:
        legend: of the map.
        layers: rasters beside each tile.
        items: the tiles; at least one.
        crs: code of the map's coordinate system, or its definition.
    """
    root = {"rel": "root", "href": "./collection.json", "type": "application/json"}
    links = [
        {"rel": "item", "href": f"./{item.href}", "type": stac.GEOJSON, "title": item.name} for item in items
    ]
    return {
        "type": "Collection",
        "stac_version": STAC_VERSION,
        "stac_extensions": [],
        "id": COLLECTION,
        "title": f"Land cover: {legend.title}",
        "description": f"A land-cover map made from radar, in {len(items)} tiles. "
        f"Classes: {', '.join(legend.names)}.",
        "keywords": ["land cover", "SAR"],
        "license": "other",
        "providers": [
            {
                "name": "sarcover",
                "roles": ["processor"],
                "description": f"made with sarcover {__version__}",
                "url": "https://sarcover.github.io",
            }
        ],
        "extent": {
            "spatial": {"bbox": [_overall([item.bbox for item in items])]},
            "temporal": {"interval": [[min(item.first for item in items), max(item.last for item in items)]]},
        },
        "summaries": {"proj:code": [crs]} if crs.startswith("EPSG:") else {},
        "item_assets": _item_assets(layers),
        "assets": _assets(layers),
        "links": [root, *links],
    }


def _overall(boxes: Sequence[tuple[float, float, float, float] | None]) -> list[float]:
    """The box around all; all longitudes where one crosses the antimeridian."""
    known = [box for box in boxes if box is not None]
    if not known or len(known) < len(boxes):
        return _WORLD
    wests, souths, easts, norths = zip(*known, strict=True)
    if any(west > east for west, east in zip(wests, easts, strict=True)):
        return [-180.0, min(souths), 180.0, max(norths)]
    return [min(wests), min(souths), max(easts), max(norths)]


def _item_assets(layers: Sequence[Layer]) -> dict[str, Any]:
    assets: dict[str, Any] = {"map": {"type": COG, "title": "land-cover map", "roles": ["data"]}}
    for name in layers:
        assets[name] = {"type": COG, "title": KINDS[name].title, "roles": ["data", "metadata"]}
    return assets


def _assets(layers: Sequence[Layer]) -> dict[str, Any]:
    """What lies beside the collection."""
    described: dict[str, tuple[str, str, str]] = {
        "map": ("map.vrt", "all tiles as one raster", "data"),
        "style": ("map.qml", "QGIS style of the map", "style"),
        "tiles": ("tiles.parquet", "index of the tiles", "metadata"),
        **{name: (f"{name}.vrt", KINDS[name].title, "data") for name in layers},
    }
    return {
        key: {"href": f"./{file}", "type": media_type(file), "title": title, "roles": [role]}
        for key, (file, title, role) in described.items()
    }
