"""Interrupted runs go on after their last shard; broken files in the middle of many are listed."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace

import numpy as np
import pytest
import rasterio
import yaml
from patch_helpers import (
    UTM,
    distinct_dn,
    make_store,
    placed,
    write_legend,
    write_raster,
    write_scene,
)

from sarcover.cli import main
from sarcover.config import PrepareSettings
from sarcover.errors import SarcoverError, UnreadableError
from sarcover.patches import open_store, prepare
from sarcover.patches.inputs import Source
from sarcover.patches.workplace import Workplace

SLOW = """
import json, sys, time
from sarcover.config import PrepareSettings
from sarcover.patches import prepare
from sarcover.patches.inputs import Source
import sarcover.patches.writer as writer
writer.MAX_PATCHES = 4
read = Source.read
def slowly(self, window):
    time.sleep(float(sys.argv[2]))
    return read(self, window)
Source.read = slowly
given = {k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(sys.argv[1]).items()}
prepare(PrepareSettings(**given))
"""


@pytest.fixture
def job(tmp_path):
    """Three scenes, one of them half empty, with labels, anchors and a split by blocks."""
    rng = np.random.default_rng(3)
    scenes, labels = [], []
    for number in range(3):
        place = placed(col=64 * number)
        dn = distinct_dn(64, 64, first=1 + 5000 * number)
        dn[:, :32] = 0 if number == 1 else dn[:, :32]
        scenes.append(write_scene(tmp_path / f"s{number}_2022091{number}.tif", dn, transform=place))
        codes = rng.integers(0, 4, (64, 64)).astype(np.uint8)
        labels.append(write_raster(tmp_path / f"l{number}.tif", codes, transform=place))
    return PrepareSettings(
        str(tmp_path / "store"),
        scenes=tuple(map(str, scenes)),
        labels=tuple(map(str, labels)),
        legend=str(write_legend(tmp_path / "legend.yaml")),
        patch=16,
        split="block",
        block=24,
        guard=2,
        anchors=400,
        min_labelled=0.0,
        workers=1,
    )


def content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def run(settings, pause, **kwargs):
    words = [sys.executable, "-c", SLOW, json.dumps(asdict(settings)), str(pause)]
    return subprocess.Popen(words, stderr=subprocess.PIPE, text=True, **kwargs)


def test_a_killed_run_goes_on_and_the_store_is_the_same_to_the_last_byte(tmp_path, job, monkeypatch):
    monkeypatch.setattr("sarcover.patches.writer.MAX_PATCHES", 4)
    prepare(job)
    whole = content((tmp_path / "store").rename(tmp_path / "whole"))

    process = run(job, 0.04)
    journal = tmp_path / ".store.work" / "journal.jsonl"
    until = time.monotonic() + 60
    while time.monotonic() < until and not (journal.exists() and journal.read_text().count("\n") >= 3):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "store").exists()
    work = tmp_path / ".store.work" / "store"
    finished = journal.read_text().count("\n")
    assert 3 <= finished < len(yaml.safe_load((tmp_path / "whole" / "store.yaml").read_text())["shards"])
    names = [f"sar-{number:05d}.npy" for number in range(finished)]
    before = {name: os.stat(work / "shards" / name) for name in names}

    prepare(job)
    for name in names:  # the very files: not made again
        after = os.stat(tmp_path / "store" / "shards" / name)
        assert (after.st_ino, after.st_mtime_ns) == (before[name].st_ino, before[name].st_mtime_ns)
    assert content(tmp_path / "store") == whole
    assert not (tmp_path / ".store.work").exists()


def interrupted(job, monkeypatch, after=3):
    """Ends a run by Ctrl-C when it has written so many shards."""
    monkeypatch.setattr("sarcover.patches.writer.MAX_PATCHES", 4)
    finish = Workplace.finish

    def stop(self, line):
        finish(self, line)
        if int(next(iter(line["shard"]["files"]))[-9:-4]) == after - 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Workplace, "finish", stop)
    with pytest.raises(KeyboardInterrupt):
        prepare(job)
    monkeypatch.setattr(Workplace, "finish", finish)


def test_a_shard_that_was_damaged_meanwhile_is_made_again(tmp_path, job, monkeypatch):
    monkeypatch.setattr("sarcover.patches.writer.MAX_PATCHES", 4)
    prepare(job)
    whole = content((tmp_path / "store").rename(tmp_path / "whole"))
    interrupted(job, monkeypatch)
    damaged = tmp_path / ".store.work" / "store" / "shards" / "label-00001.npy"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\x07")
    with (tmp_path / ".store.work" / "journal.jsonl").open("a") as journal:
        journal.write('{"shard": half a line')
    prepare(job)
    assert content(tmp_path / "store") == whole


def test_another_job_starts_over(tmp_path, job, monkeypatch, caplog):
    interrupted(job, monkeypatch)
    other = replace(job, min_valid=0.2)
    with caplog.at_level("WARNING"):
        prepare(other)
    assert "starts over, for settings changed" in caplog.text
    expected = content((tmp_path / "store").rename(tmp_path / "other"))
    prepare(other)
    assert content(tmp_path / "store") == expected


def test_the_number_of_workers_changes_nothing(tmp_path, job):
    prepare(job)
    one = content((tmp_path / "store").rename(tmp_path / "one"))
    prepare(replace(job, workers=4, scenes=job.scenes[::-1], labels=job.labels[::-1]))
    many = content(tmp_path / "store")
    assert {name for name in one if one[name] != many[name]} == {"store.yaml"}  # the settings' order
    assert open_store(tmp_path / "one").meta.fingerprint == open_store(tmp_path / "store").meta.fingerprint


def test_two_processes_do_not_make_the_same_store(tmp_path, job):
    process = run(job, 0.2)
    until = time.monotonic() + 60
    while time.monotonic() < until and not (tmp_path / ".store.work" / "job.json").exists():
        time.sleep(0.02)
    with pytest.raises(SarcoverError, match="store is being made by another process"):
        prepare(job)
    process.kill()
    process.wait()


def test_a_full_disk_is_said_and_the_run_goes_on_later(tmp_path, job):
    limit = 3000  # bytes of a file: a shard of the radar is larger

    def small():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    plain = replace(job, anchors=None, split="none")
    process = run(plain, 0.0, preexec_fn=small)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "the disk is full; free some space and run again" in errors
    assert not (tmp_path / "store").exists()
    prepare(plain)
    assert len(open_store(tmp_path / "store")) > 0


def many(tmp_path, number=12):
    scenes, labels = [], []
    for n in range(number):
        place = placed(col=16 * n)
        dn = distinct_dn(16, 16, first=1 + 300 * n)
        scenes.append(write_scene(tmp_path / "scenes" / f"s{n:02d}.tif", dn, transform=place))
        codes = np.full((16, 16), n % 3 + 1, np.uint8)
        labels.append(write_raster(tmp_path / "labels" / f"l{n:02d}.tif", codes, transform=place))
    return scenes, labels


def test_broken_files_among_many_are_listed_counted_and_tell_by_the_exit_code(tmp_path, capsys):
    scenes, labels = many(tmp_path)
    scenes[4].write_bytes(b"")
    labels[7].write_bytes(b"II*\x00 not a TIFF after all")
    legend = write_legend(tmp_path / "legend.yaml")
    words = ["prepare", "--scenes", str(tmp_path / "scenes"), "--labels", str(tmp_path / "labels")]
    words += ["--legend", str(legend), "--out", str(tmp_path / "store"), "--split", "none", "--patch", "16"]
    assert main([*words, "--json"]) == 2
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert [failed["name"] for failed in result["failed"]] == [str(labels[7]), str(scenes[4])]
    assert "s04.tif cannot be read" in err
    assert "l07.tif cannot be read" in err
    assert "none of --labels overlaps s07" in result["warnings"]  # its label tile is missing: said, not fatal
    store = open_store(tmp_path / "store")
    assert sorted(store.index["scene"]) == [f"s{n:02d}" for n in range(12) if n not in (4, 7)]
    assert [failed["name"] for failed in store.meta.failed] == [str(labels[7]), str(scenes[4])]


def test_windows_that_cannot_be_read_are_left_out_and_counted(tmp_path, monkeypatch):
    scenes, _ = many(tmp_path, 3)
    read = Source.read

    def broken(self, window):
        if self.grid.name == "s01":
            raise UnreadableError("s01.tif cannot be read as a raster")
        return read(self, window)

    monkeypatch.setattr(Source, "read", broken)
    store, summary = make_store(tmp_path / "store", scenes, patch=8)
    assert summary["failed"] == [
        {
            "name": "s01",
            "windows": 4,
            "error": "s01.tif cannot be read as a raster; 4 windows of s01 left out",
        }
    ]
    assert set(store.index["scene"]) == {"s00", "s02"}


def test_a_truncated_scene_alone_is_an_error(tmp_path):
    noise = np.random.default_rng(0).integers(1, 9999, (256, 256)).astype(np.uint16)
    scene = write_scene(tmp_path / "s.tif", noise)
    scene.write_bytes(scene.read_bytes()[:60_000])
    with pytest.raises(SarcoverError, match="no scene can be read"):
        make_store(tmp_path / "store", scene)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.tif"]


def test_a_block_that_cannot_be_read_costs_its_windows_and_not_the_scene(tmp_path):
    noise = np.random.default_rng(0).integers(1, 9999, (256, 256)).astype(np.uint16)
    scene = tmp_path / "s.tif"
    blocks = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate", "crs": UTM}
    size = {"count": 1, "height": 256, "width": 256, "dtype": "uint16", "transform": placed()}
    with rasterio.open(scene, "w", driver="GTiff", **size, **blocks) as target:
        target.write(noise, 1)
        target.update_tags(UNIT="dn")
    content = bytearray(scene.read_bytes())
    content[2000:4000] = b"\xff" * 2000  # in the first block, which is also looked at when it is opened
    scene.write_bytes(content)
    store, summary = make_store(tmp_path / "store", scene, patch=64)
    assert [(failed["name"], failed["windows"]) for failed in summary["failed"]] == [("s", 1)]
    assert len(store) == 15
    for number, row in store.index.iterrows():
        at = np.s_[row["row_off"] : row["row_off"] + 64, row["col_off"] : row["col_off"] + 64]
        np.testing.assert_array_equal(store.read(number)["sar"][0], noise[at])
