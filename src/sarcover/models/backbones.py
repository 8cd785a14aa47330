"""Convolutional encoders from the transformers library, for any number of bands, new or pretrained.

transformers is imported when the first one is built, for importing it takes seconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

from torch import Tensor, nn

from sarcover.errors import SarcoverError
from sarcover.models.batch_norm import BatchNorm
from sarcover.models.patch_conv import PatchConv

Backbone = Literal["convnext", "resnet"]
STRIDES = (4, 8, 16, 32)  # of the four maps, pixels

# base: ConvNeXt-T (arXiv 2201.03545, table 9) and ResNet-50 (arXiv 1512.03385, table 1); small: the "pico" of
# later ConvNeXt releases and ResNet-18; tiny is ours, for tests and laptops. ConvNeXt scales what blocks add
# by 1e-6 at first, which 300 epochs get over; laptops have no such time, and so few blocks need no such care.
SHAPES: dict[str, dict[str, dict[str, Any]]] = {
    "convnext": {
        "tiny": {"depths": [1, 1, 2, 1], "hidden_sizes": [24, 48, 96, 192], "layer_scale_init_value": 1.0},
        "small": {"depths": [2, 2, 6, 2], "hidden_sizes": [64, 128, 256, 512], "layer_scale_init_value": 1.0},
        "base": {"depths": [3, 3, 9, 3], "hidden_sizes": [96, 192, 384, 768]},
    },
    "resnet": {
        "tiny": {
            "depths": [1, 1, 1, 1],
            "hidden_sizes": [32, 64, 128, 256],
            "layer_type": "basic",
            "embedding_size": 32,
        },
        "small": {
            "depths": [2, 2, 2, 2],
            "hidden_sizes": [64, 128, 256, 512],
            "layer_type": "basic",
            "embedding_size": 64,
        },
        "base": {
            "depths": [3, 4, 6, 3],
            "hidden_sizes": [256, 512, 1024, 2048],
            "layer_type": "bottleneck",
            "embedding_size": 64,
        },
    },
}
# What of a pretrained configuration makes the shape; the rest has the library's defaults.
_SHAPED_BY = {
    "convnext": ("depths", "hidden_sizes", "hidden_act", "layer_scale_init_value"),
    "resnet": (
        *("depths", "hidden_sizes", "layer_type", "embedding_size", "hidden_act"),
        *("downsample_in_first_stage", "downsample_in_bottleneck"),
    ),
}
_FIRST = {"convnext": "embeddings.patch_embeddings.weight", "resnet": "embedder.embedder.convolution.weight"}
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_STAGES = ["stage1", "stage2", "stage3", "stage4"]


def build_backbone(kind: Backbone, bands: int, shape: dict[str, Any], drop_path: float) -> nn.Module:
    """An encoder with random weights: `feature_maps` gives its four maps.

    Args:
        kind: convnext or resnet.
        bands: bands of the input.
        shape: as in `SHAPES`, entries of the library's configuration.
        drop_path: rate of stochastic depth in the deepest block; ResNet has none.
    """
    import transformers

    rate = {"drop_path_rate": drop_path} if kind == "convnext" else {}
    make: Any = transformers.ConvNextConfig if kind == "convnext" else transformers.ResNetConfig
    config = make(num_channels=bands, out_features=_STAGES, **shape, **rate)
    build: Any = transformers.ConvNextBackbone if kind == "convnext" else transformers.ResNetBackbone
    backbone: Any = build(config)
    if kind == "convnext":  # the same map, where the library's own may be wrong in bf16: see there
        own = backbone.embeddings.patch_embeddings
        backbone.embeddings.patch_embeddings = PatchConv(bands, own.out_channels, own.stride[0])
        backbone.embeddings.patch_embeddings.load_state_dict(own.state_dict())
    else:
        _share_statistics(backbone)
    made: nn.Module = backbone
    return made


def _share_statistics(backbone: nn.Module) -> None:
    """Puts the norm of all processes in place of the library's, which is of each process's own part."""
    for module in list(backbone.modules()):
        for name, norm in module.named_children():
            if type(norm) is nn.BatchNorm2d:
                shared = BatchNorm(norm.num_features, norm.eps, norm.momentum)
                shared.load_state_dict(norm.state_dict())
                setattr(module, name, shared)


def feature_maps(backbone: nn.Module, pixels: Tensor) -> tuple[Tensor, ...]:
    """Maps at 1/4, 1/8, 1/16 and 1/32 of pixels (B, C, H, W); H and W are multiples of 32."""
    maps: tuple[Tensor, ...] = backbone(pixels).feature_maps
    return maps


def check_kind(kind: str) -> None:
    """Refuses the name of a backbone that is not one.

    Raises:
        SarcoverError: it is unknown.
    """
    if kind not in get_args(Backbone):
        raise SarcoverError(f"no backbone is called {kind!r}", expected=" or ".join(get_args(Backbone)))


class Pretrained:
    """Weights of a published encoder, kept until the encoders of a model have taken them.

    Args:
        weights: folder as the library's `save_pretrained` writes it (backbone or image classifier), or the
            name of one on the Hugging Face hub. Only safetensors are read, never pickles.
        kind: convnext or resnet.

    Attributes:
        shape: of the encoder, as in `SHAPES`.

    Raises:
        SarcoverError: it cannot be had, is another architecture, or its maps do not lie at 1/4 to 1/32.
    """

    def __init__(self, weights: str, kind: Backbone) -> None:
        import transformers

        if not Path(weights).is_dir() and not _HUB_NAME.fullmatch(weights):
            raise SarcoverError(f"{weights} is no folder, nor a name such as facebook/convnext-tiny-224")
        build: Any = transformers.ConvNextBackbone if kind == "convnext" else transformers.ResNetBackbone
        try:
            with _quiet():
                config = transformers.AutoConfig.from_pretrained(weights)
                _check(config, weights, kind)
                backbone = build.from_pretrained(weights, out_features=_STAGES, use_safetensors=True)
        except (OSError, ValueError) as error:
            message = str(error).strip().splitlines() or [type(error).__name__]
            raise SarcoverError(
                f"{weights}: pretrained weights cannot be had",
                expected="a folder with config.json and model.safetensors, or the name of one on the hub",
                got=message[0],
            ) from error
        self.kind = kind
        values = {key: getattr(backbone.config, key) for key in _SHAPED_BY[kind]}
        self.shape = {key: list(v) if isinstance(v, tuple) else v for key, v in values.items()}
        self.state: dict[str, Tensor] = backbone.state_dict()

    def fill(self, backbone: nn.Module, bands: int) -> None:
        """Puts the weights into an encoder of the same shape whose first `bands` inputs are bands.

        The first convolution is adapted: with as many bands as it was trained for, it stays; else each band
        gets the mean over the old ones, times old / new, so that grey input gives the old response. Further
        inputs (masks) get 0: at first they change nothing.
        """
        name = _FIRST[self.kind]
        old = self.state[name]
        new = backbone.get_parameter(name).detach().clone().zero_()
        if old.shape[1] == bands:
            new[:, :bands] = old
        else:
            new[:, :bands] = old.mean(1, keepdim=True) * (old.shape[1] / bands)
        backbone.load_state_dict({**self.state, name: new})


def _check(config: Any, weights: str, kind: str) -> None:
    found = getattr(config, "model_type", None)
    if found != kind:
        raise SarcoverError(f"{weights} is another architecture", expected=kind, got=str(found))
    if len(config.hidden_sizes) != len(STRIDES) or getattr(config, "patch_size", 4) != 4:
        raise SarcoverError(
            f"{weights} has no maps at 1/4, 1/8, 1/16 and 1/32",
            got=f"{len(config.hidden_sizes)} stages, patches of {getattr(config, 'patch_size', 4)} pixels",
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's bars and its report of the head that is left out and the norms that are new."""
    from transformers.utils import logging as library

    logging: Any = library  # without types
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
