"""`pretrain`: SAR-W-MixMAE on the radar of a store; labels are not looked at."""

from __future__ import annotations

import logging
from typing import Any

import torch
from lightning.fabric import Fabric
from lightning.fabric.wrappers import _FabricModule
from torch import Tensor

from sarcover.config import PretrainSettings
from sarcover.errors import SarcoverError
from sarcover.models.mixmim import SarWMixMAE, encoder_settings
from sarcover.patches import PatchStore, open_store
from sarcover.training.augment_jitter import jitter_of
from sarcover.training.data import PatchDataset, to_device_batch
from sarcover.training.devices import launch
from sarcover.training.loop import Task, patches_per_step, total_steps, train
from sarcover.training.optimisation import parameter_groups
from sarcover.training.outcome import write_bundle
from sarcover.training.pictures import save_pictures
from sarcover.training.run import Run
from sarcover.training.seeds import Draw, derive

logger = logging.getLogger(__name__)

PICTURED = 4  # images in each picture, at most; even

# The decoder is thrown away after pretraining; the published one is wide enough for the base encoder.
_PUBLISHED = {"decoder_dim": 512, "decoder_depth": 8, "decoder_heads": 16}
DECODERS: dict[str, dict[str, Any]] = {
    "tiny": {"decoder_dim": 128, "decoder_depth": 2, "decoder_heads": 4},
    "small": {"decoder_dim": 256, "decoder_depth": 4, "decoder_heads": 8},
    **dict.fromkeys(("base", "large", "huge"), _PUBLISHED),
}


def pretrain(settings: PretrainSettings) -> dict[str, Any]:
    """Trains an encoder to fill in what is hidden of radar images.

    Writes RUN/bundle (the encoder; averaged weights if `ema`) and pictures of reconstructions into RUN/logs.
    Interrupted at any point, the same call goes on from the last checkpoint, and ends with the very same
    weights.

    Returns:
        `run`, `bundle`, `steps`, `patches` and `peak_rate`.

    Raises:
        SarcoverError: data, settings or devices do not go together, or the loss is not finite.
    """
    return launch(settings, _pretrain)


def _pretrain(fabric: Fabric, settings: PretrainSettings) -> dict[str, Any]:
    store = open_store(settings.data)
    _check(settings, store)
    jitter_of(settings, store.meta)  # refused before anything is written
    run = Run(settings.out)
    data = PatchDataset(store, settings.splits)
    _check_partners(settings, data)
    steps = total_steps(settings, len(data), fabric.world_size)
    torch.manual_seed(derive(settings.seed, Draw.WEIGHTS))
    model = _model(settings, store)
    per_step = patches_per_step(settings, fabric.world_size)
    peak_rate = settings.base_rate * per_step / 256
    if fabric.is_global_zero:
        run.open(settings, store, fabric.world_size)
        logger.info(
            "pretrain %s: %d patches, %d a step, peak rate %.3g",
            settings.size,
            len(data),
            per_step,
            peak_rate,
        )
    fabric.barrier()
    task = Task(
        title="pretrain",
        model=model,
        loss=lambda wrapped, batch: wrapped(batch)["loss"],
        groups=parameter_groups(model, settings.weight_decay),
        betas=(0.9, 0.95),
        peak_rate=peak_rate,
        min_rate=0.0,
        looks=settings.pictures,
        look=Pictures(fabric, settings, data, run),
    )
    weights = train(fabric, settings, task, data, run)
    if fabric.is_global_zero:
        _finish(settings, store, run, weights, steps)
    fabric.barrier()
    return {
        "run": str(run.folder),
        "bundle": str(run.bundle),
        "steps": steps,
        "patches": len(data),
        "peak_rate": peak_rate,
    }


def _check(settings: PretrainSettings, store: PatchStore) -> None:
    if settings.batch % 2:
        raise SarcoverError(
            "batch: images are mixed in pairs", expected="an even number", got=str(settings.batch)
        )
    if store.meta.unit == "uncalibrated" and settings.weight_mode != "none":
        raise SarcoverError(
            f"{settings.data} holds uncalibrated numbers, which have no backscatter to weigh by",
            do="add --weight-mode none",
        )


def _check_partners(settings: PretrainSettings, data: PatchDataset) -> None:
    """Refuses a batch that would hold patches twice, and so mix some with themselves."""
    if len(data) < settings.batch:
        raise SarcoverError(
            "batch: each patch is mixed with another one",
            expected=f"at most the {len(data)} patches of split {' or '.join(settings.splits)}",
            got=str(settings.batch),
            do="lower --batch, or prepare more patches",
        )


def _model(settings: PretrainSettings, store: PatchStore) -> SarWMixMAE:
    model = SarWMixMAE(
        image_size=store.meta.patch,
        in_chans=len(store.meta.bands),
        **encoder_settings(settings.size, settings.windows),
        **DECODERS[settings.size],
        mask_ratio=settings.mask_ratio,
        mask_per=settings.mask_per,
        weight_mode=settings.weight_mode,
        weight_domain=settings.weight_domain,
        weight_scale=settings.weight_scale,
        norm_pix=settings.norm_pix,
    )
    model.sar_norm.set(store.meta.statistics["mean"], store.meta.statistics["std"])
    model.encoder.separate = not settings.compile  # compiled code wants shapes that no mask changes
    return model


class Pictures:
    """Draws what the model makes of the first patches, always with the same mask.

    Args:
        fabric: where the run computes.
        settings: of the run.
        data: its patches.
        run: its folder.
    """

    def __init__(self, fabric: Fabric, settings: PretrainSettings, data: PatchDataset, run: Run) -> None:
        self.fabric = fabric
        self.seed = derive(settings.seed, Draw.PICTURES)
        self.norm_pix = settings.norm_pix
        self.data = data
        self.run = run

    def __call__(self, wrapped: _FabricModule, done: int) -> dict[str, float]:
        """Writes one picture; nothing for the table."""
        samples = self.data.stack(range(min(PICTURED, len(self.data) // 2 * 2)))
        batch = to_device_batch(samples, self.data.store.meta, self.fabric.device)
        wrapped.mark_forward_method("reconstruct")
        views = wrapped.reconstruct(batch, generator=torch.Generator().manual_seed(self.seed))
        if self.fabric.is_global_zero:
            unit = "" if self.data.store.meta.unit == "uncalibrated" else "dB"
            path = self.run.logs / f"reconstruction-{done:07d}.png"
            save_pictures(path, views, unit=unit, norm_pix=self.norm_pix)
        return {}


def _finish(
    settings: PretrainSettings, store: PatchStore, run: Run, weights: dict[str, Tensor], steps: int
) -> None:
    """Writes the bundle: a run that has one is finished."""
    model = _model(settings, store)
    model.load_state_dict(weights)
    write_bundle(run, model, "encoder", settings, store, step=steps, metrics=None)
