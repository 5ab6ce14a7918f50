import logging
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulestat.client.naming import (
    Host,
    clean_name,
    framework_label,
    job_label,
    rank_of,
    run_name,
    team_label,
    user_label,
)
from joulestat.client.notices import Notices


def host(**environ: str) -> Host:
    return Host(environ, "node7", 4711, 815)


def name_on(**environ: str) -> str:
    return run_name(None, host(**environ), Notices())


def test_the_callers_name_wins() -> None:
    assert "mine" == run_name("mine", host(JOULESTAT_RUN="other"), Notices())


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"JOULESTAT_RUN": "a", "WANDB_RUN_ID": "b"}, "a"),
        ({"WANDB_RUN_ID": "b", "MLFLOW_RUN_ID": "c"}, "b"),
        ({"MLFLOW_RUN_ID": "c", "SLURM_JOB_ID": "7"}, "c"),
        ({"SLURM_JOB_ID": "9", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "2"}, "slurm-7_2"),
        ({"SLURM_JOB_ID": "9", "TORCHELASTIC_RUN_ID": "x"}, "slurm-9"),
        ({"TORCHELASTIC_RUN_ID": "0b5e", "WORLD_SIZE": "2", "MASTER_ADDR": "n1"}, "0b5e"),
        (
            {
                "TORCHELASTIC_RUN_ID": "none",
                "WORLD_SIZE": "2",
                "MASTER_ADDR": "n1.cluster",
                "MASTER_PORT": "29500",
            },
            "n1.cluster-29500",
        ),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "node7"),
        ({}, "node7-4711"),
    ],
)
def test_the_run_is_called_what_tracker_scheduler_or_host_call_it(
    environ: dict[str, str], expected: str
) -> None:
    assert expected == name_on(**environ)


def test_ranks_with_a_loopback_rendezvous_share_their_launchers_name() -> None:
    # torchrun's default is 127.0.0.1:29500 on every host and in every run.
    environ = {"WORLD_SIZE": "8", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
    one = run_name(None, Host(environ, "node7", 1001, 815), Notices())
    other = run_name(None, Host(environ, "node7", 1002, 815), Notices())
    next_run = run_name(None, Host(environ, "node7", 1003, 900), Notices())

    assert one == other == "node7-29500-815"
    assert one != next_run


def test_pods_of_an_indexed_job_share_the_jobs_name() -> None:
    environ = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "3"}

    assert "train-job" == run_name(None, Host(environ, "train-job-3", 1, 0), Notices())


POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "POD_NAME": "train-3-x7k2p"}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        (POD, "train-3-x7k2p"),
        ({**POD, "JOB_COMPLETION_INDEX": "3"}, "train"),
        ({**POD, "JOB_COMPLETION_INDEX": "3", "JOB_NAME": "big-train"}, "big-train"),
        ({**POD, "RANK": "3", "JOB_NAME": "big-train"}, "big-train"),
        # Pods that do not know their place would all be rank 0 of one run.
        ({**POD, "JOB_NAME": "big-train"}, "train-3-x7k2p"),
        ({"JOB_NAME": "a-build", "BUILD_ID": "1"}, "node7-4711"),
    ],
)
def test_a_pod_is_called_what_its_spec_tells_it(environ: dict[str, str], expected: str) -> None:
    assert expected == name_on(**environ)


def test_a_name_that_must_be_altered_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    assert "my-run-2" == run_name("my run/2", host(), Notices())
    assert [logging.WARNING] == [record.levelno for record in caplog.records]


def test_a_name_of_which_nothing_is_left_gives_way_to_the_hosts() -> None:
    assert "node7-4711" == run_name("日本語", host(), Notices())


def test_two_long_names_with_one_beginning_stay_two_runs() -> None:
    one, other = clean_name("x" * 100), clean_name("x" * 101)

    assert one != other
    assert 64 == len(one) == len(other)


@settings(deadline=None)
@given(text=st.text())
def test_whatever_a_name_was_it_becomes_one_that_the_exporter_takes(text: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9._-]{0,64}", clean_name(text))


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, 0),
        ({"RANK": "5", "SLURM_PROCID": "1"}, 5),
        ({"SLURM_PROCID": "1"}, 1),
        ({"OMPI_COMM_WORLD_RANK": "2"}, 2),
        ({"PMI_RANK": "3"}, 3),
        ({"RANK": "-1", "PMI_RANK": "3"}, 3),
        ({"RANK": "zero"}, 0),
        ({"JOB_COMPLETION_INDEX": "4"}, 0),
        ({"JOB_COMPLETION_INDEX": "4", "KUBERNETES_SERVICE_HOST": "10.0.0.1"}, 4),
        ({"JOB_COMPLETION_INDEX": "4", "KUBERNETES_SERVICE_HOST": "10.0.0.1", "RANK": "9"}, 9),
    ],
)
def test_the_rank_is_the_launchers(environ: dict[str, str], expected: int) -> None:
    assert expected == rank_of(host(**environ))


def test_labels_come_from_the_scheduler_and_the_loaded_modules() -> None:
    loaded = Host(
        {
            "SLURM_JOB_NAME": "ft",
            "USER": "root",
            "SLURM_JOB_USER": "kim",
            "SLURM_JOB_ACCOUNT": "nlp",
        },
        "n",
        1,
        1,
        {"torch": object(), "transformers": object()},
    )

    assert ("ft", "kim", "nlp", "transformers") == labels(loaded)
    assert ("", "", "", "") == labels(host())


def labels(host: Host) -> tuple[str, str, str, str]:
    return job_label(host), user_label(host), team_label(host), framework_label(host)


def test_what_was_set_for_joulestat_wins_over_the_scheduler() -> None:
    own = {"JOULESTAT_JOB": "j", "JOULESTAT_USER": "u", "JOULESTAT_TEAM": "t"}
    slurm = {"SLURM_JOB_NAME": "ft", "SLURM_JOB_USER": "kim", "SLURM_JOB_ACCOUNT": "nlp"}

    assert ("j", "u", "t", "") == labels(host(**own, **slurm))


def test_a_pods_job_is_its_label_and_a_build_servers_is_not() -> None:
    pod = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "POD_NAMESPACE": "research", "JOB_NAME": "ft"}

    assert ("ft", "", "", "") == labels(host(**pod))
    assert "" == job_label(host(JOB_NAME="nightly"))
