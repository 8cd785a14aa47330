"""`export`: what lies in the bundle afterwards, and that nothing wrong ever gets there."""

import hashlib
import json
import shutil
import sys
from importlib.metadata import version

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from runtime_helpers import batch_of

from sarcover import cli
from sarcover import export as job
from sarcover.bundle import load_model
from sarcover.config import ExportSettings
from sarcover.errors import SarcoverError
from sarcover.export import export


def names(folder):
    return {path.name for path in folder.iterdir()}


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def settings(folder, to="onnx", **changes):
    return ExportSettings(model=str(folder), to=to, **changes)


@pytest.fixture
def ready_made(exported, monkeypatch):
    """The graph is not traced anew, which takes seconds, but copied, changed as a test wants it."""
    alter = []

    def write(model, path, patch):
        graph = onnx.load(exported / "model.onnx")
        for change in alter:
            change(graph.graph)
        onnx.save(graph, path)

    monkeypatch.setattr(job, "write_onnx", write)
    return alter


def another_bias(graph):
    """Moves the logits of the first class by .01."""
    last = graph.node[-1] if graph.node[-1].op_type == "Conv" else None
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    bias = (last or convolutions[-1]).input[2]
    tensor = next(each for each in graph.initializer if each.name == bias)
    values = numpy_helper.to_array(tensor).copy()
    values[0] += 0.01
    tensor.CopyFrom(numpy_helper.from_array(values, bias))


def test_bundle_gets_files_and_their_record(exported):
    record = json.loads((exported / "exports.json").read_text())
    assert set(record) == {"onnx", "openvino"}
    assert set(record["onnx"]["files"]) == {"model.onnx"}
    assert set(record["openvino"]["files"]) == {"model.xml", "model.bin"}
    for name, runtime in (("onnx", "onnxruntime"), ("openvino", "openvino")):
        entry = record[name]
        assert entry["files"] == {file: sha256(exported / file) for file in entry["files"]}
        assert entry["model"] == sha256(exported / "model.safetensors")
        assert entry["opset"] == onnx.load(exported / "model.onnx").opset_import[0].version
        assert entry["patch"] is None
        assert entry["weights"] == "float32"
        assert entry["parity"]["sizes"] == [[1, 32, 32], [2, 19, 37], [5, 32, 64]]
        assert 0 < entry["parity"]["largest_logit_difference"] < 1e-5
        assert entry["parity"]["changed_pixels"] < 1e-3
        assert entry["speed"]["threads"] == torch.get_num_threads()
        assert entry["speed"]["milliseconds"] > 0
        assert version(runtime).startswith(entry["made_with"][name])


def test_description_and_item_of_the_bundle_stay_as_they_are(exported):
    item = json.loads((exported / "item.json").read_text())
    for asset in item["assets"].values():
        assert asset["file:checksum"] == "1220" + sha256(exported / asset["href"])
    assert load_model(exported).bundle.patch == 32


def test_anyone_can_run_the_file(exported):
    """ONNX Runtime alone, on windows of no special number."""
    model = load_model(exported)
    batch = batch_of(model, 7, 64, 32)
    session = onnxruntime.InferenceSession(exported / "model.onnx", providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {name: values.numpy() for name, values in batch.items()})
    with torch.inference_mode():
        assert np.abs(logits - model(batch).numpy()).max() < 1e-5


@pytest.mark.parametrize("to", ["onnx", "openvino"])
def test_other_logits_are_refused_and_nothing_is_written(bare, ready_made, to):
    before = {path.name: path.read_bytes() for path in bare.iterdir()}
    ready_made.append(another_bias)
    with pytest.raises(SarcoverError, match=r"other logits than torch.*at most 0\.001; got 0\.01") as error:
        export(settings(bare, to))
    assert "--tolerance" in str(error.value)
    assert {path.name: path.read_bytes() for path in bare.iterdir()} == before


def test_logits_that_are_no_numbers_are_refused(bare, ready_made):
    def broken(graph):
        (weights,) = (each for each in graph.initializer if each.name.endswith("classify.weight"))
        values = numpy_helper.to_array(weights) * np.nan
        weights.CopyFrom(numpy_helper.from_array(values.astype(np.float32), weights.name))

    ready_made.append(broken)
    with pytest.raises(SarcoverError, match="got inf"):
        export(settings(bare, tolerance=1e9))


def test_tolerance_lets_pass_and_the_record_says_so(bare, ready_made):
    ready_made.append(another_bias)
    result = export(settings(bare, tolerance=0.02))
    parity = json.loads((bare / "exports.json").read_text())["onnx"]["parity"]
    assert parity["tolerance"] == 0.02
    assert parity["largest_logit_difference"] == pytest.approx(0.01, abs=1e-5)
    assert result["parity"] == parity


