"""The model that finetuning begins with, and what it takes from a pretrained run."""

from __future__ import annotations

import logging
from typing import Any

from sarcover.bundle import load_encoder, load_model
from sarcover.config import FinetuneSettings
from sarcover.errors import SarcoverError
from sarcover.models import Segmenter, build_model, model_settings
from sarcover.models.mixmim import MixMIMEncoder, encoder_settings
from sarcover.patches.store import PatchStore, StoreMeta
from sarcover.training.fit import check_initialisation

logger = logging.getLogger(__name__)

RADAR_ONLY = ("swin-upernet",)


def start_model(settings: FinetuneSettings, store: PatchStore) -> tuple[Segmenter, str]:
    """The model that finetuning begins with, and in words what it took from `settings.init`.

    Its statistics are those of the store's training split, also where the weights were trained with others:
    what weights expect is input of mean 0 and deviation 1.

    Raises:
        SarcoverError: the store has no labels, or `init` does not fit the model or the store.
    """
    meta = store.meta
    if meta.legend is None:
        raise SarcoverError(
            f"{settings.data} has no labels",
            do="prepare it with --labels and --legend, or use it for pretrain",
        )
    if not settings.init:
        shape = {"windows": settings.windows, "image_size": meta.patch}
        return _build(settings, meta, shape), "random weights"
    if "windows" not in model_settings(settings.model):
        return _from_segmenter(settings, store)
    encoder, bundle = load_encoder(settings.init)
    if bundle.kind == "segmenter" and bundle.architecture["name"] == settings.model:
        return _from_segmenter(settings, store)
    check_initialisation(store, bundle, settings.init)
    return _from_encoder(settings, meta, encoder)


def _from_encoder(
    settings: FinetuneSettings, meta: StoreMeta, encoder: MixMIMEncoder
) -> tuple[Segmenter, str]:
    """Encoder pretrained, decoder new."""
    shape = encoder.settings
    asked = encoder_settings(settings.size, settings.windows or shape["windows"])
    differing = [key for key, value in asked.items() if shape[key] != value]
    if differing:
        raise SarcoverError(
            f"{settings.init} holds an encoder of another shape than asked for",
            expected=", ".join(f"{key} {asked[key]}" for key in differing),
            got=", ".join(f"{key} {shape[key]}" for key in differing),
            do="give --size and --windows as it was pretrained",
        )
    model = _build(settings, meta, {"windows": shape["windows"], "image_size": shape["image_size"]})
    assert model.encoder is not None
    model.encoder.load_state_dict(encoder.state_dict())
    return model, f"the encoder of {settings.init}, and random weights for the rest"


def _from_segmenter(settings: FinetuneSettings, store: PatchStore) -> tuple[Segmenter, str]:
    """Everything but the statistics, and but the last layer where the classes are others."""
    source = load_model(str(settings.init))
    was, asked = source.architecture, {"name": settings.model, "size": settings.size}
    differing = [key for key, value in asked.items() if was[key] != value]
    if (
        settings.windows
        and "windows" in was["settings"]
        and tuple(was["settings"]["windows"]) != settings.windows
    ):
        differing.append("windows")
    if differing:
        raise SarcoverError(
            f"{settings.init} is another model than asked for",
            expected=f"{settings.model}, size {settings.size}",
            got=f"{was['name']}, size {was['size']}, {was['settings']}",
            do="give --model, --size and --windows as it was trained, or start from a pretrained encoder",
        )
    bundle, legend = source.bundle, store.meta.legend
    check_initialisation(store, bundle, str(settings.init))
    shape = {key: value for key, value in was["settings"].items() if key != "drop_path"}
    model = _build(settings, store.meta, shape)
    left = ["sar_norm.", "optical_norm."]
    same_classes = legend is not None and bundle.legend.names == legend.names
    if not same_classes:
        left.append("classify.")
    own = model.state_dict()
    taken = {name: value for name, value in source.state_dict().items() if not name.startswith(tuple(left))}
    model.load_state_dict({**own, **taken})
    rest = "" if same_classes else ", but for the last layer: its classes are others"
    return model, f"the weights of {settings.init}{rest}"


def _build(settings: FinetuneSettings, meta: StoreMeta, shape: dict[str, Any]) -> Segmenter:
    """A new model for the store's bands and classes, with the statistics of its training split."""
    given = {"drop_path": settings.drop_path, **shape}
    known = model_settings(settings.model)
    optical = () if settings.model in RADAR_ONLY else meta.optical_bands
    if meta.optical_bands and not optical:
        logger.info("%s takes no optical bands: those of %s are not used", settings.model, settings.data)
    model = build_model(
        settings.model,
        size=settings.size,
        sar_bands=len(meta.bands),
        optical_bands=len(optical),
        num_classes=meta.legend.num_classes if meta.legend else 0,
        **{key: value for key, value in given.items() if key in known},
    )
    model.sar_norm.set(meta.statistics["mean"], meta.statistics["std"])
    if model.optical_norm is not None:
        if meta.optical_statistics is None:
            raise SarcoverError(f"{settings.data} has no optical pixel in its training split")
        model.optical_norm.set(meta.optical_statistics["mean"], meta.optical_statistics["std"])
    return model
