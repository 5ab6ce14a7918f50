"""Who may speak to the exporter, judged by what a request looks like."""

import pytest

from joulestat.server.guard import HostRule, by_unix_socket, is_local_peer

LOCAL = ("127.0.0.1", 10400)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:10400",
        "LOCALHOST.:1",
        "127.0.0.1:10400",
        "127.8.9.10",
        "[::1]:10400",
        "10.0.0.7:10400",
        "[::ffff:127.0.0.1]",
        "node1:10400",
        "Node1",
        "[fe80::7]:1",
    ],
)
def test_a_host_header_that_means_this_listener_is_admitted(host: str) -> None:
    rule = HostRule.of_names(["node1", "fe80::7"])

    assert rule.admits(host, "10.0.0.7")


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "evil.example:10400",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.example@localhost",
        "localhost:10400:1",
        "localhost:",
        "localhost:abc",
        "2130706433",
        "0x7f000001",
        "127.1",
        "0177.0.0.1",
        "10.0.0.8",
        "[::2]",
        "[::1",
        "::1",
        "local host",
        "node2",
        "node1.evil.example",
        "localhost\u00a0",
    ],
)
def test_a_host_header_that_may_be_rebound_is_not(host: str) -> None:
    rule = HostRule.of_names(["node1"])

    assert not rule.admits(host, "10.0.0.7")


def test_addresses_can_be_admitted_whichever_they_are_but_names_cannot() -> None:
    rule = HostRule.of_names([], any_ip=True)

    assert rule.admits("192.168.3.4:10400", "10.0.0.7")
    assert rule.admits("[2001:db8::1]", "10.0.0.7")
    assert not rule.admits("evil.example", "10.0.0.7")


@pytest.mark.parametrize(
    ("client", "server"),
    [
        (("127.0.0.1", 5), LOCAL),
        (("127.3.2.1", 5), LOCAL),
        (("::1", 5), ("::1", 10400)),
        (("::ffff:127.0.0.1", 5), ("::", 10400)),
        (("10.0.0.7", 5), ("10.0.0.7", 10400)),
        (("::ffff:10.0.0.7", 5), ("10.0.0.7", 10400)),
        (None, ("/run/push.sock", None)),
    ],
)
def test_a_peer_on_this_host_is_local(client: object, server: object) -> None:
    assert is_local_peer({"type": "http", "client": client, "server": server})


@pytest.mark.parametrize(
    ("client", "server"),
    [
        (("10.0.0.8", 5), ("10.0.0.7", 10400)),
        (("2001:db8::1", 5), ("2001:db8::2", 10400)),
        (("testclient", 5), LOCAL),
        (("10.0.0.8", 5), None),
        (None, LOCAL),
        (None, None),
    ],
)
def test_any_other_peer_is_not(client: object, server: object) -> None:
    assert not is_local_peer({"type": "http", "client": client, "server": server})


def test_a_tcp_peer_that_is_gone_is_not_taken_for_a_unix_socket() -> None:
    assert not by_unix_socket({"type": "http", "client": None, "server": LOCAL})
    assert by_unix_socket({"type": "http", "client": None, "server": ("/run/a.sock", None)})
