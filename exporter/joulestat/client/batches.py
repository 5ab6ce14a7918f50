"""How many samples and tokens a batch has, as far as its shape tells."""

from collections.abc import Mapping
from typing import Any

TOKENS_KEY = "input_ids"
"""What tokenizers for transformers call their output."""

_DEEPEST = 4
"""Levels of nesting that are looked into."""


def batch_counts(batch: object) -> tuple[int, int]:
    """Return the samples and tokens of a batch; 0 stands for what it does not tell.

    Only shapes are read, so that no device is waited for. A batch is a tensor or an array, whose
    first dimension counts the samples, or a nest of them, where the first one that tells
    counts. Tokens are the elements of ``input_ids``, padding included.
    """
    return _samples(batch, _DEEPEST) or 0, _tokens(batch)


def _samples(batch: Any, levels: int) -> int | None:
    if levels == 0 or isinstance(batch, (str, bytes)):
        return None
    graphs = getattr(batch, "num_graphs", None)  # a batch of PyTorch Geometric: one big graph
    if isinstance(graphs, int):
        return graphs
    shape = getattr(batch, "shape", None)
    if isinstance(shape, tuple):
        return int(shape[0]) if shape else None
    if isinstance(batch, Mapping):
        batch = list(batch.values())
    if not isinstance(batch, (list, tuple)):
        return None
    counts = (_samples(part, levels - 1) for part in batch)
    return next((count for count in counts if count is not None), None)


def _tokens(batch: Any) -> int:
    if not isinstance(batch, Mapping) or TOKENS_KEY not in batch:
        return 0
    n_tokens = 1
    for size in batch[TOKENS_KEY].shape:
        n_tokens *= int(size)
    return n_tokens
