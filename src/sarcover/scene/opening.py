"""From paths to a `Scene`: which files, which bands, which unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from sarcover.config import Unit
from sarcover.errors import SarcoverError
from sarcover.scene.names import date_in, parse_date, polarisations, without_polarisation
from sarcover.scene.products import Product, is_archive, is_product_folder, is_side_layer, recognise
from sarcover.scene.raster import RasterFile, RasterInfo
from sarcover.scene.remote import exists
from sarcover.scene.scene import BandSource, Scene
from sarcover.scene.units import check_plausible, log, resolve

PathLike = str | Path
RASTERS = (".tif", ".tiff", ".vrt", ".png", ".img", ".jp2")
_SAMPLE = 128  # side of the windows in which the unit is checked, pixels


def open_scene(
    path: PathLike | Sequence[PathLike], *, unit: Unit | None = None, bands: Sequence[str] | None = None
) -> Scene:
    """A radar scene from its files.

    Args:
        path: a GeoTIFF (or another raster) with one band or several; an ALOS or ALOS-2 mosaic tile, as the
            tar.gz or unpacked; an ALOS-2 L1.5 or L2.1 GeoTIFF or the folder of its polarisations; or several
            files on one grid, one for each polarisation.
        unit: what the numbers are, where the files do not say it (or say it wrongly).
        bands: bands to take, in this order; names for the bands, in order, where the files name none.

    Raises:
        SarcoverError: missing or broken files, grids that differ, no unit, a unit that cannot be true, a band
            that is not there.
    """
    paths = [Path(path)] if isinstance(path, str | Path) else [Path(p) for p in path]
    if not paths:
        raise SarcoverError("no scene was named", do="name one with --scenes")
    for each in paths:
        if not exists(each):
            raise SarcoverError(f"{each} does not exist")
    product = recognise(paths) or recognise(paths := _one_scene(paths))
    scene = _from_product(product, unit) if product else _from_files(paths, unit)
    check_plausible(str(scene.paths[0]), scene.unit, sample(scene))
    return scene if bands is None else _choose(scene, tuple(bands))


def find_scenes(paths: Sequence[PathLike]) -> list[tuple[Path, ...]]:
    """Scenes among files and folders: each a tuple of paths that `open_scene` takes, in order of name.

    A folder stands for the scenes in it; files that differ only in the polarisation in their names are one
    scene.

    Raises:
        SarcoverError: a path that does not exist, or nothing found.
    """
    files: list[Path] = []
    found: list[tuple[Path, ...]] = []
    for path in map(Path, paths):
        if not exists(path):
            raise SarcoverError(f"{path} does not exist")
        if path.is_dir() and not is_product_folder(path):
            inside, folders = _listed(path)
            files += inside
            found += folders
        elif path.is_dir():
            found.append((path,))
        else:
            files.append(path)
    groups: dict[tuple[Path, str], list[Path]] = {}
    for file in dict.fromkeys(files):
        several = len(set(polarisations(file.stem))) > 1  # a file that holds them all
        key = file.name if several else without_polarisation(file.name)
        groups.setdefault((file.parent, key), []).append(file)
    found += [tuple(sorted(group)) for group in groups.values()]
    if not found:
        raise SarcoverError(
            f"no scenes in {', '.join(map(str, paths)) or 'nothing'}",
            expected=f"files with {' '.join(RASTERS)}",
        )
    return sorted(found, key=lambda group: (group[0].name, group))


def _listed(folder: Path) -> tuple[list[Path], list[tuple[Path, ...]]]:
    """Rasters and archives in a folder, and the known products among its sub-folders."""
    entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    files = [
        path
        for path in entries
        if path.is_file() and (path.suffix.lower() in RASTERS or is_archive(path)) and not is_side_layer(path)
    ]
    folders = [path for path in entries if path.is_dir()]
    products = [path for path in folders if is_product_folder(path)]
    if len(products) < len(folders):
        log.warning("%s: %d sub-folders not looked into", folder, len(folders) - len(products))
    return files, [(path,) for path in products]


def sample(scene: Scene) -> NDArray[Any]:
    """Some of a scene's numbers that are not declared nodata, (C, N): nine small windows, all bands."""
    height, width = scene.shape
    parts = []
    for row in np.linspace(0, max(0, height - _SAMPLE), 3).astype(int):
        for col in np.linspace(0, max(0, width - _SAMPLE), 3).astype(int):
            window = Window(col, row, min(_SAMPLE, width - col), min(_SAMPLE, height - row))
            values, valid = scene.read_declared(window)
            parts.append(values[:, valid])
    return np.concatenate(parts, axis=1)


def _one_scene(paths: list[Path]) -> list[Path]:
    if len(paths) > 1 or not paths[0].is_dir():
        return paths
    groups = find_scenes(paths)
    if len(groups) > 1:
        raise SarcoverError(
            f"{paths[0]} holds {len(groups)} scenes", expected="one scene", do="name one scene's files"
        )
    return list(groups[0])


