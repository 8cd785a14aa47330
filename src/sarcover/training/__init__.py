"""Pretraining, finetuning and evaluation on a patch store."""

from __future__ import annotations

from sarcover.training.evaluate import evaluate
from sarcover.training.finetune import finetune
from sarcover.training.pretrain import pretrain

__all__ = ["evaluate", "finetune", "pretrain"]
