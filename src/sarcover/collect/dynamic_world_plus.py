"""Dynamic World+ (arXiv 2410.03962): Sentinel-1 and Sentinel-2 for the label tiles of Dynamic World.

    OUT/s1/<tile>.tif         float32 VV and VH, linear power: mean of all passes of the window; NaN is nodata
    OUT/s1_count/<tile>.tif   uint16: how many passes are in each pixel's mean
    OUT/s2/<tile>.tif         uint16 reflectance x 10000 of the label's day, 0 is nodata; where there is one
    OUT/tiles/<tile>.json     what became of the tile, and of which images
    OUT/cache/                the catalogue's answers
    OUT/collect.json          all of it, in short

on the grid of the label tile, so that `prepare --collection dynamic-world --scenes OUT --labels LABELS` takes
them. Said of the paper's set: all descending passes within 180 days of the label, their mean; tiles without
any are dropped. Not stated, and so chosen: the mean is that of linear power (a mean of dB would be that of a
geometric mean), of terrain-corrected gamma0; the twelve bands of Sentinel-2 L2A.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from sarcover.collect.access import Access, token_address
from sarcover.collect.composite import Layer, MeanPower, mosaic
from sarcover.collect.polite import Pace
from sarcover.collect.reading import GDAL_OPTIONS, REFLECTANCE, Reader
from sarcover.collect.search import Catalogue, Image, require_client
from sarcover.collect.tiles import LabelTile, label_tiles
from sarcover.config import CollectSettings, PrepareSettings
from sarcover.errors import SarcoverError, UnreadableError
from sarcover.files import atomic_file, read_json, write_json
from sarcover.progress import progress
from sarcover.scene.disk import gdal_errors

SUMMARY = "collect.json"
# What an image depends on; the others say how it is fetched.
_DECIDING = (
    "endpoint", "optical_endpoint", "sar_collection", "optical_collection", "sar_bands", "optical_bands",
    "sar_unit", "radiometry", "orbit", "mode", "days", "optical_days",
)  # fmt: skip


def collect_dynamic_world_plus(settings: CollectSettings) -> dict[str, Any]:
    """Gathers the images of all label tiles, and makes a store of them if `store` names one.

    Interrupted at any point, the same call goes on: tiles that are done are not asked for again, those that
    failed are.

    Returns:
        `out`, `tiles`, counts of `done`, `without_optical` and `dropped` tiles (no radar) with their names,
        `items`: those that failed, with their `error`; `store`: the summary of `prepare`, None without.

    Raises:
        SarcoverError: no tiles, settings that cannot be, a folder with images of other settings, or a
            catalogue that does not answer.
    """
    _check(settings)
    require_client()
    tiles = label_tiles(settings.labels)
    out = Path(settings.out)
    wanted = {name: value for name, value in _plain(settings).items() if name in _DECIDING}
    _refuse_others(out, wanted, settings.overwrite)
    write_json(out / SUMMARY, {"settings": wanted, "tiles": len(tiles)})
    job = _Job(settings, out)
    waiting = [tile for tile in tiles if not job.finished(tile)]
    if waiting:
        job.sar.open()  # whoever does not answer now will not do so a thousand times
    with progress("collect", len(waiting)) as advance:
        for _ in job.run(waiting):
            advance(1)
    summary = _summary(out, tiles)
    write_json(out / SUMMARY, {"settings": wanted, **summary})
    return {"out": settings.out, **summary, "store": _store(settings, summary)}


class _Job:
    """What the tiles have in common."""

    def __init__(self, settings: CollectSettings, out: Path) -> None:
        self.settings = settings
        self.out = out
        pace = Pace(settings.rate)
        patience: dict[str, Any] = {"retries": settings.retries, "delay": settings.delay}
        endpoints = (settings.endpoint, settings.optical_endpoint or settings.endpoint)
        self.sar, self.optical = (
            Catalogue(endpoint, pace, cache=out / "cache", **patience) for endpoint in endpoints
        )
        self.sar_reader, self.optical_reader = (
            Reader(Access(token_address(endpoint, settings.token_url), pace, **patience), pace, **patience)
            for endpoint in endpoints
        )

    def finished(self, tile: LabelTile) -> bool:
        """Whether it is known what became of a tile, and its files are there."""
        if not (record := self.record(tile)).exists():
            return False
        known = read_json(record)
        files = known.get("files", [])
        return "error" not in known and all((self.out / file).is_file() for file in files)

    def record(self, tile: LabelTile) -> Path:
        """The file that says what became of it."""
        return self.out / "tiles" / f"{tile.name}.json"

    def run(self, tiles: list[LabelTile]) -> Iterator[None]:
        """One tile after another, several at a time."""
        with ThreadPoolExecutor(self.settings.workers) as threads:
            jobs = [threads.submit(self.take, tile) for tile in tiles]
            try:
                for done in as_completed(jobs):
                    done.result()
                    yield
            finally:
                threads.shutdown(cancel_futures=True)

    def take(self, tile: LabelTile) -> None:
        """Gathers a tile and writes what became of it; what fails on the way is part of that."""
        try:
            with rasterio.Env(**GDAL_OPTIONS):
                known = self._gather(tile)
        except UnreadableError as error:
            known = {"error": f"{tile.name}: {error}"}
        write_json(self.record(tile), {"tile": tile.name, **known})

    def _gather(self, tile: LabelTile) -> dict[str, Any]:
        power, count, passes = self._radar(tile)
        if not count.any():
            return {"dropped": "no radar", "s1": [image.id for image in passes]}
        optical, images = self._optical(tile)
        day = tile.date.date().isoformat()
        files = [f"{layer}/{tile.name}.tif" for layer in ("s1", "s1_count", "s2")]
        tags = {"ACQUIRED": day, "SENSOR": "Sentinel-1", "PASSES": str(int(count.max()))}
        radar_tags = {**tags, "UNIT": "linear_power", "RADIOMETRY": self.settings.radiometry}
        _write(self.out / files[0], tile, power, self.settings.sar_bands, np.nan, radar_tags)
        _write(self.out / files[1], tile, count[None], ("passes",), None, tags)
        if optical is not None:
            tags = {"ACQUIRED": day, "SENSOR": "Sentinel-2", "SCALE": str(REFLECTANCE)}
            _write(self.out / files[2], tile, optical, self.settings.optical_bands, 0, tags)
        return {
            "files": files if optical is not None else files[:2],
            "s1": [image.id for image in passes],
            "s2": [image.id for image in images],
            "passes": [int(count.min()), int(count.max())],
            "radar_share": float((count > 0).mean()),
        }

    def _radar(self, tile: LabelTile) -> tuple[NDArray[np.float32], NDArray[np.uint16], list[Image]]:
        """Mean power (C, h, w), passes a pixel (h, w), and the images they are of."""
        s = self.settings
        images = [
            image
            for image in self.sar.images(tile, s.sar_collection, s.days, s.sar_bands)
            if _fits(image, "sar:instrument_mode", s.mode) and _fits(image, "sat:orbit_state", s.orbit)
        ]
        images.sort(key=lambda image: (image.acquisition, image.id))
        mean = MeanPower(len(s.sar_bands), tile.place.shape)
        for _, slices in groupby(images, key=lambda image: image.acquisition):
            whole: Layer | None = None
            for image in slices:
                whole = mosaic(whole, self.sar_reader.power(image, tile.place, s.sar_collection, s.sar_unit))
                if whole[1].all():
                    break
            if whole is not None:
                mean.add(whole)
        return mean.result(), mean.count, images

    def _optical(self, tile: LabelTile) -> tuple[NDArray[np.uint16] | None, list[Image]]:
        """Reflectance x 10000 (C, h, w) of the day nearest to the label's, 0 where there is none; its images.

        Both are empty where no image of those days holds anything of the tile.
        """
        s = self.settings
        images = self.optical.images(tile, s.optical_collection, s.optical_days, s.optical_bands)
        days = sorted(
            {image.day for image in images},
            key=lambda day: (abs(np.datetime64(day) - np.datetime64(tile.date.date())), day),
        )
        for day in days:
            whole: Layer | None = None
            taken = [image for image in images if image.day == day]
            for image in taken:
                whole = mosaic(
                    whole, self.optical_reader.reflectance(image, tile.place, s.optical_collection)
                )
                if whole[1].all():
                    break
            if whole is not None and whole[1].any():
                values, valid = whole
                numbers = np.clip(np.rint(values), 1, 65535)  # 0 is nodata
                return np.where(valid, numbers, 0).astype(np.uint16), taken
        return None, []


def _fits(image: Image, name: str, wanted: str) -> bool:
    """Whether an image is of the wanted kind; one that does not say is not."""
    return wanted == "any" or str(image.properties.get(name, "")).casefold() == wanted.casefold()


def _write(
    path: Path,
    tile: LabelTile,
    values: NDArray[Any],
    names: tuple[str, ...],
    nodata: float | None,
    tags: dict[str, str],
) -> None:
    """Bands (C, h, w) as a compressed GeoTIFF on the tile's grid."""
    count, height, width = values.shape
    profile = {
        "driver": "GTiff",
        "count": count,
        "height": height,
        "width": width,
        "dtype": values.dtype.name,
        "crs": tile.place.crs,
        "transform": tile.place.transform,
        "nodata": nodata,
        "compress": "deflate",
        "predictor": 3 if values.dtype.kind == "f" else 2,
    }
    with (
        atomic_file(path) as temporary,
        gdal_errors(path),
        rasterio.open(temporary, "w", **profile) as file,
    ):
        file.write(values)
        file.update_tags(**tags)
        for number, name in enumerate(names, 1):
            file.set_band_description(number, name)


