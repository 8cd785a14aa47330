"""Which images there are of a tile: asked of a STAC API, remembered on disk."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from sarcover.collect.polite import Pace, http_retries
from sarcover.collect.tiles import LabelTile
from sarcover.errors import SarcoverError, UnreadableError
from sarcover.files import read_json, write_json

_PAGE = 250  # items
_TIMEOUT = 60.0  # seconds
_KEPT = (
    "datetime", "start_datetime", "platform", "sar:instrument_mode", "sat:orbit_state", "sat:relative_orbit",
    "s2:processing_baseline", "earthsearch:boa_offset_applied",
)  # fmt: skip


@dataclass(frozen=True)
class Image:
    """An item of a catalogue, as far as it is needed.

    Attributes:
        id: of the item.
        properties: some of its properties.
        assets: band, as asked for, -> the asset (href, and what it says of its bands).
    """

    id: str
    properties: dict[str, Any]
    assets: dict[str, dict[str, Any]]

    @property
    def day(self) -> str:
        """YYYY-MM-DD, UTC."""
        moment = self.properties.get("datetime") or self.properties.get("start_datetime") or ""
        return str(moment)[:10]

    @property
    def acquisition(self) -> tuple[str, str, str]:
        """What slices of one pass have in common: day, platform and orbit."""
        found = self.properties.get
        return self.day, str(found("platform", "")).lower(), str(found("sat:relative_orbit", ""))


class Catalogue:
    """A STAC API, asked at a pace. Threads may share it.

    Args:
        endpoint: address of the API.
        pace: of the requests.
        retries, delay: how often and after how many seconds a failed request is repeated.
        cache: folder where answers are kept.
    """

    def __init__(self, endpoint: str, pace: Pace, *, retries: int, delay: float, cache: Path) -> None:
        self.endpoint = endpoint
        self.pace = pace
        self.retries, self.delay = retries, delay
        self.cache = cache
        self._own = threading.local()

    def images(self, tile: LabelTile, collection: str, days: int, bands: Sequence[str]) -> list[Image]:
        """The images of a collection that touch a tile, `days` around its date, and have all bands.

        In order of time and name. The cache holds one answer for each tile and collection.

        Raises:
            UnreadableError: the API does not answer, or refuses.
        """
        path = self.cache / collection / f"{tile.name}.json"
        asked = {"endpoint": self.endpoint, "days": days, "bands": list(bands)}
        known = read_json(path) if path.exists() else None
        if known is None or known["asked"] != asked:
            found = [_image(item, bands) for item in self._search(tile, collection, days)]
            kept = [vars(image) for image in found if image is not None]
            known = {"asked": asked, "images": kept}
            write_json(path, known)
        images = [Image(**image) for image in known["images"]]
        return sorted(images, key=lambda image: (image.day, image.id))

    def open(self) -> Any:
        """The API's client, one a thread.

        Raises:
            UnreadableError: it does not answer, or is no STAC API.
        """
        if not hasattr(self._own, "client"):
            from pystac_client import Client
            from pystac_client.stac_api_io import StacApiIO

            io = StacApiIO(
                timeout=_TIMEOUT,
                max_retries=http_retries(self.retries, self.delay),
                request_modifier=self._at_a_pace,
            )
            self._own.client = self._told(lambda: Client.open(self.endpoint, stac_io=io))
        return self._own.client

    def _search(self, tile: LabelTile, collection: str, days: int) -> list[dict[str, Any]]:
        first, last = tile.date - timedelta(days=days), tile.date + timedelta(days=days)
        search = self.open().search(
            collections=[collection],
            bbox=tile.bounds,
            datetime=f"{first:%Y-%m-%d}T00:00:00Z/{last:%Y-%m-%d}T23:59:59Z",
            limit=_PAGE,
        )
        found: list[dict[str, Any]] = self._told(lambda: list(search.items_as_dicts()))
        return found

    def _at_a_pace(self, request: Any) -> None:
        self.pace.wait()

    def _told(self, job: Any) -> Any:
        """Turns what a request can fail with into one line for the user."""
        import pystac
        import requests
        from pystac_client.exceptions import APIError

        try:
            return job()
        except (APIError, requests.RequestException, pystac.STACError, ValueError, KeyError) as error:
            raise UnreadableError(
                f"{self.endpoint} does not answer as a STAC API",
                got=(str(error).strip().splitlines() or [type(error).__name__])[0],
                do="check the address and the network, then run the same again: it goes on where it was",
            ) from error


def require_client() -> None:
    """Raises a SarcoverError where the library for STAC APIs is not installed."""
    try:
        import pystac_client  # noqa: F401
    except ImportError as error:
        raise SarcoverError("collect needs pystac-client", do="pip install 'sarcover[collect]'") from error


def _image(item: dict[str, Any], bands: Sequence[str]) -> Image | None:
    """What is needed of an item; None if it lacks a band."""
    assets = {band: _asset(item["assets"], band) for band in bands}
    if any(asset is None for asset in assets.values()):
        return None
    properties = {key: item["properties"][key] for key in _KEPT if key in item["properties"]}
    return Image(item["id"], properties, {band: asset for band, asset in assets.items() if asset})


def _asset(assets: dict[str, dict[str, Any]], band: str) -> dict[str, Any] | None:
    """The asset that is called as the band, or else the only one of a band that is."""
    wanted = band.casefold()
    for key, asset in assets.items():
        if key.casefold() == wanted:
            return _kept(asset)
    named = [asset for asset in assets.values() if wanted in _names(asset) and len(_names(asset)) == 1]
    return _kept(named[0]) if named else None


def _names(asset: dict[str, Any]) -> set[str]:
    bands: Iterable[dict[str, Any]] = asset.get("eo:bands") or asset.get("bands") or ()
    return {str(band.get("name", "")).casefold() for band in bands}


def _kept(asset: dict[str, Any]) -> dict[str, Any]:
    return {key: asset[key] for key in ("href", "raster:bands", "raster:offset", "bands") if key in asset}
