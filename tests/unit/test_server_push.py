"""What may be pushed, by whom, and what comes back."""

import json
import unicodedata
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.asgi import Answer, call
from fakes.listener import accept, public
from fakes.node import gpu_uuid
from joulestat.domain.errors import InvalidPush, PushOverload, SupersededPush
from joulestat.domain.run import Counts, Phase, Push, PushAnswer, RunLabels

FULL: dict[str, Any] = {
    "run": "llama-ft-42",
    "rank": 0,
    "incarnation": "0d9c",
    "seq": 12,
    "at_ns": 81234567890123,
    "gpus": [gpu_uuid(0)],
    "phase": "train",
    "totals": {"train": {"steps": 120, "samples": 3840, "tokens": 7864320}, "eval": {"steps": 4}},
    "labels": {"job": "llama-ft", "user": "kim", "team": "nlp", "framework": "transformers"},
    "energy_budget_joules": 3.6e7,
    "planned_steps": 5000,
    "final": False,
}
LEAST = {key: FULL[key] for key in ("run", "rank", "incarnation", "seq", "at_ns", "gpus", "phase")}


def push(document: object, app: Any = None, **how: Any) -> Answer:
    return call(app or public(), "POST", "/v1/push", json_body=document, **how)


def taken(document: object) -> Push:
    """Return the push that the ledger would get."""
    seen: list[Push] = []

    def take(push: Push) -> PushAnswer:
        seen.append(push)
        return accept(push)

    answer = push(document, public(push=take))
    assert (200, 1) == (answer.status, len(seen)), answer.text
    return seen[0]


def test_a_push_reaches_the_ledger_as_it_was_sent() -> None:
    assert taken(FULL) == Push(
        run="llama-ft-42",
        rank=0,
        incarnation="0d9c",
        seq=12,
        at_ns=81234567890123,
        gpus=(gpu_uuid(0),),
        phase=Phase.TRAIN,
        totals={Phase.TRAIN: Counts(120, 3840, 7864320), Phase.EVAL: Counts(4)},
        labels=RunLabels("llama-ft", "kim", "nlp", "transformers"),
        energy_budget_joules=3.6e7,
        planned_steps=5000,
        final=False,
    )


def test_what_a_push_leaves_out_is_unknown() -> None:
    push = taken(LEAST)

    assert {} == push.totals
    assert RunLabels() == push.labels
    assert (None, None, False) == (push.energy_budget_joules, push.planned_steps, push.final)


def test_the_answer_carries_the_runs_energy_and_limits() -> None:
    answer = push(FULL)

    assert 200 == answer.status
    assert "application/json" == answer.headers["content-type"]
    assert {
        "accepted": True,
        "seq": 12,
        "instance": "instance-1",
        "energy_joules": {gpu_uuid(0): 81234.5},
        "power_limit_watts": {gpu_uuid(0): 250.0},
    } == answer.json()


def test_a_duplicate_is_no_error() -> None:
    answer = push(FULL, public(push=lambda _: PushAnswer(False, 13, "i", {}, {})))

    assert (200, False, 13) == (answer.status, answer.json()["accepted"], answer.json()["seq"])


def test_indices_are_resolved_and_one_device_is_one_claim() -> None:
    push = taken({**LEAST, "gpus": [1, gpu_uuid(0), gpu_uuid(1), 0]})

    assert (gpu_uuid(1), gpu_uuid(0)) == push.gpus


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        ({"run": ""}, "run", '""'),
        ({"run": "a" * 65}, "run", None),
        ({"run": "a b"}, "run", '"a b"'),
        ({"run": "ab\n"}, "run", '"ab\\n"'),
        ({"run": "é"}, "run", None),
        ({"run": 'x"} 1e15'}, "run", None),
        ({"rank": -1}, "rank", "-1"),
        ({"rank": 65536}, "rank", "65536"),
        ({"rank": True}, "rank", "true"),
        ({"rank": 1.5}, "rank", "1.5"),
        ({"incarnation": ""}, "incarnation", None),
        ({"incarnation": "a\tb"}, "incarnation", None),
        ({"incarnation": "a\n"}, "incarnation", None),
        ({"incarnation": "x" * 65}, "incarnation", None),
        ({"seq": -1}, "seq", None),
        ({"seq": 2**53 + 1}, "seq", None),
        ({"at_ns": -1}, "at_ns", None),
        ({"at_ns": 2**63}, "at_ns", None),
        ({"gpus": "GPU-1"}, "gpus", None),
        ({"gpus": [2]}, "gpus", "2"),
        ({"gpus": [gpu_uuid(0), -1]}, "gpus[1]", "-1"),
        ({"gpus": [True]}, "gpus[0]", "true"),
        ({"gpus": ["GPU 1"]}, "gpus[0]", '"GPU 1"'),
        ({"gpus": [""]}, "gpus[0]", '""'),
        ({"gpus": ["x" * 97]}, "gpus[0]", None),
        ({"gpus": [0] * 17}, "gpus", None),
        ({"phase": "warmup"}, "phase", '"warmup"'),
        ({"totals": {"warmup": {}}}, "totals.warmup", None),
        ({"totals": {"train": {"steps": -1}}}, "totals.train.steps", "-1"),
        ({"totals": {"train": {"tokens": 2**53 + 1}}}, "totals.train.tokens", None),
        ({"totals": {"eval": {"epochs": 1}}}, "totals.eval.epochs", "1"),
        ({"labels": {"colour": "red"}}, "labels.colour", '"red"'),
        ({"labels": {"job": 5}}, "labels.job", "5"),
        ({"labels": {"job": "a\nb"}}, "labels.job", "a\nb"),
        ({"labels": {"user": "a\u2028b"}}, "labels.user", None),
        ({"labels": {"team": "a\x85b"}}, "labels.team", None),
        ({"labels": {"team": "é" * 65}}, "labels.team", None),
        ({"labels": {"framework": "x" * 129}}, "labels.framework", None),
        ({"energy_budget_joules": 0}, "energy_budget_joules", "0"),
        ({"energy_budget_joules": -1.0}, "energy_budget_joules", None),
        ({"planned_steps": 0}, "planned_steps", "0"),
        ({"planned_steps": 2.5}, "planned_steps", "2.5"),
        ({"final": 1}, "final", "1"),
        ({"extra": [1, {"a": "b"}]}, "extra", '[1, {"a": "b"}]'),
    ],
)
def test_a_value_that_makes_no_sense_is_named(
    change: dict[str, Any], field: str, value: str | None
) -> None:
    answer = push({**FULL, **change})

    assert 422 == answer.status
    problem = answer.json()
    assert field == problem["field"]
    if value is not None:
        assert value == problem["value"]