def _from_product(product: Product, unit: Unit | None) -> Scene:
    sources = {band: BandSource(RasterFile(path), 1) for band, path in product.files.items()}
    first = _same_grid([s.file for s in sources.values()])
    calibration = resolve(product.name, unit, product.calibration, {}, np.dtype(first.dtypes[0]))
    return Scene(
        name=product.name,
        paths=(product.archive,) if product.archive else tuple(product.files.values()),
        bands=tuple(sources),
        sources=tuple(sources.values()),
        unit=calibration.unit,
        calibration_db=calibration.calibration_db,
        radiometry=calibration.radiometry,
        sensor=product.sensor,
        shape=first.shape,
        crs=first.crs,
        transform=first.transform,
        acquired=product.acquired,
        incidence=product.incidence,
        mask=_mask(product.mask, sources[next(iter(sources))].file),
        nodata=product.nodata,
        keep=product.folder,
    )


def _mask(path: Path | None, image: RasterFile) -> RasterFile | None:
    if path is None:
        return None
    mask = RasterFile(path)
    _same_grid([image, mask])
    return mask


def _from_files(paths: list[Path], unit: Unit | None) -> Scene:
    files = [RasterFile(path) for path in paths]
    first = _same_grid(files)
    name = without_polarisation(paths[0].stem).strip("*_-.") if len(paths) > 1 else paths[0].stem
    if first.gcps:
        log.warning("%s: ground control points alone place it; its map will have no georeference", name)
    sources = [BandSource(file, index + 1) for file in files for index in range(file.info.count)]
    dtype = np.result_type(*(source.dtype for source in sources))
    if dtype.kind not in "uif":
        raise SarcoverError(
            f"{paths[0]}: radar bands", expected="detected (amplitude or power) data", got=f"{dtype} numbers"
        )
    stated = next((u for u in first.units if u), None)  # the TIFF's own unit of a band
    tags = first.tags if stated is None else {"UNIT": stated, **first.tags}
    calibration = resolve(str(paths[0]), unit, None, tags, dtype)
    return Scene(
        name=name,
        paths=tuple(paths),
        bands=_names([s.file for s in sources], [s.index for s in sources]),
        sources=tuple(sources),
        unit=calibration.unit,
        calibration_db=calibration.calibration_db,
        radiometry=calibration.radiometry,
        sensor=first.tags.get("SENSOR", "unknown"),
        shape=first.shape,
        crs=first.crs,
        transform=first.transform,
        acquired=_acquired(first, paths[0]),
        incidence=_float(first.tags.get("INCIDENCE")),
    )


def _same_grid(files: list[RasterFile]) -> RasterInfo:
    first = files[0].info
    for file in files[1:]:
        info = file.info
        if (info.shape, info.crs, info.transform) != (first.shape, first.crs, first.transform):
            raise SarcoverError(
                f"{file.path} does not lie on the grid of {files[0].path}",
                expected=f"{first.shape[1]} x {first.shape[0]} px, {first.crs}, {tuple(first.transform)[:6]}",
                got=f"{info.shape[1]} x {info.shape[0]} px, {info.crs}, {tuple(info.transform)[:6]}",
            )
    return first


def _names(files: list[RasterFile], indexes: list[int]) -> tuple[str, ...]:
    """Names of the bands: metadata or descriptions, else the polarisations in file names, else numbers.

    Args:
        files, indexes: where each band lies.
    """
    stated = [
        polarisations(f.info.polarisations[i - 1] or f.info.descriptions[i - 1] or "")
        for f, i in zip(files, indexes, strict=True)
    ]
    in_names = [p for f in dict.fromkeys(files) for p in polarisations(f.path.stem)]
    for names in ([p[0] for p in stated if len(p) == 1], in_names):
        if len(names) == len(set(names)) == len(files):
            return tuple(names)
    return tuple(f"band{number}" for number in range(1, len(files) + 1))


def _choose(scene: Scene, bands: tuple[str, ...]) -> Scene:
    unnamed = scene.bands == tuple(f"band{n}" for n in range(1, len(scene.bands) + 1))
    if not unnamed or set(bands) <= set(scene.bands):
        return scene.select(bands)
    if len(bands) != len(scene.bands):
        raise SarcoverError(
            f"{scene.name}: its {len(scene.bands)} bands have no names",
            expected="--bands with a name for each of them, in the order of the file",
            got=" ".join(bands),
            do=f"name all of them, or choose among {', '.join(scene.bands)}",
        )
    log.warning("%s: its bands have no names; taken in order as %s", scene.name, ", ".join(bands))
    return replace(scene, bands=bands)


def _acquired(info: RasterInfo, path: Path) -> datetime | None:
    """The date that the metadata or the file's name say; TIFF's own tag, often that of processing, last."""
    for key in ("ACQUIRED", "ACQUISITION_DATE", "ACQUISITIONDATE", "ACQUISITION_TIME", "DATETIME"):
        if date := parse_date(info.tags.get(key, "")):
            return date
    return date_in(path.name) or parse_date(info.tags.get("TIFFTAG_DATETIME", ""))


def _float(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
