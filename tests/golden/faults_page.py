"""Makes docs/faults.md from the rows of the fault matrix."""

from collections.abc import Iterable

from faults.fault import Fault, Logged, Shown
from faults.matrix import AMD, NVIDIA

INTRODUCTION = """\
# What a driver does to us, and what comes of it

<!-- Made from the rows in tests/faults/ by tests/golden/faults_page.py.
     REGENERATE_GOLDEN=1 pytest tests/unit/test_pages.py writes it anew. -->

Each row is a test (`make faults`): a real `joulestat serve` on a stand-in for the vendor's
library, which misbehaves while the exporter runs, and then behaves again. In every row,

- the other GPUs stay up and fresh, and their energy goes on;
- `/metrics` answers as fast as ever, and `/healthz` with 200: neither asks the driver;
- no energy counter falls, of any GPU;
- the log says what stands here, once (for each GPU concerned), and nothing else;
- the exporter recovers without a restart, and has no more threads and open files than before, but for the thread that
  reads a GPU that is new.

Metrics are named without `joulestat_`. *Energy* is `gpu_energy_joules_total`: where it goes on although the
counter of the card cannot be read or believed, it is bridged by the integral of power. *No joule is missing* means that
it is where the power that was drawn puts it, to half a second. What the driver does not tell is absent, never an old
value. A *look* is the exporter's search for GPUs that came, went or came back: every 5 s, and after it did not help, ever
more rarely. The *slow beat* is `sampling.details-interval`.

What `joulestat doctor` says of a host is what it finds there itself: see [Hardware](hardware.md) for where the numbers
come from and what is odd about them.
"""  # noqa: E501 - lines of the page, not of code

HEADING = "| what happens | exported meanwhile | logged | recovered | exported then | logged then |"


def faults_page() -> str:
    """Return the page."""
    lines = [INTRODUCTION]
    for vendor, rows in (("NVIDIA, through NVML", NVIDIA), ("AMD, through amdsmi", AMD)):
        lines += [f"## {vendor}", "", HEADING, "|---|---|---|---|---|---|"]
        lines += [_row(row) for row in rows]
        lines.append("")
    return "\n".join(lines)


def _row(row: Fault) -> str:
    cells = (
        row.name,
        _listed(row.exported),
        _listed(row.logged),
        row.by,
        _listed(row.recovered),
        _listed(row.logged_then),
    )
    return f"| {' | '.join(cells)} |"


def _listed(told: Iterable[Shown | Logged]) -> str:
    return "; ".join(each.text for each in told) or "-"
