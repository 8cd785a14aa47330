"""The ALOS-2 system of arXiv 2601.15705: its baseline, the refined model, and the water detector.

All three are one model, the MixMIM encoder under a UPerNet-style decoder, with the paper's two refinements as
switches: Table I is four settings of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, NamedTuple

from torch import Tensor, nn

from sarcover.errors import SarcoverError
from sarcover.models.mixmim import MixMIMEncoder, encoder_settings
from sarcover.models.segmenter import Inputs, Segmenter
from sarcover.models.upernet import RefineUp, UPerDecoder, resize

DECODER_WIDTHS = {"tiny": 32, "small": 128, "base": 256, "large": 256, "huge": 256}


class Wiring(NamedTuple):
    """Which of the five maps of `MixMIMEncoder.taps` the decoder takes, fine to coarse, the deepest last; and
    the strides (pixels) that all but the deepest are brought to.
    """

    maps: tuple[int, ...]
    strides: tuple[int, ...]


BASELINE = Wiring((1, 2, 3, 4), (4, 8, 16))
HIGH_RES = {"extended": Wiring((0, 1, 2, 3, 4), (4, 4, 8, 16)), "replaced": Wiring((0, 1, 2, 4), (4, 8, 16))}


class Alos2Refined(Segmenter):
    """MixMIM encoder, pooling pyramid and feature pyramid, with high-resolution injection and Refine-Up.

    The maps that the decoder takes, at base size (C = 128), as channels @ 1/stride; `emb` is the map after
    patch embedding, s1 to s4 are the outputs of the stages, s1 to s3 after merging:

        baseline   s1 256 @ 8, s2 512 @ 16, s3 1024 @ 32, s4 1024 @ 32    each but s4 enlarged one step
        extended   emb 128 @ 4, and the four of the baseline               a second level at 1/4
        replaced   emb 128 @ 4, s1 256 @ 8, s2 512 @ 16, s4 1024 @ 32     each at its own resolution

    The paper says that the post-embedding map is included explicitly, together with early stage features,
    and that the use of Swin features is adjusted, but not how: both lists are readings of it. Measured (tiny,
    simulated landscape, one seed, docs/measured.md): mIoU .360 on validation and .343 on test with extended,
    .353 and .339 with replaced. The default is the better one, which also only adds, so that the switch shows
    what the map is worth; replaced gives up s3 at 1/16, the output of three quarters of the blocks.

    But for its norm the embedding is linear in the pixels, so its map carries their speckle undiminished. It
    is projected like every lateral map (1x1, BatchNorm, GELU, dropout), added to what comes from above, and
    the sum passes a 3x3 depthwise filter before the level's 1x1 projection: the one place where a 1/4 level
    sees its neighbours, for 9 weights a channel.

    Refine-Up replaces the enlargement of the logits by 4: see `RefineUp`; the last convolution is then 3x3.

    Decoder parameters at base size, 9 classes: baseline 2,567,689; + high-res 2,735,369 (extended) or
    2,340,617 (replaced); + Refine-Up 3,767,305; both 3,934,985 or 3,540,233. Work for 256 x 256 pixels (twice
    the multiplications): encoder 40 GFLOP; pyramid 3.2, 4.6 (extended) or 3.4 (replaced); Refine-Up 99.

    Args:
        size: tiny, small, base (the published one), large or huge; the last three share a decoder.
        sar_bands: radar bands.
        optical_bands: 0; the encoder is a radar one.
        num_classes: number of classes K.
        windows: attention windows of the four stages, tokens; default 8 8 8 4.
        image_size: side of the images the encoder is made for, pixels (others work too).
        drop_path: rate of stochastic depth in the deepest encoder block.
        decoder_width: channels of the decoder; default 32, 128 or, from base on, 256.
        dropout: rate in the decoder's projections.
        high_res: inject the post-embedding map at 1/4.
        refine_up: enlarge in refined steps.
        taps: extended or replaced; without high_res it changes nothing.
    """

    NAME: ClassVar[str] = "alos2-refined"
    sizes = tuple(DECODER_WIDTHS)

    encoder: MixMIMEncoder

    def __init__(
        self,
        *,
        size: str,
        sar_bands: int,
        optical_bands: int,
        num_classes: int,
        windows: Sequence[int] | None = None,
        image_size: int = 256,
        drop_path: float = 0.1,
        decoder_width: int | None = None,
        dropout: float = 0.5,
        high_res: bool = True,
        refine_up: bool = True,
        taps: Literal["extended", "replaced"] = "extended",
    ) -> None:
        if optical_bands:
            raise SarcoverError(
                f"{self.NAME} takes no optical bands",
                got=f"{optical_bands}",
                do="unet takes both radar and optical",
            )
        if taps not in HIGH_RES:
            raise SarcoverError(f"{self.NAME}: taps", expected=" or ".join(HIGH_RES), got=repr(taps))
        width = DECODER_WIDTHS[size] if decoder_width is None else decoder_width
        made_of = encoder_settings(size, windows)
        super().__init__(
            name=self.NAME,
            size=size,
            sar_bands=sar_bands,
            optical_bands=0,
            num_classes=num_classes,
            settings={
                "windows": list(made_of["windows"]),
                "image_size": image_size,
                "drop_path": drop_path,
                "decoder_width": width,
                "dropout": dropout,
                "high_res": high_res,
                "refine_up": refine_up,
                "taps": taps,
            },
        )
        self.multiple = 32
        self.wiring = HIGH_RES[taps] if high_res else BASELINE
        self.encoder = MixMIMEncoder(image_size, in_chans=sar_bands, drop_path=drop_path, **made_of)
        *laterals, deepest = (self.encoder.channels[index] for index in self.wiring.maps)
        self.decoder = UPerDecoder(
            laterals, self.wiring.strides, deepest, width, dropout, refine_finest=high_res
        )
        self.refine_up = RefineUp(width) if refine_up else None
        kernel = 3 if refine_up else 1
        self.classify = nn.Conv2d(width, self.outputs, kernel, padding=kernel // 2)

    def segment(self, inputs: Inputs) -> Tensor:
        """Logits (B, K, H, W); H and W are multiples of 32."""
        size = (inputs.sar.shape[-2], inputs.sar.shape[-1])
        maps = self.encoder.taps(inputs.sar)
        features = self.decoder([maps[index] for index in self.wiring.maps], size)
        if self.refine_up is not None:
            features = self.refine_up(features)
        return resize(self.classify(features), size)


class Alos2Water(Alos2Refined):
    """The water detector: the refined model with one logit, water where its sigmoid reaches a threshold.

    It is made for a legend of two classes, the second being what is looked for (`jaxa-water`: 0 non-water, 1
    water), and for `losses.bce_dice_loss`. `class_logits` turns its logit into those of the two classes.

    Args: those of `Alos2Refined`; num_classes is 2.
    """

    NAME = "alos2-water"
    binary = True


class SwinUPerNet(Alos2Refined):
    """The paper's baseline [14]: the same model with both refinements off.

    Args: those of `Alos2Refined`.
    """

    NAME = "swin-upernet"

    def __init__(
        self,
        *,
        size: str,
        sar_bands: int,
        optical_bands: int,
        num_classes: int,
        windows: Sequence[int] | None = None,
        image_size: int = 256,
        drop_path: float = 0.1,
        decoder_width: int | None = None,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(
            size=size,
            sar_bands=sar_bands,
            optical_bands=optical_bands,
            num_classes=num_classes,
            windows=windows,
            image_size=image_size,
            drop_path=drop_path,
            decoder_width=decoder_width,
            dropout=dropout,
            high_res=False,
            refine_up=False,
        )
        for fixed in ("high_res", "refine_up", "taps"):  # no settings of the baseline
            del self.architecture["settings"][fixed]
