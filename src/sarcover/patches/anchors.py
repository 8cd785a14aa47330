"""Anchors: places on the ground that patches are taken from; on disk as GeoParquet, in scenes by pixel."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyproj
from numpy.typing import NDArray

from sarcover.legend import Legend
from sarcover.patches.grids import DEGREES, Degrees, Grid, reproject
from sarcover.scene.resample import Placement


@dataclass(frozen=True)
class Anchors:
    """Places, one an entry of each array.

    Attributes:
        lon, lat: degrees, of the centre of the label pixel.
        classes: 0..K-1.
        tile: which of `tiles`.
        row, col: of the label pixel in its tile.
        tiles: names of the label tiles.
    """

    lon: NDArray[np.float64]
    lat: NDArray[np.float64]
    classes: NDArray[np.uint8]
    tile: NDArray[np.int32]
    row: NDArray[np.int32]
    col: NDArray[np.int32]
    tiles: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.lon)

    def in_scene(self, grid: Grid) -> ScenePoints:
        """Those that lie in a scene, by its pixels; none in a scene without georeference."""
        if grid.crs is None:
            return ScenePoints(np.empty(0, np.int64), np.empty(0, np.int64))
        # Those near it, cheaply; then by its pixels.
        near = np.flatnonzero(Degrees.around(grid.crs, grid.transform, grid.shape).holds(self.lon, self.lat))
        x, y = reproject(DEGREES, grid.crs, self.lon[near], self.lat[near])
        place = Placement(grid.crs, grid.transform, grid.shape)
        with np.errstate(invalid="ignore"):
            rows, cols = (np.floor(axis) for axis in place.pixels_at(x, y))
            inside = (rows >= 0) & (rows < grid.shape[0]) & (cols >= 0) & (cols < grid.shape[1])
        rows, cols = rows[inside].astype(np.int64), cols[inside].astype(np.int64)
        order = np.lexsort((cols, rows))
        return ScenePoints(rows[order], cols[order])

    def write(self, path: Path, legend: Legend) -> None:
        """GeoParquet 1.0: geometry, class (0..K-1), name, tile, row, col.

        The points are put into well-known binary here: a million of them take a tenth of a second, and
        twenty times that as objects.
        """
        binary = np.empty(len(self), [("order", "u1"), ("kind", "<u4"), ("lon", "<f8"), ("lat", "<f8")])
        binary["order"], binary["kind"], binary["lon"], binary["lat"] = 1, 1, self.lon, self.lat
        points = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(binary.dtype.itemsize), len(self), [None, pa.py_buffer(binary)]
        )
        table = pa.table(
            {
                "geometry": points.cast(pa.binary()),
                "class": self.classes,
                "name": pa.DictionaryArray.from_arrays(pa.array(self.classes.astype(np.int16)), legend.names),
                "tile": pa.DictionaryArray.from_arrays(pa.array(self.tile), list(self.tiles)),
                "row": self.row,
                "col": self.col,
            }
        )
        table = table.replace_schema_metadata({"geo": json.dumps(_geo())})
        # Compression, and statistics of the other columns, take as long as all the rest and help nobody.
        pq.write_table(
            table, path, compression="none", use_dictionary=["name", "tile"], write_statistics=["row"]
        )

    @staticmethod
    def read(path: Path) -> Anchors:
        """What `write` wrote."""
        frame = geopandas.read_parquet(path)
        tile = frame["tile"].astype("category")
        return Anchors(
            frame.geometry.x.to_numpy(),
            frame.geometry.y.to_numpy(),
            frame["class"].to_numpy(np.uint8),
            tile.cat.codes.to_numpy(np.int32),
            frame["row"].to_numpy(np.int32),
            frame["col"].to_numpy(np.int32),
            tuple(tile.cat.categories),
        )


@dataclass(frozen=True)
class ScenePoints:
    """Pixels of a scene, in the order of rows, then columns.

    Attributes:
        rows, cols: (n,) int64.
    """

    rows: NDArray[np.int64]
    cols: NDArray[np.int64]

    def inside(self, row: int, col: int, side: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Those in a window, as rows and columns of the window."""
        first, end = np.searchsorted(self.rows, [row, row + side])
        rows, cols = self.rows[first:end] - row, self.cols[first:end] - col
        here = (cols >= 0) & (cols < side)
        return rows[here], cols[here]


def _geo() -> dict[str, object]:
    """What GeoParquet says of the geometry column."""
    column = {
        "encoding": "WKB",
        "geometry_types": ["Point"],
        "crs": pyproj.CRS.from_epsg(4326).to_json_dict(),
    }
    return {"version": "1.0.0", "primary_column": "geometry", "columns": {"geometry": column}}
