"""How a process with a run ends, forks and is interrupted: each in a process of its own."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from fakes.patience import eventually
from fakes.scripted_server import Json, ScriptedExporter, ScriptedServer

BEGIN = """
import os, signal, sys, threading, time
import joulestat
run = joulestat.init(run="r", gpus=[0])
run.flush()
run.set_phase("train")
for _ in range(7):
    run.step(n_samples=2)
"""

END = """
print("ended", time.monotonic(), flush=True)
"""

EXIT_ON_SIGTERM = """
signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(5)
"""


@dataclass
class Ended:
    """How a script ended.

    Attributes:
        returncode: As of ``subprocess``.
        seconds_after_end: From the script's last line to the process's end.
        stderr: What it complained of.
    """

    returncode: int
    seconds_after_end: float
    stderr: str


@pytest.fixture
def exporter() -> ScriptedExporter:
    return ScriptedExporter()


@pytest.fixture
def url(exporter: ScriptedExporter) -> Iterator[str]:
    with ScriptedServer(exporter) as server:
        yield server.url


def start(script: str, url: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script],
        env={"JOULESTAT_URL": url, "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: "subprocess.Popen[str]") -> Ended:
    stdout, stderr = process.communicate(timeout=30)
    now = time.monotonic()  # CLOCK_MONOTONIC is one for all processes of a host
    last = [float(line.split()[1]) for line in stdout.splitlines() if line.startswith("ended")]
    return Ended(process.returncode, now - last[-1] if last else 0.0, stderr)


def total_steps(push: Json) -> int:
    return sum(int(counts["steps"]) for counts in push["totals"].values())


@pytest.mark.parametrize(
    ("ending", "returncode"),
    [
        ("", 0),
        ("sys.exit(3)", 3),
        ("raise ValueError('bug in the training')", 1),
        ("os.kill(os.getpid(), signal.SIGINT); time.sleep(5)", -signal.SIGINT),
        (EXIT_ON_SIGTERM, 5),
        ("run.finish()", 0),
    ],
)
def test_however_python_ends_the_last_counts_arrive(
    ending: str, returncode: int, exporter: ScriptedExporter, url: str
) -> None:
    assert returncode == ended(start(BEGIN + ending, url)).returncode
    assert exporter.pushes[-1]["final"]
    assert 7 == total_steps(exporter.pushes[-1])


def test_a_signal_that_kills_costs_at_most_the_last_second_of_counts(
    exporter: ScriptedExporter, url: str
) -> None:
    process = start(BEGIN + "time.sleep(30)", url)
    assert eventually(lambda: any(total_steps(push) == 7 for push in exporter.pushes))
    process.send_signal(signal.SIGTERM)

    assert -signal.SIGTERM == ended(process).returncode
    assert not exporter.pushes[-1]["final"]


@pytest.mark.parametrize("runs", [1, 3])
def test_a_hanging_exporter_delays_the_end_by_a_second_at_most(runs: int) -> None:
    over = threading.Event()

    def hang(*_: object) -> None:
        over.wait(30)

    with ScriptedServer(hang) as server:
        more = "others = [joulestat.init(run=str(i), gpus=[0]) for i in range({})]\n"
        how = ended(start(BEGIN + more.format(runs - 1) + END, server.url))
        over.set()
    assert 0 == how.returncode
    assert how.seconds_after_end < 1.6
    assert "Error" not in how.stderr


def test_finish_and_the_end_of_the_process_wait_once_together() -> None:
    over = threading.Event()

    def hang(*_: object) -> None:
        over.wait(30)

    with ScriptedServer(hang) as server:
        how = ended(start(BEGIN + "run.finish()" + END, server.url))
        over.set()
    assert how.seconds_after_end < 0.6


def test_an_absent_exporter_does_not_delay_the_end() -> None:
    how = ended(start(BEGIN + END, "unix:/nowhere/at/all"))

    assert (0, "") == (how.returncode, how.stderr)
    assert how.seconds_after_end < 0.6


def test_init_while_the_interpreter_ends_is_inert_or_works_but_never_raises(url: str) -> None:
    script = """
import atexit, joulestat
def late():
    run = joulestat.init(run="late", gpus=[0])
    run.step()
    run.finish()
