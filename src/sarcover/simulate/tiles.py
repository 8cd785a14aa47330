"""One-degree tiles, their blocks, and the checks of what the user asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from affine import Affine

from sarcover.config import SimulateSettings
from sarcover.errors import SarcoverError
from sarcover.simulate.fields import Area

PER_DEGREE = 12000
BLOCK = 1024  # side of the blocks that a tile is computed in, pixels, from the tile's north-west corner
# Where the radar's grid lies against the label grid, in pixels to the south and to the east: a real scene's
# grid is not its reference map's. Less than half a pixel, so that the nearest label is the truth.
SCENE_SHIFT = (0.3, 0.2)
_NAME = re.compile(r"([NS])(\d{2})([EW])(\d{3})")


@dataclass(frozen=True)
class Tile:
    """A one-degree tile, named by its south-west corner: N36E138 is 36 to 37 N, 138 to 139 E."""

    name: str
    north: int
    west: int

    @property
    def row(self) -> int:
        """World row of its first pixel."""
        return (90 - self.north) * PER_DEGREE

    @property
    def col(self) -> int:
        """World column of its first pixel."""
        return (180 + self.west) * PER_DEGREE

    def transform(self, shift: tuple[float, float] = (0.0, 0.0)) -> Affine:
        """Pixel to longitude and latitude, of a grid `shift` pixels to the south and to the east."""
        west, north = self.west + shift[1] / PER_DEGREE, self.north - shift[0] / PER_DEGREE
        return Affine(1 / PER_DEGREE, 0, west, 0, -1 / PER_DEGREE, north)

    def blocks(self, size: int) -> Iterator[Area]:
        """World areas that cover the first `size` rows and columns, the last ones cut."""
        for row in range(0, size, BLOCK):
            for col in range(0, size, BLOCK):
                yield Area(self.row + row, self.col + col, min(BLOCK, size - row), min(BLOCK, size - col))


def parse_tile(name: str) -> Tile:
    """The tile of a name like N36E138."""
    found = _NAME.fullmatch(name)
    if found:
        south = int(found[2]) * (1 if found[1] == "N" else -1)
        west = int(found[4]) * (1 if found[3] == "E" else -1)
        if -90 <= south <= 89 and -180 <= west <= 179:
            return Tile(name, south + 1, west)
    raise SarcoverError(
        f"tile {name!r} is unknown", expected="a one-degree tile by its south-west corner, such as N36E138"
    )


def acquisition(month: str) -> date:
    """The day of a year-month on which the simulated satellite passes."""
    found = re.fullmatch(r"(\d{4})-(\d{2})", month)
    if not found or not 1 <= int(found[2]) <= 12 or int(found[1]) < 1:
        raise SarcoverError(f"month {month!r} is unknown", expected="year-month, such as 2022-09")
    return date(int(found[1]), int(found[2]), 15)


def check(settings: SimulateSettings) -> list[Tile]:
    """The tiles asked for; settings that cannot be are refused."""
    for name, value, low, high in (
        ("size", settings.size, 1, PER_DEGREE),
        ("looks", settings.looks, 0.5, 1000),
        ("incidence", settings.incidence, 10, 70),
        ("noise_floor", settings.noise_floor, -80, 0),
        ("cloud_cover", settings.cloud_cover, 0, 1),
    ):
        if not low <= value <= high:
            raise SarcoverError(f"{name} is out of range", expected=f"{low} to {high}", got=str(value))
    for what, values in (("tiles", settings.tiles), ("months", settings.months)):
        if not values:
            raise SarcoverError(f"{what} is empty", expected="at least one")
        if len(set(values)) < len(values):
            raise SarcoverError(f"{what} names something twice", got=" ".join(values))
    for month in settings.months:
        acquisition(month)
    return [parse_tile(name) for name in settings.tiles]
