"""`finetune`: a segmentation model trained on a store, the best kept by mIoU of the validation split."""

from __future__ import annotations

import json
import logging
from typing import Any

import torch
from lightning.fabric import Fabric
from lightning.fabric.wrappers import _FabricModule
from safetensors import safe_open
from torch import Tensor

from sarcover.config import FinetuneSettings
from sarcover.errors import SarcoverError
from sarcover.files import atomic_file, write_json
from sarcover.metrics import scores
from sarcover.models import Segmenter, build_model
from sarcover.models.mixmim import MixMIMEncoder
from sarcover.patches import PatchStore, open_store
from sarcover.training.augment_jitter import jitter_of
from sarcover.training.data import Batch, PatchDataset
from sarcover.training.devices import across, launch
from sarcover.training.initialise import start_model
from sarcover.training.loop import Task, patches_per_step, total_steps, train, whole_weights
from sarcover.training.objective import peak_rate, recipe_loss, settle
from sarcover.training.optimisation import parameter_groups
from sarcover.training.outcome import write_bundle
from sarcover.training.run import Run
from sarcover.training.scoring import score
from sarcover.training.seeds import Draw, derive
from sarcover.weights import write_tensors

logger = logging.getLogger(__name__)


def finetune(settings: FinetuneSettings) -> dict[str, Any]:
    """Trains `settings.model` on the training split of a store.

    Writes RUN/bundle (the weights that scored best on the validation split, averaged ones if `ema`; the last
    ones where there is no such split, or if `keep` says so) and RUN/metrics.json (their scores). Interrupted
    at any point, the same call goes on from the last checkpoint, and ends with the very same weights.

    Returns:
        `run`, `bundle`, `steps`, `taken` (from `init`), `kept_step` (after which the model had the weights of
        the bundle) and their `metrics` on the validation split, None where there is none.

    Raises:
        SarcoverError: data, settings or devices do not go together, or the loss is not finite.
    """
    return launch(settle(settings), _finetune)


def _finetune(fabric: Fabric, settings: FinetuneSettings) -> dict[str, Any]:
    store = open_store(settings.data)
    jitter_of(settings, store.meta)  # refused before anything is written
    run = Run(settings.out)
    data = PatchDataset(store, "train", fraction=settings.train_fraction, seed=settings.seed)
    steps = total_steps(settings, len(data), fabric.world_size)
    torch.manual_seed(derive(settings.seed, Draw.WEIGHTS))
    model, taken = start_model(settings, store)
    task, validation = _task(fabric, settings, data, model, run)
    if fabric.is_global_zero:
        run.open(settings, store, fabric.world_size)
        _announce(settings, store, taken, validation)
    fabric.barrier()
    weights = train(fabric, settings, task, data, run)
    outcome: dict[str, Any] = {}
    if fabric.is_global_zero:
        outcome = _finish(settings, store, run, model.architecture, weights, steps)
        outcome["taken"] = taken
    fabric.barrier()
    return outcome


def _announce(
    settings: FinetuneSettings, store: PatchStore, taken: str, validation: Validation | None
) -> None:
    logger.info("%s %s starts from %s", settings.model, settings.size, taken)
    if validation is None:
        logger.warning("%s is not validated: the last weights will be kept, not the best", store.path)


def _task(
    fabric: Fabric, settings: FinetuneSettings, data: PatchDataset, model: Segmenter, run: Run
) -> tuple[Task, Validation | None]:
    encoder = model.encoder if isinstance(model.encoder, MixMIMEncoder) else None
    if settings.layer_decay != 1.0 and encoder is None:
        raise SarcoverError(
            f"layer_decay is not for {settings.model}",
            expected="a model with a transformer encoder, or 1",
            got=str(settings.layer_decay),
        )
    _check_weather(settings, model)
    counts = data.class_counts()
    if not sum(counts):
        raise SarcoverError(f"{settings.data} has no labelled pixel in its training patches")
    loss = recipe_loss(settings, counts)
    labelled = sum(data.store.meta.class_counts.get("val", ())) and settings.validations
    validation = Validation(fabric, settings, data.store, run) if labelled else None

    def batch_loss(wrapped: _FabricModule, batch: Batch) -> Tensor:
        return loss(wrapped(batch), batch["label"])

    def look(wrapped: _FabricModule, done: int) -> dict[str, float]:
        return validation(model, wrapped, done) if validation else {}

    groups = parameter_groups(model, settings.weight_decay, layer_decay=settings.layer_decay, encoder=encoder)
    task = Task(
        title="finetune",
        model=model,
        loss=batch_loss,
        groups=groups,
        betas=(0.9, 0.999),
        peak_rate=peak_rate(settings, patches_per_step(settings, fabric.world_size)),
        min_rate=settings.min_rate,
        looks=settings.validations if validation else 0,
        look=look,
    )
    return task, validation


