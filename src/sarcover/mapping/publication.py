"""From a map's finished pixels to its files: rasters, styles, polygons, and the STAC item of them all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from rasterio.windows import Window

from sarcover.config import Layer
from sarcover.files import disk_errors, write_json
from sarcover.legend import Legend
from sarcover.mapping import cog, layers, style
from sarcover.mapping import stac as map_stac
from sarcover.mapping.about import About
from sarcover.mapping.grid import Place
from sarcover.mapping.outputs import Outputs
from sarcover.mapping.raster import BLOCK, WorkingRaster
from sarcover.mapping.raw import RawRaster
from sarcover.mapping.sieve import sieve_raw
from sarcover.mapping.vector import Codes, write_polygons
from sarcover.scene.disk import gdal_errors

Maker = Callable[[Path], None]

_COLUMNS = 8192  # counted at a time


@contextmanager
def sieved(raster: WorkingRaster, size: int) -> Iterator[WorkingRaster]:
    """The map without objects of fewer pixels; itself where the size is below 2.

    The raster's own pixels stay as they are, so that an interrupted publication can be done again.
    """
    if size < 2:
        yield raster
        return
    path = raster.path.with_suffix(".sieved.raw")
    with disk_errors(raster.out), gdal_errors(raster.out):
        sieve_raw(raster.path, path, raster.shape, size)
    height, width = raster.shape
    try:
        with raster.like(path) as result:
            for row in range(0, height, BLOCK):
                for column in range(0, width, _COLUMNS):
                    result.keep(row, column, min(BLOCK, height - row), min(_COLUMNS, width - column))
            yield result
    finally:
        path.unlink(missing_ok=True)


class Publication:
    """Makes the files of a map whose pixels are all there.

    Args:
        outputs: which files.
        legend: of the codes.
        place: the grid.
        about: where the map comes from.
        finished: the map's pixels.
        rasters: those of the layers.
    """

    def __init__(
        self,
        outputs: Outputs,
        legend: Legend,
        place: Place,
        about: About,
        finished: WorkingRaster,
        rasters: Mapping[Layer, WorkingRaster],
    ) -> None:
        self._outputs, self._legend, self._place, self._about = outputs, legend, place, about
        self._finished, self._rasters = finished, rasters

    def makers(self) -> dict[Path, Maker]:
        """Final name -> what writes the file to a path in a folder of all of them; the map comes last.

        The STAC item is made after all it describes, so the map is made before it, too.
        """
        outputs = self._outputs
        makers: dict[Path, Maker] = {}
        for name, raster in self._rasters.items():
            makers[outputs.layer(name)] = raster.publish
            makers[outputs.layer_style(name)] = partial(_write, text=style.layer_style(_title(name)))
        makers[outputs.class_names] = self._write_names
        makers[outputs.style] = partial(_write, text=style.map_style(self._legend))
        if outputs.vector is not None:
            makers[outputs.vector] = self._write_polygons
        makers[outputs.item] = self._write_item
        makers[outputs.out] = self._write_map
        return makers

    def _write_map(self, path: Path) -> None:
        if not path.exists():  # made for the item
            self._finished.publish(path)

    def _write_names(self, path: Path) -> None:
        _write(path, cog.category_names(self._legend))

    def _write_polygons(self, path: Path) -> None:
        outputs = self._outputs
        with sieved(self._finished, outputs.min_area) as merged, gdal_errors(path):
            write_polygons(path, _reader(merged.raw), self._place, self._legend, simplify=outputs.simplify)

    def _write_item(self, path: Path) -> None:
        outputs, beside = self._outputs, path.parent
        self._write_map(beside / outputs.out.name)
        record = self._record()
        assets = [map_stac.map_asset(record, beside / outputs.out.name, outputs.out.name)]
        for name in self._rasters:
            file = outputs.layer(name).name
            assets.append(map_stac.layer_asset(record, name, beside / file, file))
        file = outputs.style.name
        assets.append(map_stac.side_asset("style", beside / file, file, "QGIS style of the map", "style"))
        if outputs.vector is not None:
            file = outputs.vector.name
            assets.append(map_stac.side_asset("polygons", beside / file, file, "the map as polygons", "data"))
        write_json(path, map_stac.map_item(record, assets, self._about.origins))

    def _record(self) -> map_stac.MapRecord:
        shape, crs, transform = self._place
        return map_stac.MapRecord(
            name=self._about.name,
            shape=shape,
            transform=transform,
            wkt=None if crs is None else crs.to_wkt(),
            legend=self._legend,
            counts=tuple(int(self._finished.histogram[code]) for code in self._legend.codes),
            acquired=self._about.acquired,
            lineage=self._about.lineage,
            software=self._about.software,
        )


def _title(name: Layer) -> str:
    return layers.KINDS[name].title


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _reader(raw: RawRaster) -> Callable[[Window], Codes]:
    def read(window: Window) -> Codes:
        codes: Codes = raw.read(window.row_off, window.col_off, window.height, window.width)[0]
        return codes

    return read
