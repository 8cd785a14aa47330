"""The README picture from a demo folder: demo_picture.py demo docs/images/demo.png"""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.patches import Patch

from sarcover.assessment import map_panel, radar_panel, reference_panel
from sarcover.legend import load_legend
from sarcover.scene import open_scene


def main(demo: Path, out: Path) -> None:
    """Radar, reference and map side by side, with the legend."""
    (scene_path,), (labels,) = (sorted((demo / "data" / name).glob("*.tif")) for name in ("scenes", "labels"))
    legend, scene = load_legend("jaxa-hrlulc-9"), open_scene(scene_path)
    panels = [radar_panel(scene), reference_panel(scene, labels, legend), map_panel(demo / "map.tif", legend)]
    figure, axes = plt.subplots(1, 3, figsize=(12, 5.9), dpi=110, layout="constrained")
    for axis, panel in zip(axes, panels, strict=True):
        axis.imshow(plt.imread(BytesIO(panel.png)), aspect=panel.ground[0] / panel.ground[1])
        axis.set_title(panel.title, fontsize=12)
        axis.axis("off")
    swatches = [
        Patch(facecolor=colour, edgecolor="#555", label=name)
        for name, colour in zip(legend.names, legend.colours, strict=True)
    ]
    figure.legend(
        handles=swatches,
        loc="outside lower center",
        ncols=9,
        frameon=False,
        fontsize=10,
        handlelength=1.1,
        columnspacing=1.2,
    )
    figure.savefig(out, facecolor="white")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
