"""Settings of the verbs for training and scoring models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sarcover.config.choices import Augmentation, Device, Precision, Size, Split, Turns


@dataclass(frozen=True)
class PretrainSettings:
    """SAR-W-MixMAE on a store; the labels are not looked at.

    Args:
        data: the store.
        out: folder of the run.
        size: size of the encoder: base is the published one, large 2 and huge 6 times as many weights.
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
        turns: which of them: all eight orientations; passes, those that leave the radar looking east or west;
            or look, top to bottom alone, which keeps the look direction.
        gain: standard deviation of a random shift of a patch, dB; 0 is off. Not for uncalibrated numbers.
        incidence: standard deviation of a random slope across a patch along range, dB from side to side; 0 is
            off. Not for uncalibrated numbers.
        scale: smallest and largest factor on the size of what a patch shows; 1 1 is off. Radar is resampled
            in linear power.
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
    turns: Turns = "all"
    gain: float = 0.0
    incidence: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
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
        model: unet, swin-upernet, alos2-refined, alos2-water (for a legend of two classes), claire (for
            stores with optical companions), or specsar-former (with or without them).
        size: size of the model; large and huge are for swin-upernet, alos2-refined and alos2-water alone.
        init: a pretrained run or encoder bundle to start from.
        windows: attention windows of the four stages; default: those of init, else 8 8 8 4.
        high_res: inject the map after patch embedding into the decoder; default: on, for models that can.
        refine_up: enlarge the decoder's features in refined steps; default: on, for models that can.
        taps: which maps high_res takes: extended, those of the baseline and the new one, or replaced, one at
            each resolution; default: extended.
        dropout: rate in the decoder; default: the model's (.5 as published; claire and specsar-former .1).
        backbone: encoders of claire, convnext or resnet; default: convnext.
        weights: pretrained weights of claire's encoders: a folder or the name of a model on the Hugging Face
            hub, such as facebook/convnext-tiny-224 or microsoft/resnet-50; default: random ones.
        modality: what specsar-former hears: both, spectral (the optical input) or sar; default: all that the
            store has.
        dmem: attention across the modalities in specsar-former; default: on.
        mmam: re-weighting of channels by both modalities in specsar-former; default: on.
        spectral_share: share of the channels for the spectral branch of specsar-former; default: .75.
        clip_outliers: clip each band to the 1st and 99th percentile of the training split in specsar-former;
            the limits are saved with the weights. Default: off.
        drop_optical: share of the training patches whose optical input is withheld.
        drop_sar: share of the training patches whose radar is withheld.
        cloud: share of the training patches that get synthetic cloud, of any cover, thin to opaque.
        loss: cross-entropy, focal, focal-dice, bce-dice or rift; default: bce-dice for alos2-water, rift for
            claire, focal for specsar-former, else focal-dice.
        class_weights: weight cross-entropy by the inverse square root of the class frequency.
        alpha_scale: factor on the class weights of focal-dice; default: 2.25. 1 is without alpha-scale.
        gamma: focusing parameter; default: 1.1 in focal-dice, 2 in focal and rift.
        lambda_focal: weight of the focal term; default: .57 in focal-dice, .5 in rift.
        lambda_dice: weight of the dice term; default: .32 in focal-dice, 1 in bce-dice.
        tversky_alpha: weight of false positives in rift; default: .3.
        tversky_beta: weight of false negatives in rift; default: .7.
        lambda_tversky: weight of the Tversky term of rift; default: .5.
        epochs: length of training, if steps is not given.
        steps: length of training in optimiser steps.
        batch: patches per step on each process.
        accumulate: batches whose gradients are summed into one step.
        learning_rate: peak learning rate.
        rate_batch: global batch that learning_rate is for, and from which it is scaled linearly to the run's;
            default: it is not scaled.
        min_rate: learning rate at the end.
        warmup: share of training that warms up.
        weight_decay: of matrices alone, never of biases, norms or bias tables.
        layer_decay: factor on the learning rate per encoder layer below the head; 1 is off.
        drop_path: rate of stochastic depth in the deepest encoder block.
        clip: largest gradient norm; 0 is off.
        ema: decay of an exponential moving average of the weights; 0 is off.
        augment: random flips and quarter turns.
        turns: which of them: all eight orientations; passes, those that leave the radar looking east or west;
            or look, top to bottom alone, which keeps the look direction.
        speckle: share of the training patches whose power gets further speckle. Not for uncalibrated numbers.
        speckle_looks: looks of that speckle: an image of L looks keeps L M / (L + M + 1) with M of them.
        gain: standard deviation of a random shift of a patch, dB; 0 is off. Not for uncalibrated numbers.
        incidence: standard deviation of a random slope across a patch along range, dB from side to side; 0 is
            off. Not for uncalibrated numbers.
        scale: smallest and largest factor on the size of what a patch shows; 1 1 is off. Radar is resampled
            in linear power.
        drop_polarisation: share of the training patches that lose one polarisation.
        validations: how many times the validation split is scored over the run.
        keep: best keeps the weights with the best mIoU of the validation split, last the final ones: a small
            validation split makes the best a matter of chance.
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
    model: Literal["unet", "swin-upernet", "alos2-refined", "alos2-water", "claire", "specsar-former"] = (
        "swin-upernet"
    )
    size: Size = "base"
    init: str | None = None
    windows: tuple[int, int, int, int] | None = None
    high_res: bool | None = None
    refine_up: bool | None = None
    taps: Literal["extended", "replaced"] | None = None
    dropout: float | None = None
    backbone: Literal["convnext", "resnet"] | None = None
    weights: str | None = None
    modality: Literal["both", "spectral", "sar"] | None = None
    dmem: bool | None = None
    mmam: bool | None = None
    spectral_share: float | None = None
    clip_outliers: bool | None = None
    drop_optical: float = 0.0
    drop_sar: float = 0.0
    cloud: float = 0.0
    loss: Literal["cross-entropy", "focal", "focal-dice", "bce-dice", "rift"] | None = None
    class_weights: bool = False
    alpha_scale: float | None = None
    gamma: float | None = None
    lambda_focal: float | None = None
    lambda_dice: float | None = None
    tversky_alpha: float | None = None
    tversky_beta: float | None = None
    lambda_tversky: float | None = None
    epochs: int = 200
    steps: int | None = None
    batch: int = 8
    accumulate: int = 1
    learning_rate: float = 6e-4
    rate_batch: int | None = None
    min_rate: float = 1e-6
    warmup: float = 0.05
    weight_decay: float = 0.05
    layer_decay: float = 1.0
    drop_path: float = 0.1
    clip: float = 1.0
    ema: float = 0.0
    augment: bool = True
    turns: Turns = "all"
    speckle: float = 0.0
    speckle_looks: float = 16.0
    gain: float = 0.0
    incidence: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    drop_polarisation: float = 0.0
    validations: int = 10
    keep: Literal["best", "last"] = "best"
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
        threshold: least probability of water; for alos2-water alone.
        tta: test-time augmentation: probabilities averaged over look, the mirror that keeps the look
            direction (2 passes), flips (4) or dihedral, flips and quarter turns (8).
        scales: factors on the size of the input whose probabilities are averaged; each costs its square.
        borders: also score borders, thin structures and small objects.
        block: side of the squares of ground that are resampled together for the intervals, pixels;
            default: four patches, or the blocks of the split where these are larger.
        versus: metrics file of another model, evaluated alike: adds by how much this one is better, with the
            interval of the difference.
        precision: float32 or bf16 autocast.
        device: where to compute.
        seed: of the resampling for the intervals.
        overwrite: replace an existing file.
    """

    model: str
    data: str
    out: str
    split: Split = "test"
    batch: int = 8
    threshold: float = 0.5
    tta: Augmentation = "none"
    scales: tuple[float, ...] = (1.0,)
    borders: bool = True
    block: int | None = None
    versus: str | None = None
    precision: Precision = "float32"
    device: Device = "auto"
    seed: int = 0
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
