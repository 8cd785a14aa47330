"""What a finetuning minimises and how fast: its loss and its learning rate, also where settings are open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from sarcover.config import FinetuneSettings
from sarcover.errors import SarcoverError
from sarcover.losses import LOSSES, Loss, loss_settings, segmentation_loss
from sarcover.models import MODELS

# The settings that some loss has; None where the recipe leaves the choice to the loss.
LOSS_SETTINGS = tuple(
    field.name
    for field in fields(FinetuneSettings)
    if any(field.name in loss_settings(loss) for loss in LOSSES)
)
BINARY_LOSS = "bce-dice"
PUBLISHED_LOSS = {"claire": "rift", "specsar-former": "focal"}  # of models of other papers than focal-dice


def settle(settings: FinetuneSettings) -> FinetuneSettings:
    """The same settings with a loss, and with a value for each number of that loss.

    So the record of a run says what it computed, also when the defaults of a later version are others.

    Raises:
        SarcoverError: the loss is not for this model, or it has no such number, or it is always zero.
    """
    binary = settings.model in MODELS and MODELS[settings.model].binary
    loss = settings.loss or (BINARY_LOSS if binary else PUBLISHED_LOSS.get(settings.model, "focal-dice"))
    known = loss_settings(loss)
    if binary != (loss == BINARY_LOSS):
        raise SarcoverError(
            f"{settings.model} has {'one logit' if binary else 'a logit for each class'}",
            expected=f"loss {BINARY_LOSS if binary else ' or '.join(n for n in LOSSES if n != BINARY_LOSS)}",
            got=loss,
        )
    given = {name: getattr(settings, name) for name in LOSS_SETTINGS}
    for name, value in given.items():
        if value is not None and name not in known:
            raise SarcoverError(
                f"{name} is no setting of the {loss} loss", expected=" or ".join(known) or "no setting"
            )
        if value is not None and not value >= 0:
            raise SarcoverError(name, expected="0 or more", got=str(value))
    values: dict[str, Any] = {
        name: known[name] if value is None else value for name, value in given.items() if name in known
    }
    terms = [name for name in values if name.startswith("lambda_")]
    if values.get("lambda_focal") == 0 and all(values[name] == 0 for name in terms):
        raise SarcoverError(" and ".join(terms), expected="one of them above 0", got="0 and 0")
    return replace(settings, **{"loss": loss, **values})


def recipe_loss(settings: FinetuneSettings, class_counts: Sequence[int]) -> Loss:
    """The loss of settled settings.

    Args:
        settings: as `settle` returns them.
        class_counts: (K,) labelled pixels of each class in the training patches.
    """
    assert settings.loss is not None, "settle the settings first"
    known = loss_settings(settings.loss)
    numbers = {name: getattr(settings, name) for name in LOSS_SETTINGS if name in known}
    return segmentation_loss(settings.loss, class_counts, class_weighted=settings.class_weights, **numbers)


def peak_rate(settings: FinetuneSettings, global_batch: int) -> float:
    """Learning rate after the warm-up: as given, or scaled linearly from `rate_batch` to the global batch."""
    return settings.learning_rate * global_batch / (settings.rate_batch or global_batch)
