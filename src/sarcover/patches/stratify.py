"""Blocks divided so that every split gets its share of every class, the rarest first."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sarcover.errors import SarcoverError
from sarcover.patches.blocks import Block, check_fractions


def assign_stratified(
    pixels: Mapping[Block, NDArray[np.int64]], *, seed: int, val_fraction: float, test_fraction: float
) -> dict[Block, int]:
    """Which split each block belongs to: 1 train, 2 validation, 3 test.

    The idea is that of iterative stratification (Sechidis et al. 2011), with pixels for examples: the class
    that fewest open blocks hold comes first; of its blocks the one with most of it goes to the split that
    lacks the largest part of what it should have of that class. Classes without pixels decide nothing. Ties
    are decided by a seeded hash of the block's place, so the order of the files decides nothing.

    Args:
        pixels: (K,) labelled pixels of each class in each block.

    Raises:
        SarcoverError: fewer blocks with labelled pixels than splits, or nothing is left for training.
    """
    check_fractions(val_fraction, test_fraction)
    fractions = {1: 1.0 - val_fraction - test_fraction, 2: val_fraction, 3: test_fraction}
    fractions = {code: fraction for code, fraction in fractions.items() if fraction > 0}
    codes = dict.fromkeys(pixels, 1)
    blocks = sorted((block for block in pixels if pixels[block].any()), key=lambda block: _rank(seed, block))
    if len(blocks) < len(fractions):
        raise SarcoverError(
            "the stratified split has too few blocks",
            expected=f"at least {len(fractions)} blocks with labelled pixels",
            got=str(len(blocks)),
            do="choose a smaller --block, another --split, or check that labels and scenes overlap",
        )
    counts = np.stack([pixels[block] for block in blocks])
    goal = {code: fraction * counts.sum(0) for code, fraction in fractions.items()}
    lacking = {code: wanted.copy() for code, wanted in goal.items()}
    open_ = np.ones(len(blocks), np.bool_)
    while open_.any():
        held = (counts[open_] > 0).sum(0)
        rarest = int(np.argmin(np.where(held > 0, held, len(blocks) + 1)))
        block = int(np.argmax(np.where(open_, counts[:, rarest], -1)))
        # Of equals the split that lacks most of everything, then validation and test before training.
        code = max(
            lacking,
            key=lambda code: (
                lacking[code][rarest] / goal[code][rarest],
                lacking[code].sum() / goal[code].sum(),
                code,
            ),
        )
        codes[blocks[block]] = code
        lacking[code] = lacking[code] - counts[block]
        open_[block] = False
    _refuse_without(codes, blocks, fractions)
    return codes


def _refuse_without(codes: Mapping[Block, int], blocks: list[Block], fractions: Mapping[int, float]) -> None:
    used = {codes[block] for block in blocks}
    if not used >= set(fractions):
        raise SarcoverError(
            "the stratified split leaves a split without a labelled pixel",
            expected="blocks enough to share out",
            got=f"{len(blocks)} blocks",
            do="choose a smaller --block",
        )


def _rank(seed: int, block: Block) -> bytes:
    return hashlib.sha256(f"{seed} {block}".encode()).digest()
