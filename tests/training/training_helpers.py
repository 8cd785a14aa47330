"""Runs that are killed, and what is left of them."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file

from sarcover.errors import SarcoverError
from sarcover.models.mixmim import SarWMixMAE
from sarcover.training.devices import launch
from sarcover.training.finetune import _finetune
from sarcover.training.objective import settle
from sarcover.training.pretrain import _pretrain

START = """
import json, sys
from sarcover import config, training

if __name__ == "__main__":
    job, settings = sys.argv[1], json.loads(sys.argv[2])
    settings = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
    settings = getattr(config, job.capitalize() + "Settings")(**settings)
    if "float64" in sys.argv:
        from training_helpers import finetune_in_float64
        finetune_in_float64(settings)
    else:
        getattr(training, job)(settings)
"""


def words(settings) -> list[str]:
    """The job and its settings, as `START` takes them."""
    return [type(settings).__name__.removesuffix("Settings").lower(), json.dumps(asdict(settings))]


def finetune_in_float64(settings, fail: bool = False):
    """Finetunes with everything in float64: what is left of a difference in rounding stays tiny."""
    return launch(settle(settings), _finetune_and_fail if fail else _finetune_wide)


def _finetune_wide(fabric, settings):
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        return _finetune(fabric, settings)
    finally:
        torch.set_default_dtype(before)


def _finetune_and_fail(fabric, settings):
    """When all is done the second process fails, while the first one waits for it."""
    _finetune_wide(fabric, settings)
    if fabric.global_rank == 1:
        raise SarcoverError("the second process has no disk", do="buy one")
    fabric.barrier()


def pretrain_in_float64(settings):
    """The same for pretraining, with the same cells hidden in each step and process."""
    return launch(settings, _pretrain_wide)


def _pretrain_wide(fabric, settings):
    before, draw = torch.get_default_dtype(), SarWMixMAE._draw
    torch.set_default_dtype(torch.float64)
    SarWMixMAE._draw = lambda self, images, grid, _: draw(
        self, images, grid, torch.Generator().manual_seed(0)
    )
    try:
        return _pretrain(fabric, settings)
    finally:
        torch.set_default_dtype(before)
        SarWMixMAE._draw = draw


def kill_at_a_random_step(settings, steps: int, *more: str) -> int:
    """Starts the job, and ends its whole process group with SIGKILL while it trains; the steps it had done.

    Its processes are wherever they are at that moment: in a step, in a message, writing a checkpoint.
    """
    folder = Path(settings.out)
    folder.parent.mkdir(parents=True, exist_ok=True)
    script = folder.parent / "start.py"
    script.write_text(START)
    wanted = random.randint(2, steps // 2)
    with (folder.parent / "output.txt").open("w") as output:
        command = [sys.executable, str(script), *words(settings), *more]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
        group = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True, env=env)
        try:
            while group.poll() is None and rows(folder) < wanted:
                time.sleep(0.01)
            time.sleep(random.random() * 0.05)
        finally:
            if group.poll() is None:
                os.killpg(group.pid, signal.SIGKILL)
            group.wait()
    assert group.returncode == -signal.SIGKILL, (folder.parent / "output.txt").read_text()
    assert not (folder / "bundle").exists()
    done = rows(folder)
    assert wanted <= done < steps
    return done


def rows(run: str | Path) -> int:
    """Steps in the run's table."""
    path = Path(run) / "logs" / "metrics.csv"
    return len(path.read_text().splitlines()) - 1 if path.exists() else 0


def table(run: str | Path) -> list[list[float]]:
    """The run's table without its head; nan where nothing is written."""
    lines = (Path(run) / "logs" / "metrics.csv").read_text().splitlines()[1:]
    return [[float(value or "nan") for value in line.split(",")] for line in lines]


def weights(run: str | Path) -> dict[str, torch.Tensor]:
    """Those of the bundle."""
    return load_file(Path(run) / "bundle" / "model.safetensors")


def assert_same_run(first: Path, second: Path) -> None:
    """Bundle, last checkpoint, table and scores are equal to the last bit."""
    one, other = weights(first), weights(second)
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name
    last, other_last = (
        torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) for run in (first, second)
    )
    for part in {"model", "buffers"} & last.keys():
        for name in last[part]:
            assert torch.equal(last[part][name], other_last[part][name]), name
    assert (first / "logs" / "metrics.csv").read_text() == (second / "logs" / "metrics.csv").read_text()
    assert [row[0] for row in table(first)] == list(range(1, last["step"] + 1))
    scored = [run / "metrics.json" for run in (first, second)]
    assert scored[0].exists() == scored[1].exists()
    assert not scored[0].exists() or scored[0].read_text() == scored[1].read_text()
    assert not [*first.rglob(".*part*")]
