"""The runtimes themselves: a file in, a function from arrays to logits out.

Both run on the CPU, with as many threads as torch has, and take denormal numbers, which slow CPUs down
manyfold, for 0, as `devices.flush_denormals` does for torch.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from sarcover.config import Precision
from sarcover.devices import flush_denormals
from sarcover.errors import SarcoverError

Name = Literal["onnx", "openvino"]
Arrays = Mapping[str, NDArray[Any]]

_PACKAGES: dict[Name, str] = {"onnx": "onnxruntime", "openvino": "openvino"}


class Engine(Protocol):
    """A loaded graph.

    Attributes:
        title: name and version of the runtime, for people.
        precision: in which it really computes.
    """

    title: str
    precision: Precision

    def __call__(self, inputs: Arrays) -> NDArray[np.float32]:
        """Logits (B, K, H, W) of contiguous inputs as `graph.write_onnx` names them."""


def open_engine(name: Name, path: Path, precision: Precision = "float32") -> Engine:
    """Loads an exported file.

    Raises:
        SarcoverError: the runtime is not installed, does not compute in that precision, or cannot load it.
    """
    needed(name)
    engine = OnnxEngine if name == "onnx" else OpenVinoEngine
    try:
        return engine(path, precision)
    except SarcoverError:
        raise
    except Exception as error:  # the runtimes' own errors have nothing else in common
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise SarcoverError(
            f"{path}: {_PACKAGES[name]} cannot load it",
            got=reason[0],
            do="export the model again with what is installed here",
        ) from error


def needed(name: Name, *others: str) -> None:
    """Refuses to go on without a runtime (and other packages).

    Raises:
        SarcoverError: one is not installed; the message says how to install them.
    """
    for package in (_PACKAGES[name], *others):
        try:
            _package(package)
        except ImportError as error:
            raise SarcoverError(
                f"the runtime {name} needs the package {package}, which is not installed",
                do="pip install 'sarcover[export]'",
            ) from error


def installed(name: Name) -> bool:
    """Whether a runtime is there."""
    try:
        _package(_PACKAGES[name])
    except ImportError:
        return False
    return True


class OnnxEngine:
    """ONNX Runtime, float32."""

    @flush_denormals()  # both change how the calling thread computes, and leave it so
    def __init__(self, path: Path, precision: Precision) -> None:
        if precision != "float32":
            raise SarcoverError(
                "the runtime onnx computes in float32 on the CPU",
                got=precision,
                do="choose --runtime openvino or torch, or --precision float32",
            )
        self.precision: Precision = "float32"
        runtime = _package("onnxruntime")
        self.title = f"ONNX Runtime {version('onnx')}"
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        # Between two batches the cores belong to reading, blending and writing.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    @flush_denormals()
    def __call__(self, inputs: Arrays) -> NDArray[np.float32]:
        """See `Engine`."""
        logits: NDArray[np.float32] = self._session.run(["logits"], dict(inputs))[0]
        return logits


class OpenVinoEngine:
    """OpenVINO on the CPU; bf16 on processors that have it, float32 elsewhere, whatever is asked for."""

    @flush_denormals()  # both change how the calling thread computes, and leave it so
    def __init__(self, path: Path, precision: Precision) -> None:
        runtime = _package("openvino")
        self.title = f"OpenVINO {version('openvino')}"
        core = runtime.Core()
        wanted = {
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,  # several processes would be pinned to the same cores
            "CPU_DENORMALS_OPTIMIZATION": True,
        }
        known = core.get_property("CPU", "SUPPORTED_PROPERTIES")  # which differ between processors
        properties = {key: value for key, value in wanted.items() if key in known}
        self._compiled = core.compile_model(path, "CPU", properties)
        kept = self._compiled.get_property("INFERENCE_PRECISION_HINT")
        self.precision: Precision = "bf16" if kept == runtime.Type.bf16 else "float32"

    @flush_denormals()
    def __call__(self, inputs: Arrays) -> NDArray[np.float32]:
        """See `Engine`."""
        logits: NDArray[np.float32] = self._compiled(dict(inputs))["logits"]
        return logits


def write_openvino(onnx: Path, xml: Path, *, half: bool) -> None:
    """An ONNX file as OpenVINO's pair: `xml` and beside it the weights, as .bin.

    Args:
        onnx: file to convert.
        xml: file to write.
        half: store the weights as float16; computed is in float32 or bf16 all the same.
    """
    runtime = _package("openvino")
    # Core reads the graph itself; `convert_model` does no more, but reports its use to the makers.
    runtime.save_model(runtime.Core().read_model(onnx), xml, compress_to_fp16=half)


def version(name: Name) -> str:
    """Of an installed runtime."""
    return str(_package(_PACKAGES[name]).__version__).split("-")[0]


def _package(name: str) -> Any:
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when ONNX Runtime is imported
    return import_module(name)
