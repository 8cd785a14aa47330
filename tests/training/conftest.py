"""A toy store: three kinds of land, told apart by their backscatter, in patches of 64 px."""

from collections.abc import Callable

import geopandas
import numpy as np
import pytest
import yaml
from shapely.geometry import Polygon

from sarcover.legend import LandClass, Legend
from sarcover.patches import PatchStore, open_store
from sarcover.patches.store import StoreMeta
from sarcover.patches.writer import ShardWriter

PATCH = 64
LEVELS = np.array([-20.0, -13.0, -6.0])  # dB
LEGEND = Legend(
    name="toy",
    title="Toy",
    source="made up",
    classes=(
        LandClass(1, "water", "#0000ff", (1,)),
        LandClass(2, "field", "#ffff00", (2,)),
        LandClass(3, "town", "#ff0000", (3,)),
    ),
)
MakeStore = Callable[..., PatchStore]


def toy_optical(rng: np.random.Generator, label: np.ndarray) -> dict[str, np.ndarray]:
    """Two bands of 8 bits, a block of which is missing."""
    reflectance = np.array([20, 60, 120, 0])[np.minimum(label, 3)] + rng.integers(0, 30, (2, PATCH, PATCH))
    valid = np.ones((PATCH, PATCH), bool)
    valid[:16, :16] = False
    return {"optical": np.where(valid, reflectance, 0).astype(np.uint8), "optical_valid": valid}


def toy_patch(rng: np.random.Generator, bands: int, unit: str, clean: bool) -> dict[str, np.ndarray]:
    label = rng.integers(0, 3, (4, 4)).repeat(16, 0).repeat(16, 1).astype(np.uint8)
    db = LEVELS[label] + rng.normal(0, 1, (bands, PATCH, PATCH))
    valid = np.ones((PATCH, PATCH), bool)
    if not clean:
        valid[: rng.integers(0, 8)] = False
        label[rng.random(label.shape) < 0.1] = 255
    label[~valid] = 255
    sar = np.rint(10 ** ((db + 83) / 20)).astype(np.uint16) if unit == "dn" else db.astype(np.float32)
    return {"sar": np.where(valid, sar, 0).astype(sar.dtype), "valid": valid, "label": label}


@pytest.fixture(scope="session")
def make_store(tmp_path_factory: pytest.TempPathFactory) -> MakeStore:
    """A function that writes a toy store and opens it."""

    def make(
        *,
        train: int = 8,
        val: int = 4,
        test: int = 4,
        bands: tuple[str, ...] = ("HH",),
        unit: str = "dn",
        radiometry: str = "gamma0",
        legend: Legend | None = LEGEND,
        clean: bool = False,
        seed: int = 0,
        optical_seed: int | None = None,  # None: no optical companions
    ) -> PatchStore:
        path = tmp_path_factory.mktemp("toy") / "store"
        rng = np.random.default_rng(seed)
        splits = ["train"] * train + ["val"] * val + ["test"] * test
        dtype = np.uint16 if unit == "dn" else np.float32
        layers = {"sar": ((len(bands), PATCH, PATCH), dtype), "valid": ((PATCH, PATCH), np.bool_)}
        if legend is not None:
            layers["label"] = ((PATCH, PATCH), np.uint8)
        patches = [toy_patch(rng, len(bands), unit, clean) for _ in splits]
        classes = legend.num_classes if legend else 3
        for patch in patches:
            patch["label"] = np.where(patch["label"] == 255, 255, patch["label"] % classes).astype(np.uint8)
        if optical_seed is not None:
            layers |= {"optical": ((2, PATCH, PATCH), np.uint8), "optical_valid": ((PATCH, PATCH), np.bool_)}
            sky = np.random.default_rng(optical_seed)
            patches = [patch | toy_optical(sky, patch["label"]) for patch in patches]
        writer = ShardWriter(path / "shards", layers)
        places = [writer.add({name: patch[name] for name in layers}) for patch in patches]
        fingerprint = writer.close()
        counts = {split: [0] * classes for split in ("train", "val", "test")}
        for split, patch in zip(splits, patches, strict=True):
            counts[split] = [counts[split][k] + int((patch["label"] == k).sum()) for k in range(classes)]
        meta = StoreMeta(
            bands=bands,
            unit=unit,
            calibration_db=-83.0,
            radiometry=radiometry,
            dtype=np.dtype(dtype).name,
            patch=PATCH,
            legend=legend,
            optical_bands=() if optical_seed is None else ("red", "nir"),
            optical_scale=None if optical_seed is None else 255.0,
            optical_dtype=None if optical_seed is None else "uint8",
            statistics={"mean": [-13.0] * len(bands), "std": [6.0] * len(bands)},
            optical_statistics=None if optical_seed is None else {"mean": [0.3, 0.3], "std": [0.15, 0.15]},
            class_counts=counts if legend else {},
            patches={split: splits.count(split) for split in ("train", "val", "test")},
            share_context=False,
            guard=None,
            scenes=[
                {
                    "name": "toy",
                    "shape": [PATCH, PATCH * len(splits)],
                    "transform": [1, 0, 0, 0, 1, 0],
                    "crs": None,
                }
            ],
            shards=writer.shards,
            fingerprint=fingerprint,
            settings={},
            versions={},
        )
        (path / "store.yaml").write_text(yaml.safe_dump(meta.to_dict()))
        index = {"shard": [shard for shard, _ in places], "row": [row for _, row in places], "split": splits}
        index |= {"scene": "toy", "row_off": 0, "col_off": [PATCH * n for n in range(len(splits))]}
        index |= {f"n_{k}": [int((patch["label"] == k).sum()) for patch in patches] for k in range(classes)}
        geopandas.GeoDataFrame(index, geometry=[Polygon()] * len(splits), crs=4326).to_parquet(
            path / "index.parquet"
        )
        return open_store(path)

    return make


@pytest.fixture(scope="session")
def store(make_store: MakeStore) -> PatchStore:
    return make_store()
