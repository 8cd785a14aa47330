"""Killed at any moment, the same call goes on with what is finished: the map is the same to the last byte.

The runs that are killed are processes of their own; what they leave on disk is all that the next run sees.
"""

import errno
import json
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from affine import Affine
from mapping_helpers import LEGEND, Convolutions, backscatter, read_map, with_bundle, write_scene
from torch import Tensor

from sarcover.errors import SarcoverError
from sarcover.mapping import map_scene, resume
from sarcover.mapping.carry import Edges, FileCarry
from sarcover.mapping.job import prepare_job
from sarcover.mapping.raster import WorkingRaster
from sarcover.mapping.raw import RawRaster
from sarcover.models.segmenter import Inputs
from sarcover.scene import open_scene

SHAPE = (124, 130)  # 5 window rows of 2 pieces: windows of 32, 24 apart, up to 4 at a time
WINDOWS = (4, 2, 4, 2, 4, 2, 4, 2, 4, 2)  # of each piece
SETTINGS: dict[str, Any] = {"batch": 4, "confidence": True, "device": "cpu"}
# A fork of this process could hang: GDAL and torch may have threads in it.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["torch", "sarcover.mapping"])


class Counted(Convolutions):
    """Counts its forward passes, and does something at one of them."""

    def __init__(self, at: int = -1, act: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.passes, self._at, self._act = 0, at, act

    def segment(self, inputs: Inputs) -> Tensor:
        if self.passes == self._at:
            self._act()
        self.passes += 1
        return super().segment(inputs)


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def deadly(real: Callable[..., Any], call: int, counts: Callable[..., bool]) -> Callable[..., Any]:
    """The function, which kills the process instead of the call-th call that counts."""
    calls = []

    def function(*args: Any) -> Any:
        calls.extend([1] if counts(*args) else [])
        if len(calls) == call:
            kill()
        return real(*args)

    return function


def always(*args: Any) -> bool:
    return True


def renames_ready(source: Any, target: Any) -> bool:
    return Path(source).parent.name == "ready" != Path(target).parent.name


def renames_away(source: Any, target: Any) -> bool:
    return Path(target).name.endswith(".gone")


# moment -> what is replaced by its deadly twin
MOMENTS: dict[str, tuple[Any, str, Callable[..., bool]]] = {
    "edges": (FileCarry, "done", always),
    "publish": (WorkingRaster, "publish", always),
    "name": (os, "replace", renames_ready),
    "tidy": (os, "replace", renames_away),
}


def run(scenes: Any, out: Path, settings: dict[str, Any], moment: str, number: int) -> None:
    """A run that is killed: at a forward pass, or at a call of one of MOMENTS."""
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    if moment in MOMENTS:
        where, name, counts = MOMENTS[moment]
        with mock.patch.object(where, name, deadly(getattr(where, name), number, counts)):
            map_scene(with_bundle(Counted()), scenes, out, **settings)
    elif moment == "seven in the journal":
        map_scene(with_bundle(Counted(number, lambda: wait_for_seven(out))), scenes, out, **settings)
    else:
        map_scene(with_bundle(Counted(number, kill)), scenes, out, **settings)


def wait_for_seven(out: Path) -> None:
    journal = resume.work_folder(out) / "journal.jsonl"
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if journal.exists() and len(journal.read_bytes().splitlines()) == 7:
            kill()
        time.sleep(0.01)


def killed(
    scenes: Path | Sequence[Path],
    out: Path,
    moment: str = "pass",
    number: int = -1,
    after: float | None = None,
    **changes: Any,
) -> bool:
    """Maps in another process, kills it after some seconds, and says whether it was killed."""
    process = PROCESSES.Process(target=run, args=(scenes, out, {**SETTINGS, **changes}, moment, number))
    process.start()
    if after is not None:
        time.sleep(after)
        process.kill()
    process.join(60)
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def contents(folder: Path) -> dict[str, bytes]:
    """Everything in a folder, hidden files too; without what folders and the time-stamped STAC item hold."""
    return {
        path.name: path.read_bytes() if path.is_file() and path.suffix != ".json" else b""
        for path in folder.iterdir()
    }


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    db = backscatter(SHAPE)
    db[46:82, :106] = np.nan  # the fifth piece needs no forward pass
    return write_scene(tmp_path / "scene.tif", db)


@pytest.fixture
def expected(tmp_path: Path, scene: Path) -> dict[str, bytes]:
    """The files of a run that nothing disturbs."""
    folder = tmp_path / "expected"
    map_scene(with_bundle(Counted()), scene, folder / "map.tif", **SETTINGS)
    return contents(folder)


def passes_of_a_whole_run(scene: Path, tmp_path: Path) -> int:
    model = Counted()
    map_scene(with_bundle(model), scene, tmp_path / "whole" / "map.tif", **SETTINGS)
    return model.passes


@pytest.mark.parametrize("at", [0, 1, 3, 6])
def test_killed_in_a_forward_pass(tmp_path: Path, scene: Path, expected: dict[str, bytes], at: int) -> None:
    out = tmp_path / "out" / "map.tif"
    assert killed(scene, out, "pass", at)
    assert sorted(contents(out.parent)) == [".map.tif.work"], "nothing under a final name"
    model = Counted()
    result = map_scene(with_bundle(model), scene, out, **SETTINGS)
    assert contents(out.parent) == expected
    whole = passes_of_a_whole_run(scene, tmp_path)
    # The writer may be up to five pieces behind the model when that is killed.
    assert whole - at <= model.passes <= whole
    assert result.windows == 5 * 6
    assert result.resumed <= 4 * max(0, at + 2)


def test_what_was_finished_is_not_computed_again(
    tmp_path: Path, scene: Path, expected: dict[str, bytes]
) -> None:
    """The model waits until the pieces before it are in the journal, and is killed then."""
    out = tmp_path / "out" / "map.tif"
    whole = passes_of_a_whole_run(scene, tmp_path)
    assert killed(scene, out, "seven in the journal", whole - 3)
    model = Counted()
    result = map_scene(with_bundle(model), scene, out, **SETTINGS)
    assert contents(out.parent) == expected
    assert model.passes == 3
    assert result.resumed == sum(WINDOWS[:7])
    assert result.windows == 30


@pytest.mark.parametrize("seed", range(2))
def test_killed_from_outside_again_and_again(
    tmp_path: Path, scene: Path, expected: dict[str, bytes], seed: int
) -> None:
    """At chance moments, publication included, until a run gets through."""
    out = tmp_path / "out" / "map.tif"
    random = np.random.default_rng(seed)
    for attempt in range(5):
        if resume.work_folder(out).exists() or not out.exists():
            killed(scene, out, after=random.uniform(0, 0.3) * (attempt + 1))
    if resume.work_folder(out).exists() or not out.exists():
        map_scene(with_bundle(Counted()), scene, out, **SETTINGS)
    assert {name: data for name, data in contents(out.parent).items() if name != ".map.tif.gone"} == expected


@pytest.mark.parametrize(
    ("moment", "number"),
    [("edges", 1), ("edges", 4), ("edges", 8), ("publish", 1), ("publish", 2)],
)
def test_killed_between_two_steps(
    tmp_path: Path, scene: Path, expected: dict[str, bytes], moment: str, number: int
) -> None:
    """The pixels of a piece are written and its edges not; no file is published, or one of two."""
    out = tmp_path / "out" / "map.tif"
    assert killed(scene, out, moment, number)
    model = Counted()
    result = map_scene(with_bundle(model), scene, out, **SETTINGS)
    assert contents(out.parent) == expected
    assert result.resumed == (30 if moment == "publish" else sum(WINDOWS[: number - 1]))
    if moment == "publish":
        assert model.passes == 0


@pytest.mark.parametrize("named", [0, 1, 4, 6])
def test_killed_while_files_get_their_names(
    tmp_path: Path, scene: Path, expected: dict[str, bytes], named: int
) -> None:
    """Some files have their names: the same call, without --overwrite, gives the others theirs."""
    out = tmp_path / "out" / "map.tif"
    assert killed(scene, out, "tidy", 1) if named == 6 else killed(scene, out, "name", named + 1)
    there = [name for name in contents(out.parent) if not name.startswith(".")]
    assert len(there) == named
    assert ("map.tif" in there) == (named == 6), "the map is the last"
    model = Counted()
    result = map_scene(with_bundle(model), scene, out, **SETTINGS)
    assert contents(out.parent) == expected
    assert model.passes == 0
    assert sum(result.counts.values()) == (read_map(out) != 255).sum()


def test_a_journal_that_breaks_off_in_a_line_counts_up_to_there(
    tmp_path: Path, scene: Path, expected: dict[str, bytes]
) -> None:
    out = unfinished(tmp_path, scene)
    journal = resume.work_folder(out) / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:3]) + lines[3][:-9])
    model = Counted()
    result = map_scene(with_bundle(model), scene, out, **SETTINGS)
    assert contents(out.parent) == expected
    assert result.resumed == 4 + 2 + 4


