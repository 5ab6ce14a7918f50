"""``joulestat run`` as a process: what its command gets, and what becomes of it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.scripted_server import ScriptedExporter, ScriptedServer

NOWHERE = "unix:/nowhere/at/all"
EXTRAS = ("click", "httpx", "jinja2", "matplotlib", "msgspec", "numpy", "prometheus_client")
EXTRAS += ("pynvml", "rich", "scipy", "starlette", "uvicorn", "yaml")
PLAIN = f"""
import sys
for name in {EXTRAS}:
    sys.modules[name] = None  # as if it were not installed
sys.argv[0] = "joulestat"
from joulestat.cli import main
main()
"""

LISTEN = """
import signal, sys, time
heard = []
def hear(number, frame):
    heard.append(signal.Signals(number).name)
for name in ("SIGINT", "SIGTERM", "SIGRTMIN"):
    signal.signal(getattr(signal, name), hear)
print("ready", flush=True)
while not heard:
    time.sleep(0.01)
time.sleep(0.2)  # for one more that should not come
print("heard", *heard, flush=True)
sys.exit(7)
"""


def command(*arguments: str) -> list[str]:
    """Return ``joulestat run`` as it is where the client alone is installed."""
    return [sys.executable, "-c", PLAIN, "run", *arguments]


def start(*arguments: str, url: str = NOWHERE, **environ: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command(*arguments),
        env={"JOULESTAT_URL": url, "PATH": os.environ["PATH"], **environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(*arguments: str, url: str = NOWHERE, **environ: str) -> tuple[int, str, str]:
    """Run it to its end; return exit status, output and errors."""
    process = start(*arguments, url=url, **environ)
    stdout, stderr = process.communicate("to read\n", timeout=30)
    return process.returncode, stdout, stderr


@pytest.fixture
def exporter() -> ScriptedExporter:
    return ScriptedExporter()


@pytest.fixture
def url(exporter: ScriptedExporter) -> Iterator[str]:
    with ScriptedServer(exporter) as server:
        yield server.url


@pytest.mark.parametrize(
    ("script", "status"),
    [("true", 0), ("exit 3", 3), ("exit 255", 255), ("kill -9 $$", 137), ("kill -TERM $$", 143)],
)
def test_the_exit_status_is_the_commands_as_a_shell_tells_it(script: str, status: int) -> None:
    assert status == ended("--run", "r", "--", "sh", "-c", script)[0]


def test_a_command_that_cannot_be_run_is_said_as_a_shell_says_it(tmp_path: Path) -> None:
    no_program = tmp_path / "text"
    no_program.write_text("not a program")
    unreadable = tmp_path / "binary"
    unreadable.write_bytes(b"\x7fELF nonsense")
    unreadable.chmod(0o755)
    for name, status in (("no-such-program", 127), (str(no_program), 126), (str(unreadable), 126)):
        code, _, stderr = ended("--", name)
        assert status == code
        assert "cannot be run" in stderr or "was not found" in stderr
        assert "Traceback" not in stderr


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGRTMIN"])
def test_a_signal_reaches_the_command_once_and_ends_nothing_else(name: str) -> None:
    process = start("--", sys.executable, "-c", LISTEN)
    assert process.stdout is not None
    assert "ready\n" == process.stdout.readline()
    process.send_signal(getattr(signal, name))
    stdout, _ = process.communicate(timeout=30)

    assert f"heard {name}\n" == stdout
    assert 7 == process.returncode


def test_a_signal_that_kills_the_command_is_the_exit_status() -> None:
    process = start(
        "--", sys.executable, "-c", "print('on', flush=True); import time; time.sleep(30)"
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.terminate()
    process.communicate(timeout=30)

    assert 128 + signal.SIGTERM == process.returncode


def test_ctrl_c_reaches_the_command_once_as_the_terminal_sends_it_to_both() -> None:
    ours, theirs = os.openpty()
    # Whoever opens a terminal first, in a session without one, is controlled by it.
    opening = ["sh", "-c", 'exec "$@" <"$0" >"$0" 2>&1', os.ttyname(theirs)]
    process = subprocess.Popen(
        [*opening, *command("--", sys.executable, "-c", LISTEN)],
        env={"JOULESTAT_URL": NOWHERE, "PATH": os.environ["PATH"]},
        start_new_session=True,
    )
    said = b""
    while b"ready" not in said:
        said += os.read(ours, 1024)
    os.write(ours, b"\x03")
    while b"heard" not in said or b"not known" not in said:
        said += os.read(ours, 1024)

    assert 7 == process.wait(30)
    assert b"heard SIGINT\r\n" in said
    os.close(theirs)
    os.close(ours)


def test_the_command_is_started_with_the_signals_of_its_caller() -> None:
    script = "grep -E 'Sig(Blk|Ign)' /proc/self/status"
    bare = subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, check=True, env={"PATH": "/bin"}
    )

    assert signals_in(bare.stdout) == signals_in(ended("--", "sh", "-c", script)[1])


def signals_in(status: str) -> list[int]:
    """Return blocked and ignored signals, without 32 and 33: glibc's posix_spawn ignores those."""
    return [int(line.split()[1], 16) & ~(3 << 31) for line in status.splitlines()]


