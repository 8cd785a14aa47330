"""Mapping on one GPU: from file to map against the forward passes alone, and km2/s.

    python benchmarks/gpu/mapping.py                              # alos2-refined and unet, base
    python benchmarks/gpu/mapping.py --model unet --scene 25000x16700
    python benchmarks/gpu/mapping.py --device cpu --size tiny --scene 512 --batch 2 --rounds 1    # to try it

The part `rate` of benchmarks/mapping.py with a batch and a scene for a GPU; further flags as there. The goal
is .9 of the rate of the forward passes alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from mapping import main, parser

GPU = (
    "--only rate --model alos2-refined unet --runtimes torch --precisions bf16 float32 --device cuda "
    "--scene 8192 --batch 64 --passes 20"
)

if __name__ == "__main__":
    given = [*GPU.split(), *sys.argv[1:]]
    if parser().parse_args(given).device == "cuda" and not torch.cuda.is_available():
        sys.exit("benchmarks/gpu/mapping.py needs a CUDA GPU, and torch sees none here")
    main(given)
