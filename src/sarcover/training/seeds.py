"""Every random number of a run follows from its one seed and from where in the run it is drawn.

So nothing about random generators has to be stored: a run that goes on from a checkpoint draws what it would
have drawn without the interruption.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Draw(IntEnum):
    """What is drawn; keeps the streams of one seed apart."""

    WEIGHTS = 0  # initial weights
    ORDER = 1  # order of the patches, by epoch
    AUGMENTATION = 2  # flips and turns, by step
    STEP = 3  # masks, drop path and dropout, by step, process and part of the step
    PICTURES = 4  # masks of the logged pictures
    SUBSET = 5  # the training patches of a learning curve
    WEATHER = 6  # synthetic cloud and withheld modalities, by step
    JITTER = 7  # speckle, gain, incidence, scale and dropped polarisations, by step


def derive(seed: int, draw: Draw, *where: int) -> int:
    """A seed for one draw of a run, 0 <= value < 2^63.

    Args:
        seed: the run's seed, >= 0.
        draw: what is drawn.
        where: where in the run, each >= 0: epoch, step, rank.
    """
    state = np.random.SeedSequence((seed, int(draw), *where)).generate_state(1, np.uint64)
    return int(state[0]) >> 1