def _check(settings: CollectSettings) -> None:
    """Refuses settings that cannot be carried out, before anything is asked."""
    for name in ("rate", "workers"):
        if not getattr(settings, name) > 0:
            raise SarcoverError(name, expected="more than 0", got=str(getattr(settings, name)))
    for name in ("retries", "delay", "days", "optical_days"):
        if getattr(settings, name) < 0:
            raise SarcoverError(name, expected="0 or more", got=str(getattr(settings, name)))
    for name in ("sar_bands", "optical_bands"):
        if not getattr(settings, name):
            raise SarcoverError(name, expected="at least one band")


def _refuse_others(out: Path, wanted: dict[str, Any], overwrite: bool) -> None:
    """Images of other settings must not end up side by side with ours."""
    path = out / SUMMARY
    known = read_json(path)["settings"] if path.exists() else wanted
    differing = [name for name in wanted if known.get(name) != wanted[name]]
    if differing and not overwrite:
        raise SarcoverError(
            f"{out} holds images of other settings",
            expected=", ".join(f"{name} {known.get(name)}" for name in differing),
            got=", ".join(f"{name} {wanted[name]}" for name in differing),
            do="choose another folder, or add --overwrite to fetch everything anew",
        )
    if overwrite:
        for folder in ("tiles", "cache"):
            shutil.rmtree(out / folder, ignore_errors=True)