atexit.register(late)
"""
    how = ended(start(script, url))

    assert (0, "") == (how.returncode, how.stderr)


def test_a_peer_that_closes_does_not_kill_a_process_with_the_default_sigpipe() -> None:
    with ScriptedServer(lambda *_: None) as server:
        script = "import signal; signal.signal(signal.SIGPIPE, signal.SIG_DFL)" + BEGIN
        how = ended(start(script + "[run.flush() for _ in range(20)]" + END, server.url))
    assert 0 == how.returncode


def test_forked_children_are_inert_and_do_not_end_the_run(
    exporter: ScriptedExporter, url: str
) -> None:
    script = """
codes = []
for how in range(10):
    pid = os.fork()
    if pid == 0:
        with run.phase("eval"):
            run.step()
        run.flush()
        run.finish()
        assert not run.active
        sys.exit(11) if how % 2 else os._exit(11)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
assert codes == [11] * 10, codes
run.step()
assert run.flush()
"""
    how = ended(start(BEGIN + script, url))

    assert (0, "") == (how.returncode, how.stderr)
    assert [False] * (len(exporter.pushes) - 1) + [True] == [p["final"] for p in exporter.pushes]
    assert 1 == len({push["incarnation"] for push in exporter.pushes})
    assert 8 == total_steps(exporter.pushes[-1])


def test_a_forked_child_can_begin_a_run_of_its_own(exporter: ScriptedExporter, url: str) -> None:
    script = """
pid = os.fork()
if pid == 0:
    own = joulestat.init(run="child", gpus=[0])
    own.step()
    sys.exit(0)
assert os.waitpid(pid, 0)[1] == 0
"""
    assert 0 == ended(start(BEGIN + script, url)).returncode
    finals = [push["run"] for push in exporter.pushes if push["final"]]
    assert ["child", "r"] == finals


def test_forking_under_load_never_deadlocks(exporter: ScriptedExporter, url: str) -> None:
    script = """
def spin():
    while not done:
        run.step()
        run.set_phase("eval")
        run.set_phase("train")
        run.flush(0.01)

done = []
threads = [threading.Thread(target=spin) for _ in range(2)]
for thread in threads:
    thread.start()
for _ in range(60):
    pid = os.fork()
    if pid == 0:
        run.step(1, 1)
        run.set_phase("eval")
        run.energy_joules()
        run.state_dict()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
done.append(True)
for thread in threads:
    thread.join()
"""
    how = ended(start(BEGIN + script, url))

    assert (0, "") == (how.returncode, how.stderr)
    assert exporter.pushes[-1]["final"]


def test_data_loader_workers_forked_and_spawned_count_nothing(
    exporter: ScriptedExporter, url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    script = """
import multiprocessing, sys
import joulestat

def load(run, index):
    run.step()
    return index

class DataSet:
    def __init__(self, run):
        self.run = run
    def __call__(self, index):
        self.run.step()
        return index

if __name__ == "__main__":
    run = joulestat.init(run="r", gpus=[0])
    run.set_phase("train")
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(2) as pool:
            for _ in pool.imap(DataSet(run), range(20)):
                run.step()
"""
    path = tmp_path_factory.mktemp("workers") / "train.py"
    path.write_text(script)
    how = ended(start(f"import runpy; runpy.run_path({str(path)!r}, run_name='__main__')", url))

    assert 0 == how.returncode, how.stderr
    assert 40 == total_steps(exporter.pushes[-1])
    assert 1 == len({push["incarnation"] for push in exporter.pushes})


def test_a_signal_handler_may_do_anything_in_the_middle_of_anything(
    exporter: ScriptedExporter, url: str
) -> None:
    script = """
hits = 0
def handler(*_):
    global hits
    hits += 1
    run.step()
    run.set_phase("eval" if hits % 2 else "train")
    run.flush(0)
    run.energy_joules()
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
mine = 7
while hits < 400:
    run.step()
    mine += 1
    run.set_phase("checkpoint")
signal.setitimer(signal.ITIMER_REAL, 0)
run.finish()
print("counted", mine + hits, flush=True)
"""
    process = start(BEGIN + script, url)
    stdout, stderr = process.communicate(timeout=30)

    assert 0 == process.returncode, stderr
    assert "Traceback" not in stderr
    assert int(stdout.split()[1]) == total_steps(exporter.pushes[-1])
