"""What the client sends is what the server reads, and back."""

from collections.abc import Mapping
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulestat.client.tally import Boundary
from joulestat.client.wire import parse_answer, push_body
from joulestat.domain.run import Counts, Phase, Push, PushAnswer, RunLabels
from joulestat.server.answers import push_answer_json
from joulestat.server.wire import MAX_EXACT, parse_push

COUNTS = st.integers(0, MAX_EXACT)
TOTALS = st.dictionaries(st.sampled_from(Phase), st.builds(Counts, COUNTS, COUNTS, COUNTS))
UUIDS = {0: "GPU-zero", 1: "GPU-one"}


@settings(deadline=None, max_examples=100)
@given(
    seq=COUNTS,
    at_ns=st.integers(0, 2**63 - 1),
    phase=st.sampled_from(Phase),
    totals=TOTALS,
    final=st.booleans(),
)
def test_every_push_of_the_client_is_taken_as_it_was_meant(
    seq: int, at_ns: int, phase: Phase, totals: Mapping[Phase, Counts], final: bool
) -> None:
    about = {
        "run": "llama-ft-42",
        "rank": 3,
        "incarnation": "0d9c" * 8,
        "labels": {"user": "kim", "team": "Zoé"},
        "energy_budget_joules": 3.6e7,
        "planned_steps": 5000,
    }
    boundary = Boundary(seq, at_ns, phase, totals, (1, "GPU-zero"), final)

    assert parse_push(push_body(about, boundary), UUIDS.get) == Push(
        run="llama-ft-42",
        rank=3,
        incarnation="0d9c" * 8,
        seq=seq,
        at_ns=at_ns,
        gpus=("GPU-one", "GPU-zero"),
        phase=phase,
        totals=totals,
        labels=RunLabels(user="kim", team="Zoé"),
        energy_budget_joules=3.6e7,
        planned_steps=5000,
        final=final,
    )


def test_a_rank_that_knows_no_gpu_is_given_those_that_the_exporter_finds() -> None:
    about = {"run": "r", "rank": 0, "incarnation": "i", "instead_of": "0d9c" * 8}
    unknown, none = (push_body(about, Boundary(1, 1, Phase.OTHER, {}, gpus)) for gpus in (None, ()))

    push = parse_push(unknown, UUIDS.get, lambda: ("GPU-one",))
    assert (("GPU-one",), "0d9c" * 8) == (push.gpus, push.instead_of)
    assert () == parse_push(unknown, UUIDS.get).gpus
    assert () == parse_push(none, UUIDS.get, lambda: ("GPU-one",)).gpus


@pytest.mark.parametrize("accepted", [True, False])
def test_every_answer_of_the_server_is_read_as_it_was_meant(accepted: bool) -> None:
    answer = PushAnswer(
        accepted=accepted,
        seq=12,
        instance="5f2e",
        energy_joules=MappingProxyType({"GPU-zero": 81234.5}),
        power_limit_watts=MappingProxyType({"GPU-zero": 250.0}),
    )

    assert answer == parse_answer(push_answer_json(answer))
