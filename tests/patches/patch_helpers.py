"""Small scenes, labels and stores for the tests of patches."""

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import yaml
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.transform import Affine, from_origin

from sarcover.config import PrepareSettings
from sarcover.patches import PatchStore, open_store, prepare

UTM = CRS.from_epsg(32654)


def placed(row: float = 0, col: float = 0) -> Affine:
    """Kanto, pixels of 10 m; shifted by so many of them."""
    return from_origin(400_000 + 10 * col, 3_950_000 - 10 * row, 10, 10)


NORTH_UP = placed()


def write_raster(
    path: Path,
    values: NDArray[Any],
    *,
    crs: CRS | None = UTM,
    transform: Affine = NORTH_UP,
    bands: tuple[str, ...] = (),
    nodata: float | None = None,
    **tags: str,
) -> Path:
    """(H, W) or (C, H, W) as a GeoTIFF."""
    values = values[None] if values.ndim == 2 else values
    place = {"crs": crs, "transform": transform} if crs is not None else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    size = {"count": count, "height": height, "width": width}
    with rasterio.open(
        path, "w", driver="GTiff", dtype=values.dtype, nodata=nodata, **size, **place
    ) as target:
        target.write(values)
        target.update_tags(**tags)
        for number, band in enumerate(bands, 1):
            target.set_band_description(number, band)
    return path


def write_scene(path: Path, values: NDArray[Any], bands: tuple[str, ...] = ("HH",), **settings: Any) -> Path:
    """A radar scene; DN unless `UNIT` says otherwise."""
    return write_raster(path, values, bands=bands, **{"UNIT": "dn", **settings})


def distinct_dn(height: int, width: int, first: int = 1) -> NDArray[np.uint16]:
    """(height, width) DN, each pixel another number: what is found in a patch tells where it comes from."""
    assert first + height * width <= 2**16
    return np.arange(first, first + height * width, dtype=np.uint16).reshape(height, width)


def write_legend(path: Path, codes: tuple[int, ...] = (1, 2, 3), ignore: tuple[int, ...] = (0,)) -> Path:
    """A legend of as many classes as codes."""
    classes = [{"code": c, "name": f"class {c}", "colour": f"#0000{c:02x}"} for c in codes]
    path.write_text(yaml.safe_dump({"name": path.stem, "ignore": list(ignore), "classes": classes}))
    return path


def make_store(out: Path, scenes: Any, **settings: Any) -> tuple[PatchStore, dict[str, Any]]:
    """A store of these scenes with patches of 16 pixels, all for training unless told otherwise."""
    paths = tuple(map(str, [scenes] if isinstance(scenes, Path) else scenes))
    defaults = {"patch": 16, "split": "none", "min_valid": 0.0, "min_labelled": 0.0}
    chosen = {key: str(v) if isinstance(v, Path) else v for key, v in (defaults | settings).items()}
    for key in ("labels", "optical"):
        if key in chosen:
            value = settings[key]
            chosen[key] = tuple(map(str, [value] if isinstance(value, Path) else value))
    summary = prepare(PrepareSettings(str(out), scenes=paths, **chosen))
    return open_store(out), summary


def mosaic(store: PatchStore, scene: str, layer: str, split: str = "train") -> NDArray[Any]:
    """Patches of a split laid back on their scene's pixels: (..., H, W); later ones over earlier ones."""
    shape = next(tuple(s["shape"]) for s in store.meta.scenes if s["name"] == scene)
    canvas = None
    for position in store.rows(split):
        row = store.index.iloc[position]
        if row["scene"] != scene:
            continue
        values = store.read(int(position))[layer]
        if canvas is None:
            fill = 255 if layer == "label" else 0
            canvas = np.full((*values.shape[:-2], *shape), fill, values.dtype)
        target = canvas[..., row["row_off"] :, row["col_off"] :][..., : store.meta.patch, : store.meta.patch]
        target[...] = values[..., : target.shape[-2], : target.shape[-1]]
    assert canvas is not None
    return canvas
