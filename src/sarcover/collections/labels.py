"""Labels of a collection on a scene's grid: the right band, in codes that a legend can hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

from sarcover.errors import SarcoverError
from sarcover.legend import IGNORE
from sarcover.scene import OnGrid
from sarcover.scene.raster import Raster


class LabelsOnGrid(OnGrid):
    """Reference rasters by nearest neighbour, 255 where there is none.

    Args:
        paths: the rasters.
        crs, transform, shape: of the scene's grid.
        band: description of the band that holds the codes, for rasters of several bands.
        recode: codes of the files -> codes that are read; others stay. 255 may be among the former, which no
            legend can hold.

    Raises:
        SarcoverError: a raster of several bands, none of which is said to be the codes; a raster that cannot
            be laid on the grid.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        crs: Any,
        transform: Affine,
        shape: tuple[int, int],
        *,
        band: str | None = None,
        recode: Mapping[int, int] | None = None,
    ) -> None:
        super().__init__(paths, crs, transform, shape, kind="nearest", fill=IGNORE)
        self._recode = dict(recode or {})
        bands = {band_of_codes(file, band) for file in self.files}
        if len(bands) > 1:
            raise SarcoverError(f"{self.path} and others hold their codes in different bands")
        self._band = bands.pop() if bands else 1

    def read(self, window: Window | None = None, bands: Sequence[int] | None = None) -> NDArray[Any]:
        """The codes of a window, (h, w)."""
        values, valid = self.read_valid(window, [self._band])
        codes: NDArray[Any] = values[0]
        if self._recode:
            original = codes.copy()
            for old, new in self._recode.items():
                codes[original == old] = new
            codes[~valid] = IGNORE
        return codes


def band_of_codes(file: Raster, description: str | None) -> int:
    """The band of the codes, from 1.

    Raises:
        SarcoverError: several bands, none of which is said to be the codes.
    """
    if file.info.count == 1:
        return 1
    names = list(file.info.descriptions)
    if description is not None and description in names:
        return names.index(description) + 1
    raise SarcoverError(
        f"{file.path}: labels",
        expected="one band of codes" + (f", or one that is called {description}" if description else ""),
        got=f"{file.info.count} bands",
        do="a picture in colours is no label: take the raster of the codes",
    )
