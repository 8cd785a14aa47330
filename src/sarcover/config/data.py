"""Settings of the verbs for radar scenes, reference maps and stores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sarcover.config.choices import Unit


@dataclass(frozen=True)
class SimulateSettings:
    """A radar landscape with known truth, written as the files a user has.

    Args:
        out: folder to write: scenes/, labels/ and, on request, optical/.
        tiles: names of the one-degree label tiles, by their south-west corner, as JAXA names them.
        size: pixels per side, from the north-west pixel of each tile; 12000 is a whole tile.
        months: year-month of each acquisition; one scene per tile and month.
        looks: equivalent number of looks of the speckle.
        incidence: incidence angle at the scene's middle, degrees.
        noise_floor: noise-equivalent backscatter, dB.
        optical: also write four-band optical companions (blue, green, red, near infrared).
        cloud_cover: share of each optical companion under cloud, 0 to 1.
        seed: the landscape's seed; any window of the same seed is the same land.
        overwrite: replace an existing folder.
    """

    out: str
    tiles: tuple[str, ...] = ("N36E138",)
    size: int = 2048
    months: tuple[str, ...] = ("2022-09",)
    looks: float = 4.0
    incidence: float = 36.0
    noise_floor: float = -30.0
    optical: bool = False
    cloud_cover: float = 0.3
    seed: int = 0
    overwrite: bool = False


@dataclass(frozen=True)
class InfoSettings:
    """What a scene, store, bundle, run or map is.

    Args:
        paths: files or folders.
        optical: optical files that belong to the scenes.
        unit: the unit of a scene that does not say it itself.
    """

    paths: tuple[str, ...] = ()
    optical: tuple[str, ...] = ()
    unit: Unit | None = None


@dataclass(frozen=True)
class PrepareSettings:
    """Scenes and a reference map into a patch store.

    Args:
        out: folder of the store.
        scenes: radar scenes: files, or folders of files.
        labels: reference rasters; none makes an unlabelled store for pretraining.
        legend: of the labels: name of a legend, or a YAML file; labels need one.
        optical: optical companions; each covers one or more scenes.
        unit: the unit of scenes that do not say it themselves.
        bands: polarisations to take, in this order; default: those that the first scene has.
        patch: patch side, pixels; a multiple of 8.
        stride: step between training patches, pixels; default: patch. Validation and test never
            overlap. With a smaller stride a training pixel counts in statistics and class counts once for
            each patch that shows it.
        split: how pixels are divided: block (with a guard band), month, raster or none (all for training).
        split_raster: raster of codes 1 train, 2 validation, 3 test, 0 unused on a scene's grid
            (split: raster).
        share_context: let a patch see the radar of other splits (never their labels).
        months_train: year-months for training (split: month).
        months_val: year-months for validation (split: month).
        months_test: year-months for testing (split: month).
        block: side of a split block, pixels (split: block).
        guard: least distance between pixels of different splits, pixels (split: block).
        val_fraction: share of the labelled pixels for validation (split: block).
        test_fraction: share of the labelled pixels for testing (split: block).
        min_valid: least share of valid pixels in a kept training patch.
        min_labelled: least share of labelled pixels in a kept training patch (where there are labels).
        seed: seed of the block split.
        overwrite: replace an existing store.
    """

    out: str
    scenes: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    legend: str | None = None
    optical: tuple[str, ...] = ()
    unit: Unit | None = None
    bands: tuple[str, ...] | None = None
    patch: int = 256
    stride: int | None = None
    split: Literal["block", "month", "raster", "none"] = "block"
    split_raster: str | None = None
    share_context: bool = False
    months_train: tuple[str, ...] = ()
    months_val: tuple[str, ...] = ()
    months_test: tuple[str, ...] = ()
    block: int = 1024
    guard: int = 16
    val_fraction: float = 0.15
    test_fraction: float = 0.15
    min_valid: float = 0.1
    min_labelled: float = 0.001
    seed: int = 0
    overwrite: bool = False
