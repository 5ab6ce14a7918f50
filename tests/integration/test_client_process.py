"""How a process with a run ends and is interrupted: each in a process of its own."""

import signal
import threading
from collections.abc import Iterator

import pytest

from fakes.patience import eventually
from fakes.scripted_server import ScriptedExporter, ScriptedServer
from fakes.training_script import BEGIN, END, ended, start, total_steps

EXIT_ON_SIGTERM = """
signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(5)
"""


@pytest.fixture
def exporter() -> ScriptedExporter:
    return ScriptedExporter()


@pytest.fixture
def url(exporter: ScriptedExporter) -> Iterator[str]:
    with ScriptedServer(exporter) as server:
        yield server.url


@pytest.mark.parametrize(
    ("ending", "returncode"),
    [
        ("", 0),
        ("sys.exit(3)", 3),
        ("raise ValueError('bug in the training')", 1),
        ("os.kill(os.getpid(), signal.SIGINT); time.sleep(5)", -signal.SIGINT),
        (EXIT_ON_SIGTERM, 5),
        ("run.finish()", 0),
        ("run.finish(timeout=0)", 0),
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


def test_threads_that_train_on_after_the_main_one_are_counted_to_their_end(
    exporter: ScriptedExporter, url: str
) -> None:
    script = """
def train(steps):
    for _ in range(steps):
        run.step()
        time.sleep(0.001)
threading.Thread(target=train, args=(100,)).start()
threading.Thread(target=train, args=(10**9,), daemon=True).start()  # until Python is torn down
"""
    how = ended(start(BEGIN + script, url))

    assert (0, "") == (how.returncode, how.stderr)
    assert exporter.pushes[-1]["final"]
    assert 107 <= total_steps(exporter.pushes[-1])


def test_a_thread_that_python_refuses_at_the_end_means_an_inert_run_and_no_word(url: str) -> None:
    # As Python 3.12 and later do while they shut down; here for every version.
    script = """
import atexit, threading, joulestat
def refuse(self):
    raise RuntimeError("can't create new thread at interpreter shutdown")
def late():
    threading.Thread.start = refuse
    with joulestat.init(run="late", gpus=[0]) as run:
        with run.phase("train"):
            run.step()
        run.flush()
    print("inert", not run.active)
atexit.register(late)
"""
    process = start(script, url)
    stdout, stderr = process.communicate(timeout=30)

    assert (0, "inert True\n", "") == (process.returncode, stdout, stderr)


def test_a_peer_that_closes_does_not_kill_a_process_with_the_default_sigpipe() -> None:
    with ScriptedServer(lambda *_: None) as server:
        script = "import signal; signal.signal(signal.SIGPIPE, signal.SIG_DFL)" + BEGIN
        how = ended(start(script + "[run.flush() for _ in range(20)]" + END, server.url))
    assert 0 == how.returncode


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
