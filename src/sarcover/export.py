"""The verb `export`: a trained model for another runtime, proved to give the same logits, into its bundle."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from sarcover import __version__
from sarcover.bundle import WEIGHTS, find_bundle, load_model, on_hub
from sarcover.config import ExportSettings
from sarcover.errors import SarcoverError
from sarcover.files import disk_errors, refuse_existing, sha256
from sarcover.models import Segmenter
from sarcover.runtimes.comparison import parity, speed
from sarcover.runtimes.engines import Name, needed, open_engine, version, write_openvino
from sarcover.runtimes.graph import OPSET, needs_fixed_size, write_onnx
from sarcover.runtimes.model import RuntimeModel
from sarcover.runtimes.record import FILES, Export, read_exports, write_exports

logger = logging.getLogger(__name__)

TOLERANCE = {"float32": 1e-3, "float16": 5e-2}
"""Largest difference of logits that is let pass, by how the weights are stored.

float32: another order of summation moves logits by about 1e-6 of their size (measured: 3e-6 at most), and
what is done wrong (another GELU, shifted resizing, a lost mask) by 1e-2 and more: 1e-3 lies between, and
moves a probability by at most .0005. float16: weights rounded to 11 bits."""


def export(settings: ExportSettings) -> dict[str, Any]:
    """Writes model.onnx, or model.xml and model.bin, into the bundle and records them in exports.json.

    Both runtimes get the same graph. It is compared with the torch model, in the runtime itself, before
    anything in the bundle changes.

    Returns:
        The files, and what the record says of them.

    Raises:
        SarcoverError: no bundle of one's own, an export that is there already, a package that is not
            installed, weights that ONNX files are not stored with, or logits that are not the model's.
    """
    name = settings.to
    needed(name, "onnx", "onnxscript")
    _check(settings)
    folder = find_bundle(settings.model)
    model = load_model(settings.model)
    exports = read_exports(folder)
    for file in FILES[name]:
        refuse_existing(folder / file, settings.overwrite)
    patch = model.bundle.patch if settings.patch is None else settings.patch
    with _beside(folder) as made:
        logger.info("%s: writing the graph", folder)
        _write(model, made, settings, patch)
        logger.info("%s: comparing with torch, and measuring", folder)
        record = _proved(model, folder, made, settings, patch)
        write_exports(folder, {key: value for key, value in exports.items() if key != name})
        for file in FILES[name]:
            os.replace(made / file, folder / file)
        write_exports(folder, {**exports, name: record})
    return {
        "files": [str(folder / file) for file in FILES[name]],
        "patch": record.patch if record.patch is not None else "any",
        "parity": record.parity,
        "speed": {**record.speed, "speed_up": round(record.speed_up, 2)},
    }


def _check(settings: ExportSettings) -> None:
    if on_hub(settings.model):
        raise SarcoverError(
            f"{settings.model} is no folder to export into", do="download it to a folder of your own first"
        )
    if settings.weights != "float32" and settings.to == "onnx":
        raise SarcoverError("weights of an ONNX file", expected="float32", got=settings.weights)
    if settings.patch is not None and settings.patch < 1:
        raise SarcoverError("patch", expected="at least 1 pixel", got=str(settings.patch))


def _write(model: Segmenter, made: Path, settings: ExportSettings, patch: int) -> None:
    onnx = made / FILES["onnx"][0]
    write_onnx(model, onnx, patch)
    if settings.to == "openvino":
        write_openvino(onnx, made / FILES["openvino"][0], half=settings.weights == "float16")


def _proved(model: Segmenter, folder: Path, made: Path, settings: ExportSettings, patch: int) -> Export:
    """The record of a model that was found to be the same."""
    name: Name = settings.to
    fixed = patch if needs_fixed_size(model) else None
    exported = RuntimeModel(model, open_engine(name, made / FILES[name][0]), fixed)
    tolerance = TOLERANCE[settings.weights] if settings.tolerance is None else settings.tolerance
    found = parity(exported, patch)
    if not found["largest_logit_difference"] <= tolerance:
        raise SarcoverError(
            f"{settings.model}: the exported model gives other logits than torch; nothing was written",
            expected=f"a difference of at most {tolerance:g}",
            got=f"{found['largest_logit_difference']:.3g}, of logits up to {found['largest_logit']:.3g}; "
            f"{found['changed_pixels']:.2%} of the pixels change their class",
            do="report it, or allow it with --tolerance",
        )
    return Export(
        files={file: sha256(made / file) for file in FILES[name]},
        model=sha256(folder / WEIGHTS),
        opset=OPSET,
        weights=settings.weights,
        patch=fixed,
        parity={**found, "tolerance": tolerance},
        speed=speed(exported, patch),
        made_with={"sarcover": __version__, "torch": str(torch.__version__), name: version(name)},
    )


@contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    """A folder within the bundle to work in, gone at the end; its files can be renamed into the bundle."""
    with disk_errors(folder):
        made = Path(tempfile.mkdtemp(prefix=".export.", suffix=".part", dir=folder))
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)