def test_input_output_and_errors_pass_through() -> None:
    status, stdout, stderr = ended("--", "sh", "-c", "cat; echo wrong >&2")

    assert (0, "to read\n") == (status, stdout)
    assert "wrong" == stderr.splitlines()[0]
    assert 2 == len(stderr.splitlines())


def test_without_an_exporter_the_command_runs_and_one_line_says_so() -> None:
    _, stdout, stderr = ended("--run", "r", "--", "echo", "done")

    assert "done\n" == stdout
    assert [
        f"joulestat: the energy of run r is not known: no exporter took its pushes at {NOWHERE}"
    ] == (stderr.splitlines())


def test_switched_off_it_becomes_the_command() -> None:
    status, stdout, stderr = ended("--", "sh", "-c", "echo $PPID", JOULESTAT_DISABLED="1")

    assert (0, f"{os.getpid()}\n", "") == (status, stdout, stderr)


def test_the_command_learns_which_run_it_is_part_of() -> None:
    stdout = ended("--run", "r", "--team", "nlp", "--gpus", "1", "--", "env", JOULESTAT_USER="kim")[
        1
    ]
    told = dict(line.split("=", 1) for line in stdout.splitlines() if line.startswith("JOULESTAT"))

    assert 32 == len(told.pop("JOULESTAT_STAND_IN"))
    assert {
        "JOULESTAT_RUN": "r",
        "JOULESTAT_TEAM": "nlp",
        "JOULESTAT_GPUS": "1",
        "JOULESTAT_USER": "kim",
        "JOULESTAT_URL": NOWHERE,
    } == told


def test_it_claims_what_the_command_will_see_in_phase_other_and_without_steps(
    exporter: ScriptedExporter, url: str
) -> None:
    ended(
        "--run", "r", "--team", "nlp", "--energy-budget-kwh", "0.5", "--", "true", url=url,
        CUDA_VISIBLE_DEVICES="2,3", SLURM_JOB_NAME="ft",
    )  # fmt: skip

    first, last = exporter.pushes[0], exporter.pushes[-1]
    assert ("r", 0, [2, 3]) == (first["run"], first["rank"], first["gpus"])
    assert {"team": "nlp", "job": "ft"} == first["labels"]
    assert 1.8e6 == first["energy_budget_joules"]
    assert {"other"} == {push["phase"] for push in exporter.pushes}
    assert ({}, True) == (last["totals"], last["final"])


def test_where_nothing_tells_the_gpus_it_says_how_to_name_them(
    exporter: ScriptedExporter, url: str
) -> None:
    stderr = ended("--run", "r", "--", "true", url=url)[2]

    assert exporter.pushes[0]["gpus"] is None
    assert "name them with --gpus" in stderr


def test_a_wrapper_in_a_wrapper_stands_in_for_it(exporter: ScriptedExporter, url: str) -> None:
    inner = [sys.executable, "-m", "joulestat", "run", "--gpus", "1", "--", "true"]
    assert 0 == ended("--run", "r", "--gpus", "0", "--", *inner, url=url)[0]

    by_gpu = {push["gpus"][0]: push for push in exporter.pushes}
    assert ["r", "r"] == [by_gpu[gpu]["run"] for gpu in (0, 1)]
    assert by_gpu[0]["incarnation"] == by_gpu[1]["instead_of"]
