"""What the client writes is what the exporter reads, and the other way round."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulestat.client.arguments import Arguments
from joulestat.client.naming import clean_name
from joulestat.client.notices import Notices
from joulestat.client.tally import Boundary
from joulestat.client.wire import parse_answer, push_body
from joulestat.domain.run import Counts, Phase, Push, PushAnswer, RunLabels
from joulestat.server.answers import PushAnswerWire
from joulestat.server.wire import parse_push

COUNTS = st.builds(Counts, *(st.integers(0, 2**53) for _ in range(3))).filter(
    lambda counts: counts != Counts()
)

BOUNDARIES = st.builds(
    Boundary,
    seq=st.integers(1, 2**53),
    at_ns=st.integers(0, 2**63 - 1),
    phase=st.sampled_from(Phase),
    totals=st.dictionaries(st.sampled_from(Phase), COUNTS),
    gpus=st.just(("GPU-1", 0)),
    final=st.booleans(),
)


def resolve_index(index: int) -> str | None:
    return f"GPU-index-{index}"


@settings(deadline=None)
@given(boundary=BOUNDARIES, text=st.text(), run=st.text(min_size=1))
def test_every_push_that_the_client_can_write_is_read_as_it_was_meant(
    boundary: Boundary, text: str, run: str
) -> None:
    name = clean_name(run) or "run"
    job = Arguments(Notices()).label("job", text)
    about = {"run": name, "rank": 3, "incarnation": "ab12", "labels": {"job": job} if job else {}}

    push = parse_push(push_body(about, boundary), resolve_index)

    assert push.labels.job or not job
    assert (
        Push(
            run=name,
            rank=3,
            incarnation="ab12",
            seq=boundary.seq,
            at_ns=boundary.at_ns,
            gpus=("GPU-1", "GPU-index-0"),
            phase=boundary.phase,
            totals=boundary.totals,
            labels=RunLabels(job=push.labels.job),
            final=boundary.final,
        )
        == push
    )


def test_budget_and_plan_arrive() -> None:
    about = {
        "run": "r",
        "rank": 0,
        "incarnation": "i",
        "labels": {"user": "kim", "team": "nlp", "framework": "jax"},
        "energy_budget_joules": 3.6e7,
        "planned_steps": 5000,
    }

    push = parse_push(push_body(about, Boundary(1, 2, Phase.OTHER, {}, ())), resolve_index)

    assert (3.6e7, 5000) == (push.energy_budget_joules, push.planned_steps)
    assert RunLabels(user="kim", team="nlp", framework="jax") == push.labels


@pytest.mark.parametrize("accepted", [True, False])
def test_every_answer_of_the_exporter_is_understood(*, accepted: bool) -> None:
    fields = (accepted, 7, "instance-1", {"GPU-1": 81234.5}, {"GPU-1": 250.0})

    body = msgspec.json.encode(PushAnswerWire(*fields))
    assert PushAnswer(*fields) == parse_answer(body)
