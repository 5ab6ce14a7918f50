"""Where a node's admin API is, by its instance label: text that anybody may have written."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulestat.client.admin import AdminClient
from joulestat.client.encrypted import tls_context
from joulestat.domain.errors import AdminError
from joulestat.optimizer.addresses.file import AddressFile
from joulestat.optimizer.addresses.instance import host_of
from joulestat.optimizer.addresses.template import AddressTemplate

TLS = tls_context()


class Made:
    """Makes clients, and remembers of what."""

    def __init__(self) -> None:
        self.urls: list[str] = []
        self.tokens: list[str | None] = []

    def __call__(self, url: str, token: str | None) -> AdminClient:
        self.urls.append(url)
        self.tokens.append(token)
        return AdminClient(url, token, tls=TLS)


HOSTILE = (
    "",
    ":10400",
    "evil.example/",
    "evil.example/path:10400",
    "node1@evil.example:10400",
    "user:secret@evil.example",
    "node1:10400:10401",
    "node1:port",
    "node1:",
    "node1:123456",
    "node1#evil.example",
    "node1?x=1",
    "node1\\@evil.example",
    "node1%2eevil.example",
    "node1\r\nX: 1",
    "node1\n",
    " node1",
    "node1..example",
    ".node1",
    "node1.",
    "-node1",
    "node1-",
    "http://evil.example",
    "unix:/run/other.sock",
    "../../run/other",
    "..",
    "{host}",
    "nodé1",
    "xn--nod1\u00ad",
    "1.2.3",
    "127.1",
    "0x7f.1",
    "0x7f000001",
    "2130706433",
    "010.0.0.1",
    "1.2.3.4.5",
    "256.1.1.1",
    "[::1",
    "[::1]x",
    "[fe80::1%eth0]:10400",
    "[node1]:10400",
    "::1",
    "a" * 64,
    ".".join(["a" * 60] * 5),
)


@pytest.mark.parametrize(
    ("instance", "host"),
    [
        ("node1", "node1"),
        ("node1:10400", "node1"),
        ("Node1.GPU.example:10400", "node1.gpu.example"),
        ("gpu_node-7:10400", "gpu_node-7"),
        ("10.0.0.7:10400", "10.0.0.7"),
        ("[2001:DB8::7]:10400", "[2001:db8::7]"),
        ("[::1]", "[::1]"),
    ],
)
def test_the_host_of_an_instance_label_is_found(instance: str, host: str) -> None:
    assert host == host_of(instance)


@pytest.mark.parametrize("instance", HOSTILE)
def test_a_label_that_is_more_than_a_host_makes_no_address(instance: str) -> None:
    made = Made()
    template = AddressTemplate("https://{host}:10401", made)
    made.urls.clear()
    with pytest.raises(AdminError, match="no admin API's address can be made") as refused:
        template.clients([instance])

    assert [] == made.urls
    assert 404 == refused.value.status


@given(st.text(max_size=40) | st.sampled_from(HOSTILE).map(lambda text: f"node1{text}"))
def test_whatever_a_label_says_scheme_port_and_path_stay_the_templates(label: str) -> None:
    made = Made()
    for written in ("https://{host}.gpu.example:10401", "unix:/run/joulestat/{host}.sock"):
        template = AddressTemplate(written, made)
        before, _, after = written.partition("{host}")
        made.urls.clear()
        try:
            template.clients([label])
        except AdminError:
            continue
        (url,) = made.urls
        host = url.removeprefix(before).removesuffix(after)
        assert f"{before}{host}{after}" == url
        assert not set(host) & set("/@?#\\%:") or host.startswith("[")


@pytest.mark.parametrize(
    ("template", "instance", "url"),
    [
        ("https://{host}:10401", "node1:10400", "https://node1:10401"),
        ("https://{host}:10401", "[2001:db8::7]:10400", "https://[2001:db8::7]:10401"),
        ("https://admin.{host}.gpu.example", "node1:10400", "https://admin.node1.gpu.example"),
        ("https://{instance}:10401", "node1", "https://node1:10401"),
        ("unix:/run/joulestat/{host}.sock", "node1:1", "unix:/run/joulestat/node1.sock"),
        ("http://{host}:10401", "127.0.0.1:10400", "http://127.0.0.1:10401"),
    ],
)
def test_a_template_and_a_label_make_an_address(template: str, instance: str, url: str) -> None:
    made = Made()
    addresses = AddressTemplate(template, made)
    made.urls.clear()
    first = addresses.clients([instance])

    assert [url] == made.urls
    assert first == addresses.clients([instance])
    assert [url] == made.urls


@pytest.mark.parametrize(
    "template",
    [
        "https://node1:10401",
        "https://{host}{host}:10401",
        "https://{node}:10401",
        "https://{host}:{port}",
        "https://kim@{host}:10401",
        "https://{host}@evil.example:10401",
        "https://{host}:10401/admin",
        "https://{host}:10401?x=1",
        "https://gateway.example/{host}",
        "https://{host}:99999",
        "https://{host}.example.:10401",
        "ftp://{host}:10401",
        "{host}:10401",
        "unix:run/{host}.sock",
        "unix://{host}/admin.sock",
        "",
    ],
)
def test_what_is_no_template_is_refused_at_the_start(template: str) -> None:
    with pytest.raises(AdminError):
        AddressTemplate(template, Made())


def test_an_address_in_a_number_is_not_joined_to_a_domain() -> None:
    template = AddressTemplate("https://{host}.gpu.example:10401", Made())
    with pytest.raises(AdminError, match="which is no host"):
        template.clients(["[2001:db8::7]:10400"])


def test_a_label_with_a_port_is_not_taken_for_a_host_alone() -> None:
    template = AddressTemplate("https://{instance}:10401", Made())
    with pytest.raises(AdminError, match=r"write \{host\} instead"):
        template.clients(["node1:10400"])


def test_series_without_the_label_are_said() -> None:
    with pytest.raises(AdminError, match="no instance label"):
        AddressTemplate("https://{host}:10401", Made()).clients([])


def a_file(folder: Path, text: str) -> Path:
    path = folder / "addresses.yaml"
    path.write_text(text)
    return path


def test_a_file_gives_each_instance_its_address_and_if_need_be_its_token(tmp_path: Path) -> None:
    (tmp_path / "node2.token").write_text("secret-2\n")
    made = Made()
    path = a_file(
        tmp_path,
        "addresses:\n  node1:10400: unix:/run/node1.sock\n"
        "  node2:10400: {url: 'https://node2:10401', token-file: node2.token}\n",
    )
    addresses = AddressFile(path, made)

    assert ["unix:/run/node1.sock", "https://node2:10401"] == made.urls
    assert [None, "secret-2"] == made.tokens
    assert 1 == len(addresses.clients(["node2:10400", "not-listed"]))


def test_a_file_is_read_again_in_every_round(tmp_path: Path) -> None:
    made = Made()
    path = a_file(tmp_path, "addresses: {'a': 'unix:/a.sock'}")
    addresses = AddressFile(path, made)
    (before,) = addresses.clients(["a"])
    addresses.refresh()
    assert (before,) == tuple(addresses.clients(["a"]))

    path.write_text("addresses: {'a': 'unix:/b.sock', 'c': 'unix:/c.sock'}")
    addresses.refresh()
    assert before not in addresses.clients(["a"])
    assert 1 == len(addresses.clients(["c"]))


def test_an_instance_that_a_file_does_not_list_is_told_from_a_file_that_is_broken(
    tmp_path: Path,
) -> None:
    path = a_file(tmp_path, "addresses: {'a': 'unix:/a.sock'}")
    addresses = AddressFile(path, Made())
    with pytest.raises(AdminError, match="has no address for instance 'b'; add it") as unknown:
        addresses.clients(["b"])
    path.write_text("addresses: {")
    addresses.refresh()
    with pytest.raises(AdminError, match="not YAML") as broken:
        addresses.clients(["a"])

    assert (404, None) == (unknown.value.status, broken.value.status)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "its only key must be addresses"),
        ("addresses: {}", "its only key must be addresses"),
        ("adresses: {'a': 'unix:/a'}", "its only key must be addresses"),
        ("addresses: {'a': 'unix:/a'}\nmore: 1", "its only key must be addresses"),
        ("addresses: {'a': 'unix:/a', 'a': 'unix:/b'}", "given twice"),
        ("addresses: {1: 'unix:/a'}", "put it in quotes"),
        ("addresses: {'a': 7}", "is no address"),
        ("addresses: {'a': {url: 'unix:/a', token: x}}", "is no address"),
        ("addresses: {'a': {token-file: x}}", "is no address"),
        ("addresses: {'a': {url: 'unix:/a', token-file: absent}}", "its token cannot be read"),
        ("addresses: {'a': 'refused'}", "addresses.a: admin API: 'refused' is no address"),
        ("addresses: !!python/object:os.system {}", "not YAML"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused_at_the_start(
    tmp_path: Path, text: str, says: str
) -> None:
    with pytest.raises(AdminError, match=says):
        AddressFile(a_file(tmp_path, text), Made())
