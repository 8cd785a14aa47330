"""Other runtimes than torch for a trained model: ONNX Runtime and OpenVINO, exported by `sarcover.export`."""

from sarcover.runtimes.choice import load_runtime
from sarcover.runtimes.model import RuntimeModel
from sarcover.runtimes.record import EXPORTED

__all__ = ["EXPORTED", "RuntimeModel", "load_runtime"]
