"""Patches: scenes and reference maps cut into a memory-mapped store, with a split that proves itself."""

from sarcover.patches.edit import filter_store, merge_stores
from sarcover.patches.prepare import prepare
from sarcover.patches.show import show_store
from sarcover.patches.store import PatchStore, StoreMeta, open_store

__all__ = [
    "PatchStore",
    "StoreMeta",
    "filter_store",
    "merge_stores",
    "open_store",
    "prepare",
    "show_store",
]
