"""The pictures of benchmarks/ablation.py: like Figs. 2 to 4 of arXiv 2601.15705."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.patches import Patch

from sarcover.assessment import map_panel, radar_panel
from sarcover.assessment.pictures import class_panel
from sarcover.bundle import load_model
from sarcover.legend import load_legend
from sarcover.models import class_logits
from sarcover.patches import open_store
from sarcover.scene import OnGrid, open_scene
from sarcover.training.data import PatchDataset, to_device_batch

SHOWN = 4  # patches


def curves(runs: dict[str, Path], out: Path, title: str) -> None:
    """Validation mIoU over the steps, a line a run (Fig. 2)."""
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for name, run in runs.items():
        with (run / "logs" / "metrics.csv").open() as source:
            rows = [row for row in csv.DictReader(source) if row.get("val_miou")]
        axes.plot(
            [int(row["step"]) for row in rows],
            [float(row["val_miou"]) for row in rows],
            "o-",
            ms=3,
            label=name,
        )
    axes.set(xlabel="step", ylabel="validation mIoU", title=title)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(out, dpi=130)
    plt.close(figure)


@torch.inference_mode()
def panels(runs: dict[str, Path], store_path: Path, out: Path, device: str) -> None:
    """Full test patches of many classes: radar, reference, and what each run makes of them (Fig. 3)."""
    store = open_store(store_path)
    data = PatchDataset(store, "test")
    legend = store.meta.legend
    if legend is None:
        raise ValueError(f"{store_path} has no labels")
    rows = store.index.iloc[data.positions]
    present = sum((rows[f"n_{k}"] > 0).to_numpy().astype(int) for k in range(legend.num_classes))
    chosen = np.argsort(-present * rows["labelled_share"].to_numpy(), kind="stable")[:SHOWN]
    where = torch.device(device)
    batch = to_device_batch(data.stack(chosen.tolist()), store.meta, where)
    unlabelled = (batch["label"] == 255).cpu().numpy()
    columns: dict[str, Any] = {
        "reference": np.where(unlabelled, legend.num_classes, batch["label"].cpu().numpy())
    }
    for name, run in runs.items():
        model = load_model(run).to(where).eval()
        predicted = class_logits(model(batch)).argmax(1).cpu().numpy()
        columns[name] = np.where(~batch["valid"].cpu().numpy(), legend.num_classes, predicted)
    colours = ListedColormap([*legend.colours, "#ffffff"])
    norm = BoundaryNorm(np.arange(legend.num_classes + 2) - 0.5, colours.N)
    figure, axes = plt.subplots(
        len(chosen), len(columns) + 1, figsize=(2 * len(columns) + 2, 2 * len(chosen) + 1), squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for line, radar in zip(axes, batch["sar"][:, 0].cpu().numpy(), strict=True):
        low, high = np.nanpercentile(radar, (2, 98))
        line[0].imshow(radar, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    for place, (name, classes) in enumerate(columns.items(), start=1):
        axes[0, place].set_title(name, fontsize=7)
        for line, patch in zip(axes[:, place], classes, strict=True):
            line.imshow(patch, cmap=colours, norm=norm, interpolation="nearest")
    axes[0, 0].set_title(f"radar, {store.meta.bands[0]}", fontsize=7)
    for axis in axes.flat:
        axis.set_axis_off()
    handles = [
        Patch(color=colour, label=name) for name, colour in zip(legend.names, legend.colours, strict=True)
    ]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=min(2 + len(columns), len(handles)), fontsize=7,
        frameon=False,
    )  # fmt: skip
    figure.savefig(out, dpi=150)
    plt.close(figure)


def triptych(scene_path: str, map_path: Path, labels: Sequence[Path], legend_name: str, out: Path) -> None:
    """A whole scene: radar, map and reference (Fig. 4)."""
    scene, legend = open_scene(scene_path), load_legend(legend_name)
    grid = OnGrid([str(path) for path in labels], scene.crs, scene.transform, scene.shape)
    reference = class_panel(
        "Reference", "", lambda window: legend.encode(grid.read(window)), legend, scene.shape, scene.crs,
        scene.transform,
    )  # fmt: skip
    shown = (radar_panel(scene), map_panel(map_path, legend), reference)
    figure, axes = plt.subplots(1, 3, figsize=(15, 5.6), layout="constrained")
    for axis, panel, name in zip(axes, shown, ("radar", "map", "reference"), strict=True):
        axis.imshow(plt.imread(BytesIO(panel.png), format="png"), interpolation="nearest")
        axis.set_title(name)
        axis.set_axis_off()
    handles = [
        Patch(color=colour, label=name) for name, colour in zip(legend.names, legend.colours, strict=True)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    figure.savefig(out, dpi=110)
    plt.close(figure)
