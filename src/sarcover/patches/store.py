"""A patch store on disk, opened for reading.

A store is a folder:

    store.yaml                 what the numbers are: bands, unit, legend, statistics, hash of each shard
    index.parquet              GeoParquet, one row a patch, footprints in EPSG:4326
    split.json                 the proof of the split
    shards/sar-00000.npy       (N, C, P, P) in the source's dtype and unit, 0 where invalid
    shards/valid-00000.npy     (N, P, P/8) uint8, packed bits: all radar bands are valid
    shards/label-00000.npy     (N, P, P) uint8, 0..K-1 or 255 (labelled stores)
    shards/optical-00000.npy, shards/optical_valid-00000.npy     (stores with optical companions)

Shards are memory-mapped when one of their patches is first read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
from numpy.typing import NDArray

from sarcover.config import Unit
from sarcover.errors import SarcoverError
from sarcover.files import read_yaml
from sarcover.legend import IGNORE, Legend

FORMAT = "sarcover-store"
VERSION = 1
SPLITS = ("train", "val", "test")
_REQUIRED = (MISSING, MISSING)  # a field without default and default factory
_MEND = "copy the store again, or make it again with: sarcover prepare"


@dataclass(frozen=True)
class StoreMeta:
    """What store.yaml says.

    Attributes:
        bands: radar bands, in the order of the `sar` axis.
        unit: unit of the radar numbers, as in the scenes.
        calibration_db: calibration constant where the unit is `dn`, dB.
        radiometry: sigma0, gamma0, beta0 or unknown.
        dtype: dtype of the radar numbers.
        patch: patch side, pixels.
        legend: meaning of the labels 0..K-1; None in an unlabelled store.
        optical_bands: names of the optical bands; empty without optical companions.
        optical_scale: reflectance = number / scale; None without optical companions.
        optical_dtype: dtype of the optical numbers; None without optical companions.
        statistics: per band `mean`, `std`, 1st and 99th percentile (`p01`, `p99`; older stores have none) of
            the training patches, in dB (uncalibrated: of the numbers).
        optical_statistics: the same of reflectance; None where no training patch has optical pixels.
        class_counts: split -> labelled pixels of each class.
        patches: split -> number of patches.
        share_context: patches show the radar of other splits.
        guard: distance asked for between pixels of different splits, pixels; None where none was asked for.
        guard_days: days asked for between acquisitions of different splits.
        same_ground: splits may hold labels of the same ground at other times.
        anchors: what label-guided sampling drew, by class; None without it.
        failed: files and windows that could not be read and are left out.
        files: bytes and sha256 of index, proof and other files beside the shards.
        scenes: name, shape, transform, crs (WKT), date and sensor of each scene.
        shards: patches, and bytes and sha256 of each file, of each shard.
        fingerprint: sha256 over the hashes of all shards: two stores with the same data have the same.
        settings: the PrepareSettings that made the store.
        versions: versions of sarcover and the libraries that made the store.
    """

    bands: tuple[str, ...]
    unit: Unit
    calibration_db: float
    radiometry: str
    dtype: str
    patch: int
    legend: Legend | None
    optical_bands: tuple[str, ...]
    optical_scale: float | None
    optical_dtype: str | None
    statistics: dict[str, list[float]]
    optical_statistics: dict[str, list[float]] | None
    class_counts: dict[str, list[int]]
    patches: dict[str, int]
    share_context: bool
    guard: int | None
    scenes: list[dict[str, Any]]
    shards: list[dict[str, Any]]
    fingerprint: str
    settings: dict[str, Any]
    versions: dict[str, str]
    guard_days: int = 0
    same_ground: bool = False
    anchors: dict[str, Any] | None = None
    failed: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The content of store.yaml."""
        values = {
            key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()
        }
        values["legend"] = self.legend.to_dict() if self.legend else None
        return {"format": FORMAT, "version": VERSION, **values}


