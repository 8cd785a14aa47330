"""Products that are known by name: what their files are, and what they say of their numbers."""

from __future__ import annotations

import logging
import re
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from sarcover.errors import SarcoverError
from sarcover.radar import ALOS2_CALIBRATION_DB
from sarcover.scene.names import date_in
from sarcover.scene.raster import RasterFile
from sarcover.scene.units import Calibration

log = logging.getLogger("sarcover")

# JAXA's PALSAR / PALSAR-2 yearly mosaics: N23W161_20_sl_HH_F02DAR.tif, N35E139_10_sl_HH.tif
_MOSAIC = re.compile(
    r"(?P<tile>[NS]\d{2}[EW]\d{3})_(?P<year>\d{2})_(?:sl_)?(?P<pol>HH|HV)(?P<mode>_\w+)?\.tiff?$"
)
_MOSAIC_LAYER = re.compile(r"[NS]\d{2}[EW]\d{3}_\d{2}_(?:mask|linci|date)(?:_\w+)?\.tiff?$")
_MOSAIC_NODATA = 1.0
# ALOS-2 GeoTIFF: IMG-HH-ALOS2041062800-150226-UBSR2.1GUD.tif
_ALOS2_SCENE = re.compile(
    r"IMG-(?P<pol>HH|HV|VH|VV)-(?P<id>ALOS2\d{9}-\d{6}-\w{4}(?P<level>1\.5|2\.1).*)\.tiff?$"
)
_LAUNCH = {"ALOS": datetime(2006, 1, 24, tzinfo=UTC), "ALOS-2": datetime(2014, 5, 24, tzinfo=UTC)}


@dataclass(frozen=True)
class Product:
    """Files of a product, and what they are.

    Attributes:
        name: of the scene.
        sensor: as people call it.
        files: polarisation -> file.
        calibration: unit, constant and radiometry.
        acquired: time of acquisition, if known.
        incidence: median of the product's incidence layer, degrees, if there is one.
        mask: a raster that is 0 where there is no data.
        nodata: the largest number that means no data.
        archive: what the files were unpacked from.
        folder: where to; lives as long as this object.
    """

    name: str
    sensor: str
    files: dict[str, Path]
    calibration: Calibration
    acquired: datetime | None = None
    incidence: float | None = None
    mask: Path | None = None
    nodata: float | None = None
    archive: Path | None = None
    folder: tempfile.TemporaryDirectory[str] | None = None


def recognise(paths: Sequence[Path]) -> Product | None:
    """The known product that a folder, an archive or files are; None if they are none.

    Raises:
        SarcoverError: an archive that cannot be read, or whose product is not known.
    """
    if len(paths) == 1 and paths[0].is_dir():
        return _product(_images(paths[0])) if is_product_folder(paths[0]) else None
    if len(paths) == 1 and is_archive(paths[0]):
        return _unpacked(paths[0])
    return _product(paths)


def is_archive(path: Path) -> bool:
    """Whether a file is a tar archive, by its name."""
    return path.name.lower().endswith((".tar.gz", ".tgz", ".tar"))


def is_product_folder(path: Path) -> bool:
    """Whether a folder is one known product and nothing else, rather than a folder of scenes."""
    keys = {product_key(image.name) for image in _images(path)}
    return len(keys) == 1 and None not in keys


def is_side_layer(path: Path) -> bool:
    """Whether a file is the mask, incidence or date layer of a mosaic tile rather than a scene."""
    return _MOSAIC_LAYER.match(path.name) is not None


def product_key(name: str) -> str | None:
    """What the files of one known product share in their names; None for other files."""
    if match := _MOSAIC.match(name):
        return f"{match['tile']}_{match['year']}{match['mode'] or ''}"
    match = _ALOS2_SCENE.match(name)
    return match["id"] if match else None


def _images(folder: Path) -> list[Path]:
    found = (path for path in folder.iterdir() if path.suffix.lower() in (".tif", ".tiff"))
    return sorted(path for path in found if not is_side_layer(path))


