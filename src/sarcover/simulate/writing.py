"""The files of a simulated tile: labels, scenes and optical companions, written block by block."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.windows import Window

from sarcover.config import SimulateSettings
from sarcover.legend import load_legend
from sarcover.simulate import sentinel
from sarcover.simulate.fields import Area
from sarcover.simulate.optical import BANDS
from sarcover.simulate.scenes import CALIBRATION_DB
from sarcover.simulate.tiles import SCENE_SHIFT, Tile, acquisition

SENSORS = {"palsar": ("HH",), "sentinel": ("VV", "VH")}


@dataclass(frozen=True)
class TileFiles:
    """The open files of one tile; a context manager's value, see `open_tile`.

    `written` notes file, window and checksum of every block.
    """

    tile: Tile
    label: Any
    scenes: dict[tuple[str, str], Any]  # month and band
    opticals: dict[str, Any]
    written: list[tuple[str, Window, int]] = field(default_factory=list)

    def write(self, target: Any, area: Area, values: npt.NDArray[Any]) -> None:
        """`values` (bands, height, width), or (height, width), where `area` lies in the tile."""
        window = Window(area.col - self.tile.col, area.row - self.tile.row, area.width, area.height)
        values = np.asarray(values if values.ndim == 3 else values[None], target.dtypes[0])
        target.write(values, window=window)
        self.written.append((target.name, window, crc32(values.tobytes())))

    def verify(self) -> None:
        """Reads the closed files back: on a full disk GDAL may end without an error and leave holes.

        Raises:
            RasterioError: a file does not hold what was written.
        """
        for path, window, checksum in self.written:
            with rasterio.open(path) as file:
                if crc32(file.read(window=window).tobytes()) != checksum:
                    raise RasterioError(f"{Path(path).name} does not hold what was written")


def open_tile(stack: ExitStack, folder: Path, tile: Tile, settings: SimulateSettings) -> TileFiles:
    """Creates the files of `tile` under `folder`; `stack` closes them."""
    for name in ("labels", "scenes", *(["optical"] if settings.optical else [])):
        (folder / name).mkdir(exist_ok=True)
    profile = _profile(tile, settings.size)
    label_path = folder / "labels" / f"LC_{tile.name}.tif"
    label = stack.enter_context(rasterio.open(label_path, "w", count=1, dtype="uint8", nodata=255, **profile))
    _describe_label(label)
    scenes, opticals = {}, {}
    optical_bands = sentinel.BANDS if settings.sensor == "sentinel" else BANDS
    for month in settings.months:
        day = acquisition(month)
        stem = f"{tile.name}_{day:%Y%m%d}"
        options = {**profile, "transform": tile.transform(SCENE_SHIFT)}
        for band in SENSORS[settings.sensor]:
            path = folder / "scenes" / f"{stem}_{band}.tif"
            opened = rasterio.open(path, "w", count=1, dtype="uint16", nodata=0, **options)
            scenes[month, band] = stack.enter_context(opened)
            _describe_scene(opened, band, day.isoformat(), settings)
        if settings.optical:
            path = folder / "optical" / f"{stem}_optical.tif"
            opticals[month] = stack.enter_context(
                rasterio.open(path, "w", count=len(optical_bands), dtype="uint16", nodata=0, **profile)
            )
            _describe_optical(opticals[month], optical_bands, day.isoformat(), settings)
    return TileFiles(tile, label, scenes, opticals)


def _profile(tile: Tile, size: int) -> dict[str, Any]:
    tiled = {"tiled": True, "blockxsize": 512, "blockysize": 512} if size >= 512 else {}
    return {
        "driver": "GTiff",
        "height": size,
        "width": size,
        "crs": "EPSG:4326",
        "transform": tile.transform(),
        "compress": "deflate",
        "predictor": 2,
        **tiled,
    }


def _describe_label(label: Any) -> None:
    legend = load_legend("jaxa-hrlulc-14")
    colours = dict.fromkeys((0, 255), (0, 0, 0, 0))
    for item in legend.classes:
        red, green, blue = (int(item.colour[i : i + 2], 16) for i in (1, 3, 5))
        colours[item.sources[0]] = (red, green, blue, 255)
    label.write_colormap(1, colours)
    label.colorinterp = [ColorInterp.palette]
    label.set_band_description(1, "land cover")
    label.update_tags(LEGEND=legend.name, SENSOR="simulated truth")


def _describe_scene(scene: Any, band: str, day: str, settings: SimulateSettings) -> None:
    scene.set_band_description(1, band)
    scene.update_tags(
        UNIT="dn",
        CALIBRATION_DB=f"{CALIBRATION_DB:g}",
        RADIOMETRY="gamma0",
        ACQUIRED=day,
        INCIDENCE=f"{settings.incidence:g}",
        SENSOR="simulated C-band" if settings.sensor == "sentinel" else "simulated L-band",
        LOOKS=f"{settings.looks:g}",
    )


def _describe_optical(optical: Any, bands: tuple[str, ...], day: str, settings: SimulateSettings) -> None:
    for number, name in enumerate(bands, 1):
        optical.set_band_description(number, name)
    optical.scales = (1e-4,) * len(bands)
    optical.update_tags(
        UNIT="reflectance x 10000",
        SCALE="10000",
        ACQUIRED=day,
        CLOUD_COVER=f"{settings.cloud_cover:g}",
        SENSOR="simulated optical",
    )


def to_numbers(reflectance: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """Reflectance x 10000, never the nodata value 0."""
    return np.clip(np.rint(reflectance * 10000), 1, 65535).astype(np.uint16)
