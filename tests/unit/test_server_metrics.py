"""What anyone may read."""

import gzip
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from fakes.asgi import call
from fakes.listener import CONSTANTS, public
from fakes.node import a_device, a_lease, a_run, a_snapshot, ended, gpu_uuid
from joulestat.domain.run import RunLabels
from joulestat.exposition import ContentType, Exposition
from joulestat.server.landing import joules_per_step, joules_text
from joulestat.server.metrics import accepts_gzip

PROMETHEUS_ACCEPT = (
    "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"
)


def test_metrics_are_the_last_snapshot() -> None:
    snapshot = a_snapshot()

    answer = call(public(snapshot=lambda: snapshot), "GET", "/metrics")

    assert 200 == answer.status
    assert "text/plain; version=0.0.4; charset=utf-8" == answer.headers["content-type"]
    assert "nosniff" == answer.headers["x-content-type-options"]
    assert Exposition(CONSTANTS).render(snapshot, ContentType.TEXT) == answer.body


def test_prometheus_gets_openmetrics() -> None:
    answer = call(public(), "GET", "/metrics", headers={"accept": PROMETHEUS_ACCEPT})

    assert ContentType.OPENMETRICS == answer.headers["content-type"]
    assert answer.body.endswith(b"# EOF\n")


def test_a_scraper_that_can_unpack_gets_fewer_bytes() -> None:
    app = public()

    plain = call(app, "GET", "/metrics")
    packed = call(app, "GET", "/metrics", headers={"accept-encoding": "gzip"})

    assert "gzip" == packed.headers["content-encoding"]
    assert len(packed.body) < len(plain.body) / 2
    assert plain.body == gzip.decompress(packed.body)
    assert "Accept, Accept-Encoding" == plain.headers["vary"] == packed.headers["vary"]


def test_a_packed_page_is_of_the_newest_snapshot_and_of_the_format_asked_for() -> None:
    shown = [a_snapshot([a_device(0)])]
    app = public(snapshot=lambda: shown[0])
    headers = {"accept-encoding": "gzip"}

    first = gzip.decompress(call(app, "GET", "/metrics", headers=headers).body)
    shown[0] = a_snapshot([a_device(0), a_device(1)])
    second = gzip.decompress(call(app, "GET", "/metrics", headers=headers).body)
    headers["accept"] = PROMETHEUS_ACCEPT
    third = gzip.decompress(call(app, "GET", "/metrics", headers=headers).body)

    assert gpu_uuid(1).encode() not in first
    assert gpu_uuid(1).encode() in second
    assert third.endswith(b"# EOF\n")


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("gzip", True),
        ("deflate, gzip;q=0.5", True),
        ("GZIP; Q=1", True),
        ("x-gzip", True),
        ("br,gzip ,zstd", True),
        ("", False),
        ("identity", False),
        ("gzip;q=0", False),
        ("gzip; q=0.000, br", False),
        ("gzipped", False),
        ("notgzip", False),
        ("*", False),
    ],
)
def test_gzip_is_used_only_where_it_is_accepted(header: str, accepted: bool) -> None:
    assert accepted == accepts_gzip(header)


def test_before_the_first_tick_there_is_no_page_of_zeros() -> None:
    app = public(snapshot=lambda: None)

    answer = call(app, "GET", "/metrics")

    assert 503 == answer.status
    assert "not been read yet" in answer.text
    assert 200 == call(app, "GET", "/").status


def test_what_a_scraper_adds_to_the_url_is_ignored() -> None:
    assert 200 == call(public(), "GET", "/metrics?name[]=up&x=1").status


@pytest.mark.parametrize("path", ["/", "/metrics", "/healthz", "/readyz", "/openapi.json"])
def test_a_page_can_be_read_from_anywhere(path: str) -> None:
    answer = call(
        public(),
        "GET",
        path,
        host="node7.cluster.example:10400",
        client=("10.0.0.8", 5),
        headers={"sec-fetch-site": "cross-site"},
    )

    assert 200 == answer.status


