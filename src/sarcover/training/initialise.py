"""The model that finetuning begins with, and what it takes from a pretrained run."""

from __future__ import annotations

import logging
from typing import Any

from sarcover.bundle import load_encoder, load_model
from sarcover.config import FinetuneSettings
from sarcover.errors import SarcoverError
from sarcover.models import MODELS, Segmenter, build_model, model_settings
from sarcover.models.encoder import MixMIMEncoder, encoder_settings, size_of
from sarcover.models.normalise import Normalisation
from sarcover.patches.store import PatchStore, StoreMeta
from sarcover.training.fit import check_initialisation

logger = logging.getLogger(__name__)

# Settings of some models; None is the model's own.
CHOICES = (
    "windows", "high_res", "refine_up", "taps", "dropout", "backbone", "weights",
    "modality", "dmem", "mmam", "spectral_share", "clip_outliers",
)  # fmt: skip
# Those that decide on the model's weights.
SHAPING = (
    "windows", "high_res", "refine_up", "taps", "backbone", "modality", "dmem", "mmam", "spectral_share",
)  # fmt: skip
RADAR_ONLY = ("swin-upernet", "alos2-refined", "alos2-water")


def start_model(settings: FinetuneSettings, store: PatchStore) -> tuple[Segmenter, str]:
    """The model that finetuning begins with, and in words what it took from `settings.init`.

    Its statistics are those of the store's training split, also where the weights were trained with others:
    what weights expect is input of mean 0 and deviation 1.

    Raises:
        SarcoverError: the store has no labels, or `init` does not fit the model or the store.
    """
    _check_choices(settings)
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


def _check_choices(settings: FinetuneSettings) -> None:
    """Refuses settings that the model does not have, rather than leave them out."""
    known = model_settings(settings.model)
    for name in CHOICES:
        if getattr(settings, name) is not None and name not in known:
            having = [model for model in MODELS if name in model_settings(model)]
            raise SarcoverError(
                f"{settings.model} has no setting {name}",
                do=f"leave it out, or choose {' or '.join(having)}",
            )
    if settings.init and settings.weights:
        raise SarcoverError("init and weights both say what the encoders start from", do="leave one out")


def _from_encoder(
    settings: FinetuneSettings, meta: StoreMeta, encoder: MixMIMEncoder
) -> tuple[Segmenter, str]:
    """Encoder pretrained, decoder new."""
    shape = encoder.settings
    size = size_of(shape)
    if size is None:
        raise SarcoverError(
            f"{settings.init} holds an encoder of a shape that no model has",
            expected="embed_dim, depths and heads of --size " + " or ".join(MODELS[settings.model].sizes),
            got=", ".join(f"{key} {shape[key]}" for key in ("embed_dim", "depths", "heads")),
            do="import or pretrain an encoder of such a size",
        )
    asked = encoder_settings(settings.size, settings.windows or shape["windows"])
    differing = [key for key, value in asked.items() if shape[key] != value]
    if differing:
        raise SarcoverError(
            f"{settings.init} holds an encoder of another shape than asked for",
            expected=", ".join(f"{key} {asked[key]}" for key in differing),
            got=", ".join(f"{key} {shape[key]}" for key in differing),
            do=f"add --size {size} --windows {' '.join(map(str, shape['windows']))}",
        )
    model = _build(settings, meta, {"windows": shape["windows"], "image_size": shape["image_size"]})
    assert model.encoder is not None
    model.encoder.load_state_dict(encoder.state_dict())
    return model, f"the encoder of {settings.init}, and random weights for the rest"


def _from_segmenter(settings: FinetuneSettings, store: PatchStore) -> tuple[Segmenter, str]:
    """Everything but the statistics, and but the last layer where the classes are others."""
    source = load_model(str(settings.init))
    was = source.architecture
    asked: dict[str, Any] = {"name": settings.model, "size": settings.size}
    asked |= {
        name: list(value) if isinstance(value, tuple) else value
        for name in SHAPING
        if (value := getattr(settings, name)) is not None
    }
    is_now = {**was, **was["settings"]}
    if any(is_now.get(name) != value for name, value in asked.items()):
        raise SarcoverError(
            f"{settings.init} is another model than asked for",
            expected=_described(asked),
            got=_described({name: is_now.get(name) for name in asked}),
            do="leave them as it was trained, or start from a pretrained encoder",
        )
    bundle, legend = source.bundle, store.meta.legend
    check_initialisation(store, bundle, str(settings.init))
    chosen = _chosen(settings)
    shape = {key: value for key, value in was["settings"].items() if key not in chosen}
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


def _chosen(settings: FinetuneSettings) -> dict[str, Any]:
    """The settings of the model that the run decides on."""
    chosen = {name: getattr(settings, name) for name in ("drop_path", *CHOICES)}
    return {name: value for name, value in chosen.items() if value is not None}


def _described(settings: dict[str, Any]) -> str:
    """As in: alos2-refined, size tiny, refine_up True."""
    return ", ".join(str(value) if name == "name" else f"{name} {value}" for name, value in settings.items())


def _build(settings: FinetuneSettings, meta: StoreMeta, shape: dict[str, Any]) -> Segmenter:
    """A new model for the store's bands and classes, with the statistics of its training split."""
    given = {**_chosen(settings), **shape}
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
    _normalise(model.sar_norm, meta.statistics, settings.data)
    if model.optical_norm is not None:
        if meta.optical_statistics is None:
            raise SarcoverError(f"{settings.data} has no optical pixel in its training split")
        _normalise(model.optical_norm, meta.optical_statistics, settings.data)
    return model


def _normalise(norm: Normalisation, statistics: dict[str, list[float]], data: str) -> None:
    """The statistics of the training split, and of a normalisation that clips also its limits."""
    norm.set(statistics["mean"], statistics["std"])
    if norm.clipped:
        if "p01" not in statistics:
            raise SarcoverError(
                f"{data} holds no percentiles, which clip_outliers needs",
                expected="a store made by this version of sarcover",
                do="make it again with: sarcover prepare, or leave clip_outliers off",
            )
        norm.set_limits(statistics["p01"], statistics["p99"])
