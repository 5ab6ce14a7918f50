from pathlib import Path

import pytest

from joulestat.config import OPTIONS, ListenAddress
from joulestat.config.kinds import duration, duration_text, number


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:10400", ListenAddress("127.0.0.1", 10400)),
        (":10400", ListenAddress(None, 10400)),
        ("[::1]:0", ListenAddress("::1", 0)),
        ("gpu-node.example:80", ListenAddress("gpu-node.example", 80)),
        (
            "unix:/run/joulestat/push.sock",
            ListenAddress(unix_path=Path("/run/joulestat/push.sock")),
        ),
    ],
)
def test_an_address_reads_and_writes_the_same(text: str, address: ListenAddress) -> None:
    assert address == ListenAddress.parse(text)
    assert text == str(address)


@pytest.mark.parametrize(
    "text",
    [
        "", "10400", "127.0.0.1", "localhost:", "localhost:65536", "::1:10400", "[::1]10400",
        "[::g]:1", "http://localhost:10400", "host name:1", "-a:1", "a:-1", "a:\uff11",
        "unix:", "unix:run/x.sock", "unix:/run/", "unix:/" + "a" * 107, "unix:/a\0b",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        ListenAddress.parse(text)


@pytest.mark.parametrize(
    ("text", "is_loopback"),
    [
        ("127.0.0.1:1", True),
        ("127.8.8.8:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("unix:/run/x.sock", True),
        (":1", False),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("10.0.0.1:1", False),
        ("localhost.example:1", False),
    ],
)
def test_only_this_host_reaches_a_loopback_address_or_a_socket(
    text: str, is_loopback: bool
) -> None:
    assert is_loopback == ListenAddress.parse(text).is_loopback


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("100ms", 0.1),
        ("70ms", 0.07),
        ("1s", 1.0),
        ("1.5s", 1.5),
        ("15m", 900.0),
        ("1h30m", 5400.0),
        ("2d", 172_800.0),
        ("0", 0.0),
        ("0.25", 0.25),
    ],
)
def test_a_duration_is_exact_in_seconds(text: str, seconds: float) -> None:
    assert seconds == duration(0, 1e6).parse(text)


@pytest.mark.parametrize(
    "text", ["", "s", "1 s", "1x", "-1s", "1e400", "nan", "1s1", "\u0661s", "1w"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^$"):
        duration(0, 1e6).parse(text)


@pytest.mark.parametrize("text", ["19ms", "10.001s", "-1"])
def test_a_duration_out_of_bounds_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^$"):
        duration(0.02, 10).parse(text)


@pytest.mark.parametrize("text", ["", "nan", "inf", "1_000", "0x10", "1e999", " 1", "1,5", "-0.1"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^$"):
        number(0).parse(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.02, "20ms"), (1.5, "1500ms"), (10, "10s"), (900, "15m"), (604_800, "7d")],
)
def test_a_duration_is_shown_as_people_write_it(seconds: float, text: str) -> None:
    assert text == duration_text(seconds)


def test_every_setting_is_spelled_alike_everywhere() -> None:
    by_key = {option.key: option for option in OPTIONS}

    option = by_key["web.listen-address"]

    assert "--web.listen-address" == option.flag
    assert "JOULESTAT_WEB_LISTEN_ADDRESS" == option.environment
    assert "web_listen_address" == option.parameter


def test_no_two_settings_share_a_name() -> None:
    assert len(OPTIONS) == len({option.key for option in OPTIONS})
    assert len(OPTIONS) == len({option.environment for option in OPTIONS})
