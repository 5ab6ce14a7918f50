import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulestat.exposition import ContentType, negotiate

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.mark.parametrize(
    "accept",
    [
        PROMETHEUS_2,
        PROMETHEUS_3,
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
        "Application/OpenMetrics-Text; Version=1.0.0",
        'application/openmetrics-text; version="1.0.0"',
        "application/openmetrics-text",
        "text/plain;q=0.5, application/openmetrics-text;version=1.0.0;q=0.5",
    ],
)
def test_openmetrics_is_given_to_those_who_ask_for_it(accept: str) -> None:
    assert ContentType.OPENMETRICS is negotiate(accept)


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "*/*",
        "text/plain",
        "text/plain;version=0.0.4;q=1",
        "text/html,application/xhtml+xml,*/*;q=0.8",
        "application/openmetrics-text;version=0.0.1",
        "application/openmetrics-text;version=2.0.0",
        "application/openmetrics-text;version=1.0.0;q=0",
        "application/openmetrics-text;version=1.0.0;q=x",
        "application/openmetrics-text;version=1.0.0;q=nan",
        "application/openmetrics-text;version=1.0.0;q=0.4,text/plain;q=0.5",
        ",;=,",
    ],
)
def test_everybody_else_gets_text(accept: str) -> None:
    assert ContentType.TEXT is negotiate(accept)


@given(st.text(st.sampled_from('application/openmetrics-text;version=1.0.0,q= *"'), max_size=60))
def test_no_header_is_an_error(accept: str) -> None:
    assert negotiate(accept) in ContentType
