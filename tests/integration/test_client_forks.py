"""How a process with a run forks: each in a process of its own."""

import threading
from collections.abc import Iterator

import pytest

from fakes.scripted_server import ScriptedExporter, ScriptedServer
from fakes.training_script import BEGIN, ended, start, total_steps


@pytest.fixture
def exporter() -> ScriptedExporter:
    return ScriptedExporter()


@pytest.fixture
def url(exporter: ScriptedExporter) -> Iterator[str]:
    with ScriptedServer(exporter) as server:
        yield server.url


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


def test_a_forked_child_of_a_run_whose_exporter_hangs_ends_at_once(
    exporter: ScriptedExporter,
) -> None:
    over = threading.Event()
    script = """
from multiprocessing import get_context
begin = time.monotonic()
for method in ("fork", "forkserver"):
    worker = get_context(method).Process(target=print, args=("worked",))
    worker.start()
    worker.join()
    assert worker.exitcode == 0
pid = os.fork()
if pid == 0:
    sys.exit(0)  # with all that Python does at the end of a process
os.waitpid(pid, 0)
run.finish()
seconds = time.monotonic() - begin - 1  # that finish() may take
assert seconds < 3, seconds
"""
    with ScriptedServer(lambda *_: over.wait(30) and None) as server:
        how = ended(start(BEGIN + script, server.url))
        over.set()

    assert (0, "") == (how.returncode, how.stderr)


def test_a_program_started_from_the_training_holds_no_connection_of_it(
    exporter: ScriptedExporter, url: str
) -> None:
    script = """
import subprocess
sockets = "ls -l /proc/self/fd | grep -c socket"
counted = subprocess.run(["sh", "-c", sockets], capture_output=True, text=True, close_fds=False)
assert counted.stdout.strip() == "0", counted.stdout
"""
    how = ended(start(BEGIN + script, url))

    assert (0, "") == (how.returncode, how.stderr)
