"""What the optimizer costs on a fleet: one run, and all runs, out of a real VictoriaMetrics.

    python tests/benchmarks/optimizer_scale.py --gpus 1000 --days 30 --runs 1000
    python tests/benchmarks/optimizer_scale.py --gpus 10000 --days 1 --runs 1250

Needs a victoria-metrics on PATH (``make victoria`` unpacks one into .cache/prometheus/usr/bin) and
the time to import: about five million samples a second, so 25 minutes for the first line. With
``--folder`` the history stays there for the next time. Reading happens in a process of its own,
whose memory is told. Prints one JSON object.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from benchmarks.fleet_history import Fleet, fill  # noqa: E402
from joulestat.optimizer.evidence.profile import Minimum  # noqa: E402
from joulestat.optimizer.history.facts import RunHistory  # noqa: E402
from joulestat.optimizer.history.prometheus import PrometheusHistory  # noqa: E402
from joulestat.optimizer.history.promql import PrometheusClient  # noqa: E402
from joulestat.optimizer.history.query_record import QueryRecord  # noqa: E402
from joulestat.optimizer.rounds import Optimizer, Question  # noqa: E402
from joulestat.optimizer.search.objective import Slowdown  # noqa: E402
from servers.victoria import VictoriaServer, missing  # noqa: E402

UNPACKED = HERE.parents[1] / ".cache" / "prometheus" / "usr" / "bin"
REPEATS = 3


def main() -> None:
    """Import, read, print."""
    asked = _arguments()
    fleet = Fleet(asked.gpus, asked.runs, asked.days, asked.scrape)
    if asked.read:
        print(json.dumps(_read(asked.read, asked.server_pid, fleet)))
        return
    os.environ["PATH"] += f"{os.pathsep}{UNPACKED}"
    if missing():
        raise SystemExit(missing())
    with tempfile.TemporaryDirectory() as scratch:
        print(
            json.dumps(
                _measure(fleet, asked.folder or Path(scratch), fill_only=asked.fill_only), indent=2
            )
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gpus", type=int, default=64)
    parser.add_argument("--days", type=float, default=2.0)
    parser.add_argument("--runs", type=int, default=64)
    parser.add_argument("--scrape", type=float, default=15.0, help="seconds between scrapes")
    parser.add_argument("--folder", type=Path, help="keep the history here, or read what is there")
    parser.add_argument("--fill-only", action="store_true", help="import into --folder, no more")
    parser.add_argument("--read", metavar="URL", help=argparse.SUPPRESS)
    parser.add_argument("--server-pid", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def _measure(fleet: Fleet, folder: Path, *, fill_only: bool) -> dict[str, Any]:
    stored = folder / "stored.json"
    with VictoriaServer(folder) as server:
        if not stored.exists():
            begin = time.perf_counter()
            n_samples = fill(server, fleet)
            took = time.perf_counter() - begin
            stored.write_text(json.dumps({"samples": n_samples, "import_seconds": round(took)}))
        if fill_only:
            return dict(json.loads(stored.read_text()))
        again = [sys.executable, __file__, "--read", server.url, f"--server-pid={server.pid}"]
        size = [f"--gpus={fleet.n_gpus}", f"--days={fleet.days}", f"--runs={fleet.n_runs}",
                f"--scrape={fleet.scrape_seconds}"]  # fmt: skip
        reading = subprocess.run([*again, *size], check=True, stdout=subprocess.PIPE)
        server_rss = _peak_rss_megabytes(server.pid)
    return {
        "gpus": fleet.n_gpus,
        "days": fleet.days,
        "runs": fleet.n_runs,
        **json.loads(stored.read_text()),
        **json.loads(reading.stdout),
        "server_peak_rss_megabytes": server_rss,
        "load": os.getloadavg()[0],
    }


def _read(url: str, server_pid: int, fleet: Fleet) -> dict[str, Any]:
    """Read one run and all of them, deciding about each."""
    records: list[QueryRecord] = []
    with PrometheusClient(url, on_query=records.append, monotonic=time.perf_counter) as client:
        history = PrometheusHistory(client)
        touched = client.query(
            f'sum(count_over_time({{run="{fleet.runs[0]}"}}[{fleet.days:g}d]))', fleet.end_seconds
        )
        records.clear()

        optimizer = Optimizer(history, Question(Slowdown(1.05), Minimum(), explore=True))

        def one() -> int:
            return _decided(optimizer, fleet.runs[:1], fleet.end_seconds)

        def all_runs() -> int:
            return _decided(optimizer, None, fleet.end_seconds)

        def all_read() -> int:
            runs = history.runs(fleet.end_seconds)
            return sum(isinstance(r, RunHistory) for r in history.read_all(runs, fleet.end_seconds))

        found = {"samples_stored_of_one_run": round(touched[0].value)}
        for name, work, repeats in (
            ("one_run", one, REPEATS),
            ("all_read", all_read, 1),
            ("all_runs", all_runs, 1),
        ):
            timed = _timed(work, records, server_pid, repeats)
            found |= {f"{name}_{key}": value for key, value in timed.items()}
    own = resource.getrusage(resource.RUSAGE_SELF)
    found["client_peak_rss_megabytes"] = own.ru_maxrss // 1024
    return found


def _decided(optimizer: Optimizer, runs: list[str] | None, at_seconds: float) -> int:
    """Decide about runs and return about how many that was possible."""
    return sum(outcome.decision is not None for outcome in optimizer.round(runs, at_seconds))


def _timed(
    work: Callable[[], int], records: list[QueryRecord], server_pid: int, repeats: int
) -> dict[str, float]:
    """Return what it took, the first and the fastest time."""
    seconds = []
    for _ in range(repeats):
        records.clear()
        begin, cpu = time.perf_counter(), time.process_time()
        server_cpu = _cpu_seconds(server_pid)
        result = work()
        seconds.append(time.perf_counter() - begin)
        busy, server_busy = time.process_time() - cpu, _cpu_seconds(server_pid) - server_cpu
    return {
        "result": result,
        "seconds_first": round(seconds[0], 3),
        "seconds_fastest": round(min(seconds), 3),
        "client_cpu_seconds": round(busy, 3),
        "server_cpu_seconds": round(server_busy, 3),
        "waited_for_server_seconds": round(sum(record.seconds for record in records), 3),
        "queries": len(records),
        "points": sum(record.n_points for record in records),
        "megabytes": round(sum(record.n_bytes for record in records) / 1e6, 2),
    }


def _cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used; it tells more than time on a busy machine.

    Source:
        proc_pid_stat(5): utime and stime, fields 14 and 15.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak_rss_megabytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


if __name__ == "__main__":
    main()
