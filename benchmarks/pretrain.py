"""Pretraining steps on the CPU: sarcover against dense masked attention, A B A B in one run.

    python benchmarks/pretrain.py --size base --batch 16 --rounds 3

A step is forward, backward and optimiser. Both sides hold the same weights and see the same images and mask;
loss and gradients of the first step are compared. `attention` times the attention of all encoder blocks
alone, forward and backward, between their two linear layers. Each peak of memory is that of a process of its
own that does one step; the process that holds the clock holds both models. The baseline is the plain
transcription of benchmarks/dense_mixmae.py. Prints a table; --out writes the figures as JSON.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dense_mixmae import DenseMixMAE, cut, paste
from sarcover.models.mixmim import SarWMixMAE, encoder_settings
from sarcover.radar import sar_weights

IMAGE = 256


class Ours:
    """sarcover's model on the batch."""

    def __init__(self, arguments: argparse.Namespace, data: dict[str, Tensor]) -> None:
        self.model = new_model(arguments)
        self.data = data
        # `fused` is one pass over the weights; the baseline has PyTorch's default.
        self.optimiser = torch.optim.AdamW(_trainable(self.model), lr=1e-4, betas=(0.9, 0.95), fused=True)

    def loss(self) -> Tensor:
        """Of one forward pass."""
        batch = {"sar": self.data["sar"], "valid": self.data["valid"]}
        loss: Tensor = self.model(batch, self.data["mask"])["loss"]
        return loss


class Dense:
    """The plain transcription on the same batch."""

    def __init__(self, arguments: argparse.Namespace, data: dict[str, Tensor]) -> None:
        settings = encoder_settings(arguments.size)
        ours = new_model(arguments)
        self.model = DenseMixMAE(IMAGE, 1, **settings)
        state = {key: value for key, value in ours.state_dict().items() if not key.startswith("sar_norm.")}
        self.model.load_state_dict(state)
        self.data = data
        self.optimiser = torch.optim.AdamW(_trainable(self.model), lr=1e-4, betas=(0.9, 0.95))

    def loss(self) -> Tensor:
        """Of one forward pass."""
        sar = self.data["sar"]
        weights = sar_weights(sar)  # all of it is valid
        loss: Tensor = self.model(sar, weights, self.data["mask"].to(sar.dtype))
        return loss


SIDES = {"dense": Dense, "sarcover": Ours}


def new_model(arguments: argparse.Namespace) -> SarWMixMAE:
    """The same weights each time; input is taken as it is, mean 0 and deviation 1."""
    torch.manual_seed(0)
    return SarWMixMAE(IMAGE, 1, **encoder_settings(arguments.size))