@pytest.mark.parametrize("path", ["/", "/metrics", "/healthz", "/readyz"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_a_page_can_only_be_read(path: str, method: str) -> None:
    answer = call(public(), method, path)

    assert 405 == answer.status
    assert "GET, HEAD" == answer.headers["allow"]
    assert "application/problem+json" == answer.headers["content-type"]


@pytest.mark.parametrize("path", ["/metrics/", "/v1/push/", "/v1/gpus", "/v1/audit", "//", "/x"])
def test_the_public_listener_has_nothing_else(path: str) -> None:
    answer = call(public(), "GET", path)

    assert 404 == answer.status
    assert "application/problem+json" == answer.headers["content-type"]


def test_too_many_headers_are_refused() -> None:
    answer = call(public(), "GET", "/metrics", headers={"x-padding": "x" * 9000})

    assert 431 == answer.status


def test_the_process_is_healthy_even_when_the_data_is_not_fresh() -> None:
    app = public(is_ticking=lambda: False, snapshot=lambda: None)

    assert (200, "ok\n") == (call(app, "GET", "/healthz").status, call(app, "GET", "/healthz").text)
    assert 503 == call(app, "GET", "/readyz").status
    assert 200 == call(public(), "GET", "/readyz").status


@pytest.mark.parametrize(
    ("read", "status"), [((), 200), ((True,), 200), ((True, False), 200), ((False, False), 503)]
)
def test_it_is_ready_while_a_gpu_answers_or_there_is_none(
    read: tuple[bool, ...], status: int
) -> None:
    shown = a_snapshot([a_device(index, read=each) for index, each in enumerate(read)])

    assert status == call(public(snapshot=lambda: shown), "GET", "/readyz").status


def test_the_landing_page_shows_gpus_leases_and_runs() -> None:
    snapshot = a_snapshot(
        [a_device(0, lease=a_lease()), a_device(1, read=False)], [a_run(), ended(a_run("over"))]
    )

    page = call(public(snapshot=lambda: snapshot), "GET", "/").text

    for shown in (
        "1.2.3",
        "simulated",
        "Tesla V100",
        gpu_uuid(1),
        "212 W",
        "250 W",
        "200 W for optimizer",
        "600 s left, then 250 W",
        "44.62 MJ",
        "unknown",
        "llama-ft-42",
        "91.25",
        "llama, kim, nlp",
        'href="/metrics"',
    ):
        assert shown in page
    assert ">over<" not in page


def test_the_landing_page_loads_nothing_and_runs_nothing() -> None:
    answer = call(public(snapshot=lambda: a_snapshot(runs=[a_run()])), "GET", "/")
    policy = answer.headers["content-security-policy"]

    assert "text/html; charset=utf-8" == answer.headers["content-type"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    for asset in ("<script", "<img", "<link", "src=", "style=", "@import", "url(", "http:"):
        assert asset not in answer.text


def test_a_link_to_the_documentation_stands_there_only_where_there_is_one() -> None:
    with_docs = call(public(docs_url="https://docs.example/"), "GET", "/").text

    assert 'href="https://docs.example/"' in with_docs
    assert "Documentation" not in call(public(), "GET", "/").text


def test_without_a_gpu_the_landing_page_says_what_to_do() -> None:
    page = call(public(snapshot=lambda: a_snapshot([])), "GET", "/").text

    assert "No GPU was found" in page
    assert "joulestat doctor" in page


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)


def tags(page: str) -> list[str]:
    parser = Tags()
    parser.feed(page)
    return parser.seen


HOSTILE = st.text(max_size=30) | st.sampled_from(
    ["<script>alert(1)</script>", '"><img src=x>', "&lt;", "'", '\\"} 1e15\nforged 1']
)


@settings(deadline=None, max_examples=100)
@given(job=HOSTILE, holder=HOSTILE)
def test_no_text_changes_the_page_or_the_metrics(job: str, holder: str) -> None:
    def pages(job: str, holder: str) -> tuple[str, str]:
        snapshot = a_snapshot(
            [a_device(0, lease=a_lease(holder=holder))], [a_run(labels=RunLabels(job or "x"))]
        )
        app = public(snapshot=lambda: snapshot)
        return call(app, "GET", "/").text, call(app, "GET", "/metrics").text

    (usual_page, usual_metrics), (page, metrics) = pages("job", "kim"), pages(job, holder)

    assert tags(usual_page) == tags(page)
    usual = [f.name for f in text_string_to_metric_families(usual_metrics)]
    assert usual == [f.name for f in text_string_to_metric_families(metrics)]


def test_joules_per_step_are_those_of_training() -> None:
    assert 91.25 == joules_per_step(a_run(steps=120))
    assert joules_per_step(a_run(steps=0)) is None


@pytest.mark.parametrize(
    ("joules", "text"),
    [
        (0, "0 J"),
        (812.34, "812.3 J"),
        (44_620_000, "44.62 MJ"),
        (1e3, "1 kJ"),
        (5.1234e9, "5.123 GJ"),
    ],
)
def test_energies_are_shown_with_four_digits(joules: float, text: str) -> None:
    assert text == joules_text(joules)
