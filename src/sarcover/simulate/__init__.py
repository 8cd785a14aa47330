"""A radar landscape with known truth, written as the files that a user has.

`simulate` is a function of the settings alone: the same seed gives the same land, and any window of it is
that part of the whole. What is simulated, and how, stands in `drainage` and `terrain` (rivers and relief),
`parcels` and `landcover` (the fourteen classes), `backscatter` and `imaging` (the radar), `optical`, and for
other bands `sentinel`.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from sarcover.config import SimulateSettings
from sarcover.files import atomic_folder
from sarcover.progress import progress
from sarcover.scene.disk import gdal_errors
from sarcover.scene.raster import gdal_cache
from sarcover.simulate.fields import Area, Fields
from sarcover.simulate.landcover import land
from sarcover.simulate.optical import reflectance
from sarcover.simulate.scenes import halo, scene
from sarcover.simulate.tiles import check
from sarcover.simulate.writing import TileFiles, open_tile, to_numbers

__all__ = ["simulate"]


def simulate(settings: SimulateSettings) -> Path:
    """Writes scenes/, labels/ and, on request, optical/ under `settings.out`; returns that folder.

    scenes/<tile>_<YYYYMMDD>_HH.tif: uint16 DN, gamma0 dB = 20 log10(DN) - 83, 0 is nodata; its grid lies a
    fraction of a pixel off that of the labels, as real scenes do. labels/LC_<tile>.tif: uint8 codes of
    jaxa-hrlulc-14 on the 1/12000 degree grid. optical/<tile>_<YYYYMMDD>_optical.tif: uint16 reflectance x
    10000 in blue, green, red and near infrared, on the labels' grid. All EPSG:4326. Of the sensor sentinel
    there are two scenes, VV and VH, and twelve optical bands, B01 to B12.

    Raises:
        SarcoverError: settings that cannot be, an existing folder without `overwrite` or without scenes/ and
            labels/, or a disk that is full.
    """
    tiles = check(settings)
    blocks = sum(len(list(tile.blocks(settings.size))) for tile in tiles)
    with (
        atomic_folder(settings.out, marker=("scenes", "labels"), overwrite=settings.overwrite) as folder,
        gdal_errors(Path(settings.out)),
        progress("simulate", blocks) as advance,
        gdal_cache(128 * 2**20),
    ):
        for tile in tiles:
            with ExitStack() as stack:
                files = open_tile(stack, folder, tile, settings)
                for area in tile.blocks(settings.size):
                    _write_block(files, area, settings)
                    advance(1)
            files.verify()
    return Path(settings.out)


def _write_block(files: TileFiles, area: Area, settings: SimulateSettings) -> None:
    """Everything about one block of one tile."""
    fields = Fields(settings.seed)
    wide = halo(area)
    ground = land(fields, wide)
    inner = area.inside(wide)
    files.write(files.label, area, ground.code[inner])
    for (month, band), target in files.scenes.items():
        files.write(target, area, scene(fields, area, ground, month, settings, band))
    twelve = settings.sensor == "sentinel"
    for month, target in files.opticals.items():
        bands = reflectance(fields, wide, ground, month, settings.cloud_cover, twelve=twelve)
        files.write(target, area, to_numbers(bands[:, inner[0], inner[1]]))
