"""Where a run computes: one device, or several processes that share each step."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, cast

import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.precision.amp import MixedPrecision
from lightning.fabric.strategies.ddp import DDPStrategy
from lightning.fabric.strategies.fsdp import FSDPStrategy
from torch import Tensor
from torch.distributed.fsdp import MixedPrecision as ShardedPrecision
from torch.multiprocessing.spawn import ProcessRaisedException

from sarcover.config import Precision
from sarcover.devices import choose_device, device_count, flush_denormals
from sarcover.errors import SarcoverError
from sarcover.models.attention import Block
from sarcover.training.run import TrainSettings, check_settings

Job = Callable[[Fabric, Any], dict[str, Any]]

# Lightning's own setting for bf16 would round weights, statistics and gradients to it; autocast alone shall.
SHARDED = ShardedPrecision(
    param_dtype=torch.float32,
    reduce_dtype=torch.float32,
    buffer_dtype=torch.float32,
    cast_forward_inputs=False,
    cast_root_forward_inputs=False,
)

_ERROR = f"{SarcoverError.__module__}.{SarcoverError.__qualname__}: "


def launch(settings: TrainSettings, job: Job) -> dict[str, Any]:
    """Runs `job(fabric, settings)` in as many processes as the settings say; the first one's result.

    Args:
        settings: device, devices, strategy and precision.
        job: a function of a module, so that other processes find it.

    Raises:
        SarcoverError: settings that make no training, devices that are not there, or whatever the job says in
            any process (the others are ended).
    """
    check_settings(settings)
    accelerator = choose_device(settings.device).type
    if accelerator != "cpu" and settings.devices > device_count(accelerator):
        raise SarcoverError(
            f"this machine does not have {settings.devices} {accelerator} devices",
            got=str(device_count(accelerator)),
            do="lower --devices",
        )
    fabric = Fabric(
        accelerator=accelerator,
        devices=settings.devices,
        strategy=_strategy(settings, accelerator),
        **_precision(settings, accelerator),
    )
    try:
        result: dict[str, Any] = fabric.launch(partial(_work, job=job, settings=settings))
    except ProcessRaisedException as error:
        last_line = str(error).strip().rpartition("\n")[2]
        if last_line.startswith(_ERROR):
            raise SarcoverError(last_line.removeprefix(_ERROR)) from None
        raise
    return result


def _work(fabric: Fabric, job: Job, settings: TrainSettings) -> dict[str, Any]:
    ours = logging.getLogger("sarcover")
    if fabric.world_size > 1 and fabric.is_global_zero and not ours.hasHandlers():
        logging.basicConfig(format="%(message)s")  # a new process, where no command line has set this up
        ours.setLevel(logging.INFO)
    with flush_denormals():
        return job(fabric, settings)


class _Autocast(MixedPrecision):
    """bf16 autocast of input that stays as it is: Lightning's rounds it, to steps of .06 dB around -13 dB."""

    def convert_input(self, data: Any) -> Any:
        return data


def _precision(settings: TrainSettings, accelerator: str) -> dict[str, Any]:
    """What tells Fabric the precision."""
    if settings.precision != "bf16":
        return {"precision": "32-true"}
    if settings.strategy == "fsdp":  # takes no plugin but its own, which leaves the input float32
        return {"precision": "bf16-mixed"}
    return {"plugins": _Autocast("bf16-mixed", accelerator)}


def _strategy(settings: TrainSettings, accelerator: str) -> str | DDPStrategy | FSDPStrategy:
    if settings.strategy == "fsdp":
        if accelerator != "cuda":
            raise SarcoverError(
                "strategy fsdp shards a model over GPUs", got=accelerator, do="choose --strategy ddp"
            )
        return FSDPStrategy(state_dict_type="full", auto_wrap_policy={Block}, mixed_precision=SHARDED)
    if settings.devices == 1:
        return "auto"
    # Processes start from this function, not by running the user's script again from its beginning.
    return DDPStrategy(start_method="spawn", cluster_environment=LightningEnvironment())


def across(fabric: Fabric, values: Tensor, how: Literal["sum", "mean"]) -> Tensor:
    """Sum or mean of a tensor over all processes; each of them gets it, and all of them must call this."""
    return cast(Tensor, fabric.all_reduce(values, reduce_op=how))


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """bf16 where it is asked for, else nothing."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
