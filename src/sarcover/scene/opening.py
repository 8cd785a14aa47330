"""From paths to a `Scene`: which files, which bands, which unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

from sarcover.config import Unit
from sarcover.errors import SarcoverError, UnreadableError
from sarcover.scene.names import acquisition, polarisations, without_polarisation
from sarcover.scene.places import Place
from sarcover.scene.product import Product
from sarcover.scene.products import (
    is_archive,
    is_image,
    is_product_folder,
    is_side_layer,
    product_key,
    recognise,
)
from sarcover.scene.raster import RasterFile, RasterInfo
from sarcover.scene.remote import exists
from sarcover.scene.safe import is_radar, is_safe
from sarcover.scene.scene import BandSource, Scene
from sarcover.scene.units import Calibration, check_plausible, log, resolve

PathLike = str | Path
RASTERS = (".tif", ".tiff", ".vrt", ".png", ".img", ".jp2")
_SAMPLE = 128  # side of the windows in which the unit is checked, pixels


def open_scene(
    path: PathLike | Sequence[PathLike], *, unit: Unit | None = None, bands: Sequence[str] | None = None
) -> Scene:
    """A radar scene from its files.

    Args:
        path: a GeoTIFF (or another raster) with one band or several; several files on one grid, one for each
            polarisation; or a product, as its folder, archive or files: an ALOS or ALOS-2 mosaic tile, ALOS-2
            L1.5 to L3.1 as GeoTIFF or (also ALOS) CEOS, Sentinel-1 GRD as SAFE folder or zip, Sentinel-1 RTC
            of HyP3, OPERA or Planetary Computer. What control points place comes on a grid of its UTM zone.
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
        if is_safe(path) or (path.is_dir() and is_product_folder(path)):
            found.append((path,))
        elif path.is_dir():
            inside, folders = _listed(path)
            files += inside
            found += folders
        else:
            files.append(path)
    groups: dict[tuple[Path, str], list[Path]] = {}
    for file in dict.fromkeys(files):
        groups.setdefault((file.parent, _shared_name(file)), []).append(file)
    found += [tuple(sorted(group)) for group in groups.values()]
    if not found:
        raise SarcoverError(
            f"no scenes in {', '.join(map(str, paths)) or 'nothing'}",
            expected=f"files with {' '.join(RASTERS)}, or products",
        )
    return sorted(dict.fromkeys(found), key=lambda group: (group[0].name, group))


def _shared_name(file: Path) -> str:
    """What the files of one scene share in their names."""
    if key := product_key(file.name):
        return key
    several = len(set(polarisations(file.stem))) > 1  # a file that holds them all
    return file.name if several else without_polarisation(file.name)


def _listed(folder: Path) -> tuple[list[Path], list[tuple[Path, ...]]]:
    """Rasters and archives in a folder, and the known products in it; optical products are left out."""
    entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    safes = [path for path in entries if is_safe(path)]
    radar = [path for path in safes if is_radar(path)]
    if len(radar) < len(safes):
        log.warning("%s: %d optical products not taken as scenes", folder, len(safes) - len(radar))
    others = [path for path in entries if path not in safes]
    files = [path for path in others if path.is_file() and _is_scene_file(path)]
    folders = [path for path in others if path.is_dir()]
    products = [path for path in folders if is_product_folder(path)]
    if len(products) < len(folders):
        log.warning("%s: %d sub-folders not looked into", folder, len(folders) - len(products))
    return files, [(path,) for path in products + radar]


def _is_scene_file(path: Path) -> bool:
    known = path.suffix.lower() in RASTERS or is_archive(path) or is_image(path)
    return known and not is_side_layer(path)


