"""What the Trainer's callback counts, when it changes the phase, what it logs and carries along.

The exporter here is scripted: it keeps what is pushed, and every push costs 10 J and 20 J.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

Json = dict[str, Any]

pytestmark = pytest.mark.frameworks("torch", "transformers", "accelerate")

ENERGY_KEYS = {"energy_joules", "energy_joules_per_step"}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Json:
    """All scenes, played in one process."""
    folder = tmp_path_factory.mktemp("scenes")
    warnings = ["-W", "error", "-W", "ignore:'pin_memory' argument is set as true:UserWarning"]
    command = [sys.executable, *warnings, "-m", "frameworks.huggingface_scenes", folder]
    tests = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(tests)}
    played = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert played.returncode == 0, played.stdout + played.stderr
    noted: Json = json.loads((folder / "scenes.json").read_text())
    return {"log": played.stdout + played.stderr, **noted}


def only(scene: Json) -> Json:
    (process,) = scene["processes"]
    return process  # type: ignore[no-any-return]


def checkpoint(entry: Json) -> Json:
    return entry["attributes"]["checkpoint"]  # type: ignore[no-any-return]


def test_the_callback_takes_what_init_takes(scenes: Json) -> None:
    assert scenes["arguments"]["init"] == scenes["arguments"]["callback"]


def test_whatever_its_arguments_are_made_of_a_checkpoint_carries_them_as_json(
    scenes: Json,
) -> None:
    state, copied = scenes["arguments"]["state"], scenes["arguments"]["copied"]

    assert (state["args"]["gpus"], state["args"]["planned_steps"]) == ([0, 1], 5)
    assert state == copied


def test_steps_are_the_optimizers_and_samples_those_of_all_their_micro_batches(
    scenes: Json,
) -> None:
    # 16 micro-batches of 2 samples of 8 tokens, three in a step, one in the last.
    train = only(scenes["counts"])["totals"]["train"]

    assert scenes["counts"]["global_step"] == 6
    assert train == {"steps": 6, "samples": 32, "tokens": 32 * 8}


def test_the_trainers_plan_and_framework_are_reported(scenes: Json) -> None:
    process = only(scenes["counts"])

    assert process["planned_steps"] == 6
    assert {"framework": "transformers", "team": "nlp"}.items() <= process["labels"].items()


def test_evaluations_and_checkpoints_are_phases_of_their_own(scenes: Json) -> None:
    # Evaluated at steps 2, 4 and 6; saved at 4, and at 6, the last.
    evaluated = ["train", "eval"]
    saved = ["train", "eval", "checkpoint"]

    phases = only(scenes["counts"])["phases"]
    assert phases == ["other", *evaluated, *saved, *saved, "train"]
    assert only(scenes["counts"])["totals"]["eval"]["steps"] == 3 * 2


def test_an_evaluation_at_the_start_and_after_each_epoch_is_no_training(scenes: Json) -> None:
    epoch = ["train", "eval", "checkpoint"]

    assert only(scenes["epochs"])["phases"] == ["other", "eval", *epoch, *epoch, "train"]
    assert only(scenes["epochs"])["totals"]["train"]["steps"] == 16


def test_saving_the_best_model_is_a_checkpoint_although_it_is_decided_late(scenes: Json) -> None:
    assert "checkpoint" in only(scenes["best"])["phases"]


def test_several_sets_are_one_evaluation_from_the_second_time_on(scenes: Json) -> None:
    process = only(scenes["several_sets"])
    first, later = ["train", "eval", "train", "eval"], ["train", "eval"]

    assert process["phases"] == ["other", *first, *later * 3, "train"]
    # Of each set two and four batches; the first of the second set came unannounced.
    assert process["totals"]["eval"]["steps"] == 4 * (2 + 4) - 1
    assert process["totals"]["train"]["steps"] == 8


def test_a_trainer_that_returns_other_logs_than_it_shows_can_still_be_asked(scenes: Json) -> None:
    energy = scenes["copied_logs"]["energy"]

    assert energy["energy_joules"] == pytest.approx(sum(energy["energy_consumption_joules_gpu"]))
    assert energy.keys().isdisjoint(scenes["copied_logs"]["metrics"])


def test_an_evaluation_outside_of_a_training_is_a_claim_of_its_own(scenes: Json) -> None:
    *before, training, after = scenes["outside"]["processes"]

    assert [["other", "eval"]] * 2 == [process["phases"] for process in before]
    assert training["phases"] == ["other", "train"]
    assert training["totals"].keys() == {"train"}
    assert after["totals"].keys() == {"eval"}
    assert all(process["final"] for process in scenes["outside"]["processes"])


def test_a_second_attempt_with_smaller_batches_goes_on_with_the_run(scenes: Json) -> None:
    # Two steps of 4 samples, then no memory, then 18 samples by 3.
    train = only(scenes["smaller_batches"])["totals"]["train"]

    assert scenes["smaller_batches"]["batch_size"] == 3
    assert (train["steps"], train["samples"]) == (2 + 6, 2 * 4 + 18)


def test_joules_are_in_the_results_files_one_for_each_gpu(scenes: Json) -> None:
    results = scenes["counts"]["results"]
    by_gpu = results["energy_consumption_joules_gpu"]

    assert results["energy_joules"] == pytest.approx(sum(by_gpu))
    assert results["energy_joules_per_step"] == pytest.approx(sum(by_gpu) / 6)
    assert results["energy_steps"] == 6
    # By UUID: GPU-a took twice as much as GPU-b. Both had taken 1000 J before.
    assert by_gpu[0] == pytest.approx(2 * by_gpu[1])
    assert results["energy_spent_joules"] == pytest.approx(2_000 + results["energy_joules"])


def test_the_trainers_own_summary_can_print_the_list(scenes: Json) -> None:
    by_gpu = scenes["counts"]["metrics"]["energy_consumption_joules_gpu"]

    assert re.search(
        rf"energy_consumption_joules_gpu += +{re.escape(str(by_gpu))}\n", scenes["log"]
    )


def test_the_trainers_history_has_joules_with_every_training_loss(scenes: Json) -> None:
    history = scenes["counts"]["history"]
    with_joules = [entry for entry in history if entry.keys() >= ENERGY_KEYS]

    assert with_joules == [entry for entry in history if {"loss", "train_loss"} & entry.keys()]
    assert all(isinstance(entry["energy_joules"], float) for entry in with_joules)


def test_the_trainers_model_card_is_left_alone(scenes: Json) -> None:
    assert "nergy" not in scenes["counts"]["card"]


def test_an_attached_callback_shows_joules_to_trackers_and_numbers_only(scenes: Json) -> None:
    shown = scenes["attached"]["shown"]

    assert scenes["attached"]["order"][:3] == [
        "DefaultFlowCallback",
        "JoulestatCallback",
        "Tracker",
    ]
    # The first ones may be written before the exporter has answered; the last one waits for it.
    assert shown[-1].keys() >= ENERGY_KEYS
    assert {float, int} >= {type(value) for entry in shown for value in entry.values()}


@pytest.mark.parametrize("scene", ["resumed", "restored"])
def test_a_resumed_training_goes_on_with_the_joules_of_its_checkpoint(
    scene: str, scenes: Json
) -> None:
    noted = scenes[scene]
    past = checkpoint(noted["saved"])
    before, after = noted["processes"]

    assert past["steps"] == 8
    assert 0 < sum(past["energy_joules"].values()) < noted["first"]["energy_joules"]
    assert noted["metrics"]["energy_steps"] == 12
    assert noted["metrics"]["energy_joules"] > sum(past["energy_joules"].values())
    # What the first training spent after the checkpoint is lost, and still spent.
    lost = noted["first"]["energy_joules"] - sum(past["energy_joules"].values())
    spent = noted["metrics"]["energy_spent_joules"] - 2_000
    # The exporter's total rises with every push, that which answers the resume with it.
    assert noted["metrics"]["energy_joules"] + lost == pytest.approx(spent, abs=30.1)
    assert (before["totals"]["train"]["steps"], after["totals"]["train"]["steps"]) == (12, 4)


@pytest.mark.parametrize(("scene", "replaced"), [("resumed", False), ("restored", True)])
def test_an_attached_callback_stays_first_even_where_the_trainer_replaces_it(
    scene: str, replaced: bool, scenes: Json
) -> None:
    order = scenes[scene]["order"]

    assert scenes[scene]["replaced"] == replaced
    assert order[:3] == ["DefaultFlowCallback", "JoulestatCallback", "Tracker"]
    assert order.count("JoulestatCallback") == 1


@pytest.mark.parametrize("scene", ["resumed", "restored"])
def test_the_trainers_saved_state_holds_the_joules_of_the_end(scene: str, scenes: Json) -> None:
    noted = scenes[scene]

    assert checkpoint(noted["saved_state"])["energy_joules"] == {
        "GPU-a": noted["metrics"]["energy_consumption_joules_gpu"][0],
        "GPU-b": noted["metrics"]["energy_consumption_joules_gpu"][1],
    }
    assert checkpoint(noted["saved_state"])["steps"] == 12


def test_a_checkpoint_from_before_the_callback_can_be_resumed_and_saved_again(
    scenes: Json,
) -> None:
    noted = scenes["added_later"]

    assert noted["metrics"]["energy_steps"] == 4
    assert checkpoint(noted["saved"])["version"] == 1


def test_two_callbacks_count_once_and_do_not_pile_up_in_checkpoints(scenes: Json) -> None:
    assert only(scenes["twice"])["totals"]["train"]["steps"] == 8
    assert [1, 1, 1, 1] == [len(saved) for saved in scenes["twice"]["saved"]]


def test_an_interrupted_training_ends_where_the_next_one_begins(scenes: Json) -> None:
    broken, following = scenes["interrupted"]["processes"]

    assert (broken["run"], following["run"]) == ("r", "next")
    assert (broken["final"], broken["totals"]["train"]["steps"]) == (True, 3)
    assert scenes["interrupted"]["metrics"]["energy_steps"] == 8


def test_without_an_exporter_nothing_is_claimed_and_the_checkpoints_joules_are_kept(
    scenes: Json,
) -> None:
    noted = scenes["alone"]

    assert noted["global_step"] == 8
    assert not [key for key in noted["metrics"] if "energy" in key]
    assert checkpoint(noted["saved_again"]) == checkpoint(noted["saved"])
    assert not noted["run_is_open"]


def test_a_fault_of_the_callback_costs_a_line_and_never_a_training(scenes: Json) -> None:
    assert scenes["faulty"]["global_step"] == 8
    assert "JoulestatCallback.on_train_begin failed and was skipped" in scenes["log"]


def test_the_documentations_example_reports_its_steps_and_leaves_its_joules(scenes: Json) -> None:
    process = only(scenes["example"])

    assert (process["run"], process["labels"]["team"]) == ("tiny-gpt", "nlp")
    assert process["totals"]["train"]["steps"] == process["planned_steps"] == 40
    assert scenes["example"]["results"]["energy_steps"] == 40
