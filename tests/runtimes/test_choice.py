"""Which runtime maps: what was asked for, or the fastest there is; and what nobody may slip in."""

import logging
import shutil
import sys

import huggingface_hub
import numpy as np
import openvino
import pytest
import rasterio
from runtime_helpers import change_record, write_scene

from sarcover import cli
from sarcover.config import MapSettings
from sarcover.errors import SarcoverError
from sarcover.mapping import map_with
from sarcover.mapping.job import prepare_job
from sarcover.models import Segmenter
from sarcover.runtimes import RuntimeModel, load_runtime

FAST, SLOW = (
    {"milliseconds": 10.0, "torch_milliseconds": 30.0},
    {"milliseconds": 10.0, "torch_milliseconds": 8.0},
)
MIDDLING = {"milliseconds": 10.0, "torch_milliseconds": 20.0}


def title(model):
    return model.runtime.split()[0] if isinstance(model, RuntimeModel) else "torch"


@pytest.mark.parametrize("runtime", ["onnx", "openvino", "auto"])
def test_map_is_that_of_torch(exported, tmp_path, runtime):
    """All but a tiny share of the pixels, whose two best classes are as good as equal."""
    scene = write_scene(tmp_path / "scene.tif")
    maps = {}
    for name in ("torch", runtime):
        out = tmp_path / f"{name}.tif"
        settings = {"scenes": (str(scene),), "batch": 3, "runtime": name}
        result = map_with(MapSettings(model=str(exported), out=str(out), device="cpu", **settings))
        assert result.windows > 6
        with rasterio.open(out) as raster:
            maps[name] = raster.read(1)
            computed_by = raster.tags().get("SARCOVER_RUNTIME", "")
        expected = {"torch": "", "onnx": "ONNX Runtime", "openvino": "OpenVINO"}.get(name, "")
        assert computed_by.startswith(expected)
        assert bool(computed_by) == (name != "torch")
    assert len(np.unique(maps["torch"])) > 2
    assert np.array_equal(maps["torch"] == 255, maps[runtime] == 255)
    assert (maps["torch"] != maps[runtime]).mean() < 1e-3


def test_map_names_the_same_weights(exported, tmp_path):
    scene, tags = write_scene(tmp_path / "scene.tif", 40, 40), set()
    for name in ("torch", "onnx"):
        out = tmp_path / f"{name}.tif"
        map_with(
            MapSettings(model=str(exported), out=str(out), scenes=(str(scene),), runtime=name, device="cpu")
        )
        with rasterio.open(out) as raster:
            tags.add(raster.tags()["SARCOVER_MODEL_SHA256"])
    assert len(tags) == 1


@pytest.mark.parametrize(
    ("onnx", "openvino", "expected"),
    [
        (FAST, MIDDLING, "ONNX"),
        (MIDDLING, FAST, "OpenVINO"),
        (SLOW, MIDDLING, "OpenVINO"),
        (SLOW, SLOW, "torch"),
    ],
)
def test_auto_takes_the_fastest_by_the_record(bundle, onnx, openvino, expected):
    change_record(bundle, "onnx", **onnx)
    change_record(bundle, "openvino", **openvino)
    assert title(load_runtime(bundle, device="cpu")) == expected


def test_auto_takes_what_is_installed(bundle, monkeypatch):
    change_record(bundle, "onnx", **MIDDLING)
    change_record(bundle, "openvino", **FAST)
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert title(load_runtime(bundle, device="cpu")) == "ONNX"
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert title(load_runtime(bundle, device="cpu")) == "torch"
    with pytest.raises(SarcoverError, match=r"needs the package openvino.*pip install 'sarcover\[export\]'"):
        load_runtime(bundle, "openvino")


def test_auto_takes_what_is_for_such_windows(bundle):
    change_record(bundle, "onnx", **FAST, patch=64)
    change_record(bundle, "openvino", **MIDDLING, patch=32)
    assert title(load_runtime(bundle, device="cpu")) == "OpenVINO"
    assert title(load_runtime(bundle, device="cpu", patch=64)) == "ONNX"
    assert title(load_runtime(bundle, device="cpu", patch=48)) == "torch"


def test_another_patch_than_the_exported_falls_back_to_torch(bundle, caplog):
    change_record(bundle, "onnx", patch=64)
    with caplog.at_level(logging.WARNING, "sarcover"):
        model = load_runtime(bundle, "onnx")
    assert isinstance(model, Segmenter)
    assert "exported to onnx for windows of 64 px: those of 32 px are computed by torch" in caplog.text


def test_torch_needs_no_export(bare):
    for runtime in ("torch", "auto"):
        assert isinstance(load_runtime(bare, runtime), Segmenter)
    with pytest.raises(
        SarcoverError, match=r"not exported to openvino; sarcover export --model .* --to openvino"
    ):
        load_runtime(bare, "openvino")


