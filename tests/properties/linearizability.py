"""Tells whether a concurrent history could have happened one operation after the other.

The search of Wing and Gong, with Lowe's memory of what was tried: at any point one of the
operations may come next that began before every other outstanding one was over.
"""

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

State = TypeVar("State", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Operation:
    """What one client asked and was answered.

    Attributes:
        call: The question, for the model.
        answer: None where there was none: it may have been carried out, or not.
        invoked: When it began, on any clock that all clients share.
        returned: When its answer was there; endless where it may still come.
    """

    call: tuple[object, ...]
    answer: tuple[object, ...] | None
    invoked: float
    returned: float = math.inf


@dataclass(frozen=True, slots=True)
class Model(Generic[State]):
    """One register.

    Attributes:
        initial: Where it starts.
        step: The states that an operation may lead to from a state; none where its answer would
            have been wrong there.
    """

    initial: State
    step: Callable[[State, Operation], Iterable[State]]


def is_linearizable(history: Sequence[Operation], model: Model[State]) -> bool:
    """Tell whether some order explains every answer and contradicts no clock."""
    tried: set[tuple[int, State]] = set()
    left = [(0, model.initial)]
    while left:
        done, state = left.pop()
        if (done, state) in tried:
            continue
        tried.add((done, state))
        outstanding = [n for n in range(len(history)) if not done >> n & 1]
        if all(history[n].answer is None for n in outstanding):
            return True
        over_first = min(history[n].returned for n in outstanding)
        for n in outstanding:
            operation = history[n]
            if operation.invoked > over_first:
                continue
            done_too = done | 1 << n
            left.extend((done_too, following) for following in model.step(state, operation))
            if operation.answer is None:
                # It was never carried out.
                left.append((done_too, state))
    return False
