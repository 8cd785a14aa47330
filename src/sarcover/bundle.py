"""The model bundle: a folder with a model's weights and everything needed to use them.

model.safetensors   weights and normalisation
bundle.yaml         architecture, legend, bands, units, training, metrics
README.md           model card
item.json           the model as a STAC item
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from torch import nn

from sarcover.config import Unit
from sarcover.errors import SarcoverError
from sarcover.files import atomic_folder, write_json
from sarcover.legend import Legend
from sarcover.model_card import model_card
from sarcover.model_item import model_item
from sarcover.models import MODELS, Segmenter, build_model
from sarcover.models.mixmim import MixMIMEncoder
from sarcover.models.normalise import Normalisation
from sarcover.weights import fill, read_weights, refuse_pickle, save_weights

Kind = Literal["encoder", "segmenter"]
Radiometry = Literal["sigma0", "gamma0", "beta0", "unknown"]

FORMAT = 1
WEIGHTS, DESCRIPTION, CARD, ITEM = "model.safetensors", "bundle.yaml", "README.md", "item.json"
_HUB = "hf:/"  # what pathlib leaves of hf://


@dataclass(frozen=True)
class Bundle:
    """What bundle.yaml says.

    Attributes:
        kind: "segmenter", or "encoder": a pretrained encoder without a head.
        architecture: name and settings that rebuild the model.
        legend: classes; None for an encoder.
        bands: radar bands in the order of the input.
        unit: unit of the scenes it was trained on. The model takes dB, made of any unit, but for
            "uncalibrated", which it takes as it is.
        radiometry: sigma0, gamma0, beta0 or unknown.
        optical_bands: optical bands in the order of the input; empty for none.
        patch: side of the training patches, pixels.
        normalisation: {"sar": {"mean": [...], "std": [...]}, "optical": ...}, as in the weights; of models
            that clip outliers also the limits, "lower" and "upper".
        training: where the weights come from.
        metrics: content of metrics.json, or None.
        item: path or address of the STAC item of the bundle that this was read from, None without; not a part
            of what bundle.yaml says.
    """

    kind: Kind
    architecture: dict[str, Any]
    legend: Legend | None
    bands: tuple[str, ...]
    unit: Unit
    radiometry: Radiometry
    optical_bands: tuple[str, ...]
    patch: int
    normalisation: dict[str, dict[str, list[float]]]
    training: dict[str, Any]
    metrics: dict[str, Any] | None
    item: str | None = field(default=None, compare=False)

    @property
    def optional_inputs(self) -> tuple[str, ...]:
        """Inputs that the model can do without, of "sar" and "optical"."""
        model = MODELS.get(self.architecture.get("name", ""))
        if model is None or self.kind != "segmenter":
            return ()
        return model.optional_inputs_of(self.architecture.get("settings", {}))


def save_bundle(
    path: str | Path,
    model: nn.Module,
    *,
    kind: Kind,
    legend: Legend | None,
    bands: Sequence[str],
    unit: Unit,
    radiometry: Radiometry,
    optical_bands: Sequence[str],
    patch: int,
    training: dict[str, Any],
    metrics: dict[str, Any] | None,
    overwrite: bool = False,
) -> Bundle:
    """Writes a bundle; the folder appears whole or not at all.

    Args:
        path: folder to write.
        model: for kind "segmenter" a Segmenter; for "encoder" any module whose `encoder` is a MixMIMEncoder
            and whose `sar_norm` is its Normalisation: only these two are written.
        kind, legend, bands, unit, radiometry, optical_bands, patch, training, metrics: see `Bundle`.
        overwrite: replace an existing bundle.

    Raises:
        SarcoverError: the folder exists, or is no bundle, or the description does not fit the model.
    """
    bundle = Bundle(
        kind=kind,
        architecture=_plain(_architecture(model, kind)),
        legend=legend,
        bands=tuple(bands),
        unit=unit,
        radiometry=radiometry,
        optical_bands=tuple(optical_bands),
        patch=int(patch),
        normalisation=_normalisation(model),
        training=_plain(training),
        metrics=_plain(metrics),
    )
    _check(bundle, str(path))
    with atomic_folder(path, marker=DESCRIPTION, overwrite=overwrite) as folder:
        kept = ("encoder.", "sar_norm.") if kind == "encoder" else ("",)
        state = {key: value for key, value in model.state_dict().items() if key.startswith(kept)}
        save_weights(state, folder / WEIGHTS)
        description = yaml.safe_dump(_to_dict(bundle), sort_keys=False, allow_unicode=True)
        (folder / DESCRIPTION).write_text(description, encoding="utf-8")
        (folder / CARD).write_text(model_card(bundle), encoding="utf-8")
        files = {"weights": folder / WEIGHTS, "description": folder / DESCRIPTION, "card": folder / CARD}
        write_json(folder / ITEM, model_item(bundle, model, **files))
    return replace(bundle, item=str(Path(path) / ITEM))


def load_model(path: str | Path) -> Segmenter:
    """A segmentation model, ready to map: in eval mode, on the CPU, with its description as `.bundle`.

    Args:
        path: a bundle, a run folder that holds one in bundle/, or "hf://org/name" ("hf://org/name@revision").

    Raises:
        SarcoverError: no bundle there, a pickle, a broken or unfitting file, or an encoder without a head.
    """
    folder = find_bundle(path)
    bundle = read_bundle(folder)
    if bundle.kind != "segmenter":
        raise SarcoverError(
            f"{path} is a pretrained encoder without a segmentation head",
            do="finetune it first: finetune --init",
        )
    model = _build(bundle, folder)
    assert isinstance(model, Segmenter)
    _fill(model, folder, bundle)
    model.bundle = replace(bundle, item=_item(str(path), folder))
    return model.eval()


def load_encoder(path: str | Path) -> tuple[MixMIMEncoder, Bundle]:
    """The pretrained encoder of an encoder bundle, or that of a segmentation model; in eval mode.

    Args and errors as in `load_model`.
    """
    folder = find_bundle(path)
    bundle = read_bundle(folder)
    model = _build(bundle, folder)
    if not isinstance(model.encoder, MixMIMEncoder):
        name = bundle.architecture["name"]
        raise SarcoverError(f"{path}: {name} has no encoder to start from", do="choose a pretrained run")
    _fill(model, folder, bundle)
    return model.encoder.eval(), bundle


def read_bundle(folder: str | Path) -> Bundle:
    """The description of a bundle, without its weights."""
    path = Path(folder) / DESCRIPTION
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SarcoverError(f"{path} cannot be read", got=str(error)) from error
    if not isinstance(content, dict) or "sarcover_bundle" not in content:
        raise SarcoverError(f"{path} does not describe a sarcover bundle", expected="a key sarcover_bundle")
    if content["sarcover_bundle"] != FORMAT:
        raise SarcoverError(
            f"{path}: another version of the bundle format",
            expected=str(FORMAT),
            got=str(content["sarcover_bundle"]),
            do="use the sarcover version that wrote it, or a newer one",
        )
    try:
        bundle = _from_dict(content)
        _check(bundle, DESCRIPTION)
    except SarcoverError as error:
        raise SarcoverError(f"{path} is damaged: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SarcoverError(f"{path} is damaged: {type(error).__name__} {error}") from error
    return bundle


def on_hub(path: str | Path) -> bool:
    """Whether a path is the address of a model on the Hugging Face hub."""
    return str(path).startswith(_HUB)


def find_bundle(path: str | Path, also: Sequence[str] = ()) -> Path:
    """The folder of a bundle, wherever it is.

    Args:
        path: as in `load_model`.
        also: names of files that are fetched from a hub beside those of every bundle, where they are there.

    Raises:
        SarcoverError: no bundle there, or a pickle.
    """
    if on_hub(path):
        return _download(str(path), also)
    path = Path(path)
    if not path.is_dir():
        refuse_pickle(path)
    for folder in (path, path / "bundle"):
        if (folder / DESCRIPTION).is_file():
            return folder
    if not path.exists():
        raise SarcoverError(f"{path} does not exist", expected="a bundle or the run folder that holds one")
    raise SarcoverError(
        f"{path} holds no bundle",
        expected=f"{DESCRIPTION} and {WEIGHTS}, here or in bundle/",
        do="a run has its bundle when training has ended",
    )


def _download(address: str, also: Sequence[str]) -> Path:
    """A bundle of the Hugging Face hub, in the local cache."""
    import huggingface_hub

    name, revision = _on_hub(address)
    if len([part for part in name.split("/") if part]) != 2:
        raise SarcoverError(f"{address} is no address of a model", expected="hf://organisation/name")
    try:
        folder = huggingface_hub.snapshot_download(
            name, revision=revision, allow_patterns=[WEIGHTS, DESCRIPTION, CARD, ITEM, *also]
        )
    except (OSError, ValueError, huggingface_hub.errors.HfHubHTTPError) as error:
        message = str(error).strip().splitlines() or [type(error).__name__]
        raise SarcoverError(f"{address} cannot be fetched", got=message[0]) from error
    if not (Path(folder) / DESCRIPTION).is_file():
        raise SarcoverError(f"{address} holds no sarcover bundle", expected=DESCRIPTION)
    return Path(folder)


def _on_hub(address: str) -> tuple[str, str | None]:
    """Name and revision in hf://organisation/name@revision."""
    name, _, revision = address.removeprefix(_HUB).lstrip("/").partition("@")
    return name, revision or None


