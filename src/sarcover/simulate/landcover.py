"""Who uses the land for what: the fourteen classes of JAXA's HRLULC, laid over terrain and parcels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sarcover.simulate.drainage import SEA_LEVEL
from sarcover.simulate.fields import Area, Fields, FloatArray, ramp
from sarcover.simulate.parcels import Districts, Parcels, districts, parcels, voronoi
from sarcover.simulate.terrain import BED, Terrain, terrain

# Codes of jaxa-hrlulc-14.
WATER, BUILT_UP, PADDY, CROPLAND, GRASS, DBF, DNF, EBF, ENF, BARE, BAMBOO, SOLAR, WETLAND, GREENHOUSE = range(
    1, 15
)
FORESTS = (DBF, DNF, EBF, ENF, BAMBOO)

# Structures within a class, finer than the legend.
PLAIN, STREET, BUILDING, ROAD, RIDGE = range(5)

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Land:
    """The truth about an area; every array is (height, width).

    Args:
        code: uint8, codes of jaxa-hrlulc-14.
        structure: uint8, what a pixel is within its class: street, building, road, ridge between parcels.
        parcel: hash of its parcel or block, in [0, 1).
        rows: float32 in [0, 1), phase across the rows of panels or greenhouses.
        districts: orientation of streets and parcels.
        canopy: height of trees or roofs above the ground as the radar meets it, metres.
        terrain: the ground.
    """

    code: npt.NDArray[np.uint8]
    structure: npt.NDArray[np.uint8]
    parcel: FloatArray
    rows: FloatArray
    districts: Districts
    canopy: FloatArray
    terrain: Terrain


@dataclass
class _Canvas:
    """An area while it is being painted, one use over the other."""

    fields: Fields
    area: Area
    ground: Terrain
    where: Districts
    blocks: Parcels
    fields_small: Parcels
    fields_large: Parcels
    code: npt.NDArray[np.uint8]
    structure: npt.NDArray[np.uint8]
    parcel: FloatArray

    def paint(
        self, code: int, mask: BoolArray, parcel: FloatArray | None = None, structure: int = PLAIN
    ) -> None:
        np.copyto(self.code, np.uint8(code), where=mask)
        np.copyto(self.structure, np.uint8(structure), where=mask)
        if parcel is not None:
            np.copyto(self.parcel, parcel, where=mask)

    def noise(self, name: str, *periods: int) -> FloatArray:
        return self.fields.smooth(name, self.area, periods)


def land(fields: Fields, area: Area) -> Land:
    """The land of `area`, whatever window of the world it is."""
    where = districts(fields, area)
    shape = (area.height, area.width)
    canvas = _Canvas(
        fields=fields,
        area=area,
        ground=terrain(fields, area),
        where=where,
        blocks=parcels(fields, "block", where, 15, 9),
        fields_small=parcels(fields, "paddy", where, 14, 6),
        fields_large=parcels(fields, "crop", where, 34, 19),
        code=np.zeros(shape, np.uint8),
        structure=np.zeros(shape, np.uint8),
        parcel=np.zeros(shape, np.float32),
    )
    _farmland(canvas)
    _forests(canvas)
    _grassland(canvas)
    _bare(canvas)
    _solar(canvas)
    _wetland(canvas)
    _towns(canvas)
    _roads(canvas)
    _water(canvas)
    rows = (where.across / 3.0) % 1.0
    return Land(canvas.code, canvas.structure, canvas.parcel, rows, where, _canopy(canvas), canvas.ground)


def _farmland(canvas: _Canvas) -> None:
    """Paddies in small parcels, crops in large ones, greenhouses among them."""
    small, large = canvas.fields_small, canvas.fields_large
    upland = canvas.noise("upland", 240, 110) + 0.9 * (large.value - 0.5) > 0.15
    canvas.paint(CROPLAND, np.ones(upland.shape, bool), large.value)
    canvas.paint(CROPLAND, large.edge < 0.7, large.value, RIDGE)
    canvas.paint(PADDY, ~upland, small.value)
    canvas.paint(PADDY, ~upland & (small.edge < 0.5), small.value, RIDGE)
    glass = canvas.noise("greenhouses", 150, 70) + 1.6 * (large.other - 0.5) > 1.9
    canvas.paint(GREENHOUSE, glass & (large.edge > 1.0), large.value)


def _forests(canvas: _Canvas) -> None:
    """Mountain forest of five kinds by height, latitude and stand; groves and windbreaks on the plain."""
    ground, stand = canvas.ground, canvas.fields_large
    rows = canvas.area.row + np.arange(canvas.area.height, dtype=np.float64)[:, None]
    latitude = (90 - rows / 12000).astype(np.float32)
    cool = ground.elevation / 260 + (latitude - 36) * 0.5 + 0.55 * canvas.noise("climate", 160, 70, 30)
    mountain = ground.relief + 0.25 * (stand.value - 0.5) > 0.42
    grove = (canvas.noise("groves", 64, 30) + 0.5 * (stand.other - 0.5) > 2.05) & (ground.relief <= 0.42)
    wood = mountain | grove
    planted = canvas.noise("plantations", 90, 40) + 1.3 * (stand.other - 0.5) > -0.25
    canvas.paint(DBF, wood, stand.value)
    canvas.paint(EBF, wood & (cool < 0.75), stand.value)
    canvas.paint(ENF, wood & planted & (cool < 3.0), stand.value)
    canvas.paint(DNF, wood & ~planted & (cool > 2.8), stand.value)
    foot = ramp(ground.relief, 0.95, 0.5) * ramp(cool, 1.6, 0.6)
    canvas.paint(BAMBOO, wood & (canvas.noise("bamboo", 34, 14) + foot > 2.35), stand.value)


def _grassland(canvas: _Canvas) -> None:
    """Meadows on the plain, cuttings and golf courses in the hills, levees along rivers."""
    ground, large = canvas.ground, canvas.fields_large
    hills = ground.relief > 0.42
    meadow = canvas.noise("meadows", 170, 70) + 1.1 * (large.value - 0.5) > 0.74
    canvas.paint(GRASS, ~hills & meadow, large.other)
    pasture = canvas.noise("pastures", 150, 60) + 0.8 * (large.value - 0.5) > 1.55
    canvas.paint(GRASS, hills & pasture, large.other)
    golf = canvas.noise("golf", 130) > 1.9
    fairway = np.abs(canvas.noise("fairways", 22, 12)) < 0.42
    canvas.paint(GRASS, golf & fairway & (ground.relief > 0.2), large.other)
    levee = (ground.flow > 40) & (ground.bank < 0.4 * np.sqrt(ground.flow) + 5)
    canvas.paint(GRASS, levee, large.other)


def _bare(canvas: _Canvas) -> None:
    """Summits, landslides, quarries, building lots and beaches."""
    ground = canvas.ground
    summit = ramp(ground.elevation, 700, 1300) + 0.35 * canvas.noise("summits", 40, 18, 8) > 0.72
    quarry = (canvas.noise("quarries", 46, 20) > 3.0) & (ground.relief > 0.25)
    slides = (canvas.noise("slides", 12, 7) > 3.05) & (ground.relief > 0.8)
    lot = (canvas.fields_large.other > 0.987) & (ground.relief < 0.3)
    beach = (ground.height < SEA_LEVEL + 0.018) & (canvas.noise("beaches", 90, 40) > -0.3)
    canvas.paint(BARE, summit | quarry | slides | lot | beach, canvas.fields_large.value)


def _solar(canvas: _Canvas) -> None:
    """Solar parks: parcels of farmland, and clearings on low hills."""
    large, ground = canvas.fields_large, canvas.ground
    parks = canvas.noise("solar", 120, 60) + 1.5 * (large.other - 0.5)
    flat = (parks > 2.25) & (ground.relief < 0.35) & (large.edge > 1)
    hill = (canvas.noise("solar hills", 34, 14) > 2.95) & (ground.relief > 0.2) & (ground.relief < 0.95)
    canvas.paint(SOLAR, flat | hill, large.value)


def _wetland(canvas: _Canvas) -> None:
    """Reeds and flooded meadows beside rivers, lakes and the shore, where the land is flat."""
    ground = canvas.ground
    wet = canvas.noise("marshes", 100, 44, 18)
    wet += 1.1 * np.exp(-ground.valley / 40) + 1.2 * np.exp(-np.maximum(ground.height - SEA_LEVEL, 0) / 0.1)
    canvas.paint(WETLAND, (wet > 1.62) & (ground.relief < 0.3), canvas.fields_large.value)


def _towns(canvas: _Canvas) -> None:
    """Towns by density, villages around points; street grids keep to the district's direction."""
    ground, blocks = canvas.ground, canvas.blocks
    density = canvas.noise("towns", 270, 130, 60) - 1.8 * ground.relief + 0.75 * (blocks.value - 0.5)
    hamlet = _hamlets(canvas) - 1.2 * ground.relief + 0.5 * (blocks.value - 0.5) > 0.62
    town = (density > 0.27) | hamlet
    park = blocks.other > 0.955
    canvas.paint(BUILT_UP, town & ~park, blocks.other, BUILDING)
    canvas.paint(BUILT_UP, town & ~park & (blocks.edge < 0.75), blocks.other, STREET)
    canvas.paint(GRASS, town & park & (blocks.value > 0.4), blocks.value)
    canvas.paint(DBF, town & park & (blocks.value <= 0.25), blocks.value)


