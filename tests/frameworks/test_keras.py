import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from fakes.priced_exporter import JOULES_PER_STEP

BATCH = 4
TESTS = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("keras", "jax", "torch")),
    reason="needs the extra test-frameworks",
)


@pytest.fixture(scope="module", params=["jax", "torch"])
def scenes(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What came of all scenes on one backend."""
    done = subprocess.run(
        # PyTorch's tensors do not know all of NumPy's protocol yet.
        [
            *(sys.executable, "-W", "error", "-W", "ignore:__array__ implementation"),
            *("-m", "frameworks.keras_scenes"),
        ],
        env={**os.environ, "KERAS_BACKEND": request.param, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def counted(steps: int, batches: int) -> dict[str, Any]:
    return {"steps": steps, "samples": BATCH * batches, "tokens": 0}


def test_steps_samples_and_phases_are_those_of_fit(scenes: dict[str, Any]) -> None:
    scene = scenes["plain"]

    assert (24, 24) == (scene["iterations"], scene["planned_steps"])
    assert counted(24, batches=24) == scene["totals"]["train"]
    # Twice eight samples for validation.
    assert counted(4, batches=4) == scene["totals"]["eval"]
    epoch = ["train", "eval"]
    assert ["other", *epoch, *epoch, "train", "other"] == scene["phases"]
    assert "keras" == scene["framework"]


def test_accumulated_gradients_are_one_step_even_across_epochs(scenes: dict[str, Any]) -> None:
    scene = scenes["accumulated"]

    assert 7 == scene["iterations"]
    assert counted(7, batches=36) == scene["totals"]["train"]


def test_each_step_of_an_execution_counts(scenes: dict[str, Any]) -> None:
    if "in_one_execution" not in scenes:
        pytest.skip("Keras runs one step per execution on PyTorch")
    scene = scenes["in_one_execution"]

    assert 24 == scene["iterations"]
    assert counted(24, batches=24) == scene["totals"]["train"]


def test_the_joules_are_in_the_history(scenes: dict[str, Any]) -> None:
    history = scenes["plain"]["history"]

    # Those of two batches of validation included.
    assert [14 * JOULES_PER_STEP, 28 * JOULES_PER_STEP] == history["energy_joules"]
    per_step = 14 * JOULES_PER_STEP / 12
    assert [per_step, per_step] == history["energy_joules_per_step"]


def test_after_fit_the_joules_are_final(scenes: dict[str, Any]) -> None:
    metrics = scenes["plain"]["metrics"]

    assert 28 * JOULES_PER_STEP == metrics["energy_joules"]


def test_one_callback_may_serve_twice_and_its_joules_go_on(scenes: dict[str, Any]) -> None:
    scene = scenes["resumed"]

    assert counted(12, batches=12) == scene["totals"]["train"]
    assert 24 * JOULES_PER_STEP == scene["metrics"]["energy_joules"]


@pytest.mark.parametrize("scene", ["evaluated", "predicted"])
def test_what_is_not_fitted_is_evaluation(scenes: dict[str, Any], scene: str) -> None:
    assert ["other", "eval", "other"] == scenes[scene]["phases"]
    assert counted(12, batches=12) == scenes[scene]["totals"]["eval"]


def test_a_fault_of_the_callback_stops_no_training(scenes: dict[str, Any]) -> None:
    assert 12 == scenes["broken"]["iterations"]


def test_keras_hands_batches_on_as_it_would_without(scenes: dict[str, Any]) -> None:
    assert scenes["dispatched"]["without"] == scenes["dispatched"]["with_us"]


def test_without_an_exporter_a_training_is_what_it_was(scenes: dict[str, Any]) -> None:
    alone = scenes["alone"]

    assert 12 == alone["iterations"]
    assert ["loss"] == list(alone["history"])
    assert {} == alone["metrics"]


def test_a_run_that_was_made_before_is_left_open(scenes: dict[str, Any]) -> None:
    assert scenes["alone"]["left_open"]
