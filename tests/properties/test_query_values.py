"""No value of a label changes what is asked, as a parser of PromQL that is not ours reads it.

``make fuzz`` tries a million values, ``make test`` some hundred.
"""

import contextlib
import os
import random
from collections.abc import Iterator
from typing import Any

import httpx
import promql_parser
import pytest
from promql_parser import MatchOp

from joulestat.domain.errors import HistoryError
from joulestat.optimizer.fleet.gpu_evidence import read_gpu_evidence
from joulestat.optimizer.history.prometheus import PrometheusHistory
from joulestat.optimizer.history.promql import PrometheusClient
from joulestat.optimizer.history.selector import any_of, equals, one_of, selector
from joulestat.report.energy import EnergyReader
from joulestat.report.intensity_series import IntensityReader
from properties.any_prometheus import NOW_SECONDS, AnyPrometheus, matchers, selectors, shape
from properties.hostile_pushes import ODD_TEXTS
from servers.prometheus import PrometheusServer

LABELS = int(os.environ.get("LABELS", "600"))
WHOLE_READINGS = max(3, LABELS // 2_000)
SEED = 20_261_125
PLAIN = "plain"
HOSTILE = (
    "a'} or gpu_energy_joules_total{run_id!='",
    'x"} or vector(1) # ',
    'x"} or {__name__=~".+"} #',
    "x\\",
    '\\"',
    "a|b",
    ".*",
    "(?i)a",
    "[^a]",
    "a{2}",
    "^$",
    "\\Q.\\E",
    "\\n",
    "`",
    "#",
    "a\nb",
    "\t\v\f\b",
    "\x00",
    "\x7f\x80",
)

pytestmark = pytest.mark.promise("query-safe")


def values(number: int, seed: int) -> Iterator[str]:
    """Yield texts that Prometheus can hold as a label's value: any but lone surrogates."""
    yield from HOSTILE
    known = [*HOSTILE, *(text for text in ODD_TEXTS if text.isascii() or text.isprintable())]
    rng = random.Random(seed)
    for _ in range(number - len(HOSTILE)):
        parts = []
        for _ in range(rng.randrange(1, 5)):
            if rng.random() < 0.4:
                parts.append(rng.choice(known))
            top = rng.choice((0x7F, 0x7F, 0xFF, 0x2FFF, 0x10FFFF))
            parts += [chr(rng.randrange(top + 1)) for _ in range(rng.randrange(8))]
        text = "".join(parts)[:64]
        yield "".join(char for char in text if not "\ud800" <= char <= "\udfff") or "x"


def literal(pattern: str) -> list[str]:
    """Return the texts that a pattern of ours matches, by the rules of RE2 for escaped literals."""
    found, escaped = [""], False
    for char in pattern:
        if not escaped and char == "|":
            found.append("")
        elif not escaped and char == "\\":
            escaped = True
            continue
        else:
            assert escaped or char not in ".+*?()[]{}^$", pattern
            found[-1] += char
        escaped = False
    assert not escaped
    return found


def test_any_value_is_read_back_as_itself_and_nothing_else(record_property: Any) -> None:
    before = PLAIN
    n_values = 0
    for value in values(LABELS, SEED):
        text = selector("up", equals("run", value), one_of("gpu_uuid", [before, value]))
        (found,) = selectors(promql_parser.parse(f"sum by(run) (rate({text}[60s]))"))
        name, run, gpu = matchers(found)
        assert ("__name__", MatchOp.Equal, "up") == name
        assert ("run", MatchOp.Equal, value) == run
        assert ("gpu_uuid", MatchOp.Re) == gpu[:2]
        assert [before, value] == literal(gpu[2])
        before, n_values = value, n_values + 1
    record_property("measured", f"{n_values:,} values read back as themselves")


def asked(value: str) -> list[str]:
    """Return every query of a decision and of a report about a run of a name, as understood."""
    server = AnyPrometheus(value)
    further = (equals("cluster", value), any_of("zone", [value, value]))
    with PrometheusClient(
        "http://prometheus.test", transport=httpx.MockTransport(server), sleep=lambda _: None
    ) as client:
        history = PrometheusHistory(client, further)
        history.runs(NOW_SECONDS)
        read = history.read(value, NOW_SECONDS)
        assert (value,) == read.gpu_uuids
        list(history.read_all([value], NOW_SECONDS, 600.0))
        history.earlier_runs(read, NOW_SECONDS)
        with contextlib.suppress(HistoryError):  # made-up GPUs tell nothing, but all is asked
            read_gpu_evidence(client, value, [value], NOW_SECONDS, matchers=further)
        found = EnergyReader(client, further).read(value, NOW_SECONDS)
        assert found is not None
        intensity = IntensityReader(client, *found)
        intensity.of_exporters(further, "exporters")
        intensity.pue_ratio(further)
    return [shape(query, value) for query in server.queries]


def test_every_query_means_the_same_whatever_the_names_in_it(record_property: Any) -> None:
    plain = asked(PLAIN)
    assert len(plain) > 30
    assert sum("VALUE" in query for query in plain) > 25
    rng = random.Random(SEED)
    hostile = HOSTILE if WHOLE_READINGS > len(HOSTILE) else HOSTILE[::3]
    chosen = [*hostile, *rng.sample(list(values(LABELS, SEED + 1)), WHOLE_READINGS)]
    for value in chosen:
        assert plain == asked(value), value
    record_property(
        "measured",
        f"{len(plain)} queries of a decision and a report, each the same for {len(chosen)} names",
    )


@pytest.mark.prometheus
def test_prometheus_itself_reads_the_same_value(tmp_path: Any, record_property: Any) -> None:
    """What it answers from a constant vector that carries the value as a label."""
    chosen = list(values(min(LABELS, 2_000), SEED + 2))[:60]
    with PrometheusServer(tmp_path / "p") as server, PrometheusClient(server.url) as client:
        for value in chosen:
            quoted = str(equals("run", value)).removeprefix("run=")
            made = f'label_replace(vector(1), "run", {quoted.replace("$", "$$")}, "", "")'
            (sample,) = client.query(made, None)
            assert {"run": value} == sample.labels
            text = selector("up", equals("run", value), one_of("x", [value, "y"]))
            assert [] == client.query(text, None)
    record_property("measured", f"{len(chosen)} values read back from a real Prometheus")
