"""Tables I to III of arXiv 2601.15705 at base size on one GPU: ablation.py with the published recipe.

    python benchmarks/gpu/ablation.py --out bench-out/ablation-base
    python benchmarks/gpu/ablation.py --encoder RUN --real     # with an encoder that is there already

Base encoder, batch 64, bf16, layer decay .7, dropout .5, drop path .1, no clipping, patches of 256 px of
8192 x 8192 simulated pixels. The learning rate is the published 6e-4 for a batch of 512, scaled to 64. Not as
published: the data, the batch, and the length of both trainings. Further flags as in ablation.py.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ablation import main

BASE = (
    "--size base --device cuda --precision bf16 --batch 64 --rate 7.5e-5 --layer-decay 0.7 --dropout 0.5 "
    "--ema 0 --steps 8000 --validations 20 --landscape-size 8192 --pretrain-steps 10000 --pretrain-batch 128 "
    "--pretrain-rate 1.5e-4 --norm-pix --clip 0 --patch 256"
)

if __name__ == "__main__":
    main([*BASE.split(), *sys.argv[1:]])
