"""Settings of the verbs for using trained models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sarcover.config.choices import (
    Augmentation,
    Combine,
    Device,
    Layer,
    MaskKind,
    PolygonFormat,
    Precision,
    Runtime,
    Unit,
)


@dataclass(frozen=True)
class MapSettings:
    """Map a scene with a model.

    Args:
        model: a bundle, or the run folder that holds one.
        out: map to write, a GeoTIFF; of many tiles a folder.
        scenes: the radar scene: one file with all bands, or one file per polarisation. Or several scenes:
            their files, a folder of them, a VRT, a STAC item or collection.
        optical: its optical companion, for models with an optical input.
        unit: the unit of a scene that does not say it itself.
        bands: polarisations of a scene whose bands have no names, in order.
        leave_out: pixels that are not mapped, where a product marks them: shadow, layover, ocean.
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
        tta: test-time augmentation: probabilities averaged over look, the mirror that keeps the look
            direction (2 passes), flips (4) or dihedral, flips and quarter turns (8).
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
        tile: side of the map's tiles: 8192 (pixels), 81920m, 100km or 1deg. With it, with tiles or with an
            engine, the map is a folder of tiles, and what is finished there is kept.
        tiles: polygons with names (GeoParquet or GeoJSON) that say which tiles there are.
        engine: what makes the tiles: local, one after another (the default), or dask, a cluster.
        address: of a Dask scheduler that runs, tcp://host:8786; default: worker processes on this machine.
        workers: how many of these; default: as many as cores and memory, or GPUs, allow.
        threads: of each worker; default for dask: 1.
        retries: how often a tile that fails is tried again.
        overwrite: replace an existing map.
    """

    model: str
    out: str
    scenes: tuple[str, ...] = ()
    optical: tuple[str, ...] = ()
    unit: Unit | None = None
    bands: tuple[str, ...] | None = None
    leave_out: tuple[MaskKind, ...] = ()
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
    tile: str | None = None
    tiles: str | None = None
    engine: Literal["local", "dask"] | None = None
    address: str | None = None
    workers: int | None = None
    threads: int | None = None
    retries: int = 2
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