def _hamlets(canvas: _Canvas) -> FloatArray:
    """1 at the heart of a hamlet, 0 beyond it."""
    return ramp(canvas.noise("hamlets", 38, 17), 1.2, 2.6)


def _roads(canvas: _Canvas) -> None:
    """Trunk roads along the borders of large cells, lanes along those of districts, on gentle ground."""
    ground = canvas.ground
    _, trunk = voronoi(canvas.fields, "trunk", canvas.area, 520, 26.0)
    canvas.paint(BUILT_UP, (trunk < 1.0) & (ground.relief < 0.75), structure=ROAD)
    lane = (canvas.where.border < 0.62) & (ground.relief < 0.35) & (canvas.code != WETLAND)
    canvas.paint(BUILT_UP, lane, structure=ROAD)


def _water(canvas: _Canvas) -> None:
    """Gravel beds and water lie over everything else."""
    water = canvas.ground.water
    canvas.paint(BARE, water == BED)
    canvas.paint(WATER, (water != BED) & (water > 0))


def _canopy(canvas: _Canvas) -> FloatArray:
    """Height of what stands on the ground, metres; half of the trees' height, where L-band scatters from."""
    code = canvas.code
    height = np.zeros(256, np.float32)
    height[list(FORESTS)] = (7.0, 8.0, 7.0, 9.0, 5.0)
    height[GREENHOUSE] = 1.5
    canopy = height[code]
    canopy[(canvas.structure == BUILDING) & (code == BUILT_UP)] = 4.0
    return np.asarray(canopy, np.float32)