def _check_weather(settings: FinetuneSettings, model: Segmenter) -> None:
    asked = [name for name in ("cloud", "drop_optical", "drop_sar") if getattr(settings, name)]
    if asked and "optical" not in model.inputs:
        raise SarcoverError(
            f"{' and '.join(asked)}: the model has no optical input",
            do="leave it at 0, or choose claire or unet and a store with optical companions",
        )
    if settings.drop_optical + settings.drop_sar > 1:
        raise SarcoverError(
            "drop_optical and drop_sar: no patch loses both",
            expected="at most 1 together",
            got=f"{settings.drop_optical:g} and {settings.drop_sar:g}",
        )


class Validation:
    """Scores the validation split, and keeps the weights if they are the best so far, or each time.

    Weights and their scores are one file, so they always belong together, whenever the run is interrupted.

    Args:
        fabric: where the run computes.
        settings: of the run.
        store: its data.
        run: its folder.
    """

    def __init__(self, fabric: Fabric, settings: FinetuneSettings, store: PatchStore, run: Run) -> None:
        self.fabric = fabric
        self.data = PatchDataset(store, "val")
        self.names = store.meta.legend.names if store.meta.legend else []
        self.batch = settings.batch
        self.always = settings.keep == "last"
        self.run = run

    def __call__(self, model: Segmenter, wrapped: _FabricModule, done: int) -> dict[str, float]:
        """The scores of the current weights, after `done` steps."""
        confusion = score(
            wrapped,
            self.data,
            len(self.names),
            batch=self.batch,
            device=self.fabric.device,
            rank=self.fabric.global_rank,
            world=self.fabric.world_size,
        )
        metrics = scores(across(self.fabric, confusion, "sum"), self.names, "val")
        kept = self.fabric.broadcast(_read_kept(self.run))
        if self.always or kept is None or metrics["miou"] > kept["metrics"]["miou"]:
            weights = whole_weights(self.fabric, model, wrapped, self.run)
            if self.fabric.is_global_zero:
                note = {"step": done, "metrics": metrics}
                with atomic_file(self.run.kept) as temporary:
                    write_tensors(weights, temporary, {"kept": json.dumps(note)})
            self.fabric.barrier()
        return {"val_miou": metrics["miou"], "val_oa": metrics["oa"]}


def _read_kept(run: Run) -> dict[str, Any] | None:
    """`step` and `metrics` of the weights kept so far; None without any."""
    if not run.kept.exists():
        return None
    with safe_open(run.kept, framework="pt") as file:
        note: dict[str, Any] = json.loads(file.metadata()["kept"])
    return note


def _finish(
    settings: FinetuneSettings,
    store: PatchStore,
    run: Run,
    architecture: dict[str, Any],
    weights: dict[str, Tensor],
    steps: int,
) -> dict[str, Any]:
    """Writes the scores, and last the bundle: a run that has one is finished."""
    kept = _read_kept(run)
    if kept is not None:
        with safe_open(run.kept, framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        write_json(run.metrics, kept["metrics"])
    model = build_model(
        **{k: v for k, v in architecture.items() if k != "settings"}, **architecture["settings"]
    )
    model.load_state_dict(weights)
    step, metrics = (kept["step"], kept["metrics"]) if kept else (steps, None)
    write_bundle(run, model, "segmenter", settings, store, step=step, metrics=metrics)
    return {
        "run": str(run.folder),
        "bundle": str(run.bundle),
        "steps": steps,
        "kept_step": step,
        "metrics": metrics,
    }
