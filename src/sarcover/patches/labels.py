"""A label tile by windows, as codes that can be counted fast."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from sarcover.collections.labels import band_of_codes
from sarcover.errors import SarcoverError
from sarcover.legend import IGNORE, Legend
from sarcover.patches.histogram import CodeCounter
from sarcover.scene.raster import RasterFile

_WINDOW = 4 * 2**20  # pixels read at a time, about
_WIDEST = 16384  # columns of such a window
_LOOK = 2**18  # pixels of a window of the first look


@dataclass(frozen=True)
class LabelTile:
    """A reference raster.

    Attributes:
        file: where it lies.
        name: unique among the tiles.
        legend: of its codes.
        band: description of the band that holds them, where a file of several bands has one of that name;
            None for the first band.
        recode: codes of the file -> codes that the legend knows, as in a collection; others stay.
    """

    file: RasterFile
    name: str
    legend: Legend
    band: str | None = None
    recode: Mapping[int, int] = field(default_factory=dict, hash=False)

    def windows(self, pixels: int = _WINDOW, widest: int = _WIDEST) -> Iterator[Window]:
        """Windows of about so many pixels, aligned to the file's blocks, over the whole tile."""
        height, width = self.file.info.shape
        block_height, block_width = self.file.dataset().block_shapes[0]
        across = min(width, max(1, widest // block_width) * block_width)
        down = max(1, pixels // (across * block_height)) * block_height
        for row in range(0, height, down):
            for col in range(0, width, across):
                yield Window(col, row, min(across, width - col), min(down, height - row))

    def read(self, window: Window) -> NDArray[np.uint8]:
        """A window, flat: the file's own codes where they are uint8, else classes and 255."""
        codes = self.file.read([self._index], window)[0]
        ignore = np.array(IGNORE, np.result_type(codes.dtype, np.uint8))
        values = codes
        for old, new in self.recode.items():
            values = np.where(codes == old, np.array(new, ignore.dtype), values)
        if self.file.info.masked:
            values = np.where(self.file.read_mask(window), values, ignore)
        if self._raw:
            raw: NDArray[np.uint8] = values.reshape(-1)
            return raw
        nodata = self._nodata
        if nodata is not None and not np.isnan(nodata):
            values = np.where(codes == nodata, ignore, values)
        classes: NDArray[np.uint8] = self.legend.encode(values).reshape(-1)
        return classes

    def some(self, part: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """(n, K) share of each class in one of `part` small windows, of any place: what to expect."""
        small = list(self.windows(_LOOK, 512))
        chosen = np.sort(rng.choice(len(small), -(-len(small) // part), replace=False))
        shares, counter = [], CodeCounter()
        for window in (small[number] for number in chosen):
            codes = self.read(window)
            shares.append(self.per_class(counter.count(codes), refuse=False) / codes.size)
        return np.array(shares)

    def per_class(self, counts: NDArray[np.int64], *, refuse: bool = True) -> NDArray[np.int64]:
        """(256,) pixels of the codes that `read` gives, as (K,) pixels of the classes.

        Raises:
            SarcoverError: codes that the legend does not know, each with its pixels, unless not `refuse`.
        """
        unknown = [code for code in np.flatnonzero(counts) if self.class_of[code] < 0]
        if unknown and refuse:
            raise SarcoverError(
                f"{self.file.path}: legend {self.legend.name!r} does not know every code",
                expected=", ".join(str(code) for land in self.legend.classes for code in land.sources),
                got=", ".join(f"{code} ({counts[code]} px)" for code in unknown),
                do="choose the raster's own --legend, or add the codes to a legend YAML (under `ignore` if "
                "they mean no label)",
            )
        labelled = (self.class_of >= 0) & (self.class_of < self.legend.num_classes)
        per_class = np.zeros(self.legend.num_classes, np.int64)
        np.add.at(per_class, self.class_of[labelled], counts[labelled])
        return per_class

    @cached_property
    def class_of(self) -> NDArray[np.int16]:
        """(256,) class of each code that `read` gives; 255 where it means no label, -1 where not known."""
        classes = np.full(256, -1, np.int16)
        if self._raw:
            for number, land in enumerate(self.legend.classes):
                for code in land.sources:
                    if 0 <= code < 256:
                        classes[code] = number
            nodata = self._nodata
            ignored = [code for code in (*self.legend.ignore, IGNORE) if 0 <= code < 256]
            ignored += [int(nodata)] if nodata is not None and 0 <= nodata < 256 else []
        else:
            classes[: self.legend.num_classes] = np.arange(self.legend.num_classes)
            ignored = [IGNORE]
        classes[ignored] = IGNORE
        return classes

    @property
    def _raw(self) -> bool:
        """Whether `read` gives the file's own codes."""
        return self.file.info.dtypes[self._index - 1] == "uint8" and not self.recode

    @cached_property
    def _index(self) -> int:
        """The band that is read, from 1."""
        return 1 if self.band is None else band_of_codes(self.file, self.band)

    @property
    def _nodata(self) -> float | None:
        return self.file.info.nodatas[self._index - 1]
