"""Published data sets as they ship: which files belong together, with which legend, unit and split."""

from sarcover.collections.base import Collected, Collection, Item
from sarcover.collections.catalogue import COLLECTIONS, open_collection

__all__ = ["COLLECTIONS", "Collected", "Collection", "Item", "open_collection"]
