"""One small model, exported once to both runtimes; a test that changes its bundle gets a copy."""

import shutil
from pathlib import Path

import pytest
import torch
from runtime_helpers import save

from sarcover.config import ExportSettings
from sarcover.export import export
from sarcover.models import build_model


@pytest.fixture(scope="session")
def exported(tmp_path_factory) -> Path:
    """Its bundle, with model.onnx, model.xml and model.bin; not to be changed."""
    torch.manual_seed(0)
    model = build_model("unet", size="tiny", sar_bands=2, num_classes=3, local_statistics=False)
    folder = save(tmp_path_factory.mktemp("runtimes") / "bundle", model)
    for runtime in ("onnx", "openvino"):
        export(ExportSettings(model=str(folder), to=runtime))
    return folder


@pytest.fixture
def bundle(exported, tmp_path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(exported, tmp_path / "bundle"))


@pytest.fixture
def bare(exported, tmp_path) -> Path:
    """A copy of it from before it was exported."""
    leave = shutil.ignore_patterns("exports.json", "model.onnx", "model.xml", "model.bin")
    return Path(shutil.copytree(exported, tmp_path / "bare", ignore=leave))
