from collections import UserDict
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

from joulestat.client.batches import batch_counts

IMAGES = np.zeros((8, 3, 4, 4))
IDS = np.zeros((8, 128), dtype=int)


class Pair(NamedTuple):
    inputs: object
    targets: object


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        (IMAGES, (8, 0)),
        ((IMAGES, np.zeros(8)), (8, 0)),
        (Pair(IMAGES, np.zeros(8)), (8, 0)),
        ({"input_ids": IDS, "labels": IDS}, (8, 1024)),
        (UserDict(input_ids=IDS), (8, 1024)),
        ([["a photo", "another"], IMAGES], (8, 0)),
        ({"a": [IMAGES], "b": np.zeros(3)}, (8, 0)),
        ((np.zeros(()), IMAGES), (8, 0)),
        (SimpleNamespace(num_graphs=5), (5, 0)),
    ],
    ids=["array", "pair", "named", "tokens", "encoding", "texts", "nest", "scalar", "graphs"],
)
def test_a_batch_is_as_large_as_its_first_array(batch: Any, expected: tuple[int, int]) -> None:
    assert expected == batch_counts(batch)


@pytest.mark.parametrize(
    "batch", [None, 3, "text", b"bytes", [], {}, ["a", "b"], object(), [[[[[IMAGES]]]]]]
)
def test_what_does_not_tell_its_size_counts_as_unknown(batch: Any) -> None:
    assert (0, 0) == batch_counts(batch)


def test_a_batch_that_holds_itself_comes_to_an_end() -> None:
    batch: list[Any] = []
    batch.append(batch)

    assert (0, 0) == batch_counts(batch)
