"""The training loop, for pretraining and finetuning.

    for each step:  patches -> batch of dB -> loss -> gradients -> AdamW
    now and then:   look at the model (validate, draw pictures), write a checkpoint

Everything random in a step follows from (seed, step, process), so a checkpoint holds weights, optimiser and
step, and a run that was killed computes the very same numbers when it goes on.

Several processes share each batch: a loss that is a function of the whole batch, as those of `losses` and of
pretraining are, makes them compute what one process would with all of it. BatchNorm (`models.batch_norm`),
too, takes its statistics over all of it. In pretraining each process pairs its own images, and hides cells of
its own choice.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from lightning.fabric.strategies.fsdp import FSDPStrategy
from lightning.fabric.wrappers import _FabricModule, _FabricOptimizer
from torch import Tensor, nn

from sarcover.config import FinetuneSettings, PretrainSettings
from sarcover.errors import SarcoverError
from sarcover.files import atomic_file
from sarcover.training.augment import augment, draw_orientations
from sarcover.training.augment_jitter import draw_jitter, jitter_of, jittered
from sarcover.training.clouds import draw_weather, weather
from sarcover.training.data import Batch, PatchDataset, step_batches, to_device_batch
from sarcover.training.devices import across
from sarcover.training.journal import Journal
from sarcover.training.optimisation import Average, learning_rate, set_learning_rate
from sarcover.training.run import Run, TrainSettings
from sarcover.training.seeds import Draw, derive

FETCH_EVERY = 10  # steps between looks at the loss on a GPU: each look waits for it


@dataclass(frozen=True)
class Task:
    """What pretraining and finetuning do differently.

    Attributes:
        title: what the progress bar says.
        model: what is trained.
        loss: of the model (as Fabric wraps it) on this process's part of a batch; a scalar. Gradients are
            averaged over the processes.
        groups: parameter groups with `rate_scale`.
        betas: of AdamW.
        peak_rate, min_rate: learning rate after the warm-up and at the end.
        looks: how many times over the run the model is looked at.
        look: gets the model in eval mode, with averaged weights if there are any, and the number of steps
            done; returns columns for the table. All processes call it.
    """

    title: str
    model: nn.Module
    loss: Callable[[_FabricModule, Batch], Tensor]
    groups: list[dict[str, Any]]
    betas: tuple[float, float]
    peak_rate: float
    min_rate: float
    looks: int
    look: Callable[[_FabricModule, int], dict[str, float]]


def patches_per_step(settings: TrainSettings, processes: int) -> int:
    """The global batch: patches that one step of the optimiser sees."""
    return settings.batch * settings.accumulate * processes


def total_steps(settings: TrainSettings, patches: int, processes: int) -> int:
    """Length of the run in optimiser steps."""
    return settings.steps or max(settings.epochs * patches // patches_per_step(settings, processes), 1)


def train(
    fabric: Fabric, settings: TrainSettings, task: Task, data: PatchDataset, run: Run
) -> dict[str, Tensor]:
    """Trains from the run's last checkpoint, or from the start, to the end.

    Returns:
        The final weights, whole (averaged if the settings say so).

    Raises:
        SarcoverError: the loss or the weights are no longer finite.
    """
    total = total_steps(settings, len(data), fabric.world_size)
    device = fabric.device
    adamw = torch.optim.AdamW(task.groups, lr=0.0, betas=task.betas, fused=device.type in ("cpu", "cuda"))
    compiled: Any = torch.compile(task.model) if getattr(settings, "compile", False) else task.model
    model, optimizer = fabric.setup(compiled, adamw)
    average = Average(task.model, adamw, settings.ema)
    done = _load(fabric, run, model, optimizer, average)
    with _journal(fabric, settings, task, run, total, done) as journal:
        books = _Books(fabric, journal, settings, len(data))
        batches = _batches(fabric, settings, data, range(done, total))
        looks = {math.ceil(total * (k + 1) / task.looks) for k in range(task.looks)}
        saved = time.monotonic()
        model.train()
        for step in range(done, total):
            rate = learning_rate(
                step, total=total, warmup=settings.warmup * total, peak=task.peak_rate, minimum=task.min_rate
            )
            set_learning_rate(adamw, rate)
            loss = _step(fabric, settings, task, model, optimizer, batches, step)
            average.update(step + 1)
            look, last = step + 1 in looks, step + 1 == total
            books.enter(step + 1, loss, rate, _look(task, model, average, step + 1) if look else {})
            if look or last or device.type == "cpu" or (step + 1) % FETCH_EVERY == 0:
                books.close()
                due = time.monotonic() - saved >= 60 * settings.checkpoint_minutes
                if last or fabric.broadcast(due):
                    _save(fabric, run, model, optimizer, average, step + 1)
                    saved = time.monotonic()
    with average.used():
        return whole_weights(fabric, task.model, model, run)


def _step(
    fabric: Fabric,
    settings: TrainSettings,
    task: Task,
    model: _FabricModule,
    optimizer: _FabricOptimizer,
    batches: Iterator[Batch],
    step: int,
) -> Tensor:
    """One step of the optimiser; the loss of this process's part of the global batch."""
    total = torch.zeros((), device=fabric.device)
    for part in range(settings.accumulate):
        batch = next(batches)
        torch.manual_seed(derive(settings.seed, Draw.STEP, step, fabric.global_rank, part))
        with fabric.no_backward_sync(model, enabled=part < settings.accumulate - 1):
            loss = task.loss(model, batch) / settings.accumulate
            fabric.backward(loss)
        total += loss.detach()
    if settings.clip:
        fabric.clip_gradients(model, optimizer, max_norm=settings.clip, error_if_nonfinite=False)
    optimizer.step()
    optimizer.zero_grad()
    return total


