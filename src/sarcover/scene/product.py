"""What a reader of a known product hands on: where its bands lie, what their numbers are, and its facts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sarcover.scene.gcps import GcpPlacement
from sarcover.scene.layers import IncidenceLayer, MaskLayer
from sarcover.scene.scene import Look, Pass, Source
from sarcover.scene.units import Calibration


@dataclass(frozen=True)
class Product:
    """Files of a product, and what they are; attributes as in `Scene`.

    Attributes:
        name: of the scene.
        sensor: as people call it.
        paths: its files, as the user knows them.
        sources: polarisation -> where the band lies, all on one grid.
        calibration: unit, constant and radiometry; None where the product does not say it.
        ground: where the pixels lie, if control points alone say it.
        spacing: pixel spacing on the ground, metres, where control points alone say where the pixels lie.
        keep: what must live as long as the scene.
    """

    name: str
    sensor: str
    paths: tuple[Path, ...]
    sources: dict[str, Source]
    calibration: Calibration | None
    acquired: datetime | None = None
    incidence: float | None = None
    incidence_layer: IncidenceLayer | None = None
    pass_direction: Pass | None = None
    look_direction: Look | None = None
    orbit: int | None = None
    relative_orbit: int | None = None
    mask: MaskLayer | None = None
    nodata: float | None = None
    signed: bool = False
    ground: GcpPlacement | None = None
    spacing: float | None = None
    keep: object = None
