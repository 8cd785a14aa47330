"""SpecSAR-Former: a lightweight two-branch transformer for spectral and radar images (arXiv 2410.03962)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sarcover.errors import SarcoverError
from sarcover.models.fusion import ChannelNorm
from sarcover.models.segmenter import Inputs, Segmenter
from sarcover.models.specsar_blocks import DualModalBlock, MutualAggregation, PatchEmbedding, StageShape
from sarcover.models.specsar_decoder import AllMlpDecoder
from sarcover.models.upernet import resize

Modality = Literal["both", "spectral", "sar"]

STRIDES = (4, 8, 16, 32)
HEADS = (1, 2, 5, 8)
REDUCTIONS = (8, 4, 2, 1)  # so that a key stands for 32 x 32 pixels in every stage


class Plan(NamedTuple):
    """Channels of both branches together and blocks of each stage, and channels of the decoder."""

    widths: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]
    decoder: int


# The plans of SegFormer's MiT-B0, B1 and B2.
PLANS = {
    "tiny": Plan((32, 64, 160, 256), (2, 2, 2, 2), 256),
    "small": Plan((64, 128, 320, 512), (2, 2, 2, 2), 256),
    "base": Plan((64, 128, 320, 512), (3, 4, 6, 3), 768),
}


class SpecSarFormer(Segmenter):
    """Spectral and radar bands in two branches that ask each other in every block.

        spectral + mask - 1/4 ===== 1/8 ===== 1/16 ===== 1/32       3/4 of the channels
                          ||  DMEM   ||  DMEM   ||   DMEM   ||
        radar + mask ---- 1/4 ===== 1/8 ===== 1/16 ===== 1/32       1/4 of the channels
                           |         |         |          |
                          MMAM      MMAM      MMAM       MMAM
                           all-MLP decoder, 1/4 --- 1x1 --- bilinear -> logits

    Stated of the paper: this shape, overlapped patch embedding, DMEM and MMAM (see `specsar_blocks`), the
    share of the channels, the all-MLP decoder, 26.70 M parameters and 109.59 GFLOPs. Not stated in what was
    at hand of it, and so chosen: depths, widths, heads, reductions and decoder of SegFormer-B2, which with
    our DMEM and MMAM have 26.77 M parameters (12 + 2 bands, 9 classes). At 510 px they make 107.99 GFLOPs:
    two a multiply-add of each linear layer and convolution, as counters that hook modules see them, and so
    without the products of attention, with which they are 123.56. That rule was picked knowing the published
    figure, which names none. Computed are fewer, 47.45 with the products: `specsar_decoder` says why.

    Nodata is a mask: each branch sees its mask as one more band; keys of attention and statistics of MMAM
    weigh by the share of their pixels that is known. So a batch may lack a modality, which gives the very
    logits of a batch in which it is nowhere valid; that branch then hears the other one alone. For a model
    that is good at it, train with modality dropout (`training.clouds`). In training the decoder's BatchNorm
    takes its statistics over all pixels.

    Keys and statistics are of the whole window: logits of a pixel depend on the window it is seen in, and
    mapping should use windows of about the training's size.

    Args:
        size: tiny, small or base.
        sar_bands: radar bands.
        optical_bands: spectral bands; without any the model is of radar alone.
        num_classes: number of classes K.
        modality: both, or one branch that has all of the channels: spectral or sar; default: both, where
            there are spectral bands. The radar of a spectral model says where the map lies, nothing else.
        dmem: the cross-attention between the branches.
        mmam: the re-weighting of channels; without it, maps of both branches are joined as they are.
        spectral_share: of the channels, that the spectral branch has; .5 is balanced.
        clip_outliers: clip each band to the 1st and 99th percentile of the training split, as the paper does.
        drop_path: rate of stochastic depth in the last block, rising to it from 0.
        dropout: rate in the decoder.
    """

    optional_inputs: tuple[str, ...] = ("sar", "optical")

    def __init__(
        self,
        *,
        size: str,
        sar_bands: int,
        optical_bands: int,
        num_classes: int,
        modality: Modality | None = None,
        dmem: bool = True,
        mmam: bool = True,
        spectral_share: float = 0.75,
        clip_outliers: bool = False,
        drop_path: float = 0.1,
        dropout: float = 0.1,
    ) -> None:
        modality = modality or ("both" if optical_bands else "sar")
        plan = PLANS[size]
        self._check(modality, optical_bands)
        shapes = _stage_shapes(plan, modality, spectral_share)
        super().__init__(
            name="specsar-former",
            size=size,
            sar_bands=sar_bands,
            optical_bands=optical_bands,
            num_classes=num_classes,
            settings={
                "modality": modality,
                "dmem": dmem,
                "mmam": mmam,
                "spectral_share": spectral_share,
                "clip_outliers": clip_outliers,
                "drop_path": drop_path,
                "dropout": dropout,
            },
            clipped=clip_outliers,
        )
        self.multiple = STRIDES[-1]
        self.modality = modality
        self.optional_inputs = self.optional_inputs_of(self.architecture["settings"])
        bands = {"both": (optical_bands, sar_bands), "spectral": (optical_bands,), "sar": (sar_bands,)}
        incoming = tuple(n + 1 for n in bands[modality])
        rates = [drop_path * block / (sum(plan.depths) - 1) for block in range(sum(plan.depths))]
        self.stages = nn.ModuleList()
        for stage, (shape, depth) in enumerate(zip(shapes, plan.depths, strict=True)):
            own, rates = rates[:depth], rates[depth:]
            self.stages.append(Stage(incoming, shape, own, dmem=dmem, mmam=mmam, pixels=stage == 0))
            incoming = shape.widths
        self.decoder = AllMlpDecoder(plan.widths, plan.decoder, dropout)
        self.classify = nn.Conv2d(plan.decoder, num_classes, 1)
        self.apply(_initialise)

    @classmethod
    def optional_inputs_of(cls, settings: Mapping[str, Any]) -> tuple[str, ...]:
        """A model of one modality needs that one."""
        return {"spectral": ("sar",), "sar": ("optical",)}.get(settings["modality"], cls.optional_inputs)

    @staticmethod
    def _check(modality: str, optical_bands: int) -> None:
        if modality not in ("both", "spectral", "sar"):
            raise SarcoverError("modality", expected="both, spectral or sar", got=repr(modality))
        if modality != "sar" and not optical_bands:
            raise SarcoverError(
                f"specsar-former of modality {modality} needs an optical companion to learn from",
                expected="at least one optical band",
                do="prepare the store with --optical, or choose --modality sar",
            )

    def segment(self, inputs: Inputs) -> Tensor:
        """Logits (B, K, H, W); H and W are multiples of 32."""
        maps, known = self._branches(inputs)
        size = (maps[0].shape[-2], maps[0].shape[-1])
        shares = {stride: [F.avg_pool2d(k, stride) for k in known] for stride in STRIDES}
        keys = [share[:, 0] for share in shares[STRIDES[-1]]]
        fused = []
        for stage, stride in zip(self.stages, STRIDES, strict=True):
            maps, out = stage(maps, shares[stride], keys)
            fused.append(out)
        return resize(self.classify(self.decoder(fused)), size)

    def _branches(self, inputs: Inputs) -> tuple[list[Tensor], list[Tensor]]:
        """Of each branch: the bands with their mask (B, C + 1, H, W), and the mask (B, 1, H, W) float32."""
        given = {"sar": (inputs.sar, inputs.valid)}
        if inputs.optical is not None and inputs.optical_valid is not None:
            given["spectral"] = (inputs.optical, inputs.optical_valid)
        names = ("spectral", "sar") if self.modality == "both" else (self.modality,)
        known = [given[name][1][:, None].float() for name in names]
        return [torch.cat([given[name][0], k], 1) for name, k in zip(names, known, strict=True)], known


class Stage(nn.Module):
    """One resolution: embedding, blocks and norm of each branch, then their fusion.

    Args:
        incoming: channels of what each branch gets.
        shape: of the stage.
        drop_path: rate of each block.
        dmem, mmam: see `SpecSarFormer`.
        pixels: the branches get pixels, not the maps of a stage.
    """

    def __init__(
        self,
        incoming: Sequence[int],
        shape: StageShape,
        drop_path: Sequence[float],
        *,
        dmem: bool,
        mmam: bool,
        pixels: bool,
    ) -> None:
        super().__init__()
        pairs = zip(incoming, shape.widths, strict=True)
        self.embeddings = nn.ModuleList(PatchEmbedding(n, c, pixels=pixels) for n, c in pairs)
        self.blocks = nn.ModuleList(DualModalBlock(shape, dmem, rate) for rate in drop_path)
        self.norms = nn.ModuleList(ChannelNorm(c) for c in shape.widths)
        self.aggregate = MutualAggregation(shape.widths) if mmam else None

    def forward(
        self, maps: Sequence[Tensor], known: Sequence[Tensor], keys: Sequence[Tensor]
    ) -> tuple[list[Tensor], Tensor]:
        """The branches' maps, and the fused one.

        Args:
            maps: of each branch.
            known: share of each token's pixels that the branch knows, each (B, 1, h, w).
            keys: the same of each key of attention, each (B, h / r, w / r).
        """
        maps = [embed(x) for embed, x in zip(self.embeddings, maps, strict=True)]
        for block in self.blocks:
            maps = block(maps, keys)
        maps = [norm(x) for norm, x in zip(self.norms, maps, strict=True)]
        fused = torch.cat(maps, 1) if self.aggregate is None else self.aggregate(maps, known)
        return maps, fused


def _stage_shapes(plan: Plan, modality: str, share: float) -> list[StageShape]:
    """The four stages; both branches have whole heads, so not every share of the channels will do."""
    if modality != "both":
        return [StageShape((c,), h, r) for c, h, r in zip(plan.widths, HEADS, REDUCTIONS, strict=True)]
    shapes = []
    for total, heads, reduction in zip(plan.widths, HEADS, REDUCTIONS, strict=True):
        spectral = share * total
        if not 0 < share < 1 or spectral % heads or not spectral.is_integer():
            raise SarcoverError(
                "spectral_share: both branches need whole attention heads",
                expected="such as .25, .5 or .75",
                got=f"{share:g}",
            )
        shapes.append(StageShape((int(spectral), total - int(spectral)), heads, reduction))
    return shapes


def _initialise(module: nn.Module) -> None:
    """As SegFormer: linear maps from a normal of deviation .02, convolutions by their outgoing numbers."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
    elif isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
        nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan_out))
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)
