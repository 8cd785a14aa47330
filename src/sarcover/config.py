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
Runtime = Literal["auto", "torch", "onnx", "openvino"]
Augmentation = Literal["none", "flips", "dihedral"]
Combine = Literal["newest", "first", "average"]
Layer = Literal["confidence", "entropy", "margin", "probabilities"]
PolygonFormat = Literal["none", "gpkg", "parquet"]


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
        model: unet, swin-upernet, alos2-refined, alos2-water (for a legend of two classes), or claire (for
            stores with optical companions).
        size: size of the model.
        init: a pretrained run or encoder bundle to start from.
        windows: attention windows of the four stages; default: those of init, else 8 8 8 4.
        high_res: inject the map after patch embedding into the decoder; default: on, for models that can.
        refine_up: enlarge the decoder's features in refined steps; default: on, for models that can.
        taps: which maps high_res takes: extended, those of the baseline and the new one, or replaced, one at
            each resolution; default: extended.
        dropout: rate in the decoder; default: the model's (.5 as published; claire .1).
        backbone: encoders of claire, convnext or resnet; default: convnext.
        weights: pretrained weights of claire's encoders: a folder or the name of a model on the Hugging Face
            hub, such as facebook/convnext-tiny-224 or microsoft/resnet-50; default: random ones.
        drop_optical: share of the training patches whose optical input is withheld.
        drop_sar: share of the training patches whose radar is withheld.
        cloud: share of the training patches that get synthetic cloud, of any cover, thin to opaque.
        loss: cross-entropy, focal-dice, bce-dice or rift; default: bce-dice for alos2-water, rift for
            claire, else focal-dice.
        class_weights: weight cross-entropy by the inverse square root of the class frequency.
        alpha_scale: factor on the class weights of focal-dice; default: 2.25. 1 is without alpha-scale.
        gamma: focusing parameter; default: 1.1 in focal-dice, 2 in rift.
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
    model: Literal["unet", "swin-upernet", "alos2-refined", "alos2-water", "claire"] = "swin-upernet"
    size: Size = "base"
    init: str | None = None
    windows: tuple[int, int, int, int] | None = None
    high_res: bool | None = None
    refine_up: bool | None = None
    taps: Literal["extended", "replaced"] | None = None
    dropout: float | None = None
    backbone: Literal["convnext", "resnet"] | None = None
    weights: str | None = None
    drop_optical: float = 0.0
    drop_sar: float = 0.0
    cloud: float = 0.0
    loss: Literal["cross-entropy", "focal-dice", "bce-dice", "rift"] | None = None
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
        tta: test-time augmentation: probabilities averaged over flips (4 passes) or dihedral, flips and
            quarter turns (8 passes).
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
class MapSettings:
    """Map a scene with a model.

    Args:
        model: a bundle, or the run folder that holds one.
        out: map to write, a GeoTIFF.
        scenes: the radar scene: one file with all bands, or one file per polarisation. Or several scenes:
            their files, a folder of them, a VRT, a STAC item or collection.
        optical: its optical companion, for models with an optical input.
        unit: the unit of a scene that does not say it itself.
        bands: polarisations of a scene whose bands have no names, in order.
        combine: where scenes overlap: the newest, the first as named, or the average of the probabilities.
        crs: coordinate system of the map; default: the first scene's.
        resolution: pixel size in units of the coordinate system; default: the first scene's.
        bounds: left, bottom, right and top of the map, in the same units; default: all of the scenes.
        patch: window side, pixels; default: the model's patch.
        overlap: pixels that neighbouring windows share; default: a quarter of the window.
        blend: how overlapping windows are weighted: hann, cosine, linear or none.
        margin: border pixels of each window that get no weight.
        batch: windows per forward pass.
        threshold: least probability of water; for alos2-water alone.
        tta: test-time augmentation: probabilities averaged over flips (4 passes) or dihedral, flips and
            quarter turns (8 passes).
        scales: factors on the size of the input whose probabilities are averaged; each costs its square.
        confidence: also write confidence.tif beside the map, as layers confidence does.
        layers: rasters beside the map of how sure the model is: confidence, entropy, margin, probabilities.
        sieve: smallest object of the map, pixels; smaller ones take the class of their largest neighbour.
        polygons: also write the map as polygons: none, gpkg or parquet.
        min_area: smallest polygon, pixels; smaller ones are merged into their largest neighbour.
        simplify: how far the borders of polygons are simplified, pixels; both sides stay one line.
        runtime: what computes: torch, an exported model (onnx, openvino), or auto, the fastest that is there.
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
    combine: Combine = "newest"
    crs: str | None = None
    resolution: float | None = None
    bounds: tuple[float, float, float, float] | None = None
    patch: int | None = None
    overlap: int | None = None
    blend: Literal["hann", "cosine", "linear", "none"] = "hann"
    margin: int = 0
    batch: int = 8
    threshold: float = 0.5
    tta: Augmentation = "none"
    scales: tuple[float, ...] = (1.0,)
    confidence: bool = False
    layers: tuple[Layer, ...] = ()
    sieve: int = 0
    polygons: PolygonFormat = "none"
    min_area: int = 0
    simplify: float = 0.0
    runtime: Runtime = "auto"
    precision: Precision = "float32"
    device: Device = "auto"
    overwrite: bool = False


@dataclass(frozen=True)
class ExplainSettings:
    """Say what a map shows, why, how far to trust it and what to check on the ground.

    Args:
        map: the map to explain; it or evidence is needed.
        evidence: evidence of an earlier run, to narrate it anew.
        out: explanation to write, JSON; the same name with .md and .evidence.json stands beside it. Default:
            explanation.json beside the map or the evidence.
        scenes: the radar scene that was mapped: one file with all bands, or one file per polarisation.
        optical: its optical companion.
        unit: the unit of a scene that does not say it itself.
        bands: polarisations of a scene whose bands have no names, in order.
        model: the model that made the map: it is run again for what the map's layers do not say.
        data: the store it was trained on: each class is held against its training pixels.
        reference: reference rasters, in the codes that the map's legend is made from.
        legend: of the map, where it does not carry its own.
        area: polygons (GeoJSON or another vector file) to explain one by one, instead of the whole map.
        tiles: side of square tiles to explain one by one, pixels, instead of the whole map.
        narrator: template (deterministic), transformers (a local language model) or openai (a server that
            speaks the chat-completions protocol: Ollama, vLLM, llama.cpp).
        narrator_model: name or folder of the language model; default for transformers:
            microsoft/Phi-3-mini-4k-instruct. openai needs one.
        url: base address of the server (openai).
        key_variable: environment variable that holds the server's key, if it needs one (openai).
        timeout: seconds that one answer of the server may take (openai).
        retries: how often a failed request is repeated (openai).
        max_tokens: most tokens of one answer.
        batch: windows per forward pass of the model.
        precision: float32 or bf16, of the model's run.
        narrator_precision: float32 or bf16, of the language model (transformers).
        device: where to compute.
        overwrite: replace an existing explanation.
    """

    map: str | None = None
    evidence: str | None = None
    out: str | None = None
    scenes: tuple[str, ...] = ()
    optical: tuple[str, ...] = ()
    unit: Unit | None = None
    bands: tuple[str, ...] | None = None
    model: str | None = None
    data: str | None = None
    reference: tuple[str, ...] = ()
    legend: str | None = None
    area: str | None = None
    tiles: int | None = None
    narrator: Literal["template", "transformers", "openai"] = "template"
    narrator_model: str | None = None
    url: str = "http://localhost:11434/v1"
    key_variable: str = "SARCOVER_API_KEY"
    timeout: float = 120.0
    retries: int = 3
    max_tokens: int = 1200
    batch: int = 8
    precision: Precision = "float32"
    narrator_precision: Precision = "bf16"
    device: Device = "auto"
    overwrite: bool = False


@dataclass(frozen=True)
class ExportSettings:
    """Export a model to another runtime, into its bundle, and prove that it gives the same logits.

    Args:
        model: a bundle, or the run folder that holds one.
        to: onnx (for ONNX Runtime) or openvino.
        weights: how OpenVINO's file stores the weights; float16 halves it, and moves the logits a little.
        patch: side of the windows that the exported model is for, pixels; default: the model's patch. unet
            takes any.
        tolerance: largest difference of logits from torch's; default: .001, and .05 with float16 weights.
        overwrite: replace an earlier export.
    """

    model: str
    to: Literal["onnx", "openvino"]
    weights: Literal["float32", "float16"] = "float32"
    patch: int | None = None
    tolerance: float | None = None
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
    steps: int = 450
    overwrite: bool = False
