"""Layers against NumPy and SciPy."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mapping_helpers import LEGEND
from scipy.special import softmax
from scipy.stats import entropy

from sarcover.config import Layer
from sarcover.mapping.layers import KINDS, band_names, compute, layer_path

ALL: tuple[Layer, ...] = ("confidence", "entropy", "margin", "probabilities")


def logits(classes: int = 5, shape: tuple[int, int] = (7, 9), seed: int = 0) -> np.ndarray:
    return (4 * np.random.default_rng(seed).standard_normal((classes, *shape))).astype(np.float32)


def expected(values: np.ndarray) -> dict[str, np.ndarray]:
    """The numbers from 0 to 1 that the layers stand for, float64."""
    p = softmax(values.astype(np.float64), axis=0)
    ordered = np.sort(p, axis=0)
    return {
        "confidence": ordered[-1:],
        "entropy": entropy(p, base=len(p), axis=0)[None],
        "margin": ordered[-1:] - ordered[-2:-1],
        "probabilities": p,
    }


@pytest.mark.parametrize("classes", [2, 5, 14])
def test_layers_are_those_of_numpy_to_half_a_step(classes: int) -> None:
    values = logits(classes)
    found = compute(torch.from_numpy(values), ALL)
    for name, wanted in expected(values).items():
        bands = found[name].numpy()  # type: ignore[index]
        assert bands.dtype == np.uint8
        assert bands.shape == wanted.shape
        scale = KINDS[name].scale  # type: ignore[index]
        np.testing.assert_allclose(bands * scale, wanted, atol=scale / 2 + 1e-5)


def test_only_what_is_asked_for_is_computed() -> None:
    assert list(compute(torch.from_numpy(logits()), ("margin",))) == ["margin"]
    assert compute(torch.from_numpy(logits()), ()) == {}


def test_certainty_and_ignorance_are_the_ends_of_the_scales() -> None:
    certain = torch.tensor([1000.0, 0.0, -1000.0]).reshape(3, 1, 1)
    found = {name: layer.flatten().tolist() for name, layer in compute(certain, ALL).items()}
    assert found == {"confidence": [100], "entropy": [0], "margin": [250], "probabilities": [250, 0, 0]}
    found = {name: layer.flatten().tolist() for name, layer in compute(torch.zeros(4, 1, 1), ALL).items()}
    assert found == {"confidence": [25], "entropy": [250], "margin": [0], "probabilities": [62] * 4}


def test_a_single_class_is_certain() -> None:
    found = compute(torch.zeros(1, 2, 3), ALL)
    assert {name: set(layer.flatten().tolist()) for name, layer in found.items()} == {
        "confidence": {100},
        "entropy": {0},
        "margin": {250},
        "probabilities": {250},
    }


def test_no_number_is_taken_for_nodata() -> None:
    broken = torch.full((3, 1, 4), torch.nan)
    broken[:, 0, 1] = torch.inf
    broken[:, 0, 2] = -torch.inf
    for layer in compute(broken, ALL).values():
        assert int(layer.max()) < 255


def test_bands_and_files_have_names() -> None:
    assert band_names("probabilities", LEGEND) == [f"probability of {name}" for name in LEGEND.names]
    assert len(band_names("entropy", LEGEND)) == 1
    assert layer_path(Path("a/map.tif"), "entropy") == Path("a/entropy.tif")
    assert layer_path(Path("a/N35E139.tif"), "entropy") == Path("a/N35E139_entropy.tif")
