"""An exported graph that is used like the model it was made from."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sarcover.models import Segmenter
from sarcover.runtimes.engines import Engine
from sarcover.runtimes.graph import graph_inputs

logger = logging.getLogger(__name__)

_MASKS = {"sar": "valid", "optical": "optical_valid"}


class RuntimeModel(nn.Module):
    """A segmentation model whose logits another runtime computes, on the CPU.

    Batches of a size that the graph is not for are computed by torch, with a warning. Everything else that is
    asked of it (`bundle`, `inputs`, `state_dict`, ...) is the torch model's.

    Args:
        model: the torch model, in eval mode.
        engine: its graph, loaded.
        patch: height and width that the graph is for; None for any.

    Attributes:
        runtime: what computes, in which precision, for people.
    """

    def __init__(self, model: Segmenter, engine: Engine, patch: int | None) -> None:
        super().__init__()
        self.model = model
        self.engine = engine
        self.patch = patch
        self.runtime = f"{engine.title}, {engine.precision}"
        self._warned = False

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("model"), name)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The torch model's: the runtime computes with the same weights."""
        return self.model.state_dict(*args, **kwargs)

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Class logits; arguments, result and errors as `Segmenter.forward`."""
        if not self._fits(batch):
            logits: Tensor = self.model(batch)
            return logits
        pixels = next(batch[name] for name in self.model.inputs if name in batch)
        inputs = {name: x.cpu() for name, x in self._complete(batch, pixels).items()}
        height, width = pixels.shape[-2:]
        if self.patch is None:
            inputs = {name: _padded(x, self.model.multiple) for name, x in inputs.items()}
        arrays = {name: np.ascontiguousarray(x.numpy()) for name, x in inputs.items()}
        logits = torch.from_numpy(self.engine(arrays))
        return logits[..., :height, :width].to(pixels.device)

    def _fits(self, batch: Mapping[str, Tensor]) -> bool:
        """Whether the graph can take the batch; the torch model says what is wrong with one nobody can."""
        there = [name for name in self.model.inputs if name in batch]
        lacking = set(self.model.inputs) - set(there) - set(self.model.optional_inputs)
        if not there or lacking:
            return False
        if any(batch[name].ndim != 4 or batch[name].shape[1] != self._channels(name) for name in there):
            return False
        if self.patch is None or all(batch[name].shape[-2:] == (self.patch, self.patch) for name in there):
            return True
        if not self._warned:
            self._warned = True
            size = " x ".join(map(str, batch[there[0]].shape[-2:]))
            logger.warning(
                "the exported model is for windows of %d px: those of %s px are computed by torch",
                *(self.patch, size),
            )
        return False

    def _complete(self, batch: Mapping[str, Tensor], like: Tensor) -> dict[str, Tensor]:
        """All inputs of the graph, float32 and bool; what the batch lacks is nowhere valid."""
        complete: dict[str, Tensor] = {}
        for name in self.model.inputs:
            mask = _MASKS[name]
            if name in batch:
                complete[name] = batch[name].float()
                complete[mask] = batch.get(mask, torch.ones_like(batch[name][:, 0], dtype=torch.bool))
            else:
                shape = (len(like), self._channels(name), *like.shape[-2:])
                complete[name] = like.new_full(shape, torch.nan, dtype=torch.float32)
                complete[mask] = torch.zeros_like(like[:, 0], dtype=torch.bool)
        return {name: complete[name] for name in graph_inputs(self.model)}

    def _channels(self, name: str) -> int:
        norm = self.model.sar_norm if name == "sar" else self.model.optical_norm
        return 0 if norm is None else norm.channels


def _padded(x: Tensor, multiple: int) -> Tensor:
    """To multiples at the lower right: masks with False, bands with NaN, as the model itself does inside."""
    pad = (0, -x.shape[-1] % multiple, 0, -x.shape[-2] % multiple)
    return F.pad(x, pad, value=False if x.dtype == torch.bool else torch.nan)
