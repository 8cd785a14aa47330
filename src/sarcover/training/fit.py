"""Whether a store and a model's bundle belong together: bands, unit, radiometry, legend."""

from __future__ import annotations

import logging

from sarcover.bundle import Bundle
from sarcover.errors import SarcoverError
from sarcover.patches.store import PatchStore

logger = logging.getLogger(__name__)


def check_evaluation(store: PatchStore, bundle: Bundle, model: str) -> None:
    """A model may only be scored on what it was made for.

    Raises:
        SarcoverError: the store has other bands or classes, or stretched numbers where dB are meant.
    """
    meta, legend = store.meta, store.meta.legend
    if bundle.legend is None or bundle.kind != "segmenter":
        raise SarcoverError(f"{model} is no segmentation model", got=bundle.kind, do="finetune it first")
    if legend is None:
        raise SarcoverError(f"{store.path} has no labels", do="prepare it with --labels and --legend")
    if legend.names != bundle.legend.names:
        raise SarcoverError(
            f"{store.path} has other classes than {model}",
            expected=", ".join(bundle.legend.names),
            got=", ".join(legend.names),
            do=f"prepare it with --legend {bundle.legend.name}",
        )
    _check_bands(store, bundle, model)
    if bundle.optical_bands and not meta.optical_bands and "optical" in bundle.optional_inputs:
        logger.warning("%s has no optical companions: %s is scored on radar alone", store.path, model)
    elif bundle.optical_bands and tuple(bundle.optical_bands) != tuple(meta.optical_bands):
        raise SarcoverError(
            f"{model} needs other optical bands than {store.path} has",
            expected=" ".join(bundle.optical_bands),
            got=" ".join(meta.optical_bands) or "none",
            do="prepare the store with --optical",
        )
    if (meta.unit == "uncalibrated") != (bundle.unit == "uncalibrated"):
        raise SarcoverError(
            f"{store.path} does not hold what {model} was trained on",
            expected=_kind(bundle.unit),
            got=_kind(meta.unit),
        )
    _warn_of_radiometry(store, bundle, model)


def check_initialisation(store: PatchStore, bundle: Bundle, init: str) -> None:
    """Weights may start from other data; whatever differs is said.

    Raises:
        SarcoverError: the weights take another number of bands.
    """
    meta = store.meta
    if len(bundle.bands) != len(meta.bands):
        raise SarcoverError(
            f"{init} was trained with another number of bands than {store.path} has",
            expected=f"{len(bundle.bands)} ({' '.join(bundle.bands)})",
            got=f"{len(meta.bands)} ({' '.join(meta.bands)})",
            do="prepare the store with --bands, or start from other weights",
        )
    if tuple(bundle.bands) != tuple(meta.bands):
        logger.warning(
            "%s was trained with bands %s; they take %s of %s, in this order",
            init,
            " ".join(bundle.bands),
            " ".join(meta.bands),
            store.path,
        )
    if (meta.unit == "uncalibrated") != (bundle.unit == "uncalibrated"):
        logger.warning(
            "%s was trained with %s, %s holds %s", init, _kind(bundle.unit), store.path, _kind(meta.unit)
        )
    _warn_of_radiometry(store, bundle, init)


def _check_bands(store: PatchStore, bundle: Bundle, model: str) -> None:
    there, wanted = tuple(store.meta.bands), tuple(bundle.bands)
    if there == wanted:
        return
    unnamed = any(band.startswith("band") for band in (*there, *wanted))
    if len(there) != len(wanted) or not unnamed:
        raise SarcoverError(
            f"{store.path} was made for other bands than {model}",
            expected=" ".join(wanted),
            got=" ".join(there),
            do=f"prepare it with --bands {' '.join(wanted)}",
        )
    logger.warning("%s has bands %s; taken in order as %s", store.path, " ".join(there), " ".join(wanted))


def _warn_of_radiometry(store: PatchStore, bundle: Bundle, model: str) -> None:
    if store.meta.radiometry != bundle.radiometry:
        logger.warning(
            "%s was trained with %s, %s holds %s: backscatter may differ by about 1 dB",
            model,
            bundle.radiometry,
            store.path,
            store.meta.radiometry,
        )


def _kind(unit: str) -> str:
    return "uncalibrated numbers" if unit == "uncalibrated" else "calibrated backscatter"
