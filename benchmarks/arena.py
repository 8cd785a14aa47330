"""Every model on the same store under the same budget: one table, one picture.

    python benchmarks/arena.py --out bench-out/arena --minutes 10            # the simulated landscape
    python benchmarks/arena.py --out bench-out/arena --store STORE --store-sar STORE_SAR --steps 500

Models: unet, swin-upernet, alos2-refined, claire, specsar-former; with radar alone, and with optical where
they take it. Each has its own published loss, the same batch and augmentation, and either --steps steps or
--minutes minutes of training: CPU time on a CPU, time on a GPU; its steps follow from the time of a step,
measured first. CLAIRE's row of radar alone learns and maps without optical; its optical encoder stands
idle.

Columns: mIoU of the test split with its 95 % interval (blocks of ground of the first seed; the range over
seeds beside it, where there are several), IoU of each class, boundary F1 at 2 px, parameters, GFLOPs of a
forward pass of one patch (torch.utils.flop_counter, which counts two FLOPs a multiply-add, the products of
attention too), and images/s in training and mapping, medians of turns that the models take one after
another.

Last comes the forward time of specsar-former (base) beside SegFormer-B2 of the transformers library with
random weights, on the same number of bands, at --side pixels; both end at the resolution of the input. What
is in --out is not computed again.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from torch.nn import functional

from model_costs import gflops, taking_turns, timed_finetune
from rows import once, spread, told
from sarcover.config import EvaluateSettings, FinetuneSettings
from sarcover.losses import cross_entropy
from sarcover.models import Segmenter, build_model
from sarcover.patches import open_store
from sarcover.patches.store import StoreMeta
from sarcover.training import evaluate
from sentinel_stores import landscape_stores

BORDER = "2"  # pixels


@dataclass(frozen=True)
class Entrant:
    """A row of the table: a model with radar alone or with both; settings of its training."""

    title: str
    model: str
    optical: bool
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def learns_from(self) -> str:
        """The store that it is trained on."""
        return "both" if self.optical or self.model == "claire" else "sar"

    @property
    def maps_from(self) -> str:
        """The store that it is scored on."""
        return "both" if self.optical else "sar"


ENTRANTS = {
    "unet-sar": Entrant("U-Net", "unet", False),
    "swin-sar": Entrant("Swin-UPerNet", "swin-upernet", False),
    "alos2-sar": Entrant("ALOS-2 refined", "alos2-refined", False),
    "claire-sar": Entrant("CLAIRE", "claire", False, (("drop_optical", 1.0),)),
    "specsar-sar": Entrant("SpecSAR-Former", "specsar-former", False),
    "unet-both": Entrant("U-Net", "unet", True),
    "claire-both": Entrant("CLAIRE", "claire", True),
    "specsar-both": Entrant("SpecSAR-Former", "specsar-former", True),
}


def new_model(entrant: Entrant, meta: StoreMeta, size: str) -> Segmenter:
    """With random weights, for what the entrant learns from."""
    optical = len(meta.optical_bands) if entrant.learns_from == "both" else 0
    assert meta.legend is not None
    return build_model(
        entrant.model,
        size=size,
        sar_bands=len(meta.bands),
        optical_bands=optical,
        num_classes=meta.legend.num_classes,
        **({"image_size": meta.patch} if entrant.model in ("swin-upernet", "alos2-refined") else {}),
    )


def made_up(meta: StoreMeta, batch: int, optical: bool, device: torch.device) -> dict[str, torch.Tensor]:
    """A batch of the store's shape, of noise."""
    pixels = (batch, meta.patch, meta.patch)
    made = {"sar": torch.randn(batch, len(meta.bands), *pixels[1:], device=device)}
    made["label"] = torch.zeros(pixels, dtype=torch.int64, device=device)
    if optical:
        made["optical"] = torch.rand(batch, len(meta.optical_bands), *pixels[1:], device=device)
    return made


def costs(metas: dict[str, StoreMeta], out: Path, args: Any) -> dict[str, dict[str, float]]:
    """Of each entrant: parameters, GFLOPs of a patch, images/s in training and mapping."""
    path = out / "costs.json"
    known: dict[str, dict[str, float]] = json.loads(path.read_text()) if path.exists() else {}
    wanted = [key for key in args.rows if key not in known]
    if not wanted:
        return known
    device = torch.device(args.device)
    models = {key: new_model(ENTRANTS[key], metas["both"], args.size).to(device) for key in wanted}
    batches = {key: made_up(metas["both"], args.batch, ENTRANTS[key].optical, device) for key in wanted}

    def step(key: str) -> None:
        model = models[key].train()
        optimiser = torch.optim.AdamW(model.parameters(), 1e-6)
        cross_entropy(model(batches[key]), batches[key]["label"]).backward()
        optimiser.step()

    @torch.inference_mode()
    def forward(key: str) -> None:
        models[key].eval()(batches[key])

    training = taking_turns({key: lambda key=key: step(key) for key in wanted}, args.turns, device)
    mapping = taking_turns({key: lambda key=key: forward(key) for key in wanted}, args.turns, device)
    for key in wanted:
        one = {name: values[:1] for name, values in batches[key].items()}
        known[key] = {
            "parameters": sum(p.numel() for p in models[key].parameters()),
            "gflops": gflops(lambda key=key, one=one: models[key].eval()(one)),  # type: ignore[misc]
            "training_images_per_second": args.batch / training[key],
            "mapping_images_per_second": args.batch / mapping[key],
        }
    path.write_text(json.dumps(known, indent=1))
    return known


