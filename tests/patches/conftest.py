"""Stores without their picture, which takes longer than all else of a small one."""

import pytest


@pytest.fixture(autouse=True)
def _no_picture(request, monkeypatch):
    if "picture" not in request.fixturenames:
        monkeypatch.setattr("sarcover.patches.finish.draw_store", lambda store, path: None)


@pytest.fixture
def picture():
    """Asked for by tests that want the picture."""
