"""Files and folders that are whole or not there, and never somebody else's."""

import errno
import os
import signal
from pathlib import Path

import pytest
import torch

from sarcover.errors import SarcoverError
from sarcover.files import atomic_file, atomic_folder, disk_errors
from sarcover.weights import write_tensors


def fill(final: Path, text: str, *, overwrite: bool = False) -> None:
    with atomic_folder(final, marker=("a", "b"), overwrite=overwrite) as folder:
        for name in ("a", "b"):
            (folder / name).write_text(text)


def content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.mark.parametrize("through_a_link", [False, True])
def test_a_folder_of_the_kind_is_replaced_on_request(tmp_path: Path, through_a_link: bool) -> None:
    final = tmp_path / "out"
    if through_a_link:
        (tmp_path / "disk").mkdir()
        final.symlink_to(tmp_path / "disk")
    fill(final, "old", overwrite=through_a_link)
    with pytest.raises(SarcoverError, match="exists already"):
        fill(final, "new")
    fill(final, "new", overwrite=True)
    assert content(final) == {"a": "new", "b": "new"}
    assert final.is_symlink() == through_a_link
    assert len(list(tmp_path.iterdir())) == 1 + through_a_link


def test_another_folder_or_a_file_is_never_replaced(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "a").write_text("years of work")
    with pytest.raises(SarcoverError, match=r"mine is not replaced.*expected a folder with a and b"):
        fill(mine, "new", overwrite=True)
    with pytest.raises(SarcoverError, match="is a file; expected a folder"):
        fill(mine / "a", "new", overwrite=True)
    assert content(mine) == {"a": "years of work"}


def test_what_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    final = tmp_path / "out"

    def two_at_once() -> None:
        with atomic_folder(final, marker="a"):
            final.mkdir()
            (final / "a").write_text("of another process")

    with pytest.raises(SarcoverError, match="exists already"):
        two_at_once()
    assert content(final) == {"a": "of another process"}


@pytest.mark.parametrize("failing", [1, 2])
def test_the_old_folder_comes_back_when_a_rename_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    """The first rename puts the old folder aside, the second the new one in its place."""
    final = tmp_path / "out"
    fill(final, "old")
    rename, calls = os.replace, 0

    def fragile(source: Path, target: Path) -> None:
        nonlocal calls
        calls += 1
        if calls == failing:
            raise PermissionError(errno.EACCES, "Permission denied")
        rename(source, target)

    monkeypatch.setattr(os, "replace", fragile)
    with pytest.raises(SarcoverError, match="out: Permission denied"):
        fill(final, "new", overwrite=True)
    assert content(final) == {"a": "old", "b": "old"}
    assert list(tmp_path.iterdir()) == [final]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left"), "x.npy: the disk is full; free some space"),
        (OSError(errno.EDQUOT, "Quota"), "x.npy: the disk is full"),
        (OSError(errno.EFBIG, "File too large"), "x.npy: the disk is full"),
        (OSError(errno.ENAMETOOLONG, "File name too long"), "x.npy: File name too long"),
        (OSError("4096 requested and 17 written"), "x.npy: 4096 requested and 17 written"),
    ],
)
def test_every_error_of_the_disk_is_one_line(error: OSError, said: str) -> None:
    with pytest.raises(SarcoverError) as caught, disk_errors("x.npy"):
        raise error
    assert str(caught.value).startswith(said)


def test_weights_on_a_full_disk(tmp_path: Path) -> None:
    """A limit on the size of files stands for the end of the disk. Safetensors raises no OSError."""
    resource = pytest.importorskip("resource", reason="limits on file sizes need POSIX")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with (
            pytest.raises(SarcoverError, match=r"best\.safetensors: the disk is full"),
            atomic_file(tmp_path / "best.safetensors") as temporary,
        ):
            write_tensors({"weight": torch.zeros(10_000)}, temporary, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert not list(tmp_path.iterdir())