def _item(address: str, folder: Path) -> str | None:
    """Where others find the STAC item of a bundle in this folder: on the hub, if it is from there."""
    if not (folder / ITEM).is_file():
        return None
    if not address.startswith(_HUB):
        return str(folder / ITEM)
    name, revision = _on_hub(address)
    return f"https://huggingface.co/{name}/resolve/{revision or 'main'}/{ITEM}"


def _fill(model: nn.Module, folder: Path, bundle: Bundle) -> None:
    """Weights into the model; the description must tell the same normalisation, lest an edit be lost."""
    fill(model, read_weights(folder / WEIGHTS), folder / WEIGHTS)
    if _normalisation(model) != bundle.normalisation:
        raise SarcoverError(
            f"{folder}: {DESCRIPTION} and {WEIGHTS} disagree on the normalisation",
            expected=str(_normalisation(model)),
            got=str(bundle.normalisation),
            do="undo the change of the description: the weights were trained with theirs",
        )


def _build(bundle: Bundle, folder: Path) -> nn.Module:
    """The described model, with random weights."""
    architecture = dict(bundle.architecture)
    settings = architecture.pop("settings")
    try:
        if bundle.kind == "segmenter":
            return build_model(**settings, **architecture)
        return nn.ModuleDict(
            {"encoder": MixMIMEncoder(**settings), "sar_norm": Normalisation(len(bundle.bands))}
        )
    except TypeError as error:
        raise SarcoverError(f"{folder / DESCRIPTION}: no such architecture", got=str(error)) from error


