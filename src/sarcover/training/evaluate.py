"""`evaluate`: a model against the labels of one split of a store."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from sarcover.bundle import load_model
from sarcover.config import EvaluateSettings
from sarcover.devices import choose_device, flush_denormals
from sarcover.errors import SarcoverError
from sarcover.files import refuse_existing, write_json
from sarcover.metrics import scores
from sarcover.patches import open_store
from sarcover.progress import progress
from sarcover.training.data import Batch, PatchDataset
from sarcover.training.devices import autocast
from sarcover.training.fit import check_evaluation
from sarcover.training.scoring import score


@flush_denormals()
def evaluate(settings: EvaluateSettings) -> dict[str, Any]:
    """Scores a model and writes `settings.out`.

    Returns:
        The content of the file: metrics.json, as `metrics.scores` says.

    Raises:
        SarcoverError: the store was made for another model, or the split has no labelled pixel.
    """
    refuse_existing(settings.out, settings.overwrite)
    if settings.batch < 1:
        raise SarcoverError("batch", expected="1 or more", got=str(settings.batch))
    device = choose_device(settings.device)
    store = open_store(settings.data)
    model = load_model(settings.model).to(device).eval()
    check_evaluation(store, model.bundle, settings.model)
    data = PatchDataset(store, settings.split)
    names = model.bundle.legend.names

    def predict(batch: Batch) -> Tensor:
        with autocast(device, settings.precision):
            logits: Tensor = model(batch)
        return logits

    with progress(f"evaluate {settings.split}", len(data)) as advance:
        confusion = score(predict, data, len(names), batch=settings.batch, device=device, progress=advance)
    if not confusion.sum():
        raise SarcoverError(f"split {settings.split} of {store.path} has no labelled pixel")
    metrics = scores(confusion, names, settings.split)
    write_json(settings.out, metrics)
    return metrics
