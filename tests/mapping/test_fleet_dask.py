"""The same tiles by worker processes of a Dask cluster, one of which is killed."""

import os
import re
import signal
import threading
import time
from pathlib import Path

import geopandas
import pytest
from fleet_helpers import fleet, tile_bytes, write_bundle, write_scenes

from sarcover.errors import SarcoverError
from sarcover.mapping.fleet import engines
from sarcover.mapping.fleet.engines import Cluster

distributed = pytest.importorskip("distributed")


class Killer(threading.Thread):
    """Kills, with -9, the first other process that is in the middle of a tile."""

    def __init__(self, tiles: Path) -> None:
        super().__init__(daemon=True)
        self.tiles, self.killed, self.tile, self.stop = tiles, 0, "", False

    def run(self) -> None:
        while not (self.killed or self.stop):
            for journal in self.tiles.glob(".*.tif.work/journal.jsonl"):
                self._kill(journal)
                break
            time.sleep(0.001)

    def _kill(self, journal: Path) -> None:
        try:
            holder = re.match(r"process (\d+) on", (journal.parent / "lock").read_text())
            if holder is None or int(holder[1]) == os.getpid():
                return
            os.kill(int(holder[1]), signal.SIGSTOP)  # so that it cannot finish meanwhile
            if journal.exists():
                self.killed, self.tile = int(holder[1]), journal.parent.name[1 : -len(".tif.work")]
                os.kill(self.killed, signal.SIGKILL)
            else:
                os.kill(int(holder[1]), signal.SIGCONT)
        except FileNotFoundError:
            return


@pytest.mark.slow
def test_two_workers_one_of_them_killed_make_the_tiles_of_one_process(tmp_path: Path) -> None:
    model, scenes = write_bundle(tmp_path / "bundle"), write_scenes(tmp_path / "scenes")
    (tmp_path / "nothing.tif").write_bytes(b"not a raster")
    killer = Killer(tmp_path / "many" / "tiles")
    killer.start()
    try:
        result = fleet(model, scenes, tmp_path / "many", engine="dask", workers=2)
    finally:
        killer.stop = True
        killer.join()
    assert killer.killed
    assert (result.missing, result.made, result.items) == (0, result.tiles, ())
    one = fleet(model, scenes, tmp_path / "one", engine="local")
    assert one.counts == result.counts
    assert tile_bytes(tmp_path / "many") == tile_bytes(tmp_path / "one")
    index = geopandas.read_parquet(tmp_path / "many" / "tiles.parquet").set_index("name")
    workers = {int(worker.split(":")[1]) for worker in index.worker}
    assert os.getpid() not in workers
    assert index.worker[killer.tile].split(":")[1] != str(killer.killed)  # so two processes worked
    again = fleet(model, scenes, tmp_path / "many", engine="dask", workers=2)
    assert (again.made, again.kept) == (0, result.tiles)


def test_no_scheduler_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_CONNECT_SECONDS", 0.2)
    model, scenes = write_bundle(tmp_path / "bundle"), write_scenes(tmp_path / "scenes")
    with pytest.raises(SarcoverError, match=r"no Dask scheduler answers at tcp://127.0.0.1:9"):
        fleet(model, scenes, tmp_path / "out", engine="dask", address="tcp://127.0.0.1:9")


def test_a_cluster_without_dask_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(SarcoverError, match=r"pip install 'sarcover\[cluster\]'"):
        next(engines.run_on_cluster(None, [], 0, Cluster(None, 1, 1, False)))


class Watched:
    """What `_check_workers` asks a client."""

    def __init__(self, **worker: object) -> None:
        self.worker = {"nthreads": 1, "resources": {}, **worker}

    def scheduler_info(self, n_workers: int) -> dict:
        assert n_workers == -1  # all of them
        return {"workers": {"tcp://a": self.worker}}


def test_a_cluster_without_gpus_is_refused_where_one_is_asked_for() -> None:
    cluster = Cluster("tcp://a", None, 1, gpu=True)
    with pytest.raises(SarcoverError, match="--resources GPU=1"):
        engines._check_workers(Watched(), cluster)
    engines._check_workers(Watched(resources={"GPU": 1}), cluster)


def test_workers_with_several_threads_are_told_of(caplog: pytest.LogCaptureFixture) -> None:
    engines._check_workers(Watched(nthreads=4), Cluster("tcp://a", None, 1, gpu=False))
    assert "--nthreads 1" in caplog.text


def test_each_worker_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "device_count", lambda kind: 2)
    made: dict = {}
    monkeypatch.setattr(distributed, "SpecCluster", lambda **given: made.update(given))
    engines._own(distributed, Cluster(None, None, 3, gpu=True))
    options = [made["workers"][number]["options"] for number in (0, 1)]
    assert [each["env"]["CUDA_VISIBLE_DEVICES"] for each in options] == ["0", "1"]
    assert all(each["resources"] == {"GPU": 1} and each["nthreads"] == 1 for each in options)
    assert all(each["env"]["OMP_NUM_THREADS"] == "3" for each in options)
    assert sum(each["memory_limit"] for each in options) <= distributed.system.MEMORY_LIMIT