def _architecture(model: nn.Module, kind: Kind) -> dict[str, Any]:
    if kind == "segmenter":
        if not isinstance(model, Segmenter):
            raise TypeError(f"a segmenter bundle holds a Segmenter, not a {type(model).__name__}")
        return model.architecture
    if not isinstance(model.encoder, MixMIMEncoder) or not isinstance(model.sar_norm, Normalisation):
        raise TypeError("an encoder bundle holds a MixMIMEncoder and the Normalisation of its bands")
    settings = model.encoder.settings
    return {"name": "mixmim", "sar_bands": settings["in_chans"], "settings": settings}


def _normalisation(model: nn.Module) -> dict[str, dict[str, list[float]]]:
    norms = {"sar": model.sar_norm, "optical": getattr(model, "optical_norm", None)}
    return {name: norm.statistics() for name, norm in norms.items() if isinstance(norm, Normalisation)}


def _to_dict(bundle: Bundle) -> dict[str, Any]:
    content = {name: getattr(bundle, name) for name in _described()}
    content["legend"] = bundle.legend.to_dict() if bundle.legend is not None else None
    return {"sarcover_bundle": FORMAT, **_plain(content)}


def _described() -> list[str]:
    """What bundle.yaml says: all but where it lies."""
    return [entry.name for entry in fields(Bundle) if entry.name != "item"]


def _from_dict(content: dict[str, Any]) -> Bundle:
    missing = [name for name in _described() if name not in content]
    if missing:
        raise SarcoverError(f"it lacks {', '.join(missing)}")
    values = {name: content[name] for name in _described()}
    values["legend"] = Legend.from_dict(values["legend"]) if values["legend"] is not None else None
    for name in ("bands", "optical_bands"):
        values[name] = tuple(values[name])
    return Bundle(**values)


def _check(bundle: Bundle, where: str) -> None:
    """Refuses a description that contradicts itself."""
    architecture = bundle.architecture
    _one_of(where, "kind", bundle.kind, get_args(Kind))
    _one_of(where, "unit", bundle.unit, get_args(Unit))
    _one_of(where, "radiometry", bundle.radiometry, get_args(Radiometry))
    if (bundle.kind == "segmenter") != (bundle.legend is not None):
        raise SarcoverError(f"{where}: a segmenter has a legend, an encoder none")
    counts = [("radar bands", architecture["sar_bands"], len(bundle.bands))]
    if bundle.legend is not None:
        counts.append(("optical bands", architecture["optical_bands"], len(bundle.optical_bands)))
        counts.append(("classes", architecture["num_classes"], bundle.legend.num_classes))
    for what, of_the_model, described in counts:
        if of_the_model != described:
            raise SarcoverError(
                f"{where}: {what} do not fit the model", expected=str(of_the_model), got=str(described)
            )


def _one_of(where: str, name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise SarcoverError(f"{where}: {name}", expected=" or ".join(allowed), got=repr(value))


def _plain(value: Any) -> Any:
    """`value` as YAML can say it: tuples become lists, paths text, NumPy and torch scalars numbers."""
    return json.loads(json.dumps(value, default=lambda v: v.item() if hasattr(v, "item") else str(v)))