class PatchStore:
    """A store opened for reading; made by `open_store`.

    Attributes:
        path: its folder.
        meta: what store.yaml says.
        index: GeoDataFrame, one row a patch: patch_id, shard, row, scene, row_off, col_off (of the patch in
            its scene, pixels), date (ISO), pass (ascending or descending), look (right or left), incidence
            (degrees, mean), crs (of the scene), each empty where unknown, split, valid_share, labelled_share
            (of all P x P pixels), anchors, n_0 .. n_<K-1> (labelled pixels of each class), valid_mask and
            label_mask (see `masks`), geometry (EPSG:4326; empty for scenes without CRS).
    """

    def __init__(self, path: Path, meta: StoreMeta, index: geopandas.GeoDataFrame) -> None:
        self.path = path
        self.meta = meta
        self.index = index
        self._shard: NDArray[np.int64] = index["shard"].to_numpy(np.int64)
        self._row: NDArray[np.int64] = index["row"].to_numpy(np.int64)
        self._open: dict[str, NDArray[Any]] = {}

    def __len__(self) -> int:
        return len(self.index)

    def __reduce__(self) -> tuple[Callable[[Path], PatchStore], tuple[Path]]:
        """Workers of a data loader open the store again instead of receiving its shards by value."""
        return open_store, (self.path,)

    def rows(self, splits: str | Sequence[str]) -> NDArray[np.int64]:
        """Positions of the patches of these splits, ascending: (n,) int64, possibly empty."""
        names = (splits,) if isinstance(splits, str) else tuple(splits)
        unknown = sorted(set(names) - set(SPLITS))
        if unknown:
            raise SarcoverError(
                f"{self.path} has no split {', '.join(unknown)}",
                expected=f"one or more of {', '.join(SPLITS)}",
            )
        return np.flatnonzero(self.index["split"].isin(names).to_numpy())

    def read(self, position: int) -> dict[str, NDArray[Any]]:
        """One patch, as stored.

        Returns:
            `sar` (C, P, P) in the source's dtype and unit, 0 where invalid; `valid` (P, P) bool; `label`
            (P, P) uint8, 0..K-1 or 255 (255 throughout in an unlabelled store); with optical companions
            also `optical` (B, P, P) in its source's dtype and `optical_valid` (P, P) bool.
        """
        side = self.meta.patch
        patch = {"sar": self._layer("sar", position), "valid": self._mask("valid", position)}
        if self.meta.legend is None:
            patch["label"] = np.full((side, side), IGNORE, np.uint8)
        else:
            patch["label"] = self._layer("label", position)
        if self.meta.optical_bands:
            patch["optical"] = self._layer("optical", position)
            patch["optical_valid"] = self._mask("optical_valid", position)
        return patch

    def read_masks(self, position: int) -> tuple[NDArray[np.bool_], NDArray[np.uint8]]:
        """`valid` and `label` of one patch, without touching the radar."""
        patch = self._mask("valid", position)
        if self.meta.legend is None:
            return patch, np.full(patch.shape, IGNORE, np.uint8)
        return patch, self._layer("label", position)

    def _mask(self, layer: str, position: int) -> NDArray[np.bool_]:
        return np.unpackbits(self._layer(layer, position), axis=-1).view(np.bool_)

    def _layer(self, layer: str, position: int) -> NDArray[Any]:
        name = f"{layer}-{self._shard[position]:05d}.npy"
        if name not in self._open:
            self._open[name] = _map_shard(self.path / "shards" / name)
        return np.array(self._open[name][self._row[position]])


def open_store(path: str | Path) -> PatchStore:
    """Open the store at `path`.

    Raises:
        SarcoverError: there is none, it is something else, it was made by another version, or a part of it
            is missing or truncated.
    """
    path = Path(path)
    meta = read_meta(path)
    for shard in meta.shards:
        for name, file in shard["files"].items():
            _check_size(path / "shards" / name, file["bytes"])
    index = read_index(path)
    expected = sum(shard["patches"] for shard in meta.shards)
    if len(index) != expected:
        raise _broken(path / "index.parquet", f"{expected} rows", f"{len(index)}")
    return PatchStore(path, meta, index)


def read_meta(path: Path) -> StoreMeta:
    """What store.yaml says; errors as in `open_store`."""
    if not path.exists():
        raise SarcoverError(f"{path} does not exist", do="make a store with: sarcover prepare")
    file = path / "store.yaml"
    if not file.is_file():
        raise SarcoverError(f"{path} is not a patch store", expected="a folder with store.yaml in it")
    content = read_yaml(file, do=_MEND)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise SarcoverError(f"{file} does not belong to a patch store", expected=f"format: {FORMAT}")
    if content.get("version") != VERSION:
        raise SarcoverError(
            f"{path} was made by another version of sarcover",
            expected=f"store version {VERSION}",
            got=str(content.get("version")),
            do="make it again with: sarcover prepare",
        )
    names = [entry.name for entry in fields(StoreMeta)]
    later = [entry.name for entry in fields(StoreMeta) if (entry.default, entry.default_factory) != _REQUIRED]
    missing = sorted(set(names) - set(later) - set(content))
    if missing:
        raise _broken(file, "all its keys", f"none for {', '.join(missing)}")
    values = {name: content[name] for name in names if name in content}
    for name in ("bands", "optical_bands"):
        values[name] = tuple(values[name])
    values["legend"] = Legend.from_dict(values["legend"]) if values["legend"] else None
    return StoreMeta(**values)


def read_index(path: Path) -> geopandas.GeoDataFrame:
    """The index; errors as in `open_store`."""
    file = path / "index.parquet"
    try:
        return geopandas.read_parquet(file)
    except FileNotFoundError as error:
        raise _broken(file, "the index of the patches", "no such file") from error
    except (OSError, ValueError) as error:
        raise _broken(file, "a GeoParquet file", str(error)) from error


def _check_size(file: Path, expected: int) -> None:
    if not file.is_file():
        raise _broken(file, f"{expected} bytes", "no such file")
    size = file.stat().st_size
    if size != expected:
        raise _broken(file, f"{expected} bytes", f"{size}")


def _map_shard(file: Path) -> NDArray[Any]:
    try:
        mapped: NDArray[Any] = np.load(file, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise _broken(file, "a NumPy array", str(error)) from error
    return mapped


def _broken(file: Path, expected: str, got: str) -> SarcoverError:
    return SarcoverError(
        f"{file} is broken",
        expected=expected,
        got=got,
        do=_MEND,
    )
