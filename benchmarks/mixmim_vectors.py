"""The numbers of one deterministic SAR-W-MixMAE case, to hold against values kept elsewhere.

    python benchmarks/mixmim_vectors.py --case FILE.json

FILE.json has the keys image_size, bands, embed_dim, depths, heads, windows, decoder_dim, decoder_depth,
decoder_heads, batch and mask (rows of 0/1 on the grid of 32 px cells). Weights and input follow formulas
(section "deterministic toy forward" of the notes on SAR-W-MixMAE), all in float64; the printed JSON has the
keys of the reference values. --out writes it to a file as well.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sarcover.models.mixmim import SarWMixMAE, published_names
from sarcover.models.reconstruction import cell_statistics, patchify, reconstruction_loss

CELL = 32
KEYS = ("image_size", "bands", "embed_dim", "depths", "heads", "windows", "batch", "mask")
DECODER_KEYS = ("decoder_dim", "decoder_depth", "decoder_heads")


def build(case: dict[str, Any]) -> SarWMixMAE:
    """The case's model in float64, trainable parameters filled by formula, frozen tables as they are."""
    model = SarWMixMAE(
        case["image_size"],
        case["bands"],
        case["embed_dim"],
        case["depths"],
        case["heads"],
        case["windows"],
        **{key: case[key] for key in DECODER_KEYS},
    )
    model = model.double().eval()
    fill(model)
    return model


@torch.no_grad()
def fill(model: SarWMixMAE) -> None:
    """value = 0.1 u, u a linear congruence of the element's place and the parameter's rank; gains add 1."""
    names = published_names(model)
    trainable = sorted(name for name, parameter in names.items() if parameter.requires_grad)
    for rank, name in enumerate(trainable):
        parameter = names[name]
        place = torch.arange(parameter.numel(), dtype=torch.int64)
        u = ((1103515245 * place + 12345 * (rank + 1) + 1013904223) % 2**31).double() / 2**31 - 0.5
        gain = 1.0 if parameter.ndim == 1 and name.endswith(".weight") else 0.0
        parameter.copy_((0.1 * u + gain).view_as(parameter))


def images(batch: int, bands: int, size: int) -> Tensor:
    """The case's input (B, C, S, S) float64, taken as normalised."""
    b, c, h, w = torch.meshgrid(
        *(torch.arange(n, dtype=torch.float64) for n in (batch, bands, size, size)), indexing="ij"
    )
    waves = torch.sin(0.11 * h + 0.7 * b) * torch.cos(0.07 * w + 0.9 * c)
    return waves + 0.25 * torch.sin(0.9 * h * w / size + b + c)


def weight_map(x: Tensor, eps: float = 1e-6) -> Tensor:
    """exp(1 - minmax(x)), of x itself: no decibels in this case."""
    low, high = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
    return torch.exp(1.0 - (x - low) / (high - low + eps))


def measure(case: dict[str, Any]) -> dict[str, Any]:
    """All numbers of a case."""
    model = build(case)
    mask = torch.tensor(case["mask"], dtype=torch.bool)[None]
    x = images(case["batch"], case["bands"], case["image_size"])
    weights = weight_map(x)
    with torch.no_grad():
        z = model.encoder(x, mask)
        decoded = model.decode(z, mask)
        embedded = model.encoder.patch_embed(x)
    losses = _losses(model.predict(x, mask), x, weights)
    losses["loss_normpix_w"].backward()
    parameters = list(model.parameters())
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    positions = model.encoder.absolute_pos_embed
    return {
        "n_params": sum(parameter.numel() for parameter in parameters),
        "n_trainable": sum(parameter.numel() for parameter in trainable),
        **{name: loss.item() for name, loss in losses.items()},
        "z_shape": list(z.shape),
        "z_mean": z.mean().item(),
        "z_abs_mean": z.abs().mean().item(),
        "z_first5": z.flatten()[:5].tolist(),
        "xrec_shape": list(decoded.shape),
        "xrec_abs_mean": decoded.abs().mean().item(),
        "xrec_mean": decoded.mean().item(),
        "xrec_first5": decoded.flatten()[:5].tolist(),
        "xrec_last5": decoded.flatten()[-5:].tolist(),
        "x_mean": x.mean().item(),
        "w_mean": weights.mean().item(),
        "patch_embed_first5": embedded.flatten()[:5].tolist(),
        "abs_pos_tok1_first3": positions[0, 1, :3].tolist(),
        "abs_pos_sum": positions.sum().item(),
        "n_trainable_tensors": len(trainable),
        "grad_norm_normpix_w": nn.utils.get_total_norm(
            [p.grad for p in trainable if p.grad is not None]
        ).item(),
    }


def _losses(prediction: Tensor, x: Tensor, weights: Tensor) -> dict[str, Tensor]:
    plain, weights = patchify(x, CELL), patchify(weights, CELL)
    valid = torch.ones_like(plain, dtype=torch.bool)
    statistics = cell_statistics(plain, valid)
    ones = torch.ones_like(weights)
    targets = {"plain": plain, "normpix": (plain - statistics.mean) / statistics.std}
    return {
        f"loss_{name}_{suffix}": reconstruction_loss(prediction, target, w, valid)
        for name, target in targets.items()
        for suffix, w in (("unit_w", ones), ("w", weights))
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", type=Path, required=True, help="the case, a JSON file")
    parser.add_argument("--out", type=Path, help="also write the result here")
    arguments = parser.parse_args()
    case = json.loads(arguments.case.read_text(encoding="utf-8"))
    missing = [key for key in (*KEYS, *DECODER_KEYS) if key not in case]
    if missing:
        parser.exit(2, f"{arguments.case} lacks {', '.join(missing)}\n")
    result = json.dumps(measure(case), indent=1)
    if arguments.out:
        arguments.out.write_text(result + "\n", encoding="utf-8")
    print(result)


if __name__ == "__main__":
    main()
