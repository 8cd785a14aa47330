"""Patches: scenes and reference maps cut into a memory-mapped store, with a split that proves itself."""

from sarcover.patches.prepare import prepare
from sarcover.patches.store import PatchStore, StoreMeta, open_store

__all__ = ["PatchStore", "StoreMeta", "open_store", "prepare"]