@pytest.mark.parametrize(
    ("change", "allowed"),
    [
        ({"run": "a b"}, "1 to 64 characters of A-Z a-z 0-9 . _ -"),
        ({"phase": "warmup"}, "train, eval, checkpoint, other"),
        ({"labels": {"colour": "red"}}, "job, user, team, framework"),
        ({"totals": {"warmup": {}}}, "train, eval, checkpoint, other"),
        ({"rank": -1}, "int >= 0"),
        ({"gpus": [5]}, "UUIDs, or indices of GPUs of this host"),
    ],
)
def test_a_refusal_says_what_would_be_right(change: dict[str, Any], allowed: str) -> None:
    assert allowed == push({**FULL, **change}).json()["allowed"]


@pytest.mark.parametrize("missing", sorted(LEAST))
def test_a_missing_key_is_named(missing: str) -> None:
    answer = push({key: value for key, value in LEAST.items() if key != missing})

    assert (422, missing) == (answer.status, answer.json()["field"])


def test_two_spellings_of_one_label_are_one_value() -> None:
    push = taken({**LEAST, "labels": {"user": "Jose\u0301", "team": "é" * 64}})

    assert ("Jos\u00e9", "é" * 64) == (push.labels.user, push.labels.team)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidPush("no such GPU", field="gpus", value="GPU-9"), 422),
        (SupersededPush("an old process"), 409),
        (PushOverload("64 runs are live"), 429),
    ],
)
def test_what_the_ledger_refuses_is_refused(error: Exception, status: int) -> None:
    def refuse(_push: Push) -> PushAnswer:
        raise error

    answer = push(FULL, public(push=refuse))

    assert status == answer.status
    assert str(error) == answer.json()["detail"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(deadline=None, max_examples=300)
@given(
    document=st.fixed_dictionaries(
        {},
        optional={key: st.just(FULL[key]) | JSON for key in FULL},
    )
    | JSON
)
def test_no_json_document_is_an_internal_error(document: object) -> None:
    body = json.dumps(document).encode()

    answer = call(
        public(), "POST", "/v1/push", headers={"content-type": "application/json"}, body=body
    )

    assert answer.status in {200, 400, 422}


@settings(deadline=None, max_examples=200)
@given(
    text=st.text(st.characters(codec="utf-8"), max_size=140),
    field=st.sampled_from(["job", "user", "team"]),
)
def test_a_label_that_is_taken_can_stand_in_a_log_and_on_the_page(text: str, field: str) -> None:
    seen: list[Push] = []

    def take(push: Push) -> PushAnswer:
        seen.append(push)
        return accept(push)

    answer = push({**LEAST, "labels": {field: text}}, public(push=take))

    assert answer.status in {200, 422}
    for label in (getattr(one.labels, field) for one in seen):
        assert len(label.encode()) <= 128
        assert 1 == len(label.splitlines() or [""])
        assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in label)


def test_accents_by_the_thousand_are_refused_before_anything_sorts_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sorted_characters: list[int] = []
    normalize = unicodedata.normalize

    def counted(form: Literal["NFC"], text: str) -> str:
        sorted_characters.append(len(text))
        return normalize(form, text)

    monkeypatch.setattr(unicodedata, "normalize", counted)
    tower = "\u0344" * 1_200 + "\u0316" * 1_200
    refused = push({**FULL, "labels": {"job": tower}})
    longest = taken({**FULL, "labels": {"job": "e\u0301" * 64}})

    assert (422, "labels.job") == (refused.status, refused.json()["field"])
    assert [128] == sorted_characters
    assert "\u00e9" * 64 == longest.labels.job
