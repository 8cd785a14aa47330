"""A run that is killed and started again ends with the very same weights."""

import logging
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from training_helpers import START, assert_same_run, kill_at_a_random_step, words

from sarcover.config import FinetuneSettings, PretrainSettings
from sarcover.errors import SarcoverError
from sarcover.training import finetune, pretrain

# Ends the process for good while a file takes its final name, the n-th time.
DEADLY = """
import os, signal, sys

replace, calls = os.replace, 0

def deadly(source, final):
    global calls
    calls += str(final).endswith(sys.argv[3])
    if calls == int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(source, final)

os.replace = deadly
"""


def kill_while_writing(settings, name: str, count: int) -> None:
    command = [sys.executable, "-c", DEADLY + START, *words(settings), name, str(count)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=os.environ, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_finetuning_killed_at_a_random_step_ends_bit_equal(store, tmp_path):
    """unet: its BatchNorm keeps statistics beside the weights, and the running average holds both."""
    settings = FinetuneSettings(
        data=str(store.path),
        out=str(tmp_path / "killed"),
        model="unet",
        size="tiny",
        steps=14,
        batch=3,  # 8 patches: some steps cross from one epoch to the next
        ema=0.9,
        validations=3,
        checkpoint_minutes=0,
    )
    kill_at_a_random_step(settings, 14)
    finetune(settings)
    finetune(replace(settings, out=str(tmp_path / "whole"), checkpoint_minutes=10))
    assert_same_run(tmp_path / "killed", tmp_path / "whole")


def test_pretraining_killed_while_it_writes_ends_bit_equal(store, tmp_path):
    settings = PretrainSettings(
        data=str(store.path),
        out=str(tmp_path / "killed"),
        size="tiny",
        steps=5,
        batch=2,
        accumulate=2,
        pictures=1,
        checkpoint_minutes=0,
    )
    kill_while_writing(settings, "last.ckpt", 3)
    pretrain(settings)
    pretrain(replace(settings, out=str(tmp_path / "whole")))
    assert_same_run(tmp_path / "killed", tmp_path / "whole")


@pytest.fixture(scope="module")
def unfinished(store, tmp_path_factory) -> FinetuneSettings:
    """A run that stopped before its bundle was written."""
    out = tmp_path_factory.mktemp("run") / "run"
    settings = FinetuneSettings(
        data=str(store.path), out=str(out), model="unet", size="tiny", steps=2, batch=2, validations=0
    )
    finetune(settings)
    (out / "bundle").rename(out / "kept")
    return settings


def test_an_unfinished_run_refuses_other_settings_and_names_them(unfinished):
    other = replace(unfinished, learning_rate=0.5, batch=3, checkpoint_minutes=1.0)
    with pytest.raises(SarcoverError, match="unfinished run with other settings") as error:
        finetune(other)
    assert "batch 2; learning_rate 0.0006" in str(error.value)
    assert "batch 3; learning_rate 0.5" in str(error.value)
    assert "checkpoint_minutes" not in str(error.value)
    assert "--overwrite" in str(error.value)


def test_an_unfinished_run_refuses_other_data(unfinished, make_store):
    other = make_store(seed=1)
    with pytest.raises(SarcoverError, match="fingerprint of data"):
        finetune(replace(unfinished, data=str(other.path)))


def test_another_number_of_threads_is_said(unfinished, caplog):
    written = Path(unfinished.out) / "settings.yaml"
    text = written.read_text()
    record = yaml.safe_load(text)
    assert record["threads"] == torch.get_num_threads()
    written.write_text(yaml.safe_dump(record | {"threads": 77}))
    with caplog.at_level(logging.WARNING, "sarcover"):
        finished = finetune(unfinished)
    assert f"began with 77 threads and goes on with {torch.get_num_threads()}" in caplog.text
    Path(finished["bundle"]).rename(Path(finished["run"]) / "said")
    written.write_text(text)


def test_a_moved_store_is_the_same_data(unfinished, store, tmp_path):
    (tmp_path / "moved").symlink_to(store.path)
    finished = finetune(replace(unfinished, data=str(tmp_path / "moved")))
    assert finished["steps"] == 2
    Path(finished["bundle"]).rename(Path(finished["run"]) / "again")


def test_a_broken_checkpoint_is_named(unfinished):
    last = Path(unfinished.out) / "checkpoints" / "last.ckpt"
    content = last.read_bytes()
    last.write_bytes(content[:1000])
    with pytest.raises(SarcoverError, match=r"last\.ckpt cannot be read.*--overwrite"):
        finetune(unfinished)
    last.write_bytes(content)


def test_a_finished_run_is_refused_and_replaced_on_request(store, tmp_path):
    settings = FinetuneSettings(
        data=str(store.path), out=str(tmp_path / "run"), model="unet", size="tiny", steps=1, batch=2
    )
    finetune(settings)
    with pytest.raises(SarcoverError, match=r"is a finished run.*--overwrite"):
        finetune(settings)
    assert finetune(replace(settings, steps=2, overwrite=True))["steps"] == 2


def test_a_folder_that_is_no_run_is_never_touched(store, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    settings = FinetuneSettings(
        data=str(store.path), out=str(tmp_path), model="unet", size="tiny", steps=1, overwrite=True
    )
    with pytest.raises(SarcoverError, match="is not a run"):
        finetune(settings)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
