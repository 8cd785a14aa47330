"""Patches as they come: kept or dropped, counted, measured, written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rasterio.windows import Window

from sarcover import radar
from sarcover.config import PrepareSettings
from sarcover.errors import SarcoverError
from sarcover.legend import IGNORE
from sarcover.patches.anchors import ScenePoints
from sarcover.patches.extract import CODE_OF, Layers, cut_split
from sarcover.patches.failures import Failures
from sarcover.patches.inputs import Source
from sarcover.patches.statistics import Moments
from sarcover.patches.store import SPLITS
from sarcover.patches.writer import ShardWriter
from sarcover.scene import Scene

_COLUMNS = {**dict.fromkeys(("date", "pass", "look", "crs"), "string"), "incidence": "float64"}
_ROUNDING = 1e-9  # of the mean: what sums of equal numbers may be off by


class Harvest:
    """Takes windows, writes the patches that are worth keeping, and knows what became of all.

    Statistics are those of the training split's own pixels, whatever else its patches show
    (`share_context`). Where training patches overlap (`stride` below `patch`), a pixel counts in statistics
    and class counts once for each patch that shows it.

    Args:
        settings: what is worth keeping, and how splits are isolated.
        sources: the scenes; the first says what all have in common.
        folder: of the shards.
        finish: is told of every shard that is written, and how to go on after it.

    Attributes:
        class_counts: split -> (K,) labelled pixels of each class in its patches.
        dropped: (split, reason) -> patches.
    """

    def __init__(
        self,
        settings: PrepareSettings,
        sources: list[Source],
        folder: Path,
        failures: Failures,
        finish: Callable[[dict[str, Any]], None],
    ) -> None:
        self.settings = settings
        self.scene, self.optical = sources[0].scene, sources[0].optical_kind
        self.classes = sources[0].legend.num_classes if sources[0].legend else 0
        self.dtype = _stored_dtype(sources)
        self.writer = ShardWriter(folder, self._layers())
        self.sar_moments = Moments(len(self.scene.bands))
        self.optical_moments = Moments(len(self.optical.bands)) if self.optical else None
        self.class_counts = {split: np.zeros(self.classes, np.int64) for split in SPLITS}
        self.dropped: Counter[tuple[str, str]] = Counter()
        self.valid_pixels = self.labelled_pixels = 0
        self.rows: list[dict[str, Any]] = []
        self.failures = failures
        self._finish, self._told = finish, 0
        self._sources = {source.grid.name: source for source in sources}

    def _layers(self) -> dict[str, tuple[tuple[int, ...], Any]]:
        plane = (self.settings.patch, self.settings.patch)
        layers: dict[str, tuple[tuple[int, ...], Any]] = {
            "sar": ((len(self.scene.bands), *plane), self.dtype),
            "valid": (plane, np.bool_),
        }
        if self.classes:
            layers["label"] = (plane, np.uint8)
        if self.optical:
            layers["optical"] = ((len(self.optical.bands), *plane), self.optical.dtype)
            layers["optical_valid"] = (plane, np.bool_)
        return layers

    def resume(self, lines: list[dict[str, Any]]) -> int:
        """Takes up what an earlier run has written; returns the number of the window to go on with."""
        if not lines:
            return 0
        for line in lines:
            self.writer.shards.append(line["shard"])
            self.rows += line["rows"]
        last = lines[-1]
        self.dropped = Counter({(split, reason): number for split, reason, number in last["dropped"]})
        self.valid_pixels, self.labelled_pixels = last["valid_pixels"], last["labelled_pixels"]
        self.failures.windows.update(last["failures"]["windows"])
        self.failures.why.update(last["failures"]["why"])
        self.sar_moments.resume(last["sar"])
        if self.optical_moments:
            self.optical_moments.resume(last["optical"])
        for row in self.rows:
            self.class_counts[row["split"]] += [row[f"n_{number}"] for number in range(self.classes)]
        self._told = len(self.rows)
        return int(last["next"])

    def take(
        self,
        number: int,
        source: Source,
        row: int,
        col: int,
        layers: Layers,
        splits: tuple[str, ...],
        points: ScenePoints | None = None,
    ) -> None:
        """A window of a scene, padded, with `codes` of the split: one patch for each split in it.

        Args:
            number: of the window.
            points: the scene's anchors, where patches must hold one.
        """
        patches = []
        for split in splits:
            mine = layers["codes"] == CODE_OF[split]
            if np.any(mine):
                patch = cut_split(layers, split, share_context=self.settings.share_context)
                anchors = 0
                if points is not None:
                    anchors = int(np.count_nonzero(mine[points.inside(row, col, self.settings.patch)]))
                patches.append((split, patch, mine, anchors))
        judged = [(self._unfit(split, patch, anchors), split) for split, patch, _, anchors in patches]
        kept = [patch for patch, (reason, _) in zip(patches, judged, strict=True) if not reason]
        if not self.writer.fits(len(kept)):
            self._flush(number)
        self.valid_pixels += int(np.count_nonzero(layers["valid"]))
        if self.classes:
            self.labelled_pixels += int(np.count_nonzero(layers["valid"] & (layers["label"] != IGNORE)))
        self.dropped.update((split, reason) for reason, split in judged if reason)
        for split, patch, mine, anchors in kept:
            self._keep(source, row, col, split, patch, mine, anchors)
        if self.writer.full:
            self._flush(number + 1)

    def end(self, number: int) -> None:
        """To be called when all windows, so many, were taken: none will be cut again, whatever follows."""
        if self.writer.filled:
            self._flush(number)

    def close(self) -> str:
        """Writes what is left; returns the fingerprint of all shards."""
        return self.writer.close()

    def _flush(self, following: int) -> None:
        self.writer.flush()
        self._finish(
            {
                "shard": self.writer.shards[-1],
                "rows": self.rows[self._told :],
                "next": following,
                "dropped": [[*key, number] for key, number in self.dropped.items()],
                "valid_pixels": self.valid_pixels,
                "labelled_pixels": self.labelled_pixels,
                "failures": self.failures.state(),
                "sar": self.sar_moments.state(),
                "optical": self.optical_moments.state() if self.optical_moments else None,
            }
        )
        self._told = len(self.rows)

    def _keep(
        self,
        source: Source,
        row: int,
        col: int,
        split: str,
        patch: Layers,
        mine: NDArray[np.bool_],
        anchors: int,
    ) -> None:
        counts, valid_share, labelled_share = self._shares(patch)
        if split == "train":
            self._measure(patch, mine)
        self.class_counts[split] += counts
        shard, position = self.writer.add(patch)
        scene, grid = source.scene, source.grid
        self.rows.append(
            {
                "patch_id": f"{grid.name}_{row:05d}_{col:05d}_{split}",
                "shard": shard,
                "row": position,
                "scene": grid.name,
                "row_off": row,
                "col_off": col,
                "date": scene.acquired.date().isoformat() if scene.acquired else None,
                "pass": scene.pass_direction,
                "look": scene.look_direction,
                "incidence": self._incidence(scene, row, col, patch["valid"]),
                "crs": _short(grid.crs),
                "split": split,
                "valid_share": float(valid_share),
                "labelled_share": float(labelled_share),
                "anchors": anchors,
                **{f"n_{number}": int(count) for number, count in enumerate(counts)},
            }
        )

    def _shares(self, patch: Layers) -> tuple[NDArray[np.intp], float, float]:
        """(K,) labelled pixels of each class, and the shares of valid and of labelled pixels."""
        labels = patch.get("label", np.zeros(0, np.uint8))
        counts = np.bincount(labels.ravel(), minlength=256)[: self.classes]
        return counts, float(patch["valid"].mean()), float(counts.sum() / self.settings.patch**2)

    def _incidence(self, scene: Scene, row: int, col: int, valid: NDArray[np.bool_]) -> float | None:
        """Mean incidence angle of a patch, degrees; that of the scene's middle without a layer."""
        if scene.incidence_layer is None:
            return scene.incidence
        height, width = (
            min(self.settings.patch, whole - at) for whole, at in zip(scene.shape, (row, col), strict=True)
        )
        angles = scene.read_incidence(Window(col, row, width, height))[valid[:height, :width]]
        known = angles[np.isfinite(angles)].astype(np.float64)
        return float(known.mean()) if known.size else None

    def _unfit(self, split: str, patch: Layers, anchors: int) -> str:
        """Why a patch is not worth keeping; empty if it is."""
        _, valid_share, labelled_share = self._shares(patch)
        if self.settings.anchors and split in self.settings.anchor_splits and not anchors:
            return "no anchor"
        if self.classes and split != "train":
            # What is scored is every labelled pixel of the split, whatever the size of the patches.
            return "" if labelled_share else "no labelled pixel"
        if not valid_share or valid_share < self.settings.min_valid:
            return "too few valid pixels"
        if self.classes and labelled_share < self.settings.min_labelled:
            return "too few labelled pixels"
        return ""

    def _measure(self, patch: Layers, mine: NDArray[np.bool_]) -> None:
        """Takes the valid pixels (P, P) of the split itself: context of others belongs to no statistics."""
        db = radar.to_db(patch["sar"], self.scene.unit, self.scene.calibration_db)
        self.sar_moments.add(db, patch["valid"] & mine)
        if self.optical and self.optical_moments:
            reflectance = patch["optical"].astype(np.float64) / self.optical.scale
            self.optical_moments.add(reflectance, patch["optical_valid"] & mine)

    def index(self) -> geopandas.GeoDataFrame:
        """The index of the patches, with their footprints."""
        frame = pd.DataFrame(self.rows).astype(_COLUMNS)
        geometry = np.empty(len(frame), np.object_)
        row_off, col_off = frame["row_off"].to_numpy(), frame["col_off"].to_numpy()
        for name, mine in frame.groupby("scene", sort=False).indices.items():
            grid = self._sources[str(name)].grid
            geometry[mine] = grid.footprints(row_off[mine], col_off[mine], self.settings.patch)
        return geopandas.GeoDataFrame(frame, geometry=geometry, crs="EPSG:4326")

    def patches(self) -> dict[str, int]:
        """Split -> number of patches."""
        counts = Counter(row["split"] for row in self.rows)
        return {split: counts[split] for split in SPLITS}

    def refuse_empty(self) -> None:
        """Raises a SarcoverError if there is nothing to learn from, with what to do about it."""
        refuse_nothing(self.valid_pixels, self.labelled_pixels if self.classes else None)
        if not self.patches()["train"]:
            dropped = [
                f"{n} with {why}" for (split, why), n in sorted(self.dropped.items()) if split == "train"
            ]
            raise SarcoverError(
                "the training split is empty",
                expected="at least one training patch",
                got=f"none; dropped: {', '.join(dropped)}" if dropped else "no pixel of code train",
                do="lower --min-valid or --min-labelled, or check the split's settings",
            )
        statistics = self.sar_moments.result()
        if statistics is None:
            raise SarcoverError(
                "no pixel of the training split is valid in its patches",
                expected="statistics of the training split's own radar",
                do="check the split's settings, or raise --min-labelled",
            )
        for band, mean, std in zip(self.scene.bands, statistics["mean"], statistics["std"], strict=True):
            if std <= _ROUNDING * abs(mean):
                raise SarcoverError(
                    f"the backscatter of {band} is the same in all of the training split",
                    expected="values that differ: models divide by their standard deviation",
                    got=f"{mean:g} throughout",
                    do="check the files (sarcover info), leave that band out with --bands, or choose another "
                    "split",
                )


def refuse_nothing(valid: int, labelled: int | None) -> None:
    """Raises a SarcoverError where no pixel of any scene is valid, or none of those has a label."""
    if not valid:
        raise SarcoverError(
            "no scene has a valid pixel",
            expected="backscatter where the file is not nodata",
            do="check the files (sarcover info) and their nodata value",
        )
    if labelled == 0:
        raise SarcoverError(
            "no valid pixel of any scene has a label",
            expected="reference rasters that cover the scenes, with codes that the legend does not ignore",
            do="check --labels and --legend",
        )


def _stored_dtype(sources: list[Source]) -> np.dtype[Any]:
    """The source's dtype; of several the one that holds all their numbers, and never wider than float32."""
    dtype = np.result_type(*(source.scene.dtype for source in sources))
    return np.dtype(np.float32) if dtype == np.float64 else dtype


def _short(crs: Any) -> str | None:
    """A coordinate system as people write it, EPSG:32654, else as WKT; None without georeference."""
    if crs is None:
        return None
    epsg = crs.to_epsg()
    return f"EPSG:{epsg}" if epsg else str(crs.to_wkt())