@pytest.mark.parametrize(
    ("file", "kept"), [("map.tif.raw", 2), ("confidence.tif.raw", 2), ("below-0.f32", 5), ("right-0.f32", 5)]
)
def test_what_a_power_cut_took_is_made_again(
    tmp_path: Path, scene: Path, expected: dict[str, bytes], file: str, kept: int
) -> None:
    """Files that are not what the journal says: it is believed as far as they agree with it."""
    out = unfinished(tmp_path, scene)
    path = resume.work_folder(out) / file
    data = bytearray(path.read_bytes())
    if path.suffix == ".raw":
        data[30 * SHAPE[1] + 5] ^= 1  # in the third piece
    else:
        data[:] = bytes(len(data))
    path.write_bytes(data)
    result = map_scene(with_bundle(Counted()), scene, out, **SETTINGS)
    assert contents(out.parent) == expected
    assert result.resumed == sum(WINDOWS[:kept])


def unfinished(tmp_path: Path, scene: Path, **changes: Any) -> Path:
    """A map of which five pieces are finished."""
    out = tmp_path / "out" / "map.tif"

    def stop() -> None:
        raise KeyboardInterrupt

    whole = passes_of_a_whole_run(scene, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        map_scene(with_bundle(Counted(whole - 5, stop)), scene, out, **{**SETTINGS, **changes})
    lines = (resume.work_folder(out) / "journal.jsonl").read_bytes().splitlines()
    assert len(lines) == 5
    return out


def test_an_interruption_keeps_the_work_and_says_so(
    tmp_path: Path, scene: Path, expected: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "sarcover"):
        out = unfinished(tmp_path, scene)
    assert "map.tif: what is finished is kept; the same command goes on with it" in caplog.text
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("sarcover-")]
    map_scene(with_bundle(Counted()), scene, out, **SETTINGS)
    assert contents(out.parent) == expected