def _product(paths: Sequence[Path]) -> Product | None:
    """The product that all these files belong to; None if they do not."""
    keys = {product_key(path.name) for path in paths}
    if len(keys) != 1 or None in keys:
        return None
    return _mosaic(paths) or _alos2_scene(paths)


def _mosaic(paths: Sequence[Path]) -> Product | None:
    found = {match["pol"]: (match, path) for path in paths if (match := _MOSAIC.match(path.name))}
    if not found:
        return None
    match, path = next(iter(found.values()))
    # PALSAR flew until 2011, PALSAR-2 from 2014.
    sensor = "ALOS-2" if int(match["year"]) >= 14 else "ALOS"
    tile = f"{match['tile']}_{match['year']}"
    mask, date, incidence = (_layer(path.parent, tile, kind) for kind in ("mask", "date", "linci"))
    if mask is None:
        log.warning("%s: no mask layer beside it; nodata is where the number is 0 or 1", path.name)
    days = _median(date)
    return Product(
        name=tile,
        sensor=f"{sensor} PALSAR{'-2' if sensor == 'ALOS-2' else ''} mosaic",
        files={pol: path for pol, (_, path) in found.items()},
        calibration=Calibration("dn", ALOS2_CALIBRATION_DB, "gamma0"),
        acquired=None if days is None else _LAUNCH[sensor] + timedelta(days=int(days)),
        incidence=_median(incidence),
        mask=mask,
        nodata=_MOSAIC_NODATA,
    )


def _layer(folder: Path, tile: str, kind: str) -> Path | None:
    return next(iter(sorted(folder.glob(f"{tile}_{kind}*.tif*"))), None)


def _median(layer: Path | None) -> float | None:
    """Median of a mosaic's layer of days after launch or of degrees, from some of its pixels."""
    if layer is None:
        return None
    file = RasterFile(layer)
    height, width = file.info.shape
    step = max(1, max(height, width) // 500)
    values = file.read([1], shape=(max(1, height // step), max(1, width // step)))
    values = values[values > _MOSAIC_NODATA]
    return float(np.median(values)) if values.size else None


def _alos2_scene(paths: Sequence[Path]) -> Product | None:
    found = {match["pol"]: (match, path) for path in paths if (match := _ALOS2_SCENE.match(path.name))}
    if not found:
        return None
    match = next(iter(found.values()))[0]
    return Product(
        name=match["id"],
        sensor=f"ALOS-2 PALSAR-2 L{match['level']}",
        files={pol: path for pol, (_, path) in found.items()},
        calibration=Calibration("dn", ALOS2_CALIBRATION_DB, "sigma0"),
        acquired=date_in(match["id"]),
    )


def _unpacked(archive: Path) -> Product:
    folder = tempfile.TemporaryDirectory(prefix="sarcover-")
    try:
        with tarfile.open(archive) as tar:
            members = [
                m for m in tar.getmembers() if m.isfile() and m.name.lower().endswith((".tif", ".tiff"))
            ]
            for member in members:
                member.name = Path(member.name).name  # nothing outside the folder
                tar.extract(member, folder.name, filter="data")
    except FileNotFoundError as error:
        raise SarcoverError(f"{archive} does not exist") from error
    except (tarfile.TarError, EOFError, OSError) as error:
        raise SarcoverError(f"{archive} cannot be unpacked", got=str(error), do="is it complete?") from error
    log.warning("%s: a tar.gz has no random access; unpacked into a temporary folder", archive.name)
    product = _product(_images(Path(folder.name)))
    if product is None:
        raise SarcoverError(
            f"{archive} holds no product that is known",
            expected="an ALOS or ALOS-2 mosaic tile as JAXA delivers it",
            do="unpack it and name its GeoTIFFs",
        )
    return replace(product, archive=archive, folder=folder)
