"""Terrain-corrected Sentinel-1 GeoTIFFs, one a polarisation: HyP3 of ASF, OPERA, and Planetary Computer's.

HyP3 (hyp3-docs.asf.alaska.edu, "Sentinel-1 RTC Product Guide", naming): in S1A_IW_20210225T134057_DVP_
RTC30_G_gpuned_3D02_VV.tif the first letter of `gpuned` is g for gamma0 or s for sigma0, the second p for
power, d for decibel or a for amplitude. OPERA RTC-S1 and Planetary Computer's sentinel-1-rtc are gamma0, as
linear power.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from sarcover.config import MaskKind, Unit
from sarcover.scene.layers import IncidenceFile, MaskLayer
from sarcover.scene.product import Product
from sarcover.scene.raster import RasterFile
from sarcover.scene.scene import BandSource
from sarcover.scene.units import Calibration, Radiometry

_HYP3 = re.compile(
    r"(?P<stem>S1(?P<unit>[A-D])_\w{2}_(?P<time>\d{8}T\d{6})_\w{3}_RTC\d{2}_[A-Z]_"
    r"(?P<radiometry>[gs])(?P<scale>[pda])\w{4}_\w{4})_(?P<pol>VV|VH|HH|HV)\.tiff?$"
)
_OPERA = re.compile(
    r"(?P<stem>OPERA_L2_RTC-S1_\S+?_(?P<time>\d{8}T\d{6})Z_\S*S1(?P<unit>[A-D])_\S*?)_(?P<pol>VV|VH|HH|HV)\.tiff?$"
)
# Planetary Computer keeps the bands of an item as measurement/iw-vv.rtc.tiff below a folder of its name.
_COMPUTER = re.compile(r"(?P<mode>iw|ew|sm)-(?P<pol>vv|vh|hh|hv)\.rtc\.tiff?$")
_ITEM = re.compile(r"S1(?P<unit>[A-D])_\w{2}_GRD\w_\w+?_(?P<time>\d{8}T\d{6})_\S*")
_SIDE = re.compile(
    r"(S1[A-D]_\w+_RTC\d{2}_\w+|OPERA_L2_RTC-S1_\S+)_(dem|inc_map|inc_map_ell|ls_map|area|rgb|mask|"
    r"local_incidence_angle|incidence_angle|number_of_looks|rtc_anf\w*|BROWSE)\.(tiff?|png|kmz)$"
)
_UNITS: dict[str, Unit] = {"p": "linear_power", "d": "db", "a": "amplitude"}
_RADIOMETRY: dict[str, Radiometry] = {"g": "gamma0", "s": "sigma0"}


def _with(*bits: int) -> frozenset[int]:
    """The numbers up to 31 that have one of these bits."""
    return frozenset(number for number in range(32) if any(number & bit for bit in bits))


# GAMMA's layover-shadow map, as HyP3 hands it on: sums of 1 tested, 2 true layover, 4 affected by layover,
# 8 true shadow, 16 affected by shadow; 0 not tested, which is where there is no data.
_LS_MAP: dict[MaskKind, frozenset[int]] = {"shadow": _with(8, 16), "layover": _with(2, 4)}
# OPERA's mask: 0 valid, 1 shadow, 2 layover, 3 both, 255 no data.
_OPERA_MASK: dict[MaskKind, frozenset[int]] = {"shadow": frozenset({1, 3}), "layover": frozenset({2, 3})}


def is_side_layer(path: Path) -> bool:
    """Whether a file is a layer beside the bands: angles, heights, masks, pictures."""
    return _SIDE.match(path.name) is not None


def key(name: str) -> str | None:
    """What the files of one product share in their names; None for other files."""
    if match := (_HYP3.match(name) or _OPERA.match(name)):
        return match["stem"]
    match = _COMPUTER.match(name)
    return f"{match['mode']}.rtc" if match else None


def product(paths: Sequence[Path]) -> Product | None:
    """The terrain-corrected scene that these files are."""
    return _hyp3(paths) or _opera(paths) or _computer(paths)


def _hyp3(paths: Sequence[Path]) -> Product | None:
    found = {match["pol"]: (match, path) for path in paths if (match := _HYP3.match(path.name))}
    if not found:
        return None
    match, path = next(iter(found.values()))
    shadow, angles = (path.with_name(f"{match['stem']}_{layer}.tif") for layer in ("ls_map", "inc_map"))
    incidence = IncidenceFile(RasterFile(angles), degrees=float(np.degrees(1.0))) if angles.exists() else None
    return Product(
        name=match["stem"],
        sensor=f"Sentinel-1{match['unit']} RTC (HyP3)",
        paths=tuple(path for _, path in found.values()),
        sources={pol: BandSource(RasterFile(path), 1) for pol, (_, path) in found.items()},
        calibration=Calibration(_UNITS[match["scale"]], 0.0, _RADIOMETRY[match["radiometry"]]),
        acquired=_time(match["time"]),
        incidence=incidence.middle() if incidence else None,
        incidence_layer=incidence,
        look_direction="right",
        mask=MaskLayer(RasterFile(shadow), codes=_LS_MAP) if shadow.exists() else None,
    )


def _opera(paths: Sequence[Path]) -> Product | None:
    found = {match["pol"]: (match, path) for path in paths if (match := _OPERA.match(path.name))}
    if not found:
        return None
    match, path = next(iter(found.values()))
    mask = path.with_name(f"{match['stem']}_mask.tif")
    layer = MaskLayer(RasterFile(mask), frozenset({255}), _OPERA_MASK) if mask.exists() else None
    file = RasterFile(path)
    tags = file.info.tags
    orbit = tags.get("ABSOLUTE_ORBIT_NUMBER", "")
    flight = tags.get("ORBIT_PASS_DIRECTION", "").lower()
    return Product(
        name=match["stem"],
        sensor=f"Sentinel-1{match['unit']} RTC (OPERA)",
        paths=tuple(path for _, path in found.values()),
        sources={pol: BandSource(RasterFile(path), 1) for pol, (_, path) in found.items()},
        calibration=Calibration("linear_power", 0.0, "gamma0"),
        acquired=_time(match["time"]),
        pass_direction=(
            "ascending" if flight == "ascending" else "descending" if flight == "descending" else None
        ),
        look_direction="right",
        orbit=int(orbit) if orbit.isdigit() else None,
        mask=layer,
    )


def _computer(paths: Sequence[Path]) -> Product | None:
    found = {match["pol"].upper(): path for path in paths if (match := _COMPUTER.match(path.name))}
    if not found:
        return None
    path = next(iter(found.values()))
    item = next((match for parent in path.parents if (match := _ITEM.match(parent.name))), None)
    return Product(
        name=item[0] if item else path.resolve().parent.name,
        sensor=f"Sentinel-1{item['unit'] if item else ''} RTC (Planetary Computer)",
        paths=tuple(found.values()),
        sources={pol: BandSource(RasterFile(path), 1) for pol, path in found.items()},
        calibration=Calibration("linear_power", 0.0, "gamma0"),
        acquired=_time(item["time"]) if item else None,
        look_direction="right",
    )


def _time(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None
