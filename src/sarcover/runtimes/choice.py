"""Which runtime computes: the one that is asked for, or the fastest that is there."""

from __future__ import annotations

import logging
from pathlib import Path

from sarcover.bundle import find_bundle, load_model
from sarcover.config import Device, Precision, Runtime
from sarcover.devices import choose_device
from sarcover.errors import SarcoverError
from sarcover.models import Segmenter
from sarcover.runtimes.engines import Name, installed, needed, open_engine
from sarcover.runtimes.model import RuntimeModel
from sarcover.runtimes.record import EXPORTED, FILES, Export, check_files, read_exports

logger = logging.getLogger(__name__)


def load_runtime(
    path: str | Path,
    runtime: Runtime = "auto",
    *,
    precision: Precision = "float32",
    device: Device = "auto",
    patch: int | None = None,
) -> Segmenter | RuntimeModel:
    """A segmentation model ready to map, as `load_model` gives it, computed by the runtime of choice.

    `auto` goes by what was measured when the model was exported, and written into the bundle: the runtime
    that was fastest beside torch, if it was faster at all, is installed here and its graph is for such
    windows. For bf16 it takes OpenVINO where it may, for torch emulates bf16 on most CPUs, slowly. On a GPU
    it takes torch. A runtime that is asked for by name but whose graph is for other windows gives way to
    torch, with a warning.

    Args:
        path: as in `load_model`.
        runtime: auto, torch, onnx or openvino.
        precision: float32 or bf16. For torch it is up to the caller (autocast).
        device: where to compute; the exported runtimes are for the CPU.
        patch: side of the windows that are to come, pixels; default: the model's patch.

    Raises:
        SarcoverError: as `load_model`; the model was not exported to that runtime, or the runtime is not
            installed; a file in the bundle is not the exported one; a GPU or precision it cannot use.
    """
    if runtime == "torch":
        return load_model(path)
    if runtime != "auto":
        needed(runtime)
        if device not in ("auto", "cpu"):
            raise SarcoverError(
                f"the runtime {runtime} computes on the CPU",
                got=f"--device {device}",
                do="choose --device cpu",
            )
    elif choose_device(device).type != "cpu" or not any(map(installed, FILES)):
        return load_model(path)
    folder = find_bundle(path, also=EXPORTED)
    model = load_model(path)
    exports = read_exports(folder)
    patch = model.bundle.patch if patch is None else patch
    chosen = (
        _fastest(exports, precision, patch) if runtime == "auto" else _asked(exports, runtime, path, patch)
    )
    if chosen is None:
        return model
    export = exports[chosen]
    check_files(folder, export)
    engine = open_engine(chosen, folder / FILES[chosen][0], precision)
    logger.info("runtime %s, %.1f x the speed of torch when exported", chosen, export.speed_up)
    if engine.precision != precision:
        logger.warning("this CPU has no %s: %s computes in %s", precision, chosen, engine.precision)
    return RuntimeModel(model, engine, export.patch).eval()


def _asked(exports: dict[Name, Export], runtime: Name, path: str | Path, patch: int) -> Name | None:
    if runtime not in exports:
        raise SarcoverError(
            f"{path} was not exported to {runtime}", do=f"sarcover export --model {path} --to {runtime}"
        )
    if _takes(exports[runtime], patch):
        return runtime
    logger.warning(
        "the model was exported to %s for windows of %d px: those of %d px are computed by torch",
        *(runtime, exports[runtime].patch, patch),
    )
    return None


def _fastest(exports: dict[Name, Export], precision: Precision, patch: int) -> Name | None:
    """The best of those that were faster than torch."""
    able = {name: each.speed_up for name, each in exports.items() if _takes(each, patch) and installed(name)}
    if precision == "bf16":
        return "openvino" if "openvino" in able else None
    best = max(able, key=able.__getitem__, default=None)
    return best if best is not None and able[best] > 1.0 else None


def _takes(export: Export, patch: int) -> bool:
    return export.patch is None or export.patch == patch
