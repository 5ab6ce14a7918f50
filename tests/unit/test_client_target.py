import pytest

from joulestat.client.target import parse_target


@pytest.mark.parametrize(
    ("url", "host", "port", "header"),
    [
        ("http://127.0.0.1:10400", "127.0.0.1", 10400, "127.0.0.1:10400"),
        ("http://127.0.0.1:10400/", "127.0.0.1", 10400, "127.0.0.1:10400"),
        ("http://localhost", "localhost", 10400, "localhost:10400"),
        ("http://[::1]:99", "::1", 99, "[::1]:99"),
        ("http://node7.cluster:80", "node7.cluster", 80, "node7.cluster:80"),
    ],
)
def test_an_http_address_is_a_host_and_a_port(url: str, host: str, port: int, header: str) -> None:
    target = parse_target(url)

    assert (host, port, "", header) == (target.host, target.port, target.path, target.host_header)


@pytest.mark.parametrize("url", ["unix:/run/j.sock", "unix:///run/j.sock"])
def test_a_unix_address_is_a_path(url: str) -> None:
    target = parse_target(url)

    assert ("/run/j.sock", "localhost") == (target.path, target.host_header)
    assert target.is_local


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://127.0.0.1:10400",
        "127.0.0.1:10400",
        "http://",
        "http://host:0",
        "http://host:99999",
        "http://user:pw@host",
        "http://host/path",
        "http://host\r\nX: y",
        "http://host\n",
        "unix:relative",
        "unix:",
        "unix://host/path",
        "unix:/a\0b",
    ],
)
def test_anything_else_is_refused_with_the_right_form(url: str) -> None:
    with pytest.raises(ValueError, match=r"write (http://|unix:)"):
        parse_target(url)


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.1.2.3:1", True),
        ("http://localhost:1", True),
        ("http://[::1]:1", True),
        ("http://127.evil.example:1", False),
        ("http://10.0.0.1:1", False),
    ],
)
def test_what_stays_on_this_host_is_known(url: str, *, local: bool) -> None:
    assert local is parse_target(url).is_local
