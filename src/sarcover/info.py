"""What a file or folder is: scene, optical companion, reference raster, map, store, bundle or run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pyproj import Geod, Transformer
from pyproj.exceptions import CRSError, ProjError
from rasterio.enums import ColorInterp
from rasterio.transform import array_bounds
from rasterio.windows import Window

from sarcover.config import InfoSettings
from sarcover.errors import SarcoverError
from sarcover.files import read_yaml
from sarcover.scene import Scene, find_scenes, open_optical, open_scene
from sarcover.scene.products import is_archive, is_image
from sarcover.scene.raster import RasterFile
from sarcover.scene.remote import exists

_SIDE = 256  # side of the windows that statistics are made of, pixels
_WINDOWS = 8  # at most so many along each axis: up to 2048 px a scene is looked at whole
_STRIP = 1024  # side of the windows in which a map is counted, pixels
_ELLIPSOID = Geod(ellps="WGS84")

Facts = dict[str, Any]
_T = TypeVar("_T")


def describe(settings: InfoSettings) -> list[Facts]:
    """The main facts of each path, as plain values; `what` says which kind of thing it is.

    Files that are one scene together (one for each polarisation) are one entry. Statistics of scenes are
    those of a lattice of windows, in dB over valid pixels. What cannot be described is an entry with `path`
    and `error`, and keeps nothing else from being described.

    Raises:
        SarcoverError: nothing was named, or nothing of it can be described.
    """
    if not settings.paths and not settings.optical:
        raise SarcoverError("nothing was named", do="name files or folders")
    facts: list[Facts] = []
    rasters: list[Path] = []
    for path in map(Path, settings.paths):
        known = _or_error([path], partial(_known_or_scenes, path))
        if known is None:
            rasters.append(path)
        else:
            facts.append(known)
    for paths in find_scenes(rasters) if rasters else []:
        facts.append(_or_error(paths, partial(_scene, paths, settings)))
    facts += [_or_error([path], partial(_optical, path)) for path in map(Path, settings.optical)]
    errors = [each["error"] for each in facts if "error" in each]
    if len(errors) == len(facts):
        raise SarcoverError("; ".join(errors))
    return facts


def _or_error(paths: Sequence[Path], describe_them: Callable[[], _T]) -> _T | Facts:
    """What `describe_them` gives, or what is wrong with these paths."""
    try:
        return describe_them()
    except SarcoverError as error:
        return {"path": ", ".join(map(str, paths)), "error": str(error)}


def _known_or_scenes(path: Path) -> Facts | None:
    """As `_known`; a folder that holds no scene is an error."""
    known = _known(path)
    if known is None:
        find_scenes([path])
    return known


def _known(path: Path) -> Facts | None:
    """Facts of what sarcover wrote or of a reference raster; None for scenes and folders of scenes."""
    if not exists(path):
        raise SarcoverError(f"{path} does not exist")
    if path.is_dir():
        for name, tell in (
            ("store.yaml", _store),
            ("bundle.yaml", _bundle),
            ("bundle/bundle.yaml", _run),
            ("settings.yaml", _unfinished),
        ):
            if (path / name).is_file():
                return {"path": str(path), **tell(_description(path / name), path)}
        return None
    if is_archive(path) or is_image(path):
        return None
    file = RasterFile(path)
    tags = file.info.tags
    if "SARCOVER_LEGEND" in tags:
        return {"path": str(path), "what": "map", **_origin(tags), **_grid(file.info), **_codes(file)}
    if "SARCOVER_VERSION" in tags:
        meaning = file.info.descriptions[0]
        return {"path": str(path), "what": "raster", "of": meaning, **_origin(tags), **_grid(file.info)}
    if file.info.count == 1 and file.dataset().colorinterp[0] == ColorInterp.palette:
        return {"path": str(path), "what": "reference raster", **_grid(file.info), **_codes(file)}
    return None


def _scene(paths: tuple[Path, ...], settings: InfoSettings) -> Facts:
    scene = open_scene(paths, unit=settings.unit)
    return {
        "path": ", ".join(map(str, scene.paths)),
        "what": "scene",
        "name": scene.name,
        "sensor": scene.sensor,
        "acquired": scene.acquired.isoformat() if scene.acquired else None,
        "bands": list(scene.bands),
        "unit": scene.unit,
        "calibration_db": scene.calibration_db if scene.unit == "dn" else None,
        "radiometry": scene.radiometry,
        "incidence": scene.incidence,
        "incidence_of_each_pixel": scene.incidence_layer is not None,
        "pass": scene.pass_direction,
        "look": scene.look_direction,
        "orbit": scene.orbit,
        "relative_orbit": scene.relative_orbit,
        "can_leave_out": list(scene.mask.kinds) if scene.mask else [],
        "laid_on_the_map": _laid(scene),
        "dtype": str(scene.dtype),
        **_grid(scene),
        "statistics_in": "source numbers" if scene.unit == "uncalibrated" else "dB",
        "statistics": {
            band: _statistics(scene.select([band]).read(window) for window in _lattice(scene.shape))
            for band in scene.bands
        },
    }


def _laid(scene: Scene) -> str | None:
    """How a scene came on its grid, where it is not its own."""
    if scene.view is None:
        return None
    return "by its control points, without terrain correction" if scene.view.ground else "resampled as power"


def _optical(path: Path) -> Facts:
    optical = open_optical(path)
    windows = [optical.read_source(window)[1] for window in _lattice(optical.shape)]
    return {
        "path": str(path),
        "what": "optical",
        "bands": list(optical.bands),
        "acquired": optical.acquired.isoformat() if optical.acquired else None,
        "scale": optical.scale,
        "dtype": str(optical.dtype),
        **_grid(optical),
        "valid_share": float(np.mean(np.concatenate([valid.ravel() for valid in windows]))),
    }


def _store(content: Mapping[str, Any], path: Path) -> Facts:
    legend = content.get("legend") or {}
    names = [land["name"] for land in legend.get("classes", [])]
    counts = content.get("class_counts") or {}
    return {
        "what": "store",
        **_pick(content, "bands", "unit", "calibration_db", "radiometry", "dtype", "patch", "optical_bands"),
        "legend": legend.get("name"),
        "scenes": len(content.get("scenes", [])),
        "patches": content.get("patches"),
        "labelled_pixels": {
            split: dict(zip(names, of_split, strict=True)) for split, of_split in counts.items()
        },
        **_pick(content, "statistics", "share_context", "guard", "fingerprint"),
    }


def _bundle(content: Mapping[str, Any], path: Path) -> Facts:
    architecture = content.get("architecture") or {}
    legend = content.get("legend") or {}
    return {
        "what": f"bundle: {content.get('kind')}",
        "model": " ".join(str(architecture[key]) for key in ("name", "size") if architecture.get(key)),
        "classes": [land["name"] for land in legend.get("classes", [])],
        "legend": legend.get("name"),
        **_pick(content, "bands", "optical_bands", "unit", "radiometry", "patch", "normalisation"),
        "metrics": _pick(content.get("metrics") or {}, "split", "n_pixels", "oa", "miou", "macc"),
        "training": content.get("training"),
    }


def _run(content: Mapping[str, Any], path: Path) -> Facts:
    facts = _bundle(content, path)
    return {**facts, "what": f"run with a {facts['what']}"}


def _unfinished(content: Mapping[str, Any], path: Path) -> Facts:
    return {"what": "run without a bundle: not finished", **_pick(content, "job", "data", "settings")}


def _pick(content: Mapping[str, Any], *keys: str) -> Facts:
    return {key: content[key] for key in keys if key in content}


def _description(path: Path) -> Mapping[str, Any]:
    content = read_yaml(path)
    if not isinstance(content, Mapping):
        raise SarcoverError(f"{path} does not say what it describes", expected="keys and values")
    return content


def _origin(tags: Mapping[str, str]) -> Facts:
    """What the tags of our own rasters say."""
    written = {"version": "SARCOVER_VERSION", "model": "SARCOVER_MODEL", "scene": "SARCOVER_SCENE"}
    written |= {"legend": "SARCOVER_LEGEND", "acquired": "TIFFTAG_DATETIME"}
    return {key: tags[tag] for key, tag in written.items() if tag in tags}


def _codes(file: RasterFile) -> Facts:
    """Share of each code of a class raster, by the name in its tags where there is one."""
    height, width = file.info.shape
    counts: Counter[int] = Counter()
    for row in range(0, height, _STRIP):
        for col in range(0, width, _STRIP):
            window = Window(col, row, min(_STRIP, width - col), min(_STRIP, height - row))
            codes, numbers = np.unique(file.read([1], window), return_counts=True)
            counts.update(dict(zip(codes.tolist(), numbers.tolist(), strict=True)))
    nodata = file.info.nodatas[0]
    without = counts.pop(int(nodata), 0) if nodata is not None else 0
    labelled = sum(counts.values())
    return {
        "nodata_share": without / (height * width),
        "shares": {
            file.info.tags.get(f"CLASS_{code}", f"code {code}"): counts[code] / labelled
            for code in sorted(counts)
        },
    }


def _grid(place: Any) -> Facts:
    """Size and georeference of anything with a shape, a crs and a transform."""
    height, width = place.shape
    facts: Facts = {"width": width, "height": height, "crs": None}
    if place.crs is None:
        return facts
    transform = place.transform
    epsg = place.crs.to_epsg()
    middle = [transform * (width / 2 + right, height / 2 + down) for right, down in ((0, 0), (1, 0), (0, 1))]
    x, y = zip(*middle, strict=True)
    try:
        lon, lat = Transformer.from_crs(place.crs.to_wkt(), 4326, always_xy=True).transform(x, y)
        metres = _ELLIPSOID.inv([lon[0]] * 2, [lat[0]] * 2, lon[1:], lat[1:])[2]
    except (CRSError, ProjError):  # a local system, which does not say where on earth it is
        metres = None
    return {
        **facts,
        "crs": f"EPSG:{epsg}" if epsg else place.crs.to_wkt(),
        "pixel_size": [float(np.hypot(transform.a, transform.d)), float(np.hypot(transform.b, transform.e))],
        "pixel_size_m": None if metres is None else [float(length) for length in metres],
        "bounds": [float(edge) for edge in array_bounds(height, width, transform)],
    }


def _lattice(shape: tuple[int, int]) -> Iterator[Window]:
    """Windows spread evenly over a raster, without overlap; all of it where it is small."""
    height, width = shape
    for row in range(0, height, max(_SIDE, height // _WINDOWS)):
        for col in range(0, width, max(_SIDE, width // _WINDOWS)):
            yield Window(col, row, min(_SIDE, width - col), min(_SIDE, height - row))


def _statistics(parts: Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]) -> Facts:
    """Of one band's windows (1, h, w) with their masks (h, w)."""
    looked_at, kept = 0, []
    for values, valid in parts:
        looked_at += valid.size
        kept.append(values[0, valid])
    numbers = np.concatenate(kept)
    facts: Facts = {"pixels_looked_at": looked_at, "valid_share": numbers.size / looked_at}
    if numbers.size:
        low, middle, high = np.percentile(numbers, [0, 50, 100])
        facts |= {"minimum": low, "median": middle, "mean": numbers.mean(dtype=np.float64), "maximum": high}
    return {key: value if isinstance(value, int) else float(value) for key, value in facts.items()}
