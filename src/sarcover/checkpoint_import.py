"""`import-checkpoint`: the authors' SAR-W-MixMAE and MixMIM weights into an encoder bundle.

The published files are pickles of {model, optimizer, epoch, scaler, args}. They are read with PyTorch's
weights-only reader, which builds tensors and plain containers (and here argparse.Namespace, the training
arguments) and runs nothing; a file that asks for anything else is refused.
"""

from __future__ import annotations

import argparse
import logging
import math
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sarcover.bundle import save_bundle
from sarcover.config import ImportCheckpointSettings
from sarcover.errors import SarcoverError, some_of
from sarcover.files import disk_errors, refuse_existing, sha256
from sarcover.models.encoder import PATCH, MixMIMEncoder, sincos_table, size_of
from sarcover.models.normalise import Normalisation

logger = logging.getLogger(__name__)

REGENERATED = ("absolute_pos_embed",)


class _Published(NamedTuple):
    """A released file: its name, and the statistics (dB, VH and VV) that its input was normalised with."""

    name: str
    mean: tuple[float, float]
    std: tuple[float, float]


_BANDS = ("VH", "VV")
_V1 = ((-19.2309, -12.5951), (3.1672, 2.9644))
_V2 = ((-19.1966, -12.5144), (5.4501, 5.0019))
_KNOWN = {
    "b4f385f96a1eef96c8b32768b57cee79060fe3d920c7273e2c70e43cc1c90700": _Published(
        "SAR-W-MixMAE, BigEarthNet v1, pretrained for 64 epochs", *_V1
    ),
    "3778df30224903644d772d151a086d4a1bb006ab61c55ac6534ecb00fe3ae083": _Published(
        "SAR-W-MixMAE, BigEarthNet v1, finetuned", *_V1
    ),
    "13ab3855a2faee9dc1ca0fb50ba483cc4e0d735b9fc8d1f03e75764c356d0b93": _Published(
        "SAR-W-MixMAE, BigEarthNet v2, pretrained for 64 epochs", *_V2
    ),
    "9592399dcc5f34f608a4b558f897a919d4dd4feb06fc975c108e8f4191689c18": _Published(
        "SAR-W-MixMAE, BigEarthNet v2, finetuned", *_V2
    ),
    "33d06401a433191233322a24c551145e53622b6702b4fa9d6d0178cd2392c541": _Published(
        "SAR-W-MixMAE, SEN12-FLOOD, finetuned", *_V1
    ),
}


def import_checkpoint(settings: ImportCheckpointSettings) -> dict[str, Any]:
    """Writes an encoder bundle with the weights of a published checkpoint.

    Taken are the encoder's weights; the position table is made anew for the image size; the decoder, the
    head, the index tables and the training's state are dropped. Input weights are adapted to the bands.

    Returns:
        `bundle`, `sha256`, `known_as` (name of the released file, or None), `size` (tiny to huge, or
        None), `settings` of the encoder, `bands`, `adapted` (what was done to the input weights, or ""), and
        the lists `taken`, `regenerated` and `dropped`: every key of the file is in one of them.

    Raises:
        SarcoverError: the file is missing, broken, not the one asked for, not a checkpoint of this
            architecture, or would run code; or the bands or statistics do not fit.
    """
    refuse_existing(settings.out, settings.overwrite)
    digest = checksum(settings.file)
    if settings.sha256 and settings.sha256.lower() != digest:
        raise SarcoverError(
            f"{settings.file} is not the file asked for",
            expected=f"SHA-256 {settings.sha256.lower()}",
            got=digest,
            do="download it again",
        )
    known = _KNOWN.get(digest)
    if known is None:
        logger.warning("%s: SHA-256 %s is none of the released files'", settings.file, digest)
    checkpoint = read_checkpoint(settings.file)
    state, around = _state(checkpoint, settings.file)
    shape = recognise(state, settings.file)
    bands = _bands(settings, shape["in_chans"], known)
    holder = _Holder(settings, shape, len(bands))
    taken, dropped = holder.take(state, settings)
    normalisation = holder.normalise(settings, known, shape["in_chans"])
    result = {
        "bundle": str(settings.out),
        "sha256": digest,
        "known_as": known.name if known else None,
        "size": size_of(shape),
        "settings": holder.encoder.settings,
        "bands": list(bands),
        "adapted": holder.adapted,
        "taken": taken,
        "regenerated": list(REGENERATED),
        "dropped": dropped + around,
    }
    epoch = checkpoint.get("epoch")
    save_bundle(
        settings.out,
        holder,
        kind="encoder",
        legend=None,
        bands=bands,
        unit="db",
        radiometry="unknown",
        optical_bands=(),
        patch=settings.image_size,
        training={
            "imported_from": Path(settings.file).name,
            "sha256": digest,
            "known_as": result["known_as"],
            "epoch": epoch if isinstance(epoch, int) else None,
            "input_weights": holder.adapted or "as published",
            "normalisation": normalisation,
        },
        metrics=None,
        overwrite=settings.overwrite,
    )
    return result


