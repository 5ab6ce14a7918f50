"""Lightning against a real exporter: trained, saved, killed, and resumed in another process."""

import socket
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from frameworks.forked import forked, pipe
from servers.busy_exporter import BusyExporter

# Not imported here: it takes seconds, and the process from which the trainings are forked has it.
if find_spec("lightning") is None:
    pytest.skip("needs the extra test-frameworks", allow_module_level=True)

RUN = "lightning-e2e"
RANKS_RUN = "lightning-ranks"
RANK_STEPS = 60
SAVED, LOST, ALL = 60, 70, 140
TOLERANCE = 0.01


@pytest.fixture(scope="module")
def exporter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BusyExporter]:
    with BusyExporter(tmp_path_factory.mktemp("exporter")) as exporter:
        yield exporter


def trained(exporter: BusyExporter, checkpoint: Path, until: str) -> dict[str, Any]:
    """Train in a process of its own until it tells of an event, then kill it.

    Returns:
        What it told, by event.
    """
    ours, theirs = pipe()
    process = forked(_train, theirs, checkpoint, exporter.uuids, exporter.url)
    theirs.close()
    told: dict[str, Any] = {}
    try:
        while until not in told:
            event = ours.recv()
            told[event["event"]] = event
    finally:
        process.kill()
        process.join()
        process.close()
        ours.close()
    return told


def trained_as_ranks(exporter: BusyExporter, folder: Path) -> list[list[dict[str, Any]]]:
    """Train in two processes; return what each of them told, in order."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    pipes = [pipe() for _ in range(2)]
    processes = [
        forked(_train_as_rank, rank, port, theirs, folder, list(exporter.uuids), exporter.url)
        for rank, (_, theirs) in enumerate(pipes)
    ]
    told: list[list[dict[str, Any]]] = []
    try:
        for ours, theirs in pipes:
            theirs.close()
            events = [ours.recv()]
            while events[-1]["event"] != "ended":
                events.append(ours.recv())
            told.append(events)
    finally:
        for process in processes:
            process.kill()
            process.join()
            process.close()
        for ours, _ in pipes:
            ours.close()
    return told


def _train_as_rank(*arguments: Any) -> None:
    import frameworks.lightning_training as training

    training.train_as_rank(*arguments)


def _train(*arguments: Any) -> None:
    import frameworks.lightning_training as training

    training.train(*arguments)


def test_a_resumed_training_knows_the_joules_of_all_that_made_its_model(
    exporter: BusyExporter, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "saved.ckpt"
    first = trained(exporter, checkpoint, until="lost")
    second = trained(exporter, checkpoint, until="ended")
    ended = second["ended"]

    def joules(told: dict[str, Any], until: str) -> float:
        return sum(exporter.true_joules(told["began"]["at_ns"], told[until]["at_ns"]))

    model_joules = joules(first, "saved") + joules(second, "trained")
    spent_joules = joules(first, "lost") + joules(second, "trained")
    assert (SAVED, ALL) == (second["began"]["step"], ended["step"])
    assert pytest.approx(model_joules, rel=TOLERANCE) == ended["metrics"]["energy_joules"]
    assert pytest.approx(spent_joules, rel=TOLERANCE) == ended["metrics"]["energy_spent_joules"]
    per_step = {
        "energy_joules": ended["metrics"]["energy_joules"],
        "energy_joules_per_step": ended["metrics"]["energy_joules"] / ALL,
    }
    assert per_step == ended["logged"]
    # And so it stands in Prometheus, where both processes are one run.
    assert pytest.approx(spent_joules, rel=TOLERANCE) == exporter.run_joules(RUN)
    assert LOST + ALL - SAVED == exporter.value("run_steps_total", run=RUN, phase="train")


def test_two_ranks_count_steps_and_restored_joules_once(
    exporter: BusyExporter, tmp_path: Path
) -> None:
    rank_0, rank_1 = told = trained_as_ranks(exporter, tmp_path)
    spans = [
        (gpu, began["at_ns"], trained["at_ns"])
        for gpu, events in enumerate(told)
        for began, trained in (events[0:2], events[2:4])
    ]
    joules = sum(exporter.true_joules(begin_ns, end_ns)[gpu] for gpu, begin_ns, end_ns in spans)

    assert (0, 1) == (rank_0[-1]["rank"], rank_1[-1]["rank"])
    logged = rank_0[-1]["logged"]
    assert pytest.approx(joules, rel=TOLERANCE) == logged["energy_joules"]
    per_step = pytest.approx(joules / (2 * RANK_STEPS), rel=TOLERANCE)
    assert per_step == logged["energy_joules_per_step"]
    assert pytest.approx(joules, rel=TOLERANCE) == exporter.run_joules(RANKS_RUN)
    counted = {"run": RANKS_RUN, "phase": "train"}
    assert 2 * RANK_STEPS == exporter.value("run_steps_total", **counted)
    # Batches of four on both ranks.
    assert 2 * RANK_STEPS * 4 * 2 == exporter.value("run_samples_total", **counted)
