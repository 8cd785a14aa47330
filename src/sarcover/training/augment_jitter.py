"""Radar-aware augmentation of a batch on its device: which of it a run asks for, and the doing.

Off unless a setting asks for it. What is drawn follows from (seed, step, patch) alone: a few numbers a patch
are drawn on the CPU, always the same ones whichever settings are on; speckle is drawn on the device, so it is
the same again only on the same kind of device.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sarcover.config import FinetuneSettings, PretrainSettings
from sarcover.errors import SarcoverError
from sarcover.patches.store import StoreMeta
from sarcover.training.augment_radar import drop_band, respeckle, shift_gain, tilt_incidence
from sarcover.training.augment_scale import rescale
from sarcover.training.seeds import Draw, derive

LARGEST_SCALE = 4.0


@dataclass(frozen=True)
class Jitter:
    """What is changed at random.

    Attributes:
        means: of the bands over the training split.
        calibrated: the numbers are dB.
        gain: standard deviation of the shift of a patch, dB.
        incidence: standard deviation of the slope across a patch, dB.
        scale: smallest and largest factor on the size of what a patch shows.
        speckle: share of the patches that get further speckle.
        speckle_looks: looks of that speckle.
        drop_polarisation: share of the patches that lose one of their bands.
    """

    means: tuple[float, ...]
    calibrated: bool
    gain: float = 0.0
    incidence: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    speckle: float = 0.0
    speckle_looks: float = 16.0
    drop_polarisation: float = 0.0

    @property
    def on(self) -> bool:
        """Whether anything is changed at all."""
        shares = self.speckle, self.gain, self.incidence, self.drop_polarisation
        return any(shares) or self.scale != (1.0, 1.0)


def jitter_of(settings: FinetuneSettings | PretrainSettings, meta: StoreMeta) -> Jitter:
    """What a run asks for.

    Raises:
        SarcoverError: settings out of range, or not valid on the numbers of the store.
    """
    jitter = Jitter(
        gain=settings.gain,
        incidence=settings.incidence,
        scale=settings.scale,
        calibrated=meta.unit != "uncalibrated",
        means=tuple(meta.statistics["mean"]),
    )
    if isinstance(settings, FinetuneSettings):  # pretraining would reconstruct the noise
        jitter = replace(
            jitter,
            speckle=settings.speckle,
            speckle_looks=settings.speckle_looks,
            drop_polarisation=settings.drop_polarisation,
        )
    _check(jitter)
    asked = [name for name in ("speckle", "gain", "incidence") if getattr(jitter, name)]
    if asked and not jitter.calibrated:
        raise SarcoverError(
            f"{' and '.join(asked)}: not valid on the uncalibrated numbers of {settings.data}",
            expected="backscatter (dn, amplitude, linear_power or db)",
            do="leave it out: how these numbers were stretched is not known",
        )
    if jitter.drop_polarisation and len(jitter.means) < 2:
        raise SarcoverError(
            "drop_polarisation needs a store of two bands or more",
            got=" ".join(meta.bands),
            do="leave it out",
        )
    return jitter


def _check(jitter: Jitter) -> None:
    for name in ("speckle", "drop_polarisation"):
        if not 0 <= getattr(jitter, name) <= 1:
            raise SarcoverError(name, expected="a share from 0 to 1", got=str(getattr(jitter, name)))
    for name in ("gain", "incidence"):
        if not 0 <= getattr(jitter, name) <= 20:
            raise SarcoverError(name, expected="0 to 20 dB", got=str(getattr(jitter, name)))
    if not 1 <= jitter.speckle_looks < math.inf:
        raise SarcoverError("speckle_looks", expected="1 or more", got=str(jitter.speckle_looks))
    low, high = jitter.scale
    if not 1 / LARGEST_SCALE <= low <= high <= LARGEST_SCALE:
        raise SarcoverError(
            "scale",
            expected=f"two factors from {1 / LARGEST_SCALE:g} to {LARGEST_SCALE:g}, the smaller one first",
            got=f"{low:g} {high:g}",
        )


def draw_jitter(seed: int, step: int, count: int) -> NDArray[np.int64]:
    """A seed for the jitter of each patch of a step's global batch: (count,) integers >= 0.

    Drawn for the whole global batch, so that they do not depend on how many processes share it.
    """
    return np.random.default_rng(derive(seed, Draw.JITTER, step)).integers(0, 2**63, count, np.int64)


def jittered(batch: Mapping[str, Tensor], seeds: Iterable[int], jitter: Jitter) -> dict[str, Tensor]:
    """The batch with each patch changed as its seed says; before it is turned.

    Args:
        batch: as models take it.
        seeds: one a patch, of `draw_jitter`.
        jitter: what may be changed.
    """
    if not jitter.on:
        return dict(batch)
    patches = [
        _jittered({name: pixels[number] for name, pixels in batch.items()}, int(seed), jitter)
        for number, seed in enumerate(seeds)
    ]
    return {name: torch.stack([patch[name] for patch in patches]) for name in batch}


def _jittered(patch: dict[str, Tensor], seed: int, jitter: Jitter) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    speckled, dropped, which, size, row, col = torch.rand(
        6, generator=generator, dtype=torch.float64
    ).tolist()
    gain, slope = torch.randn(2, generator=generator).tolist()
    sar = patch["sar"]
    if speckled < jitter.speckle:
        sar = respeckle(sar, jitter.speckle_looks, torch.Generator(sar.device).manual_seed(seed))
    if jitter.gain:
        sar = shift_gain(sar, jitter.gain * gain)
    if jitter.incidence:
        sar = tilt_incidence(sar, jitter.incidence * slope)
    changed = {**patch, "sar": sar}
    low, high = jitter.scale
    if low != 1 or high != 1:
        factor = low * math.exp(size * math.log(high / low))
        changed = rescale(changed, factor, row, col, calibrated=jitter.calibrated)
    if dropped < jitter.drop_polarisation:
        changed["sar"] = drop_band(changed["sar"], int(which * len(jitter.means)), jitter.means)
    return changed