def _batches(fabric: Fabric, settings: TrainSettings, data: PatchDataset, steps: range) -> Iterator[Batch]:
    """The batches of this process, on its device, augmented as the settings say."""
    seed, batch, accumulate = settings.seed, settings.batch, settings.accumulate
    rank, world = fabric.global_rank, fabric.world_size
    jitter = jitter_of(settings, data.store.meta)
    on_host = step_batches(
        data,
        steps,
        seed=seed,
        batch=batch,
        accumulate=accumulate,
        rank=rank,
        world=world,
        pin=fabric.device.type == "cuda",
        paired=isinstance(settings, PretrainSettings),
    )
    for step in steps:
        count = batch * accumulate * world
        drawn = (
            draw_orientations(seed, step, count, settings.turns),
            draw_weather(seed, step, count),
            draw_jitter(seed, step, count),
        )
        parts = (each[rank::world].reshape(accumulate, batch) for each in drawn)
        for part, sky, seeds in zip(*parts, strict=True):
            samples = to_device_batch(next(on_host), data.store.meta, fabric.device)
            samples = jittered(samples, seeds, jitter)
            samples = augment(samples, part) if settings.augment else samples
            yield _under_weather(settings, samples, sky)


def _under_weather(settings: TrainSettings, batch: Batch, seeds: Iterable[int]) -> Batch:
    """The batch with the clouds and withheld modalities that the settings ask for."""
    if isinstance(settings, FinetuneSettings):
        shares = {name: getattr(settings, name) for name in ("cloud", "drop_optical", "drop_sar")}
        if any(shares.values()):
            return weather(batch, seeds, **shares)
    return batch


def _look(task: Task, model: _FabricModule, average: Average, done: int) -> dict[str, float]:
    model.eval()
    with torch.no_grad(), average.used():
        seen = task.look(model, done)
    model.train()
    return seen


class _Books:
    """Steps whose loss is still on the device; closing the books fetches, checks and writes them."""

    def __init__(
        self, fabric: Fabric, journal: Journal | None, settings: TrainSettings, patches: int
    ) -> None:
        self.fabric = fabric
        self.journal = journal
        self.epochs_per_step = patches_per_step(settings, fabric.world_size) / patches
        self.rows: list[dict[str, Any]] = []
        self.losses: list[Tensor] = []

    def enter(self, step: int, loss: Tensor, rate: float, seen: dict[str, float]) -> None:
        epoch = round(step * self.epochs_per_step, 4)
        self.rows.append({"step": step, "epoch": epoch, "learning_rate": rate, **seen})
        self.losses.append(loss)

    def close(self) -> None:
        # The mean over processes is not finite if one of them is not: so all of them stop.
        losses = across(self.fabric, torch.stack(self.losses), "mean").tolist()
        for row, loss in zip(self.rows, losses, strict=True):
            if not math.isfinite(loss):
                raise _not_finite("the loss", loss, row["step"])
            row["loss"] = loss
        if self.journal is not None:
            self.journal.write(self.rows)
        self.rows, self.losses = [], []


def _not_finite(what: str, value: float, step: int) -> SarcoverError:
    return SarcoverError(
        f"{what} is not finite at step {step}",
        got=str(value),
        do="begin anew (--overwrite) with a lower learning rate, with --clip 1 or with --precision float32",
    )


def _journal(
    fabric: Fabric, settings: TrainSettings, task: Task, run: Run, total: int, done: int
) -> AbstractContextManager[Journal | None]:
    """The first process keeps the journal."""
    if not fabric.is_global_zero:
        return nullcontext()
    return Journal(task.title, run.logs, total, done, tensorboard=settings.logger == "tensorboard")


def _save(
    fabric: Fabric, run: Run, model: _FabricModule, optimizer: _FabricOptimizer, average: Average, done: int
) -> None:
    """Writes last.ckpt: one file, so that weights, optimiser and step always belong together."""
    finite = torch.stack([weights.detach().isfinite().all() for weights in model.parameters()]).all()
    if across(fabric, finite.float(), "mean") < 1:
        raise _not_finite("a weight", math.nan, done)
    where: AbstractContextManager[Path] = (
        atomic_file(run.last) if fabric.is_global_zero else nullcontext(run.last)
    )
    with where as path:
        fabric.save(path, _state(model, optimizer, average, done))


def _load(
    fabric: Fabric, run: Run, model: _FabricModule, optimizer: _FabricOptimizer, average: Average
) -> int:
    """Restores last.ckpt if there is one; the number of steps done."""
    if not run.last.exists():
        return 0
    state = _state(model, optimizer, average, 0)
    try:
        fabric.load(run.last, state, weights_only=True)
    except Exception as error:  # whatever a broken file makes torch raise
        raise SarcoverError(
            f"{run.last} cannot be read ({error})", do="add --overwrite to begin the run anew"
        ) from error
    average.buffers = {name: value.to(fabric.device) for name, value in state.get("buffers", {}).items()}
    return int(state["step"])


def _state(model: _FabricModule, optimizer: _FabricOptimizer, average: Average, done: int) -> dict[str, Any]:
    """What a checkpoint holds."""
    state: dict[str, Any] = {"model": model, "optimizer": optimizer, "step": done}
    return state | ({"buffers": average.buffers} if average.decay else {})


def whole_weights(fabric: Fabric, model: nn.Module, wrapped: _FabricModule, run: Run) -> dict[str, Tensor]:
    """All weights and buffers, on the host of the first process. All processes call this."""
    if not isinstance(fabric.strategy, FSDPStrategy):
        return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
    path = run.last.with_name(".weights.part.ckpt")  # no process holds them all but while a file is written
    fabric.save(path, {"model": wrapped})
    if not fabric.is_global_zero:
        return {}
    weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)["model"]
    path.unlink()
    return weights
