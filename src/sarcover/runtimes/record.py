"""What a bundle says of its exported models: exports.json, beside the files themselves.

It is a file of its own: bundle.yaml, whose checksum stands in the bundle's STAC item, stays as it is.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from sarcover.bundle import WEIGHTS
from sarcover.errors import SarcoverError
from sarcover.files import read_json, sha256, write_json
from sarcover.runtimes.engines import Name

RECORD = "exports.json"
FILES: dict[Name, tuple[str, ...]] = {"onnx": ("model.onnx",), "openvino": ("model.xml", "model.bin")}
"""For each runtime its files; the first is the one to load."""
EXPORTED = (RECORD, *(name for names in FILES.values() for name in names))
"""All that an export writes into a bundle."""


@dataclass(frozen=True)
class Export:
    """One exported model.

    Attributes:
        files: SHA-256 of each file, by name.
        model: SHA-256 of the weights it was made from.
        opset: version of ONNX's operators.
        weights: how they are stored: float32 or float16.
        patch: height and width of the windows that it is for, pixels; None for any.
        parity: see `comparison.parity`; with `tolerance`, the largest difference that was let pass.
        speed: see `comparison.speed`.
        made_with: versions of what made it.
    """

    files: dict[str, str]
    model: str
    opset: int
    weights: str
    patch: int | None
    parity: dict[str, Any]
    speed: dict[str, Any]
    made_with: dict[str, str]

    @property
    def speed_up(self) -> float:
        """How many times as fast as torch it was where it was made."""
        return float(self.speed["torch_milliseconds"]) / float(self.speed["milliseconds"])


def read_exports(folder: Path) -> dict[Name, Export]:
    """The exported models of a bundle, by runtime; empty if there are none.

    Raises:
        SarcoverError: the record is damaged.
    """
    path = folder / RECORD
    if not path.exists():
        return {}
    content = read_json(path)
    try:
        return {name: Export(**content[name]) for name in get_args(Name) if name in dict(content)}
    except (TypeError, ValueError) as error:
        do = "export the model again, or use --runtime torch"
        raise SarcoverError(f"{path} is damaged", got=str(error), do=do) from error


def write_exports(folder: Path, exports: dict[Name, Export]) -> None:
    """The record, whole or not at all; without an exported model there is none."""
    if exports:
        write_json(folder / RECORD, {name: asdict(export) for name, export in exports.items()})
    else:
        (folder / RECORD).unlink(missing_ok=True)


def check_files(folder: Path, export: Export) -> None:
    """Refuses files that are not those the record tells of, or were made from other weights.

    Raises:
        SarcoverError: a file is missing, was changed, or the bundle has other weights by now.
    """
    expected = {WEIGHTS: export.model, **export.files}
    for name, checksum in expected.items():
        path = folder / name
        if not path.is_file():
            raise SarcoverError(f"{path} does not exist", do="export the model again, with --overwrite")
        found = sha256(path)
        if found != checksum:
            raise SarcoverError(
                f"{path} is not the file that {RECORD} tells of",
                expected=f"SHA-256 {checksum[:12]}...",
                got=f"{found[:12]}...",
                do="export the model again, with --overwrite, or use --runtime torch",
            )
