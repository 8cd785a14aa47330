"""How good a map is: the confusion matrix, borders, thin structures, small objects, and their intervals."""

from sarcover.metrics.assemble import block_scores, difference
from sarcover.metrics.blocks import Blocks, blocks_path, read_blocks, write_blocks
from sarcover.metrics.confusion import confusion_matrix, scores
from sarcover.metrics.tally import Tally

__all__ = [
    "Blocks",
    "Tally",
    "block_scores",
    "blocks_path",
    "confusion_matrix",
    "difference",
    "read_blocks",
    "scores",
    "write_blocks",
]