def _plain(settings: CollectSettings) -> dict[str, Any]:
    return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(settings).items()}


def _summary(out: Path, tiles: list[LabelTile]) -> dict[str, Any]:
    """What became of the tiles."""
    records = [read_json(out / "tiles" / f"{tile.name}.json") for tile in tiles]
    what = Counter(
        "failed" if "error" in record else "dropped" if "dropped" in record else "done" for record in records
    )
    return {
        "tiles": len(tiles),
        "done": what["done"],
        "dropped": [record["tile"] for record in records if "dropped" in record],
        "without_optical": [record["tile"] for record in records if record.get("s2") == []],
        "items": [
            {"tile": record["tile"], "error": record["error"]} for record in records if "error" in record
        ],
    }


def _store(settings: CollectSettings, summary: dict[str, Any]) -> dict[str, Any] | None:
    """Makes the store of what was gathered, if one is wanted and every tile was looked at."""
    if settings.store is None:
        return None
    if summary["items"]:
        raise SarcoverError(
            f"{len(summary['items'])} of {summary['tiles']} tiles failed, so no store is made",
            got=summary["items"][0]["error"],
            do="run the same again: it goes on where it was",
        )
    from sarcover.patches import prepare

    return prepare(
        PrepareSettings(
            out=settings.store,
            collection="dynamic-world",
            scenes=(settings.out,),
            labels=(settings.labels,),
            patch=settings.patch,
            overwrite=settings.overwrite,
        )
    )
