"""The counts of every block of ground on disk, beside metrics.json: what intervals and comparisons need."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sarcover.errors import SarcoverError
from sarcover.files import atomic_file
from sarcover.metrics.tally import STATISTICS, BlockCounts

VERSION = 1
_PARTS = dict.fromkeys(statistic.part for statistic in STATISTICS.values())


@dataclass(frozen=True)
class Blocks:
    """The counts of one model on one split of a store, block by block.

    Attributes:
        names: which block each is; (B,) names.
        counts: of each block, as `Tally` has them.
        classes: names of the classes.
        split: name of the split.
        side: side of a block, pixels.
        fingerprint: of the store.
    """

    names: tuple[str, ...]
    counts: BlockCounts
    classes: tuple[str, ...]
    split: str
    side: int
    fingerprint: str


def blocks_path(metrics: str | Path) -> Path:
    """Where the counts belong to a metrics file: metrics.json -> metrics.blocks.npz."""
    return Path(metrics).with_suffix(".blocks.npz")


def write_blocks(path: str | Path, blocks: Blocks) -> None:
    """Writes a compressed NumPy archive, atomically: about a hundred bytes a block."""
    with atomic_file(path) as temporary:
        np.savez_compressed(
            temporary,
            version=VERSION,
            names=np.array(blocks.names, np.str_),
            classes=np.array(blocks.classes, np.str_),
            split=blocks.split,
            side=blocks.side,
            fingerprint=blocks.fingerprint,
            allow_pickle=False,
            **blocks.counts,
        )


def read_blocks(path: str | Path) -> Blocks:
    """The counts that `write_blocks` wrote.

    Raises:
        SarcoverError: the file is not there, or is something else.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            if int(file["version"]) != VERSION:
                raise ValueError(f"version {file['version']}")
            return Blocks(
                names=tuple(file["names"].tolist()),
                counts={part: file[part] for part in _PARTS if part in file},
                classes=tuple(file["classes"].tolist()),
                split=str(file["split"]),
                side=int(file["side"]),
                fingerprint=str(file["fingerprint"]),
            )
    except FileNotFoundError as error:
        raise SarcoverError(
            f"{path} does not exist",
            expected="the counts that evaluate writes beside its metrics file",
            do="evaluate that model again",
        ) from error
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise SarcoverError(
            f"{path} cannot be read", expected="counts written by evaluate", got=str(error)
        ) from error
