"""The doctor on a host with an exporter, and on one with a driver."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fakes.amd.remote import AmdHost
from fakes.nvml.standin import StandIn
from servers.exporter import Exporter
from servers.prometheus import PrometheusServer

NOBODY_LISTENS = "http://127.0.0.1:9"


def consult(*arguments: str, **environment: str) -> tuple[int, dict[str, Any]]:
    """Return exit status and findings by check."""
    told = subprocess.run(
        [sys.executable, "-m", "joulestat", "doctor", "--output=json", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )
    assert told.stdout, told.stderr
    return told.returncode, {each["check"]: each for each in json.loads(told.stdout)}


@pytest.mark.prometheus
def test_where_everything_runs_the_doctor_finds_nothing_and_changes_nothing(tmp_path: Path) -> None:
    with Exporter(tmp_path / "exporter") as exporter:
        token = tmp_path / "token"
        token.write_text(exporter.token)
        target = exporter.url.removeprefix("http://")
        before = exporter.samples()
        with PrometheusServer(tmp_path / "prometheus", [target]) as prometheus:
            deadline = time.monotonic() + 30
            status, findings = 1, {}
            # Prometheus looks at its targets every 5 s.
            while status != 0 and time.monotonic() < deadline:
                status, findings = consult(
                    f"--url={exporter.url}",
                    f"--prometheus.url={prometheus.url}",
                    f"--admin.url=unix:{exporter.admin_socket}",
                    f"--admin.token-file={token}",
                    JOULESTAT_BACKEND="simulated",
                )
        after = exporter.samples()

    failing = [each for each in findings.values() if each["verdict"] == "fail"]
    assert ([], 0) == (failing, status)
    assert {"admin role", "control", "ticking", "scraping", "newest reading"} <= findings.keys()
    limits = "joulestat_gpu_power_limit"
    assert {key: value for key, value in before.items() if key[0].startswith(limits)} == {
        key: value for key, value in after.items() if key[0].startswith(limits)
    }


def test_a_driver_is_read_and_never_written(nvml_standin: StandIn) -> None:
    _, findings = consult(
        f"--url={NOBODY_LISTENS}",
        f"--prometheus.url={NOBODY_LISTENS}",
        JOULESTAT_BACKEND="auto",
        **nvml_standin.environment(),
    )

    for check in ("driver", "GPUs", "readings", "energy counter", "power limits"):
        assert "ok" == findings[check]["verdict"], findings[check]
    assert [] == [call for call, _, _ in nvml_standin.calls() if call.startswith("nvmlDeviceSet")]


def test_persistence_mode_that_is_off_is_a_warning(nvml_standin: StandIn) -> None:
    arguments = (f"--url={NOBODY_LISTENS}", f"--prometheus.url={NOBODY_LISTENS}")
    environment = {"JOULESTAT_BACKEND": "nvml", **nvml_standin.environment()}
    _, on = consult(*arguments, **environment)
    nvml_standin.change(1, persistence=0)
    _, off = consult(*arguments, **environment)

    assert "ok" == on["persistence mode"]["verdict"]
    assert "warn" == off["persistence mode"]["verdict"]
    assert "GPU 1" in off["persistence mode"]["found"]


def test_a_gpu_that_is_lost_is_named_with_the_drivers_word_for_it(nvml_standin: StandIn) -> None:
    nvml_standin.plan("nvmlDeviceGetPowerManagementLimit 1 ret 15")

    _, findings = consult(
        f"--url={NOBODY_LISTENS}",
        f"--prometheus.url={NOBODY_LISTENS}",
        JOULESTAT_BACKEND="nvml",
        **nvml_standin.environment(),
    )

    assert "fail" == findings["readings"]["verdict"]
    assert "GPU 1" in findings["readings"]["found"]


def test_a_driver_that_hangs_is_found_and_hangs_no_doctor(nvml_standin: StandIn) -> None:
    nvml_standin.plan("nvmlDeviceGetPowerManagementLimit 0 hang")

    status, findings = consult(
        f"--url={NOBODY_LISTENS}",
        f"--prometheus.url={NOBODY_LISTENS}",
        **nvml_standin.environment(),
    )

    assert (1, "fail") == (status, findings["driver"]["verdict"])
    assert "hangs" in findings["driver"]["found"]


def test_what_of_amd_is_there_is_told(tmp_path: Path) -> None:
    amd = AmdHost(tmp_path, sources=("amdsmi",))

    _, findings = consult(
        f"--url={NOBODY_LISTENS}",
        f"--prometheus.url={NOBODY_LISTENS}",
        JOULESTAT_BACKEND="amd",
        **amd.environment(),
    )

    for check in ("driver", "GPUs", "AMD libraries", "readings", "energy counter", "power limits"):
        assert "ok" == findings[check]["verdict"], findings[check]
    assert "amdsmi 26.0.2" in findings["driver"]["found"]
    assert 0 == amd.asked("amdsmi_set_power_cap")


def test_amd_without_rocm_is_told_with_its_cure(tmp_path: Path) -> None:
    amd = AmdHost(tmp_path, sources=("amdsmi",))

    _, findings = consult(
        f"--url={NOBODY_LISTENS}",
        f"--prometheus.url={NOBODY_LISTENS}",
        JOULESTAT_BACKEND="amd",
        FAKE_AMD_NO_ROCM="1",
        **amd.environment(),
    )

    assert "fail" == findings["driver"]["verdict"]
    assert "libamd_smi.so" in findings["driver"]["found"]
    assert "install ROCm" in findings["driver"]["cure"]