def test_a_defect_leaves_nothing_behind(tmp_path: Path, scene: Path) -> None:
    def defect() -> None:
        raise RuntimeError("a defect of the model")

    with pytest.raises(RuntimeError, match="a defect"):
        map_scene(with_bundle(Counted(4, defect)), scene, tmp_path / "out" / "map.tif", **SETTINGS)
    assert not contents(tmp_path / "out")


def test_what_the_user_can_mend_keeps_the_work(
    tmp_path: Path, scene: Path, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full in the middle, and full still at the next attempt."""
    out = tmp_path / "out" / "map.tif"
    real, calls = RawRaster.write, []

    def full(self: RawRaster, values: Any, row: int, column: int) -> None:
        calls.append(1)
        if len(calls) > 8:
            raise OSError(28, "No space left on device")
        real(self, values, row, column)

    with monkeypatch.context() as patch:
        patch.setattr(RawRaster, "write", full)
        for _ in range(2):
            with pytest.raises(SarcoverError, match=r"the disk is full; free some space and run again"):
                map_scene(with_bundle(Counted()), scene, out, **SETTINGS)
    result = map_scene(with_bundle(Counted()), scene, out, **SETTINGS)
    assert contents(out.parent) == expected
    assert result.resumed == 4 + 2 + 4 + 2


@pytest.mark.parametrize("changed", ["weights", "settings", "scene", "scene's time"])
def test_another_job_starts_over(
    tmp_path: Path, scene: Path, changed: str, caplog: pytest.LogCaptureFixture
) -> None:
    out = unfinished(tmp_path, scene)
    model, settings = Counted(), dict(SETTINGS)
    if changed == "weights":
        with torch.no_grad():
            model.layers[0].bias += 0.5
    elif changed == "settings":
        settings["overlap"] = 12
    elif changed == "scene":
        write_scene(scene, backscatter(SHAPE, seed=5))
    else:
        os.utime(scene, ns=(1, 1))
    with caplog.at_level(logging.WARNING, "sarcover"):
        result = map_scene(with_bundle(model), scene, out, **settings)
    assert result.resumed == 0
    assert "map.tif: starts over, for" in caplog.text
    map_scene(with_bundle(model), scene, tmp_path / "fresh" / "map.tif", **settings)
    assert contents(out.parent) == contents(tmp_path / "fresh")


@pytest.mark.parametrize("changed", ["unit", "codes"])
def test_the_same_files_taken_for_something_else_are_another_job(tmp_path: Path, changed: str) -> None:
    """An opened scene may be told its unit, and a bundle other codes: neither shows in files and weights."""
    path = write_scene(tmp_path / "scene.tif", np.abs(backscatter((40, 40))), unit=None)
    model, unit = with_bundle(Counted()), "amplitude"
    before = prepare_job(model, open_scene(path, unit=unit), device="cpu").identity({})
    if changed == "unit":
        unit = "linear_power"
    else:
        classes = tuple(replace(each, code=each.code + 1) for each in LEGEND.classes)
        model = with_bundle(Counted(), legend=replace(LEGEND, classes=classes))
    again = prepare_job(model, open_scene(path, unit=unit), device="cpu").identity({})
    assert json.loads(json.dumps(before)) != json.loads(json.dumps(again))


def test_a_map_that_another_process_makes_is_left_to_it(tmp_path: Path, scene: Path) -> None:
    out = tmp_path / "out" / "map.tif"
    refused: list[str] = []

    def meanwhile() -> None:
        with pytest.raises(SarcoverError) as error:
            map_scene(with_bundle(Counted()), scene, out, **SETTINGS)
        refused.append(str(error.value))

    map_scene(with_bundle(Counted(2, meanwhile)), scene, out, **SETTINGS)
    assert len(refused) == 1
    assert f"map.tif is being made by another process; got process {os.getpid()} on " in refused[0]
    assert not [name for name in contents(out.parent) if name.startswith(".")]
    assert out.exists()


def test_a_file_system_without_locks_is_used_with_a_warning(
    tmp_path: Path, scene: Path, expected: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out" / "map.tif"
    unsupported = mock.Mock(side_effect=OSError(errno.ENOSYS, "Function not implemented"))
    with mock.patch("fcntl.flock", unsupported), caplog.at_level(logging.WARNING, "sarcover"):
        map_scene(with_bundle(Counted()), scene, out, **SETTINGS)
    assert "this file system has no locks; let no other process make it" in caplog.text
    assert contents(out.parent) == expected


def test_a_folder_of_somebody_else_is_not_touched(tmp_path: Path, scene: Path) -> None:
    out = tmp_path / "out" / "map.tif"
    folder = resume.work_folder(out)
    folder.mkdir(parents=True)
    (folder / "thesis.txt").write_text("mine")
    with pytest.raises(SarcoverError, match=r"\.map\.tif\.work holds something that is not"):
        map_scene(with_bundle(Counted()), scene, out, **SETTINGS)
    assert (folder / "thesis.txt").read_text() == "mine"


def test_an_existing_map_is_replaced_at_the_end_alone(
    tmp_path: Path, scene: Path, expected: dict[str, bytes]
) -> None:
    out = tmp_path / "out" / "map.tif"
    other = write_scene(tmp_path / "other.tif", backscatter((40, 40)))
    map_scene(with_bundle(Counted()), other, out, **SETTINGS)
    before = contents(out.parent)
    assert killed(scene, out, "pass", 4, overwrite=True)
    assert {name: contents(out.parent)[name] for name in before} == before
    with pytest.raises(SarcoverError, match="exists already"):
        map_scene(with_bundle(Counted()), scene, out, **SETTINGS)
    map_scene(with_bundle(Counted()), scene, out, overwrite=True, **SETTINGS)
    assert contents(out.parent) == expected


def test_several_scenes_go_on_as_one(tmp_path: Path) -> None:
    """Each scene has edges of its own."""
    first = write_scene(tmp_path / "a.tif", backscatter((90, 70)))
    moved = Affine(10, 0, 400_500, 0, -10, 3_999_800)
    second = write_scene(tmp_path / "b.tif", backscatter((90, 70), seed=2), transform=moved)
    settings = {**SETTINGS, "combine": "average"}
    map_scene(with_bundle(Counted()), (first, second), tmp_path / "expected" / "map.tif", **settings)
    out = tmp_path / "out" / "map.tif"
    for at in (3, 3, 2):
        assert killed((first, second), out, "pass", at, combine="average")
    map_scene(with_bundle(Counted()), (first, second), out, **settings)
    assert contents(out.parent) == contents(tmp_path / "expected")


def test_edges_come_back_from_disk_as_they_were(tmp_path: Path) -> None:
    """In another object, as after a kill: those that the next piece and those below it need."""
    random = torch.Generator().manual_seed(0)
    made = {
        piece: Edges(
            torch.rand(3, 4, width, generator=random),
            torch.rand(3, 9, 4, generator=random) if piece % 2 == 0 else None,
        )
        for piece, width in ((0, 10), (1, 7), (2, 10))
    }

    def carry() -> FileCarry:
        return FileCarry(tmp_path, [0, 10, 17], classes=3, patch=9, overlap=4, device=torch.device("cpu"))

    first = carry()
    records = {}
    for piece, edges in made.items():
        first.put(piece, {5: edges})
        records[piece] = json.loads(json.dumps(first.done(piece)))
    first.close()
    again = carry()
    assert again.restore(records, 3)
    for asked, piece in ((again.above(3, 5), 1), (again.above(4, 5), 2)):
        assert asked is not None
        assert made[piece].below is not None
        assert torch.equal(asked, made[piece].below)
    assert torch.equal(again.left(3, 5), made[2].right)  # type: ignore[arg-type]
    assert again.above(3, 6) is None
    (tmp_path / "below-5.f32").write_bytes(b"\1" * 4000)
    assert not carry().restore(records, 3)


def test_edges_of_pieces_that_are_written_are_not_in_memory(tmp_path: Path) -> None:
    """However wide the map is: three window rows of 300 pieces, and never more than a few edges."""
    starts = list(range(0, 301 * 8, 8))
    carry = FileCarry(tmp_path, starts, classes=2, patch=8, overlap=4, device=torch.device("cpu"))
    for piece in range(900):
        above = carry.above(piece, 0)
        assert (above is None) == (piece < 300)
        if above is not None:
            assert above[0, 0, 0] == piece - 300
        carry.put(piece, {0: Edges(torch.full((2, 4, 8), float(piece)), torch.zeros(2, 8, 4))})
        carry.done(piece)
        assert len(carry._below) == 0
        assert len(carry._right) <= 1
        assert not carry._unsaved
        assert len(carry._saved) <= 600
    carry.close()


def test_raw_pixels_are_where_they_were_put(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    values = random.integers(0, 9999, (3, 20, 31)).astype(np.uint16)
    with RawRaster(tmp_path / "a.raw", (20, 31), 3, "uint16") as raster:
        for row, column, height, width in ((0, 0, 7, 31), (7, 0, 13, 11), (7, 11, 13, 20), (9, 9, 0, 5)):
            at = np.s_[:, row : row + height, column : column + width]
            raster.write(values[at], row, column)
        np.testing.assert_array_equal(raster.read(3, 4, 10, 20), values[:, 3:13, 4:24])
        assert raster.checksum(0, 0, 20, 31) != raster.checksum(0, 0, 20, 30)
    np.testing.assert_array_equal(np.fromfile(tmp_path / "a.raw", np.uint16).reshape(values.shape), values)
    with RawRaster(tmp_path / "a.raw", (20, 30), 3, "uint16") as other:
        assert not other.read(0, 0, 20, 30).any(), "of another size: written anew"
