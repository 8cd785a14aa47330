"""Fixtures that every room's tests may use."""

import os
from pathlib import Path

# One busy core makes a two-thread torch step many times slower under pytest-xdist.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real scenes; the test is skipped where there is none."""
    root = Path(__file__).resolve().parents[1]
    folder = Path(os.environ.get("SARCOVER_DATA", root / ".." / "shared" / "data")).resolve()
    if not folder.is_dir():
        pytest.skip(f"needs the real scenes: {folder} is not there (set SARCOVER_DATA)")
    return folder
