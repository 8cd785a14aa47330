"""A segmentation model as an ONNX graph: masks, NaN and normalisation included.

What a batch says of validity is part of the graph, so an exported model cannot be fed wrongly any more than
the one it was made from.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from sarcover.models import Segmenter
from sarcover.models.mixmim import MixMIMEncoder
from sarcover.models.specsar_attention import ReducedAttention
from sarcover.models.upernet import UPerDecoder
from sarcover.runtimes.example import example_batch

# ONNX has GELU as one operator from 20 on, but ONNX Runtime 1.31 computes that one much more slowly than the
# formula it is written as in 18: tiny U-Net, 8 windows of 128 px, one AVX2 core: 126 against 75 ms.
OPSET = 18

_Graph = torch.export.ExportedProgram


def graph_inputs(model: Segmenter) -> tuple[str, ...]:
    """Names of the graph's inputs, in order: those of a batch."""
    return ("sar", "valid", "optical", "optical_valid") if "optical" in model.inputs else ("sar", "valid")


def needs_fixed_size(model: Segmenter) -> bool:
    """Whether the graph of a model is for windows of one size.

    Windows of attention, the pooling pyramid and images read as rows of tokens are laid out anew for every
    size of the image; a graph holds one layout. Graphs of the other models take any multiple of
    `model.multiple`.
    """
    return any(isinstance(part, MixMIMEncoder | UPerDecoder | ReducedAttention) for part in model.modules())


def write_onnx(model: Segmenter, path: Path, patch: int) -> None:
    """The model as an ONNX file, with any number of windows in a batch.

    Inputs: `sar` (B, C, H, W) float32 dB, NaN where invalid; `valid` (B, H, W) bool; of models with optical
    input also `optical` and `optical_valid`. Output: `logits` (B, K, H, W) float32.

    Args:
        model: in eval mode, on the CPU.
        path: file to write.
        patch: H and W, pixels, where the graph needs them fixed; else they are free multiples of
            `model.multiple`.
    """
    import onnx

    fixed = needs_fixed_size(model)
    side = patch if fixed else 2 * model.multiple
    batch = example_batch(model, 2, side, side)  # of one window, the batch would be taken for a constant
    with torch.inference_mode():
        model(batch)  # lays out the windows: plans are kept, and are constants of the graph
    with _quietly(), torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        program = torch.onnx.export(
            _traced(model, batch),
            (),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(graph_inputs(model)),
            output_names=["logits"],
            # ONNX has no adaptive pooling.
            custom_translation_table={torch.ops.aten.adaptive_max_pool2d.default: _adaptive_max_pool2d},
            verbose=False,
        )
    assert program is not None
    graph = program.model_proto
    if not fixed:
        _free_the_size(graph.graph)
    onnx.save(graph, path)


def _traced(model: Segmenter, batch: dict[str, Tensor]) -> _Graph:
    inputs = tuple(batch[name] for name in graph_inputs(model))
    windows = torch.export.Dim("batch")
    return torch.export.export(
        _ByPosition(model).eval(), inputs, dynamic_shapes=tuple({0: windows} for _ in inputs), strict=False
    )


def _free_the_size(graph: Any) -> None:
    """Declares height and width free in an ONNX graph whose operators do not depend on them.

    Traced with free sizes, the same operators come out, after minutes of symbolic algebra about the sizes of
    every layer. That they do not depend on the size is for `comparison.parity` to prove, at other sizes.
    """
    for value in (*graph.input, *graph.output):
        *_, height, width = value.type.tensor_type.shape.dim
        height.dim_param, width.dim_param = "height", "width"
    del graph.value_info[:]  # sizes of what lies between


class _ByPosition(nn.Module):
    """A model that takes its batch by position."""

    def __init__(self, model: Segmenter) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, sar: Tensor, valid: Tensor, optical: Tensor | None = None, optical_valid: Tensor | None = None
    ) -> Tensor:
        batch = {"sar": sar, "valid": valid}
        if optical is not None and optical_valid is not None:
            batch |= {"optical": optical, "optical_valid": optical_valid}
        logits: Tensor = self.model(batch)
        return logits


def _adaptive_max_pool2d(x: Any, size: Sequence[int]) -> tuple[Any, Any]:
    """Maximum over each of size[0] x size[1] bins of a map, which overlap where they do not divide it.

    Bin i of n along an axis of length L is from floor(i L / n) to ceil((i + 1) L / n). The places of the
    maxima, which PyTorch's operator gives too, are not used here.
    """
    from onnxscript import opset18

    pooled = _bins(_bins(x, 2, x.shape[2], size[0]), 3, x.shape[3], size[1])
    return pooled, opset18.Cast(pooled, to=7)  # int64


def _bins(x: Any, axis: int, length: int, count: int) -> Any:
    from onnxscript import opset18

    def number(value: int) -> Any:
        return opset18.Constant(value_ints=[value])

    edges = [(i * length // count, -(-(i + 1) * length // count)) for i in range(count)]
    parts = [opset18.Slice(x, number(a), number(b), number(axis)) for a, b in edges]
    maxima = [opset18.ReduceMax(part, number(axis), keepdims=1) for part in parts]
    return opset18.Concat(*maxima, axis=axis)


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the exporter's remarks, which are about optional libraries and its own operators."""
    chatter = logging.getLogger("torch.onnx")
    before = chatter.level
    chatter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        chatter.setLevel(before)
