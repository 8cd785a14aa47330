"""Weights as safetensors, and nothing else: a pickle can run any code when it is opened."""

from __future__ import annotations

import os
import re
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sarcover.errors import SarcoverError, some_of

PICKLES = (".pth", ".pt", ".ckpt", ".bin")
_NO_SAFETENSORS = (b"PK\x03\x04", b"\x1f\x8b", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def save_weights(state: dict[str, Tensor], path: Path) -> None:
    """Writes tensors; any device, shared or strided memory."""
    apart = {key: value.detach().cpu().contiguous().clone() for key, value in state.items()}
    write_tensors(apart, path, {"format": "pt"})


def write_tensors(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    """A safetensors file of contiguous tensors that share no memory.

    Raises:
        OSError: it cannot be written. Safetensors has an error of its own for that, which tells the system's
            only in its text.
    """
    try:
        save_file(tensors, path, metadata=metadata)
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise OSError(str(error)) from error
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


def refuse_pickle(path: Path) -> None:
    """Refuses a file that its name calls a pickle."""
    if path.suffix.lower() in PICKLES:
        raise SarcoverError(
            f"{path} is a pickle: opening it could run any code in it",
            expected="a bundle folder with weights as safetensors",
            do="sarcover import-checkpoint reads the weights of published checkpoints safely",
        )


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        SarcoverError: missing, cut off, or a pickle under another name.
    """
    if not path.is_file():
        for neighbour in sorted(path.parent.iterdir()):
            refuse_pickle(neighbour)
        raise SarcoverError(f"{path} does not exist")
    with path.open("rb") as file:
        if file.read(4).startswith(_NO_SAFETENSORS):
            raise SarcoverError(
                f"{path} is a pickle or an archive under another name", expected="safetensors"
            )
    try:
        weights: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise SarcoverError(
            f"{path} is broken", got=str(error), do="copy it again: was the transfer cut off?"
        ) from error
    return weights


def fill(model: nn.Module, weights: dict[str, Tensor], source: Path) -> None:
    """Puts the weights of `source` into a model that was built for them.

    Raises:
        SarcoverError: names or shapes differ; the first few are listed.
    """
    wanted = model.state_dict()
    _refuse(source, "weights that are missing", [key for key in wanted if key not in weights])
    _refuse(source, "weights that the architecture has not", [key for key in weights if key not in wanted])
    reshaped = [
        f"{key} {tuple(weights[key].shape)} for {tuple(value.shape)}"
        for key, value in wanted.items()
        if weights[key].shape != value.shape
    ]
    _refuse(source, "weights of another shape", reshaped)
    model.load_state_dict(weights)


def _refuse(source: Path, what: str, names: list[str]) -> None:
    if names:
        raise SarcoverError(
            f"{source} does not fit the described architecture: {what}: {some_of(names)}",
            do="take weights and description from the same training",
        )
