"""Which backend is opened, and what is said where none can be."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fakes.amd.remote import AmdHost
from fakes.clock import FakeClock
from fakes.nvml.standin import StandIn
from joulestat.devices import probe
from joulestat.devices.probe import BACKENDS, SimulatedOptions, open_backend
from joulestat.domain.errors import BackendUnavailable

SIMULATED = SimulatedOptions(path=None, model="V100", gpus=2, seed=1)

ASK_IN_A_FRESH_PROCESS = """
import json, logging, sys
sys.path.insert(0, sys.argv[2])
for name in json.loads(sys.argv[3]):
    sys.modules[name] = None  # as if it were not installed
from fakes.clock import FakeClock
from joulestat.devices.probe import SimulatedOptions, open_backend
from joulestat.domain.errors import BackendUnavailable
logging.basicConfig(stream=sys.stderr, format="%(message)s")
simulated = SimulatedOptions(path=None, model="V100", gpus=2, seed=1)
try:
    backend = open_backend(sys.argv[1], clock=FakeClock(), simulated=simulated)
except BackendUnavailable as error:
    print(json.dumps({"error": error.error, "message": str(error)}))
else:
    gpus = 0 if backend is None else len(backend.devices())
    print(json.dumps({"name": backend and backend.name, "gpus": gpus,
                      "pynvml": "pynvml" in sys.modules}))
"""


def answer_of(
    name: str, environment: dict[str, str] | None = None, missing: tuple[str, ...] = ()
) -> tuple[dict[str, object], str]:
    """Open a backend in a process that has nothing but this environment; answer and log."""
    finished = subprocess.run(
        [
            *(sys.executable, "-c", ASK_IN_A_FRESH_PROCESS),
            *(name, str(Path(__file__).parents[1]), json.dumps(missing)),
        ],
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=True,
    )
    answer: dict[str, object] = json.loads(finished.stdout)
    return answer, finished.stderr


@pytest.fixture
def without_nvml(tmp_path: Path) -> dict[str, str]:
    """An environment in which libnvidia-ml.so.1 cannot be loaded, whatever this machine has."""
    (tmp_path / "libnvidia-ml.so.1").write_bytes(b"not a library")
    return {"LD_LIBRARY_PATH": str(tmp_path)}


def test_the_hardware_comes_before_the_simulation() -> None:
    assert ["nvml", "amd", "simulated"] == list(BACKENDS)


def test_none_is_no_backend() -> None:
    assert open_backend("none", clock=FakeClock(), simulated=SIMULATED) is None


def test_simulated_gpus_are_opened_by_name() -> None:
    backend = open_backend("simulated", clock=FakeClock(), simulated=SIMULATED)

    assert backend is not None
    assert "simulated" == backend.name
    assert 2 == len(backend.devices())
    backend.close()


def test_simulated_gpus_need_no_vendor_library() -> None:
    answer, _ = answer_of("simulated", missing=("pynvml",))

    assert ("simulated", 2) == (answer["name"], answer["gpus"])


def test_nothing_is_imported_that_was_not_asked_for() -> None:
    assert answer_of("simulated")[0]["pynvml"] is False
    assert answer_of("none")[0]["pynvml"] is False


def test_auto_takes_nvml_where_it_has_a_gpu(nvml_standin: StandIn) -> None:
    answer, log = answer_of("auto", nvml_standin.environment())

    assert ("nvml", 2) == (answer["name"], answer["gpus"])
    assert "" == log


def test_auto_takes_amd_where_nvml_has_none(without_nvml: dict[str, str], tmp_path: Path) -> None:
    amd = AmdHost(tmp_path, sources=("amdsmi",))
    answer, log = answer_of("auto", {**without_nvml, **amd.environment()})

    assert ("amd", 2) == (answer["name"], answer["gpus"])
    assert "event=backend_skipped backend=nvml" in log


def test_auto_never_takes_simulated_gpus(without_nvml: dict[str, str]) -> None:
    answer, log = answer_of("auto", without_nvml)

    assert answer["name"] is None
    assert "backend_skipped backend=nvml" in log
    assert "LIBRARY_NOT_FOUND" in log


def test_auto_does_without_a_library_that_has_no_gpu(nvml_standin: StandIn) -> None:
    nvml_standin.plan("nvmlDeviceGetCount_v2 * val 0")
    answer, log = answer_of("auto", nvml_standin.environment())

    assert answer["name"] is None
    assert "it has no GPU" in log
    assert ("nvmlShutdown", "-", 0) == nvml_standin.calls()[-1]


def test_nvml_by_name_says_what_to_install_where_there_is_no_driver(
    without_nvml: dict[str, str],
) -> None:
    answer, _ = answer_of("nvml", without_nvml)

    assert "LIBRARY_NOT_FOUND" == answer["error"]
    assert "install the NVIDIA driver" in str(answer["message"])


def test_nvml_by_name_says_what_to_install_where_nvidia_ml_py_is_missing() -> None:
    answer, _ = answer_of("nvml", missing=("pynvml",))

    assert "LIBRARY_NOT_INSTALLED" == answer["error"]
    assert "pip install 'joulestat[server]'" in str(answer["message"])


def test_auto_does_without_nvidia_ml_py() -> None:
    answer, log = answer_of("auto", missing=("pynvml",))

    assert answer["name"] is None
    assert "joulestat[server]" in log


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(BackendUnavailable, match=r"'nvlm'.*auto, none, nvml, amd, simulated"):
        open_backend("nvlm", clock=FakeClock(), simulated=SIMULATED)


def test_auto_asked_again_and_again_says_what_changed(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "HARDWARE_BACKENDS", ("nvml",))
    monkeypatch.setattr(probe, "_told", {})
    monkeypatch.setitem(sys.modules, "joulestat.devices.nvml_backend", None)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert open_backend("auto", clock=FakeClock(), simulated=SIMULATED) is None
        monkeypatch.setitem(probe.BACKENDS, "nvml", ("joulestat.devices.elsewhere", "open_nvml"))
        for _ in range(3):
            assert open_backend("auto", clock=FakeClock(), simulated=SIMULATED) is None

    halted, missing = (record.getMessage() for record in caplog.records)
    assert "nvml_backend halted" in halted
    assert "joulestat.devices.elsewhere" in missing