def test_shares_of_changed_pixels_are_counted(bare, ready_made):
    """A bias that puts one class above all others changes every pixel that had another one."""

    def only_first(graph):
        for each in graph.initializer:
            if each.name.endswith("classify.bias"):
                each.CopyFrom(numpy_helper.from_array(np.float32([100, 0, 0]), each.name))

    ready_made.append(only_first)
    export(settings(bare, tolerance=1000.0))
    parity = json.loads((bare / "exports.json").read_text())["onnx"]["parity"]
    model = load_model(bare)
    from sarcover.runtimes.example import example_batch

    changed, pixels = 0, 0
    for size in parity["sizes"]:
        batch = example_batch(model, *size)
        with torch.inference_mode():
            classes = model(batch).numpy().argmax(1)
        changed += (classes != 0)[batch["valid"].numpy()].sum()
        pixels += batch["valid"].numpy().sum()
    assert 0 < parity["changed_pixels"] == pytest.approx(changed / pixels, abs=2e-3)


def test_an_earlier_export_is_kept_unless_told(bundle, ready_made):
    first = (bundle / "model.onnx").read_bytes()
    with pytest.raises(SarcoverError, match=r"model\.onnx exists already.*--overwrite"):
        export(settings(bundle))
    ready_made.append(another_bias)
    export(settings(bundle, tolerance=0.02, overwrite=True))
    assert (bundle / "model.onnx").read_bytes() != first
    assert set(json.loads((bundle / "exports.json").read_text())) == {"onnx", "openvino"}


def test_half_weights_halve_the_file(bundle, ready_made):
    whole = (bundle / "model.bin").stat().st_size
    export(settings(bundle, "openvino", weights="float16", overwrite=True))
    assert (bundle / "model.bin").stat().st_size < 0.51 * whole
    record = json.loads((bundle / "exports.json").read_text())["openvino"]
    assert record["weights"] == "float16"
    assert 1e-6 < record["parity"]["largest_logit_difference"] < 0.01
    assert record["parity"]["tolerance"] == 0.05


def test_a_failure_leaves_the_bundle_as_it_was(bundle, ready_made, monkeypatch):
    before = names(bundle), sha256(bundle / "model.onnx"), (bundle / "exports.json").read_bytes()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(job, "speed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export(settings(bundle, overwrite=True))
    assert (names(bundle), sha256(bundle / "model.onnx"), (bundle / "exports.json").read_bytes()) == before


def test_killed_between_two_files_no_record_tells_of_a_mixture(bundle, ready_made, monkeypatch):
    replace = job.os.replace

    def killed(source, target):
        if str(target).endswith("model.bin"):
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(job.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        export(settings(bundle, "openvino", overwrite=True))
    monkeypatch.undo()
    assert set(json.loads((bundle / "exports.json").read_text())) == {"onnx"}


@pytest.mark.parametrize(
    ("to", "package"),
    [("onnx", "onnxruntime"), ("onnx", "onnxscript"), ("openvino", "openvino"), ("openvino", "onnx")],
)
def test_missing_package_names_the_extra(bare, monkeypatch, to, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        SarcoverError, match=rf"{package}, which is not installed; pip install 'sarcover\[export\]'"
    ):
        export(settings(bare, to))


def test_what_cannot_be_exported_is_told(bare, tmp_path):
    with pytest.raises(SarcoverError, match="hf://org/name is no folder"):
        export(settings("hf://org/name"))
    with pytest.raises(SarcoverError, match="weights of an ONNX file; expected float32; got float16"):
        export(settings(bare, weights="float16"))
    with pytest.raises(SarcoverError, match="patch; expected at least 1 pixel; got 0"):
        export(settings(bare, patch=0))
    with pytest.raises(SarcoverError, match="does not exist"):
        export(settings(tmp_path / "nothing"))


def test_run_folder_is_exported_into_its_bundle(bare, tmp_path, ready_made):
    (tmp_path / "run").mkdir()
    shutil.move(bare, tmp_path / "run" / "bundle")
    export(settings(tmp_path / "run"))
    assert {"model.onnx", "exports.json"} <= names(tmp_path / "run" / "bundle")


def test_verb(bare, ready_made, capsys):
    assert cli.main(["export", "--model", str(bare), "--to", "onnx", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["files"] == [str(bare / "model.onnx")]
    assert result["patch"] == "any"
    assert result["speed"]["speed_up"] > 0
    assert cli.main(["export", "--model", str(bare), "--to", "tensorrt"]) == 2
    assert cli.main(["export", "--model", str(bare)]) == 2