def steps_of(cost: dict[str, float], args: Any) -> int:
    """The entrant's steps: as said, or as many as the minutes allow."""
    if args.steps:
        return int(args.steps)
    return max(math.floor(args.minutes * 60 * cost["training_images_per_second"] / args.batch), 1)


def train_and_score(
    key: str, seed: int, steps: int, stores: dict[str, Path], out: Path, args: Any
) -> dict[str, Any]:
    """One training with its scores on the test split; those that are there are read."""
    run = out / f"{key}-{seed}"
    return once(
        run / "arena.json",
        lambda: _train_and_score(ENTRANTS[key], seed, steps, stores, run, args),
        told(args, "size", "minutes", "steps", "batch", "rate", "precision", "landscape_size", "cloud_cover"),
    )


def _train_and_score(
    entrant: Entrant, seed: int, steps: int, stores: dict[str, Path], run: Path, args: Any
) -> dict[str, Any]:
    cost = timed_finetune(
        FinetuneSettings(
            data=str(stores[entrant.learns_from]),
            out=str(run),
            model=entrant.model,  # type: ignore[arg-type]
            size=args.size,
            steps=steps,
            batch=args.batch,
            learning_rate=args.rate,
            validations=0,
            keep="last",
            seed=seed,
            device=args.device,
            precision=args.precision,
            overwrite=True,
            **dict(entrant.settings),
        )
    )
    result = {
        "steps": steps,
        **cost,
        "test": evaluate(
            EvaluateSettings(
                model=str(run), data=str(stores[entrant.maps_from]), out=str(run / "test.json"),
                device=args.device, overwrite=True,
            )
        ),
    }  # fmt: skip
    print(f"{run.name}: test mIoU {result['test']['miou']:.3f}, {steps} steps", flush=True)
    return result


def table(results: dict[str, list[dict[str, Any]]], cost: dict[str, dict[str, float]]) -> str:
    """One row an entrant."""
    classes = [row["name"] for row in next(iter(results.values()))[0]["test"]["classes"]]
    head = [
        "model", "inputs", "mIoU", "95 % interval", "boundary F1", "parameters, M", "GFLOPs", "steps",
        "CPU min", "training, images/s", "mapping, images/s", *classes,
    ]  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for key, runs in results.items():
        first, of = runs[0]["test"], cost[key]
        interval = first["miou_ci95"]
        cells = [
            ENTRANTS[key].title,
            "both" if ENTRANTS[key].optical else "radar",
            spread([run["test"]["miou"] for run in runs]),
            f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else "-",
            spread([run["test"]["boundary"]["f1"][BORDER] for run in runs]),
            f"{of['parameters'] / 1e6:.2f}",
            f"{of['gflops']:.2f}",
            f"{runs[0]['steps']}",
            f"{np.mean([run['cpu_seconds'] for run in runs]) / 60:.1f}",
            f"{of['training_images_per_second']:.1f}",
            f"{of['mapping_images_per_second']:.1f}",
        ]
        for k in range(len(classes)):
            cells.append(spread([run["test"]["classes"][k]["iou"] for run in runs], brief=True))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def picture(results: dict[str, list[dict[str, Any]]], cost: dict[str, dict[str, float]], out: Path) -> None:
    """Accuracy over the time of a patch in mapping; areas go with the number of parameters."""
    figure, axis = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for key, runs in results.items():
        miou = [run["test"]["miou"] for run in runs]
        x = 1000 / cost[key]["mapping_images_per_second"]
        colour = "C0" if ENTRANTS[key].optical else "C1"
        axis.scatter(x, np.mean(miou), s=20 * cost[key]["parameters"] / 1e6 + 10, color=colour, alpha=0.6)
        axis.vlines(x, min(miou), max(miou), color=colour)
        axis.annotate(
            ENTRANTS[key].title, (x, np.mean(miou)), xytext=(6, 4), textcoords="offset points", size=8
        )
    for colour, label in (("C0", "radar and optical"), ("C1", "radar")):
        axis.scatter([], [], color=colour, alpha=0.6, label=label)
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter("{x:g}")
    axis.tick_params(axis="x", which="both", length=4)
    axis.margins(x=0.15)
    axis.set(xlabel="mapping, ms a patch (CPU time on a CPU)", ylabel="test mIoU (mean and range over seeds)")
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
    figure.savefig(out, dpi=150)
    plt.close(figure)