def _trainable(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def new_data(batch: int) -> dict[str, Tensor]:
    """Speckle, and half of the cells taken from the partner."""
    generator = torch.Generator().manual_seed(1)
    cells = (IMAGE // 32) ** 2
    chosen = torch.randperm(cells, generator=generator)[: cells // 2]
    mask = torch.zeros(cells, dtype=torch.bool).index_fill(0, chosen, True)
    return {
        "sar": torch.randn(batch, 1, IMAGE, IMAGE, generator=generator),
        "valid": torch.ones(batch, IMAGE, IMAGE, dtype=torch.bool),
        "mask": mask.view(IMAGE // 32, IMAGE // 32),
    }


def step(side: Any, precision: str) -> dict[str, float]:
    """Seconds of one step's parts."""
    marks = [time.perf_counter()]
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        loss = side.loss()
    marks.append(time.perf_counter())
    loss.backward()
    marks.append(time.perf_counter())
    side.optimiser.step()
    side.optimiser.zero_grad(set_to_none=True)
    marks.append(time.perf_counter())
    parts = ("forward", "backward", "optimiser")
    return {
        **{name: b - a for name, a, b in zip(parts, marks, marks[1:], strict=False)},
        "step": marks[-1] - marks[0],
    }


def compare(dense: Dense, ours: Ours) -> dict[str, float]:
    """Largest relative difference of loss and gradients, the same weights on both sides."""
    losses = []
    for side in (dense, ours):
        loss = side.loss()
        loss.backward()
        losses.append(loss.item())
    theirs = {name: parameter.grad for name, parameter in dense.model.named_parameters()}
    worst = 0.0
    for name, parameter in ours.model.named_parameters():
        reference = theirs[name]
        if reference is not None and parameter.grad is not None:
            worst = max(worst, ((parameter.grad - reference).abs().max() / reference.abs().max()).item())
    for side in (dense, ours):
        side.model.zero_grad(set_to_none=True)
    return {"loss": abs(losses[1] - losses[0]) / abs(losses[0]), "gradients": worst}


def attention_alone(arguments: argparse.Namespace, mask: Tensor) -> dict[str, Callable[[], None]]:
    """For each side, all encoder blocks' attention forward and backward, from queries, keys and values."""
    from sarcover.models import sliced
    from sarcover.models.sliced import Segments
    from sarcover.models.token_plan import masked_plan

    settings = encoder_settings(arguments.size)
    dense = DenseMixMAE(IMAGE, 1, **settings).encoder
    ours = new_model(arguments).encoder
    plan = masked_plan(ours.grid, ours.windows, mask[None], arguments.batch, apart=True, device=mask.device)

    tokens = [arguments.batch * (ours.grid[0] >> stage) ** 2 for stage in range(4)]
    inputs = [torch.randn(n, 3 * (ours.embed_dim << i), requires_grad=True) for i, n in enumerate(tokens)]
    above = [torch.randn(n, ours.embed_dim << i) for i, n in enumerate(tokens)]

    def dense_pass() -> None:
        for stage, layer in enumerate(dense.layers):
            side, window = dense.side >> stage, ours.windows[stage]
            factor = side // mask.shape[0]
            fine = mask.float().repeat_interleave(factor, 0).repeat_interleave(factor, 1).view(1, -1, 1)
            qkv = inputs[stage].view(arguments.batch, side * side, -1)
            for block in layer.blocks:
                windows = cut(fine.expand(arguments.batch, -1, -1), side, window)
                attended = paste(block.attn.core(cut(qkv, side, window), windows), side, window)
                attended.backward(above[stage].view_as(attended))

    def our_pass() -> None:
        for stage, layer in enumerate(ours.layers):
            groups = plan[stage].groups
            segments = [Segments(g.start, g.rows, g.copies, g.length) for g in groups]
            qkv = inputs[stage].unflatten(1, (3, settings["heads"][stage], -1))
            for block in layer.blocks:
                biases = [block.attn._bias(group) for group in groups]
                attended = sliced.attention(qkv, segments, biases)
                attended.backward(above[stage].view_as(attended))

    return {"dense": dense_pass, "sarcover": our_pass}


def alternate(runs: dict[str, Callable[[], dict[str, float]]], rounds: int) -> dict[str, dict[str, float]]:
    """Each in turn, `rounds` times after one round to warm up: the median of each figure."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            figures = run()
            if turn:
                found[name].append(figures)
                print(f"round {turn} {name}: {figures}", file=sys.stderr)
    return {
        name: {key: statistics.median(figures[key] for figures in rows) for key in rows[0]}
        for name, rows in found.items()
    }


def peak_memory(name: str, arguments: argparse.Namespace) -> float:
    """GiB resident at the most in a process that does one step."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_one_step, (name, arguments))


def _one_step(name: str, arguments: argparse.Namespace) -> float:
    torch.set_num_threads(arguments.threads)
    step(SIDES[name](arguments, new_data(arguments.batch)), "float32")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def timed(run: Callable[[], None]) -> dict[str, float]:
    """Seconds of a call."""
    start = time.perf_counter()
    run()
    return {"attention": time.perf_counter() - start}


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """All figures."""
    data = new_data(arguments.batch)
    memory = {name: peak_memory(name, arguments) for name in SIDES}
    attention = {name: partial(timed, run) for name, run in attention_alone(arguments, data["mask"]).items()}
    result: dict[str, Any] = {
        "settings": {
            "size": arguments.size, "image": IMAGE, "batch": arguments.batch, "rounds": arguments.rounds,
            "threads": arguments.threads, "torch": torch.__version__,
        },
        "peak_gib": memory,
        "attention": alternate(attention, arguments.rounds),
    }  # fmt: skip
    dense, ours = Dense(arguments, data), Ours(arguments, data)
    result["difference"] = compare(dense, ours)
    for precision in arguments.precision:
        runs = {name: partial(step, side, precision) for name, side in (("dense", dense), ("sarcover", ours))}
        result[precision] = alternate(runs, arguments.rounds)
    return result


def table(result: dict[str, Any]) -> str:
    """The figures as Markdown."""
    lines = ["| | dense | sarcover | ratio |", "|---|---|---|---|"]
    rows = [("attention alone, s", *(result["attention"][name]["attention"] for name in SIDES))]
    for precision in ("float32", "bf16"):
        if precision in result:
            for part in ("forward", "backward", "optimiser", "step"):
                rows.append((f"{precision} {part}, s", *(result[precision][name][part] for name in SIDES)))
    rows.append(("peak memory of one step, GiB", *(result["peak_gib"][name] for name in SIDES)))
    lines += [f"| {name} | {a:.3f} | {b:.3f} | {b / a:.3f} |" for name, a, b in rows]
    difference = result["difference"]
    lines.append(
        f"\nrelative difference: loss {difference['loss']:.1e}, gradients {difference['gradients']:.1e}"
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", default="base", choices=("tiny", "small", "base"))
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--precision", nargs="+", default=["float32", "bf16"], choices=("float32", "bf16"))
    parser.add_argument("--out", type=Path, help="write the figures here, as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    result = measure(arguments)
    print(table(result))
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
