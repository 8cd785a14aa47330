"""JAXA's GeoTIFF products: mosaics of PALSAR and PALSAR-2, and PALSAR-2 scenes of levels 1.5 to 3.1."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from sarcover.config import MaskKind
from sarcover.radar import ALOS2_CALIBRATION_DB
from sarcover.scene.layers import IncidenceFile, MaskLayer
from sarcover.scene.names import date_in
from sarcover.scene.product import Product
from sarcover.scene.raster import RasterFile
from sarcover.scene.scene import BandSource, Look, Pass
from sarcover.scene.units import Calibration

log = logging.getLogger("sarcover")

# N23W161_20_sl_HH_F02DAR.tif, N35E139_10_sl_HH.tif; older tiles are ENVI files without a suffix. The last
# three letters of the mode F02DAR are dual polarisation, ascending, right-looking.
_MOSAIC = re.compile(
    r"(?P<tile>[NS]\d{2}[EW]\d{3})_(?P<year>\d{2})_(?:sl_)?(?P<pol>HH|HV)(?P<mode>_\w+)?(\.tiff?)?$"
)
_MODE = re.compile(r"_[A-Z]\w{2}[SDQ](?P<pass>[AD])(?P<look>[LR])$")
_MOSAIC_LAYER = re.compile(r"[NS]\d{2}[EW]\d{3}_\d{2}_(?:mask|linci|date)(?:_\w+)?(\.tiff?)?$")
_MOSAIC_NODATA = 1.0
# Codes of the mosaics' mask layer (JAXA, "Global 25 m Resolution PALSAR-2/PALSAR Mosaic: Dataset
# Description"): 0 no data, 50 ocean and water, 100 layover, 150 shadowing, 255 land.
_MASK: dict[MaskKind, frozenset[int]] = {
    "shadow": frozenset({150}),
    "layover": frozenset({100}),
    "ocean": frozenset({50}),
}
# IMG-HH-ALOS2041062800-150226-UBSR2.1GUD.tif
_SCENE = re.compile(
    r"IMG-(?P<pol>HH|HV|VH|VV)-(?P<id>ALOS2\d{9}-\d{6}-\w{4}(?:1\.5|2\.1|3\.1).*)\.tiff?$", re.IGNORECASE
)
# Scene id: orbit (5 digits), frame (4), date. Product id: mode (3 letters), look, level, processing option,
# map projection, pass (ALOS-2/PALSAR-2 Level 1.1/1.5/2.1/3.1 GeoTIFF Product Format Description, file names).
_ID = re.compile(
    r"ALOS2(?P<orbit>\d{5})\d{4}-\d{6}-(?P<mode>\w{3})(?P<look>[LR])(?P<level>\d\.\d)"
    r"(?P<option>[GR_])?[A-Z_]?(?P<pass>[AD])?"
)
_LAUNCH = {"ALOS": datetime(2006, 1, 24, tzinfo=UTC), "ALOS-2": datetime(2014, 5, 24, tzinfo=UTC)}
_PASS: dict[str, Pass] = {"A": "ascending", "D": "descending"}
_LOOK: dict[str, Look] = {"R": "right", "L": "left"}


class SceneId(NamedTuple):
    """What the name of a PALSAR-2 product says."""

    orbit: int | None
    level: str
    look: Look | None
    flight: Pass | None


def is_side_layer(path: Path) -> bool:
    """Whether a file is the mask, incidence or date layer of a mosaic tile rather than a scene."""
    return _MOSAIC_LAYER.match(path.name) is not None


def key(name: str) -> str | None:
    """What the files of one product share in their names; None for other files."""
    if match := _MOSAIC.match(name):
        return f"{match['tile']}_{match['year']}{match['mode'] or ''}"
    match = _SCENE.match(name)
    return match["id"] if match else None


def product(paths: Sequence[Path]) -> Product | None:
    """The mosaic tile or scene that these files are."""
    return _mosaic(paths) or _scene(paths)


def read_id(name: str) -> SceneId:
    """Orbit, level, look and flight direction in a PALSAR-2 product's name, as far as it says them."""
    match = _ID.search(name)
    if match is None:
        return SceneId(None, "", None, None)
    return SceneId(
        int(match["orbit"]), match["level"], _LOOK.get(match["look"]), _PASS.get(match["pass"] or "")
    )


def read_summary(folder: Path) -> dict[str, str]:
    """The keys and values of summary.txt beside a product; empty where there is none."""
    path = folder / "summary.txt"
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    pairs = (line.partition("=") for line in lines)
    return {key.strip(): value.strip().strip('"') for key, separator, value in pairs if separator}


def summary_time(summary: dict[str, str]) -> datetime | None:
    """The time of the scene's centre in summary.txt (20140829 03:17:32.123), or the day; UTC."""
    for text, form in (
        (summary.get("Img_SceneCenterDateTime", ""), "%Y%m%d %H:%M:%S.%f"),
        (summary.get("Lbi_ObservationDate", ""), "%Y%m%d"),
    ):
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    return None


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
    days = IncidenceFile(date, lowest=_MOSAIC_NODATA + 1).middle() if date else None
    angles = IncidenceFile(incidence, lowest=_MOSAIC_NODATA + 1) if incidence else None
    mode = _MODE.search(match["mode"] or "")
    return Product(
        name=tile,
        sensor=f"{sensor} PALSAR{'-2' if sensor == 'ALOS-2' else ''} mosaic",
        paths=tuple(path for _, path in found.values()),
        sources={pol: BandSource(RasterFile(path), 1) for pol, (_, path) in found.items()},
        calibration=Calibration("dn", ALOS2_CALIBRATION_DB, "gamma0"),
        acquired=None if days is None else _LAUNCH[sensor] + timedelta(days=int(days)),
        incidence=angles.middle() if angles else None,
        incidence_layer=angles,
        pass_direction=_PASS[mode["pass"]] if mode else None,
        look_direction=_LOOK[mode["look"]] if mode else None,
        mask=MaskLayer(mask, codes=_MASK) if mask else None,
        nodata=_MOSAIC_NODATA,
    )


def _layer(folder: Path, tile: str, kind: str) -> RasterFile | None:
    found = sorted(path for path in folder.glob(f"{tile}_{kind}*") if _MOSAIC_LAYER.match(path.name))
    return RasterFile(found[0]) if found else None


def _scene(paths: Sequence[Path]) -> Product | None:
    found = {match["pol"].upper(): (match, path) for path in paths if (match := _SCENE.match(path.name))}
    if not found:
        return None
    match, path = next(iter(found.values()))
    said, summary = read_id(match["id"]), read_summary(path.parent)
    return Product(
        name=match["id"],
        sensor=f"ALOS-2 PALSAR-2 L{said.level}",
        paths=tuple(path for _, path in found.values()),
        sources={pol: BandSource(RasterFile(path), 1) for pol, (_, path) in found.items()},
        calibration=Calibration("dn", ALOS2_CALIBRATION_DB, "sigma0"),
        acquired=summary_time(summary) or date_in(match["id"]),
        pass_direction=said.flight,
        look_direction=said.look,
        orbit=said.orbit,
    )
