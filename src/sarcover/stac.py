"""What the STAC items of maps and of models have in common (STAC 1.1.0, https://stacspec.org)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sarcover.files import sha256
from sarcover.legend import Legend

GEOJSON = "application/geo+json"
_SCHEMAS = "https://stac-extensions.github.io"
CLASSIFICATION = f"{_SCHEMAS}/classification/v2.0.0/schema.json"
FILE = f"{_SCHEMAS}/file/v2.1.0/schema.json"
MLM = f"{_SCHEMAS}/mlm/v1.4.0/schema.json"
PROCESSING = f"{_SCHEMAS}/processing/v1.1.0/schema.json"
PROJECTION = f"{_SCHEMAS}/projection/v2.0.0/schema.json"
RASTER = f"{_SCHEMAS}/raster/v2.0.0/schema.json"

_SHA256 = "1220"  # multihash: SHA-256, 32 bytes


@dataclass(frozen=True)
class Asset:
    """A file that an item describes.

    Attributes:
        key: its name within the item.
        path: where it is now, for its size and checksum.
        href: where it will be, relative to the item.
        media_type: what is in it.
        title: one line for people.
        roles: what it is for.
        fields: what extensions say of it.
    """

    key: str
    path: Path
    href: str
    media_type: str
    title: str
    roles: tuple[str, ...]
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Origin:
    """What something was made from: a link to its own item, or to the file itself.

    Attributes:
        href: a path relative to the item, or an address.
        media_type: what is there; empty where unknown.
        title: one line for people.
    """

    href: str
    media_type: str
    title: str


def item(
    name: str,
    *,
    geometry: dict[str, Any] | None,
    bbox: Sequence[float] | None,
    times: Sequence[datetime],
    properties: Mapping[str, Any],
    extensions: Sequence[str],
    assets: Sequence[Asset],
    origins: Sequence[Origin],
) -> dict[str, Any]:
    """An item as JSON, with relative links, made now.

    Args:
        name: its id.
        geometry: GeoJSON in longitude and latitude; None for no place on earth.
        bbox: west, south, east, north in degrees; None without geometry.
        times: when what it shows was acquired, with or without a time zone (UTC); empty where nobody knows:
            the item then carries the time it was made, for it must have one.
        properties: beside the times.
        extensions: addresses of the schemas it keeps to, beside that of the files' sizes.
        assets: its files.
        origins: what it is derived from.
    """
    import pystac  # a sixth of a second that only those pay who write an item

    made = datetime.now(UTC).replace(microsecond=0)
    known = sorted(_utc(time) for time in times) or [made]
    several = known[0] != known[-1]
    described = pystac.Item(
        name,
        geometry=geometry,
        bbox=None if bbox is None else list(bbox),
        datetime=None if several else known[0],
        start_datetime=known[0] if several else None,
        end_datetime=known[-1] if several else None,
        properties={**properties, "created": pystac.utils.datetime_to_str(made)},
        stac_extensions=[*extensions, FILE],
    )
    for asset in assets:
        described.add_asset(asset.key, _asset(asset))
    for origin in origins:
        media_type = origin.media_type or None
        link = pystac.Link(pystac.RelType.DERIVED_FROM, origin.href, media_type, origin.title)
        described.add_link(link)
    content: dict[str, Any] = described.to_dict(include_self_link=False, transform_hrefs=False)
    return content


def classes(
    legend: Legend, values: Sequence[int], counts: Sequence[int] | None = None
) -> list[dict[str, Any]]:
    """The classification extension's classes.

    Args:
        legend: names and colours.
        values: (K,) the number that stands for each class.
        counts: (K,) pixels of each class, if known.
    """
    found = []
    taken: set[str] = set()
    for index, (land, value) in enumerate(zip(legend.classes, values, strict=True)):
        entry = {
            "value": int(value),
            "name": _identifier(land.name, land.code, taken),
            "title": land.name,
            "description": f"{land.name}, code {land.code} of {legend.title}",
            "color_hint": land.colour.removeprefix("#").upper(),
        }
        if counts is not None:
            entry["count"] = int(counts[index])
            entry["percentage"] = round(100 * int(counts[index]) / max(1, int(sum(counts))), 4)
        found.append(entry)
    return found


def _utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _identifier(name: str, code: int, taken: set[str]) -> str:
    """A name of letters, digits and low lines, which the extension asks for; each only once."""
    identifier = re.sub(r"[^0-9a-z]+", "_", name.lower()).strip("_") or f"class_{code}"
    if identifier in taken:
        identifier = f"{identifier}_{code}"
    taken.add(identifier)
    return identifier


def _asset(asset: Asset) -> Any:
    import pystac

    known = {"file:size": asset.path.stat().st_size, "file:checksum": _SHA256 + sha256(asset.path)}
    return pystac.Asset(
        asset.href,
        title=asset.title,
        media_type=asset.media_type,
        roles=list(asset.roles),
        extra_fields={**asset.fields, **known},
    )
