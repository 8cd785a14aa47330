"""The numbers of the authors' code: one deterministic case, parameter counts, names, positions."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from sarcover.models.encoder import sincos_table
from sarcover.models.mixmim import MixMIMEncoder, SarWMixMAE, encoder_settings, published_names
from sarcover.training.pretrain import DECODERS

ROOT = Path(__file__).resolve().parents[2]
VECTORS = ROOT / ".." / "shared" / "vectors"

TINY = {
    "image_size": 64, "bands": 2, "embed_dim": 16, "depths": [2, 2, 2, 2], "heads": [1, 2, 4, 8],
    "windows": [4, 4, 4, 2], "decoder_dim": 32, "decoder_depth": 1, "decoder_heads": 2, "batch": 4,
    "mask": [[1, 0], [0, 1]],
}  # fmt: skip
TINY_NUMBERS = {
    "n_params": 662_766,
    "n_trainable_tensors": 138,
    "loss_plain_unit_w": 0.3028910721,
    "loss_plain_w": 0.5360259642,
    "loss_normpix_unit_w": 1.0272610531,
    "loss_normpix_w": 1.8010202832,
    "w_mean": 1.7064430638,
    "grad_norm_normpix_w": 0.1834171867,
}
TINY_FIRST = {"z_first5": 0.7481001831, "xrec_first5": 0.2386403703}
COUNTS = [  # size, image, bands, windows: all, trainable, encoder trainable, index elements
    ("base", 128, 1, (8, 8, 8, 4), (113_158_904, 113_019_640, 86_748_920, 90_624)),
    ("base", 128, 2, (8, 8, 8, 4), (113_686_264, 113_547_000, 86_750_968, 90_624)),
    ("base", 256, 1, (8, 8, 8, 4), (113_576_696, 113_019_640, 86_748_920, 90_624)),
    ("base", 256, 2, (8, 8, 8, 4), (114_104_056, 113_547_000, 86_750_968, 90_624)),
    ("base", 256, 1, (8, 8, 8, 8), (113_587_960, 113_030_904, 86_760_184, 98_304)),
    ("base", 256, 2, (16, 16, 16, 8), (114_344_952, 113_787_896, 86_991_864, 1_449_984)),
    ("large", 128, 2, (8, 8, 8, 4), (222_270_068, 222_065_268, 195_007_092, 90_624)),
    ("huge", 128, 2, (8, 8, 8, 4), (682_964_778, 682_596_138, 654_882_602, 90_624)),
]


@pytest.fixture(scope="module")
def vectors() -> ModuleType:
    """benchmarks/mixmim_vectors.py."""
    spec = importlib.util.spec_from_file_location("mixmim_vectors", ROOT / "benchmarks" / "mixmim_vectors.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def measured(vectors: ModuleType) -> dict[str, Any]:
    return vectors.measure(TINY)


def test_reproduces_the_authors_numbers(measured: dict[str, Any]) -> None:
    assert {key: measured[key] for key in TINY_NUMBERS} == pytest.approx(TINY_NUMBERS, rel=0, abs=1e-9)
    assert {key: measured[key][0] for key in TINY_FIRST} == pytest.approx(TINY_FIRST, rel=0, abs=1e-9)


def test_reproduces_every_reference_value(measured: dict[str, Any]) -> None:
    reference = VECTORS / "mixmim_tiny_in2.json"
    if not reference.is_file():
        pytest.skip(f"needs the full reference values: {reference} is not there")
    wanted = json.loads(reference.read_text())["tiny_in2"]
    assert measured.keys() == wanted.keys()
    for key, value in wanted.items():
        assert measured[key] == pytest.approx(value, rel=1e-9, abs=1e-9), key


def test_single_precision_stays_within_its_rounding(vectors: ModuleType) -> None:
    model = vectors.build(TINY).float()
    x = vectors.images(TINY["batch"], TINY["bands"], TINY["image_size"]).float()
    mask = torch.tensor(TINY["mask"], dtype=torch.bool)[None]
    with torch.no_grad():
        losses = vectors._losses(model.predict(x, mask), x, vectors.weight_map(x))
    for key, loss in losses.items():
        assert loss.item() == pytest.approx(TINY_NUMBERS[key], rel=1e-6)


@pytest.mark.parametrize(("size", "image", "bands", "windows", "counts"), COUNTS)
def test_sizes_have_the_published_number_of_parameters(
    size: str, image: int, bands: int, windows: tuple[int, ...], counts: tuple[int, ...]
) -> None:
    with torch.device("meta"):
        model = SarWMixMAE(image, bands, **encoder_settings(size, windows), **DECODERS[size])
    every = list(model.parameters())
    encoder = [p for p in model.encoder.parameters() if p.requires_grad]
    indices = [b for name, b in model.named_buffers() if name.endswith("relative_position_index")]
    assert (
        sum(p.numel() for p in every),
        sum(p.numel() for p in every if p.requires_grad),
        sum(p.numel() for p in encoder),
        sum(b.numel() for b in indices),
    ) == counts
    assert sum(p.requires_grad for p in every) == 430


def test_names_and_shapes_are_those_of_the_published_weights() -> None:
    listing = VECTORS / "mixmim_base256_in1_keys.json"
    if not listing.is_file():
        pytest.skip(f"needs the list of published names: {listing} is not there")
    keys = json.loads(listing.read_text())["keys"]
    with torch.device("meta"):
        model = SarWMixMAE(256, 1, **encoder_settings("base"))
    ours = {name: list(parameter.shape) for name, parameter in published_names(model).items()}
    assert ours == {name: key["shape"] for name, key in keys.items() if key["kind"] != "buffer"}


def test_position_table_has_the_published_values() -> None:
    table = sincos_table(32, 32, 128)
    assert table[1, :3] == pytest.approx([0.841471, 0.681561, 0.533168], abs=1e-6)
    assert table.sum(dtype="float64") == pytest.approx(53824.3965, abs=1e-3)
    assert sincos_table(64, 64, 128).sum(dtype="float64") == pytest.approx(197481.0994, abs=1e-3)


def test_a_small_image_makes_the_whole_grid_the_window() -> None:
    encoder = MixMIMEncoder(64, 1, 16, (1, 1, 1, 1), (1, 1, 1, 1), (8, 8, 8, 4))
    assert encoder.windows == (8, 8, 4, 2)