def sample(scene: Scene) -> NDArray[Any]:
    """Some of a scene's numbers that are not declared nodata, (C, N): nine small windows, all bands.

    Windows that cannot be read are left out: one bad block is no reason to do without the scene.

    Raises:
        UnreadableError: none of them can be read.
    """
    height, width = scene.shape
    parts, failed = [], None
    for row in np.linspace(0, max(0, height - _SAMPLE), 3).astype(int):
        for col in np.linspace(0, max(0, width - _SAMPLE), 3).astype(int):
            window = Window(col, row, min(_SAMPLE, width - col), min(_SAMPLE, height - row))
            try:
                values, valid = scene.read_declared(window)
            except UnreadableError as error:
                failed = error
                continue
            parts.append(values.reshape(len(values), -1) if valid.all() else values[:, valid])
    if failed is not None and not parts:
        raise failed
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
    files = [source.file for source in product.sources.values()]
    first = _same_grid(files)
    if product.mask is not None:
        _same_grid([files[0], product.mask.file])
    calibration = resolve(product.name, unit, product.calibration, {}, np.dtype(first.dtypes[0]))
    scene = Scene(
        name=product.name,
        paths=product.paths,
        bands=tuple(product.sources),
        sources=tuple(product.sources.values()),
        unit=calibration.unit,
        calibration_db=calibration.calibration_db,
        radiometry=calibration.radiometry,
        sensor=product.sensor,
        shape=first.shape,
        crs=first.crs,
        transform=first.transform,
        acquired=product.acquired,
        incidence=product.incidence,
        incidence_layer=product.incidence_layer,
        pass_direction=product.pass_direction,
        look_direction=product.look_direction,
        orbit=product.orbit,
        relative_orbit=product.relative_orbit,
        mask=product.mask,
        nodata=product.nodata,
        signed=product.signed,
        keep=product.keep,
    )
    return scene if product.ground is None else _laid(scene, product)


def _laid(scene: Scene, product: Product) -> Scene:
    """A scene in radar geometry on a grid of its UTM zone, in pixels of its own spacing."""
    ground = product.ground
    assert ground is not None
    size = product.spacing or 10.0
    anchor = Place((1, 1), ground.native_crs(), Affine(size, 0, 0, 0, -size, 0))
    log.info("%s: laid on the map by its control points; no terrain correction is done", scene.name)
    return scene.on_grid(ground.place(anchor), ground)


def _from_files(paths: list[Path], unit: Unit | None) -> Scene:
    files = [RasterFile(path) for path in paths]
    first = _same_grid(files)
    name = _scene_name(paths)
    if first.gcps:
        log.warning("%s: ground control points alone place it; its map will have no georeference", name)
    sources = [BandSource(file, index + 1) for file in files for index in range(file.info.count)]
    dtype = np.result_type(*(source.dtype for source in sources))
    if dtype.kind not in "uif":
        raise SarcoverError(
            f"{paths[0]}: radar bands", expected="detected (amplitude or power) data", got=f"{dtype} numbers"
        )
    calibration = _calibration(files, unit)
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
        acquired=acquisition(first.tags, paths[0]),
        incidence=_float(first.tags.get("INCIDENCE")),
    )


def _scene_name(paths: list[Path]) -> str:
    """The file's name; of several what they share; where that is nothing (HH.tif, HV.tif) the folder's."""
    if len(paths) == 1:
        return paths[0].stem
    shared = without_polarisation(paths[0].stem).strip("*_-.")
    return shared or paths[0].resolve().parent.name


def _calibration(files: list[RasterFile], unit: Unit | None) -> Calibration:
    """What the numbers of a scene's files are, which is the same in all of them.

    Raises:
        SarcoverError: nothing says the unit, or files that say different things.
    """
    found: dict[RasterFile, Calibration] = {}
    for file in dict.fromkeys(files):
        info = file.info
        stated = next((u for u in info.units if u), None)  # the TIFF's own unit of a band
        tags = info.tags if stated is None else {"UNIT": stated, **info.tags}
        kinds = np.result_type(*(np.dtype(each) for each in info.dtypes[: info.count]))
        found[file] = resolve(str(file.path), unit, None, tags, kinds)
    first, *others = found.items()
    for file, calibration in others:
        if calibration != first[1]:
            raise SarcoverError(
                f"{file.path} and {first[0].path} are one scene, but not in the same unit",
                expected=_in_words(first[1]),
                got=_in_words(calibration),
                do="convert one of them, or say --unit if the files are wrong",
            )
    return first[1]


def _in_words(calibration: Calibration) -> str:
    constant = f" at {calibration.calibration_db:g} dB" if calibration.unit == "dn" else ""
    return f"{calibration.unit}{constant}, radiometry {calibration.radiometry}"


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


def _float(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
