"""The stores of specsar_ablation.py and arena.py: a simulated landscape, and TerraMesh's tiles, one left out.

What is in `out` is not made again.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sarcover.config import PrepareSettings, SimulateSettings
from sarcover.patches import prepare
from sarcover.simulate import simulate

PATCH = 128
PATCH_TERRAMESH = 112  # half of a tile's side


def landscape_stores(out: Path, size: int, cloud_cover: float, block: int = 256) -> dict[str, Path]:
    """`both` and `sar`: the same patches of a simulated Sentinel-1 and -2 landscape, partly under cloud."""
    stores = {name: out / f"store_{name}" for name in ("both", "sar")}
    if all(path.exists() for path in stores.values()):
        return stores
    data = simulate(
        SimulateSettings(
            out=str(out / "data"),
            size=size,
            sensor="sentinel",
            optical=True,
            cloud_cover=cloud_cover,
            noise_floor=-24.0,
            overwrite=True,
        )
    )
    both = PrepareSettings(
        out=str(stores["both"]),
        scenes=(str(data / "scenes"),),
        optical=(str(data / "optical"),),
        labels=(str(data / "labels"),),
        legend="jaxa-hrlulc-9",
        patch=PATCH,
        block=block,
        overwrite=True,
    )
    prepare(both)
    prepare(replace(both, out=str(stores["sar"]), optical=()))
    return stores


def terramesh_folds(out: Path, data: Path) -> dict[str, tuple[Path, Path]]:
    """Tile -> (store of the other tiles, store of it). Neither is split: all patches are for training."""
    root = data / "terramesh"
    tiles = [path.stem for path in sorted((root / "LULC").glob("*.tif"))]
    folds = {}
    for tile in tiles:
        others = [name for name in tiles if name != tile]
        stores = out / tile / "others", out / tile / "held_out"
        for store, names in zip(stores, (others, [tile]), strict=True):
            if not store.exists():
                _prepare_tiles(store, root, names)
        folds[tile] = stores
    return folds


def _prepare_tiles(store: Path, root: Path, names: list[str]) -> None:
    files = {
        layer: tuple(str(root / layer / f"{name}.tif") for name in names)
        for layer in ("S1RTC", "S2L2A", "LULC")
    }
    prepare(
        PrepareSettings(
            out=str(store),
            scenes=files["S1RTC"],
            optical=files["S2L2A"],
            labels=files["LULC"],
            legend="terramesh",
            unit="db",
            bands=("VV", "VH"),
            patch=PATCH_TERRAMESH,
            split="none",
        )
    )