@torch.inference_mode()
def beside_segformer(args: Any) -> dict[str, Any]:
    """Forward time of specsar-former and of SegFormer-B2 on 2 + 12 bands."""
    import transformers

    device = torch.device(args.device)
    ours = build_model("specsar-former", size="base", sar_bands=2, optical_bands=12, num_classes=9)
    plan = transformers.SegformerConfig(
        num_channels=14,
        depths=[3, 4, 6, 3],
        hidden_sizes=[64, 128, 320, 512],
        decoder_hidden_size=768,
        num_labels=9,
    )
    theirs = transformers.SegformerForSemanticSegmentation(plan)
    for model in (ours, theirs):
        model.to(device).eval()
    size = (args.side, args.side)
    batch = {
        "sar": torch.randn(1, 2, *size, device=device),
        "optical": torch.rand(1, 12, *size, device=device),
    }
    pixels = torch.cat(list(batch.values()), 1)

    def segformer() -> torch.Tensor:
        return functional.interpolate(theirs(pixels).logits, size, mode="bilinear")

    jobs = {"specsar-former": lambda: ours(batch), "SegFormer-B2": segformer}
    seconds = taking_turns(jobs, args.turns, device)
    found = {}
    for key, job in jobs.items():
        parameters = sum(p.numel() for p in (theirs if key == "SegFormer-B2" else ours).parameters())
        found[key] = {
            "seconds": seconds[key],
            "gflops": gflops(job),
            "parameters": parameters,
        }
    return {"side": args.side, "threads": torch.get_num_threads(), "device": device.type, **found}


def segformer_table(found: dict[str, Any]) -> str:
    """One row a model."""
    lines = [
        f"Forward pass of one image of {found['side']} px, {found['device']}, {found['threads']} threads:",
        "",
        "| model | parameters, M | GFLOPs | ms |",
        "|---|---|---|---|",
    ]
    for key in ("specsar-former", "SegFormer-B2"):
        of = found[key]
        lines.append(
            f"| {key} | {of['parameters'] / 1e6:.2f} | {of['gflops']:.1f} | {1000 * of['seconds']:.0f} |"
        )
    return "\n".join(lines)


def parser() -> argparse.ArgumentParser:
    """The flags."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--out", type=Path, default=Path("bench-out/arena"))
    flags.add_argument("--store", type=Path, help="of radar and optical, instead of the landscape's")
    flags.add_argument("--store-sar", type=Path, help="the same patches without optical")
    flags.add_argument("--rows", nargs="+", choices=list(ENTRANTS), default=list(ENTRANTS))
    flags.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    flags.add_argument("--size", default="tiny")
    budget = flags.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=float, default=5.0, help="of training, for each")
    budget.add_argument("--steps", type=int, help="of training, for each")
    flags.add_argument("--batch", type=int, default=8)
    flags.add_argument("--rate", type=float, default=1e-3)
    flags.add_argument("--landscape-size", type=int, default=2048)
    flags.add_argument("--cloud-cover", type=float, default=0.3)
    flags.add_argument("--turns", type=int, default=5)
    flags.add_argument(
        "--side", type=int, default=512, help="of the image beside SegFormer-B2; 0 leaves it out"
    )
    flags.add_argument("--device", default="cpu")
    flags.add_argument("--precision", default="float32")
    return flags


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse_args(argv)
    if (args.store is None) != (args.store_sar is None):
        raise SystemExit("--store and --store-sar go together")
    args.out.mkdir(parents=True, exist_ok=True)
    stores = {"both": args.store, "sar": args.store_sar}
    if args.store is None:
        stores = landscape_stores(args.out, args.landscape_size, args.cloud_cover)
    metas = {name: open_store(path).meta for name, path in stores.items()}
    if metas["both"].class_counts != metas["sar"].class_counts:
        raise SystemExit("the two stores differ in their labels")
    cost = costs(metas, args.out, args)
    results = {
        key: [
            train_and_score(key, seed, steps_of(cost[key], args), stores, args.out, args)
            for seed in args.seeds
        ]
        for key in args.rows
    }
    picture(results, cost, args.out / "arena.png")
    text = [table(results, cost)]
    found: dict[str, Any] = {"costs": cost, "results": results}
    if args.side:
        found["segformer"] = beside_segformer(args)
        text.append(segformer_table(found["segformer"]))
    found["arguments"] = {key: str(value) for key, value in vars(args).items()}
    (args.out / "arena.json").write_text(json.dumps(found, indent=1))
    (args.out / "arena.md").write_text("\n\n".join(text) + "\n")
    print("\n\n".join(text))


if __name__ == "__main__":
    main()