def checksum(path: str | Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    if not Path(path).is_file():
        raise SarcoverError(f"{path} does not exist", expected="a .pth file")
    with disk_errors(path):
        return sha256(Path(path))


def read_checkpoint(path: str | Path) -> Mapping[str, Any]:
    """The content of a .pth file; nothing in it is executed.

    Raises:
        SarcoverError: the file is broken, or holds more than tensors, containers and training arguments.
    """
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, "cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        if found is None:
            raise _broken(path, str(error)) from error
        raise SarcoverError(
            f"{path} is refused: it holds objects that could run code",
            expected="tensors, containers and argparse.Namespace alone",
            got=found.group(1),
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise _broken(path, str(error)) from error
    if not isinstance(content, Mapping):
        raise SarcoverError(f"{path} is no checkpoint", expected="a dictionary", got=type(content).__name__)
    return content


def _broken(path: str | Path, why: str) -> SarcoverError:
    with open(path, "rb") as file:
        begin = file.read(2)
    if begin and begin != b"PK" and not begin.startswith(pickle.PROTO):
        return SarcoverError(
            f"{path} cannot be read as a checkpoint: it is not a PyTorch file",
            expected="what torch.save writes",
            do="name the checkpoint itself",
        )
    return SarcoverError(
        f"{path} cannot be read as a checkpoint",
        got=why.strip().partition("\n")[0][:200] or "an unexpected end",
        do="copy it again: was the transfer cut off?",
    )


def _state(checkpoint: Mapping[str, Any], path: str) -> tuple[dict[str, Tensor], list[str]]:
    """The model's weights, without a wrapper's prefix, and the names of what surrounds them."""
    inner = checkpoint.get("model", checkpoint)
    around = [str(key) for key in checkpoint if key != "model"] if inner is not checkpoint else []
    tensors = isinstance(inner, Mapping) and all(isinstance(value, Tensor) for value in inner.values())
    if not tensors or not inner:
        raise SarcoverError(
            f"{path} holds no model", expected="weights under 'model'", got=str(list(checkpoint)[:5])
        )
    return {str(key).removeprefix("module."): value for key, value in inner.items()}, around


def recognise(state: Mapping[str, Tensor], path: str | Path) -> dict[str, Any]:
    """The encoder's arguments (in_chans, embed_dim, depths, heads, windows), from the weights' shapes.

    Raises:
        SarcoverError: these are not the weights of a MixMIM encoder.
    """
    table = "layers.{}.blocks.{}.attn.relative_position_bias_table"
    needed = ["patch_embed.proj.weight", *(table.format(stage, 0) for stage in range(4))]
    missing = [key for key in needed if key not in state]
    if missing:
        raise SarcoverError(
            f"{path} holds no MixMIM encoder",
            expected=", ".join(missing),
            got=", ".join(list(state)[:3]) + (" ..." if len(state) > 3 else ""),
        )
    blocks = [re.match(r"layers\.([0-3])\.blocks\.(\d+)\.", key) for key in state]
    numbers = [(int(found[1]), int(found[2])) for found in blocks if found]
    depths = [1 + max(n for own, n in numbers if own == stage) for stage in range(4)]
    tables = [state[table.format(stage, 0)] for stage in range(4)]
    embed_dim, in_chans = state["patch_embed.proj.weight"].shape[:2]
    return {
        "in_chans": in_chans,
        "embed_dim": embed_dim,
        "depths": tuple(depths),
        "heads": tuple(table.shape[1] for table in tables),
        "windows": tuple((math.isqrt(len(table)) + 1) // 2 for table in tables),
    }


def _bands(settings: ImportCheckpointSettings, published: int, known: _Published | None) -> tuple[str, ...]:
    """Names of the new encoder's bands."""
    if settings.bands:
        return settings.bands
    if known is not None:
        return _BANDS
    names = tuple(f"band{index + 1}" for index in range(published))
    logger.warning("%s does not name its bands; they are called %s", settings.file, " ".join(names))
    return names


class _Holder(nn.Module):
    """The new encoder and its normalisation."""

    def __init__(self, settings: ImportCheckpointSettings, shape: dict[str, Any], bands: int) -> None:
        super().__init__()
        self.encoder = MixMIMEncoder(settings.image_size, **{**shape, "in_chans": bands})
        if self.encoder.windows != shape["windows"]:
            least = max(window * PATCH * 2**stage for stage, window in enumerate(shape["windows"]))
            raise SarcoverError(
                f"{settings.file}: an image of {settings.image_size} px is smaller than its windows",
                expected=f"{least} px or more for windows {shape['windows']}",
                do="choose another --image-size",
            )
        self.sar_norm = Normalisation(bands)
        self.adapted = ""

    def take(
        self, state: dict[str, Tensor], settings: ImportCheckpointSettings
    ) -> tuple[list[str], list[str]]:
        """Fills the encoder; the keys taken, and those dropped."""
        wanted = self.encoder.state_dict()
        taken = [key for key in wanted if key not in REGENERATED]
        missing = [key for key in taken if key not in state]
        if missing:
            raise SarcoverError(f"{settings.file} lacks {some_of(missing)}", do="download it again")
        weights = {key: state[key].to(torch.float32) for key in taken}
        weights["patch_embed.proj.weight"] = self._adapt(weights["patch_embed.proj.weight"], settings.adapt)
        for key, value in weights.items():
            if value.shape != wanted[key].shape:
                raise SarcoverError(
                    f"{settings.file}: {key} has another shape than its neighbours say",
                    expected=str(tuple(wanted[key].shape)),
                    got=str(tuple(value.shape)),
                )
            if not bool(torch.isfinite(value).all()):
                raise SarcoverError(f"{settings.file}: {key} holds numbers that are not finite")
        _compare_positions(state.get("absolute_pos_embed"), settings.file)
        self.encoder.load_state_dict({**wanted, **weights})
        return taken, [key for key in state if key not in wanted]

    def _adapt(self, weight: Tensor, how: str) -> Tensor:
        """Input weights (D, C, 4, 4) for another number of bands: all get the same share of mean or sum."""
        old, new = weight.shape[1], self.sar_norm.channels
        if old == new:
            return weight
        joined = weight.mean(1, keepdim=True) if how == "mean" else weight.sum(1, keepdim=True)
        self.adapted = f"{how} over {old} bands" + (f", divided among {new}" if new > 1 else "")
        return (joined / new).expand(-1, new, -1, -1)

    def normalise(self, settings: ImportCheckpointSettings, known: _Published | None, published: int) -> str:
        """Sets the statistics; where they are from, in words."""
        bands = self.sar_norm.channels
        if (settings.mean is None) != (settings.std is None):
            raise SarcoverError("--mean and --std go together")
        if settings.mean is not None and settings.std is not None:
            self.sar_norm.set(settings.mean, settings.std)
            return "given"
        if known is not None and bands == published:
            self.sar_norm.set(known.mean, known.std)
            return "of the released data set"
        if known is not None:
            self.sar_norm.set(*([sum(values) / len(values)] * bands for values in (known.mean, known.std)))
            return "mean over the bands of the released data set"
        logger.warning(
            "%s does not say how its input was normalised: mean 0, deviation 1 are noted (--mean, --std)",
            settings.file,
        )
        return "unknown"


def _compare_positions(table: Tensor | None, path: str) -> None:
    """Says so if the published positions are not the fixed table, which takes their place."""
    if table is None or table.ndim != 3:
        return
    side = math.isqrt(table.shape[1])
    fixed = torch.from_numpy(sincos_table(side, side, table.shape[2]))
    if fixed.shape != table.shape[1:] or not torch.allclose(table[0].float(), fixed, atol=1e-3):
        logger.warning(
            "%s: its absolute_pos_embed is not the fixed sine-cosine table, which replaces it", path
        )