@pytest.mark.parametrize(
    ("file", "runtime"), [("model.onnx", "onnx"), ("model.bin", "openvino"), ("model.xml", "auto")]
)
def test_changed_file_is_refused(bundle, file, runtime):
    change_record(bundle, "openvino", **FAST)
    change_record(bundle, "onnx", **SLOW)
    content = bytearray((bundle / file).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / file).write_bytes(content)
    with pytest.raises(SarcoverError, match=rf"{file} is not the file that exports\.json tells of"):
        load_runtime(bundle, runtime, device="cpu")
    assert isinstance(load_runtime(bundle, "torch"), Segmenter)


def test_missing_file_is_told(bundle):
    (bundle / "model.bin").unlink()
    with pytest.raises(SarcoverError, match=r"model\.bin does not exist; export the model again"):
        load_runtime(bundle, "openvino")


def test_export_of_other_weights_is_refused(bundle):
    from safetensors.torch import load_file, save_file

    weights = load_file(bundle / "model.safetensors")
    weights["classify.bias"] += 1
    save_file(weights, bundle / "model.safetensors")
    with pytest.raises(
        SarcoverError, match=r"model\.safetensors is not the file that exports\.json tells of"
    ):
        load_runtime(bundle, "onnx")


def test_file_that_the_runtime_cannot_load_is_told(bundle):
    import hashlib

    for name, file in (("onnx", "model.onnx"), ("openvino", "model.xml")):
        (bundle / file).write_bytes(b"no graph")
        files = {file: hashlib.sha256(b"no graph").hexdigest()}
        change_record(bundle, name, files=files)
        with pytest.raises(SarcoverError, match=rf"{file}: .* cannot load it.*export the model again"):
            load_runtime(bundle, name)


@pytest.mark.parametrize("content", ["{", "[1]", '{"onnx": {"files": {}}}', '{"onnx": 3}'])
def test_damaged_record_is_told(bundle, content):
    (bundle / "exports.json").write_text(content)
    with pytest.raises(SarcoverError, match=r"exports\.json is (damaged|not valid JSON)"):
        load_runtime(bundle, "onnx")


def test_bf16_where_the_processor_has_it(bundle, caplog):
    change_record(bundle, "onnx", **FAST)
    change_record(bundle, "openvino", **SLOW)
    there = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    with caplog.at_level(logging.WARNING, "sarcover"):
        model = load_runtime(bundle, precision="bf16", device="cpu")
    assert model.runtime.startswith("OpenVINO")
    assert model.runtime.endswith("bf16" if there else "float32")
    assert ("this CPU has no bf16: openvino computes in float32" in caplog.text) == (not there)
    with pytest.raises(SarcoverError, match=r"onnx computes in float32.*got bf16.*--runtime openvino"):
        load_runtime(bundle, "onnx", precision="bf16")


def test_exported_runtimes_are_for_the_cpu(bundle):
    with pytest.raises(SarcoverError, match="onnx computes on the CPU; got --device cuda"):
        load_runtime(bundle, "onnx", device="cuda")


def test_exported_files_are_fetched_from_a_hub_where_they_are_used(bundle, tmp_path, monkeypatch):
    fetched = []

    def snapshot_download(name, *, revision=None, allow_patterns=None):
        fetched.append(set(allow_patterns))
        cache = tmp_path / f"cache-{len(fetched)}"
        leave = shutil.ignore_patterns(*({path.name for path in bundle.iterdir()} - set(allow_patterns)))
        return str(shutil.copytree(bundle, cache, ignore=leave))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert title(load_runtime("hf://org/name", "onnx")) == "ONNX"
    fetched.clear()
    shutil.rmtree(tmp_path / "cache-1")
    assert title(load_runtime("hf://org/name", "torch")) == "torch"
    assert not any({"model.onnx", "model.bin", "exports.json"} & names for names in fetched)


def test_a_map_is_not_taken_up_by_another_runtime(exported, tmp_path):
    scene = write_scene(tmp_path / "scene.tif", 40, 40)
    identities = [
        prepare_job(load_runtime(exported, runtime), scene).identity({})
        for runtime in ("torch", "onnx", "openvino")
    ]
    assert len({identity["runtime"] for identity in identities}) == 3
    assert identities[0]["runtime"] == "torch"


def test_a_map_never_replaces_an_exported_file(bundle, tmp_path):
    scene = write_scene(tmp_path / "scene.tif", 40, 40)
    words = ["map", "--model", str(bundle), "--scenes", str(scene), "--overwrite"]
    assert cli.main([*words, "--out", str(bundle / "model.onnx")]) == 2
    assert isinstance(load_runtime(bundle, "onnx"), RuntimeModel)
