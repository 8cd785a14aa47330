"""Every architecture as a graph: the same logits in each runtime, for any number of windows."""

import numpy as np
import pytest
import torch
from runtime_helpers import batch_of, save

from sarcover.bundle import load_model
from sarcover.models import MODELS, build_model, encoder
from sarcover.runtimes.engines import open_engine, write_openvino
from sarcover.runtimes.graph import graph_inputs, needs_fixed_size, write_onnx

SIDE = 64
SHALLOW = {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 32, 64]}


@pytest.fixture
def shallow(monkeypatch):
    """The smallest encoder that has every kind of layer: writing a graph takes long, block by block."""
    small = {"embed_dim": 32, "depths": (1, 1, 1, 1), "heads": (1, 2, 4, 8)}
    monkeypatch.setitem(encoder._SIZES, "tiny", small)


def model_of(name):
    torch.manual_seed(0)
    settings = {"optical_bands": 3, "shape": SHALLOW} if name == "claire" else {}
    classes = 2 if MODELS[name].binary else 5
    return build_model(name, size="tiny", sar_bands=2, num_classes=classes, **settings)


def logits_of(engine, model, batch):
    return engine({name: batch[name].numpy() for name in graph_inputs(model)})


@pytest.mark.slow
@pytest.mark.parametrize("name", list(MODELS))
def test_graph_of_every_model_gives_its_logits(tmp_path, shallow, settle, name):
    model = model_of(name)
    settle(model, batch_of(model, 2, SIDE, SIDE))
    model = load_model(save(tmp_path / "bundle", model))
    onnx, xml = tmp_path / "model.onnx", tmp_path / "model.xml"
    write_onnx(model, onnx, SIDE)
    write_openvino(onnx, xml, half=False)
    engines = [open_engine("onnx", onnx), open_engine("openvino", xml)]
    sizes = [(1, SIDE, SIDE), (3, SIDE, SIDE)]
    if not needs_fixed_size(model):
        sizes.append((2, 32, 96))
    for size in sizes:
        batch = batch_of(model, *size)
        with torch.inference_mode():
            expected = model(batch).numpy()
        for engine in engines:
            found = logits_of(engine, model, batch)
            assert found.shape == expected.shape
            assert np.isfinite(found).all()
            assert np.abs(found - expected).max() <= 1e-4 * max(1.0, np.abs(expected).max())
    assert np.ptp(expected) > 0.1  # logits that say something


def test_masks_and_islands_of_nan_are_part_of_the_graph(exported):
    model = load_model(exported)
    batch = batch_of(model, 2, 32, 32)
    hidden = dict(batch, sar=torch.where(batch["valid"][:, None], batch["sar"], 1e30))
    other = dict(batch, valid=torch.ones_like(batch["valid"]))
    for name, file in (("onnx", "model.onnx"), ("openvino", "model.xml")):
        engine = open_engine(name, exported / file)
        logits = logits_of(engine, model, batch)
        assert np.isfinite(logits).all()
        assert np.array_equal(logits, logits_of(engine, model, hidden))
        assert not np.allclose(logits, logits_of(engine, model, other), atol=1e-3)


def test_runtimes_use_as_many_threads_as_torch(exported):
    found = {}
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            onnx = open_engine("onnx", exported / "model.onnx")
            openvino = open_engine("openvino", exported / "model.xml")
            found[threads] = (
                onnx._session.get_session_options().intra_op_num_threads,
                openvino._compiled.get_property("INFERENCE_NUM_THREADS"),
            )
    finally:
        torch.set_num_threads(before)
    assert found == {1: (1, 1), 2: (2, 2)}


def test_denormal_numbers_are_flushed(exported):
    onnx = open_engine("onnx", exported / "model.onnx")._session.get_session_options()
    assert onnx.get_session_config_entry("session.set_denormal_as_zero") == "1"
    openvino = open_engine("openvino", exported / "model.xml")._compiled
    assert openvino.get_property("CPU_DENORMALS_OPTIMIZATION") in (True, "YES")
