"""What has to be computed for a map: the model, what it is fed with, and the windows over it."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sarcover.bundle import Bundle
from sarcover.config import Augmentation, Combine, Device, MaskKind, Precision, Unit
from sarcover.devices import choose_device
from sarcover.errors import SarcoverError
from sarcover.legend import Legend
from sarcover.mapping import tiling
from sarcover.mapping.carry import Carry, FileCarry
from sarcover.mapping.grid import Bounds, GridRequest
from sarcover.mapping.inputs import Fitted, Paths
from sarcover.mapping.mosaic import Mosaic, open_mosaic
from sarcover.mapping.stream import Piece, pieces
from sarcover.models import check_threshold
from sarcover.models.augmented import augmented
from sarcover.scene import Scene
from sarcover.scene.raster import gdal_cache
from sarcover.scene.remote import is_remote

_MIB = 2**20


@dataclass(frozen=True)
class Job:
    """Everything that the pixels of a map depend on.

    Attributes:
        model: as it was given, with its bundle and legend.
        mosaic: the scenes on the map's grid.
        rows, columns: windows over it.
        overlap: of the windows.
        batch, threshold, precision: as in `map_scene`.
        device: where to compute.
        forward: the model, with its test-time augmentation.
    """

    model: nn.Module
    bundle: Bundle
    legend: Legend
    mosaic: Mosaic
    rows: tiling.Axis
    columns: tiling.Axis
    overlap: int
    batch: int
    threshold: float
    precision: Precision
    device: torch.device
    forward: nn.Module

    @cached_property
    def sha256(self) -> str:
        """Of the model's weights."""
        return fingerprint(self.model)

    @property
    def windows(self) -> int:
        """How many there are."""
        return len(self.rows) * len(self.columns)

    @property
    def reach(self) -> int:
        """How many window rows above it add to a window row."""
        return -(-self.overlap // (self.rows.patch - self.overlap))

    @cached_property
    def files(self) -> list[str]:
        """All files that are read, those that a VRT names, too."""
        return _all_files(self.mosaic)

    def pieces(self, carry: Carry | None = None, first: int = 0) -> Generator[Piece, None, None]:
        """The map's pixels, see `stream.pieces`."""
        return pieces(
            self.forward,
            self.mosaic.read,
            self.rows,
            self.columns,
            batch=self.batch,
            device=self.device,
            autocast=self.precision == "bf16",
            threshold=self.threshold,
            average=self.mosaic.average,
            carry=carry,
            first=first,
        )

    def carry(self, folder: Path) -> FileCarry:
        """A place on disk for unfinished pixels."""
        firsts = range(0, len(self.columns), self.batch)
        return FileCarry(
            folder,
            [self.columns.borders[first] for first in firsts] + [self.columns.length],
            classes=self.legend.num_classes,
            patch=self.rows.patch,
            overlap=self.overlap,
            device=self.device,
        )

    def environment(self) -> AbstractContextManager[None]:
        """For the run: GDAL caches the sources' blocks of one row of windows.

        That is fixed but for very wide scenes, so that memory is the same for all sizes.
        """
        needed = max(_bytes_of_rows(fitted.scene, self.rows.patch) for fitted in self.mosaic.scenes)
        return gdal_cache(int(np.clip(needed, 32 * _MIB, 256 * _MIB)))

    def identity(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Plain values by which a later process knows that it would compute the very same map.

        Args:
            settings: of the run, as the user gave them.
        """
        place = self.mosaic.grid.place
        return {
            "sarcover": _version(),
            "torch": torch.__version__,
            "runtime": getattr(self.model, "runtime", "torch"),
            "model": f"{type(self.model).__name__} {self.sha256}",
            "legend": self.legend.to_dict(),
            "scenes": [file_state(path) for path in self.files],
            "numbers": [_numbers(fitted) for fitted in self.mosaic.scenes],
            "grid": [*place.shape, "" if place.crs is None else place.crs.to_wkt(), *place.transform[:6]],
            "windows": [self.rows.patch, self.overlap, self.batch],
            "device": self.device.type,
            "settings": {key: repr(value) for key, value in sorted(settings.items())},
        }


def prepare_job(
    model: nn.Module,
    scenes: Paths | Scene | Sequence[Scene],
    optical: Paths | None = None,
    *,
    unit: Unit | None = None,
    bands: Sequence[str] | None = None,
    leave_out: Sequence[MaskKind] = (),
    combine: Combine = "newest",
    crs: str | None = None,
    resolution: float | None = None,
    bounds: Bounds | None = None,
    patch: int | None = None,
    overlap: int | None = None,
    blend: tiling.Blend = "hann",
    margin: int = 0,
    batch: int = 8,
    threshold: float = 0.5,
    tta: Augmentation = "none",
    scales: Sequence[float] = (1.0,),
    precision: Precision = "float32",
    device: Device = "auto",
) -> Job:
    """Opens and checks everything before a pixel is computed; arguments and errors as in `map_scene`."""
    if batch < 1:
        raise SarcoverError("batch", expected="at least 1 window", got=str(batch))
    check_threshold(model, threshold)
    bundle, legend = _bundle_of(model)
    patch = bundle.patch if patch is None else patch
    overlap = patch // 4 if overlap is None else overlap
    mosaic = open_mosaic(
        bundle,
        scenes,
        optical,
        unit=unit,
        bands=bands,
        request=GridRequest(crs, resolution, bounds),
        combine=combine,
        patch=patch,
        leave_out=leave_out,
    )
    rows, columns = (
        span.axis(patch, overlap, blend, margin) for span in (mosaic.grid.rows, mosaic.grid.columns)
    )
    where, forward = choose_device(device), augmented(model, tta, scales)
    return Job(
        model, bundle, legend, mosaic, rows, columns, overlap, batch, threshold, precision, where, forward
    )


def fingerprint(model: nn.Module) -> str:
    """SHA-256 of names and values of the model's weights and buffers."""
    digest = hashlib.sha256()
    for name, values in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(values.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _bundle_of(model: nn.Module) -> tuple[Bundle, Legend]:
    bundle = getattr(model, "bundle", None)
    if bundle is None or bundle.legend is None:
        raise SarcoverError(
            "a model without a bundle cannot map", do="load it with load_model, or give it .bundle"
        )
    return bundle, bundle.legend


def _bytes_of_rows(scene: Scene, rows: int) -> int:
    """What the blocks take that lie in some rows of a scene."""
    total = 0
    for source in scene.sources:
        block = min(source.file.dataset().block_shapes[source.index - 1][0], scene.shape[0])
        total += (
            (rows + block) * scene.shape[1] * np.dtype(source.file.info.dtypes[source.index - 1]).itemsize
        )
    return total


def _all_files(mosaic: Mosaic) -> list[str]:
    """All files that are read, those that a VRT names, too; of an archive none that every process unpacks."""
    scenes = [fitted.scene for fitted in mosaic.scenes]
    inside = [
        name
        for scene in scenes
        if scene.keep is None
        for source in scene.sources
        for name in source.file.dataset().files
    ]
    unpacked = {scene.mask.path for scene in scenes if scene.keep is not None and scene.mask is not None}
    return list(dict.fromkeys([*(str(path) for path in mosaic.files if path not in unpacked), *inside]))


def _numbers(fitted: Fitted) -> list[Any]:
    """What a scene's numbers are taken for: an opened scene may be told otherwise than its files say."""
    scene = fitted.scene
    return [list(scene.bands), scene.unit, scene.calibration_db, fitted.offset_db]


def file_state(path: str) -> list[str | int]:
    """Name, size and time of change of a file; of one that is not on a local disk the name."""
    if is_remote(path) or not Path(path).exists():
        return [path]
    state = Path(path).stat()
    return [str(Path(path).resolve()), state.st_size, state.st_mtime_ns]


def _version() -> str:
    from sarcover import __version__

    return __version__
