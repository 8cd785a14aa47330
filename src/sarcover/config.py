"""The typed settings of every job: one frozen dataclass a verb.

`cli.py` makes flags, help and YAML keys of them; the functions that do the work take them as they are.
This module knows nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Unit = Literal["dn", "linear_power", "amplitude", "db", "uncalibrated"]
Split = Literal["train", "val", "test"]
Size = Literal["tiny", "small", "base"]
Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["float32", "bf16"]


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


@dataclass(frozen=True)
class PretrainSettings:
    """SAR-W-MixMAE on a store; the labels are not looked at.

    Args:
        data: the store.
        out: folder of the run.
        size: size of the encoder.
        windows: attention windows of the four stages; default: 8 8 8 4.
        splits: splits whose patches are used; default: train alone.
        mask_ratio: share of 32-pixel cells taken from the partner image.
        mask_per: one mask for the whole batch (as the released code) or for each pair of images.
        weight_mode: SAR-W weights per_channel, shared_avg, or none (plain MixMAE).
        weight_domain: db (as the paper says) or normalized (as the released code does).
        weight_scale: scale in the exponent of the weights.
        norm_pix: reconstruct pixels normalised per 32-pixel cell.
        epochs: length of training, if steps is not given.
        steps: length of training in optimiser steps.
        batch: patches per step on each process; even.
        accumulate: batches whose gradients are summed into one step.
        base_rate: learning rate for a global batch of 256; scaled linearly with the batch.
        warmup: share of training that warms up (paper: 40 of 600 epochs).
        weight_decay: of matrices alone, never of biases, norms, mask token or bias tables.
        clip: largest gradient norm; 0 is off.
        ema: decay of an exponential moving average of the weights; 0 is off.
        augment: random flips and quarter turns.
        precision: float32 or bf16 autocast.
        device: where to compute.
        devices: processes or GPUs.
        strategy: how several devices share the work: auto, ddp or fsdp.
        compile: torch.compile the model.
        checkpoint_minutes: least minutes between checkpoints.
        pictures: reconstruction pictures to log over the run; 0 is none.
        logger: csv or tensorboard.
        seed: one seed for everything.
        overwrite: replace an existing run; without it an interrupted run is continued.
    """

    data: str
    out: str
    size: Size = "base"
    windows: tuple[int, int, int, int] | None = None
    splits: tuple[str, ...] = ("train",)
    mask_ratio: float = 0.5
    mask_per: Literal["batch", "pair"] = "batch"
    weight_mode: Literal["per_channel", "shared_avg", "none"] = "per_channel"
    weight_domain: Literal["db", "normalized"] = "db"
    weight_scale: float = 1.0
    norm_pix: bool = True
    epochs: int = 600
    steps: int | None = None
    batch: int = 16
    accumulate: int = 1
    base_rate: float = 1.5e-4
    warmup: float = 40 / 600
    weight_decay: float = 0.05
    clip: float = 0.0
    ema: float = 0.0
    augment: bool = True
    precision: Precision = "float32"
    device: Device = "auto"
    devices: int = 1
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    compile: bool = False
    checkpoint_minutes: float = 10.0
    pictures: int = 8
    logger: Literal["csv", "tensorboard"] = "csv"
    seed: int = 0
    overwrite: bool = False


@dataclass(frozen=True)
class FinetuneSettings:
    """Train a segmentation model on a store.

    Args:
        data: the store.
        out: folder of the run.
        model: unet or swin-upernet.
        size: size of the model.
        init: a pretrained run or encoder bundle to start from.
        windows: attention windows of the four stages; default: those of init, else 8 8 8 4.
        loss: cross-entropy or focal-dice.
        class_weights: weight cross-entropy by the inverse square root of the class frequency.
        epochs: length of training, if steps is not given.
        steps: length of training in optimiser steps.
        batch: patches per step on each process.
        accumulate: batches whose gradients are summed into one step.
        learning_rate: peak learning rate.
        min_rate: learning rate at the end.
        warmup: share of training that warms up.
        weight_decay: of matrices alone, never of biases, norms or bias tables.
        layer_decay: factor on the learning rate per encoder layer below the head; 1 is off.
        drop_path: rate of stochastic depth in the deepest encoder block.
        clip: largest gradient norm; 0 is off.
        ema: decay of an exponential moving average of the weights; 0 is off.
        augment: random flips and quarter turns.
        validations: how many times the validation split is scored over the run.
        train_fraction: share of the training patches that is used, drawn by the seed; for learning curves.
        precision: float32 or bf16 autocast.
        device: where to compute.
        devices: processes or GPUs.
        strategy: how several devices share the work: auto, ddp or fsdp.
        checkpoint_minutes: least minutes between checkpoints.
        logger: csv or tensorboard.
        seed: one seed for everything.
        overwrite: replace an existing run; without it an interrupted run is continued.
    """

    data: str
    out: str
    model: Literal["unet", "swin-upernet"] = "swin-upernet"
    size: Size = "base"
    init: str | None = None
    windows: tuple[int, int, int, int] | None = None
    loss: Literal["cross-entropy", "focal-dice"] = "focal-dice"
    class_weights: bool = False
    epochs: int = 200
    steps: int | None = None
    batch: int = 8
    accumulate: int = 1
    learning_rate: float = 6e-4
    min_rate: float = 1e-6
    warmup: float = 0.05
    weight_decay: float = 0.05
    layer_decay: float = 1.0
    drop_path: float = 0.1
    clip: float = 1.0
    ema: float = 0.0
    augment: bool = True
    validations: int = 10
    train_fraction: float = 1.0
    precision: Precision = "float32"
    device: Device = "auto"
    devices: int = 1
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    checkpoint_minutes: float = 10.0
    logger: Literal["csv", "tensorboard"] = "csv"
    seed: int = 0
    overwrite: bool = False


@dataclass(frozen=True)
class EvaluateSettings:
    """Score a model on one split of a store.

    Args:
        model: a bundle, or the run folder that holds one.
        data: the store.
        out: metrics file to write.
        split: split to score.
        batch: patches per forward pass.
        precision: float32 or bf16 autocast.
        device: where to compute.
        overwrite: replace an existing file.
    """

    model: str
    data: str
    out: str
    split: Split = "test"
    batch: int = 8
    precision: Precision = "float32"
    device: Device = "auto"
    overwrite: bool = False


@dataclass(frozen=True)
class MapSettings:
    """Map a scene with a model.

    Args:
        model: a bundle, or the run folder that holds one.
        out: map to write, a GeoTIFF.
        scenes: the radar scene: one file with all bands, or one file per polarisation.
        optical: its optical companion, for models with an optical input.
        unit: the unit of a scene that does not say it itself.
        bands: polarisations of a scene whose bands have no names, in order.
        patch: window side, pixels; default: the model's patch.
        overlap: pixels that neighbouring windows share; default: a quarter of the window.
        blend: how overlapping windows are weighted: hann, cosine, linear or none.
        margin: border pixels of each window that get no weight.
        batch: windows per forward pass.
        confidence: also write confidence.tif beside the map.
        precision: float32 or bf16 autocast.
        device: where to compute.
        overwrite: replace an existing map.
    """

    model: str
    out: str
    scenes: tuple[str, ...] = ()
    optical: tuple[str, ...] = ()
    unit: Unit | None = None
    bands: tuple[str, ...] | None = None
    patch: int | None = None
    overlap: int | None = None
    blend: Literal["hann", "cosine", "linear", "none"] = "hann"
    margin: int = 0
    batch: int = 8
    confidence: bool = False
    precision: Precision = "float32"
    device: Device = "auto"
    overwrite: bool = False


@dataclass(frozen=True)
class ImportCheckpointSettings:
    """A published SAR-W-MixMAE or MixMIM checkpoint into an encoder bundle.

    Args:
        file: the .pth file; only its weights are read, nothing in it is executed.
        out: bundle to write.
        bands: names of the bands the encoder shall take; default: those of the checkpoint.
        adapt: how input weights are brought to another number of bands: mean or sum over the old ones.
        image_size: image side of the new encoder, pixels.
        mean: mean of each band that the encoder was trained with, dB.
        std: standard deviation of each band, dB.
        sha256: refuse the file unless it has this checksum.
        overwrite: replace an existing bundle.
    """

    file: str
    out: str
    bands: tuple[str, ...] | None = None
    adapt: Literal["mean", "sum"] = "mean"
    image_size: int = 256
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    sha256: str | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class DemoSettings:
    """The main job, whole, on a simulated landscape.

    Args:
        out: folder for everything the demo writes.
        seed: seed of the landscape and of the training.
        steps: training steps; the default takes a laptop a few minutes.
        overwrite: replace an existing folder.
    """

    out: str = "demo"
    seed: int = 0
    steps: int = 1200
    overwrite: bool = False
