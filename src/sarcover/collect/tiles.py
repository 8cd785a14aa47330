"""The label tiles that images are gathered for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

from rasterio.warp import transform_bounds

from sarcover.errors import SarcoverError
from sarcover.scene.names import date_in
from sarcover.scene.raster import open_dataset
from sarcover.scene.resample import Placement

PREFIXES = ("dw_", "label_dw_")


@dataclass(frozen=True)
class LabelTile:
    """A label tile: the grid and the day that images are wanted for.

    Attributes:
        name: dw_<lon>_<lat>-<YYYYMMDD>.
        path: its file.
        date: day of the Sentinel-2 image that was labelled, UTC.
    """

    name: str
    path: Path
    date: datetime

    @cached_property
    def place(self) -> Placement:
        """Its pixel grid.

        Raises:
            SarcoverError: it cannot be read, or has no georeference.
        """
        with open_dataset(self.path) as file:
            if file.crs is None:
                raise SarcoverError(f"{self.path} has no georeference", expected="a tile as it was published")
            return Placement(file.crs, file.transform, (file.height, file.width))

    @cached_property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east and north, degrees."""
        place = self.place
        height, width = place.shape
        left, top = place.transform * (0, 0)
        right, bottom = place.transform * (width, height)
        box = transform_bounds(place.crs, "EPSG:4326", left, bottom, right, top)
        return (float(box[0]), float(box[1]), float(box[2]), float(box[3]))


def label_tiles(folder: str | Path) -> list[LabelTile]:
    """All label tiles below a folder, in order of name.

    Raises:
        SarcoverError: no such folder, no tile in it, a name without a date, or two tiles of one name.
    """
    root = Path(folder)
    if not root.is_dir():
        raise SarcoverError(f"{root} is no folder", expected="the folder of the label tiles")
    tiles = [_tile(path) for path in _files(root)]
    if not tiles:
        raise SarcoverError(
            f"no label tile below {root}",
            expected="dw_<lon>_<lat>-<YYYYMMDD>.tif",
            do="unpack Experts_tiles.zip and the others there",
        )
    by_name: dict[str, LabelTile] = {}
    for tile in tiles:
        other = by_name.setdefault(tile.name, tile)
        # Experts and others labelled some tiles both: the images are the same.
        if other is not tile and other.place != tile.place:
            raise SarcoverError(f"{other.path} and {tile.path} have one name, but not one grid")
    return [by_name[name] for name in sorted(by_name)]


def _files(root: Path) -> Iterable[Path]:
    return (path for path in sorted(root.rglob("*.tif")) if path.name.startswith(PREFIXES))


def _tile(path: Path) -> LabelTile:
    name = path.stem.removeprefix("label_")
    date = date_in(name.rpartition("-")[2])
    if date is None:
        raise SarcoverError(f"{path}: its name says no date", expected="dw_<lon>_<lat>-<YYYYMMDD>.tif")
    return LabelTile(name, path, date)
