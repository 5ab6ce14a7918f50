"""Pushes in any order, some of them several times, come to the same totals."""

from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.gpus import Node, steps
from joulestat.domain.errors import InvalidPush
from joulestat.domain.run import Phase

N_PUSHES = 8
LAST_SECOND = 9.0


def totals_after(order: list[int]) -> tuple[int, int, int]:
    """Let the pushes of one process arrive in this order, the last one at last.

    Returns:
        Steps, samples and uJ of the run.
    """
    node = Node({"GPU-a": 200.0})
    node.run_to(1.0)
    node.push("r", at=1.0, seq=1)
    node.run_to(LAST_SECOND)
    for number in [*order, N_PUSHES]:
        # Pushed a second apart, delivered late and all at once.
        second = 1.0 + number
        try:
            node.push("r", at=second, seq=1 + number, train=steps(10 * number, 320 * number))
        except InvalidPush as refusal:
            raise AssertionError("what is late is no mistake") from refusal
    node.run_to(LAST_SECOND + 1.0)
    node.push("r", at=LAST_SECOND + 1.0, seq=99, final=True, train=steps(80, 2_560))
    node.run_to(LAST_SECOND + 3.0)
    run = node.ledger.runs["r"]
    cells = [cell for (phase, _), cell in run.cells.items() if phase is Phase.TRAIN]
    return (
        sum(cell.counts.steps for cell in cells),
        sum(cell.counts.samples for cell in cells),
        sum(run.device_energy_uj.values()),
    )


@settings(max_examples=25, deadline=None)
@given(
    order=st.permutations(range(1, N_PUSHES + 1)),
    again=st.lists(st.tuples(st.integers(0, N_PUSHES), st.integers(1, N_PUSHES)), max_size=3),
)
def test_reordered_and_repeated_pushes_come_to_the_same_totals(
    order: list[int], again: list[tuple[int, int]]
) -> None:
    in_order = totals_after(list(range(1, N_PUSHES + 1)))
    assert (80, 2_560, 1_800_000_000) == in_order

    disturbed = list(order)
    for place, number in again:
        disturbed.insert(place, number)

    assert in_order == totals_after(disturbed)
