"""A web configuration file is taken or refused as promtool takes or refuses it."""

import ssl
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.certificates import make_certificates
from fakes.web_configs import BAD, GOOD, NEWER, STRICTER
from golden.written import CHECKOUT
from joulestat.config.go_names import CIPHER_SUITES, duration_ns
from joulestat.config.web_file import RateTerms
from joulestat.config.web_reading import parse_web_file
from joulestat.domain.errors import ConfigError
from joulestat.server.tls import make_context
from joulestat.server.token_file import parse_tokens
from joulestat.server.watched_web_file import WatchedWebFile


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("web")
    made = make_certificates(folder)
    made.server.rename(folder / "cert.pem")
    made.server_key.rename(folder / "key.pem")
    made.client_key.rename(folder / "other.pem")
    (folder / "junk.pem").write_text("this is no PEM")
    return folder


def is_taken(folder: Path, text: str) -> bool:
    file = folder / "web.yaml"
    for name in ("cert", "key"):
        pem = (folder / f"{name}.pem").read_text()
        text = text.replace(f"{{{name}}}", "\n".join(f"    {line}" for line in pem.splitlines()))
    file.write_text(text)
    try:
        terms = WatchedWebFile(file).current()
        if terms.tls is not None:
            make_context(terms.tls)
    except ConfigError:
        return False
    return True


def taken_by_promtool(folder: Path, files: Mapping[str, str]) -> set[str]:
    """Return the names of the files that promtool takes; all in one go, as it is slow to start."""
    names = {folder / f"{at}.yaml": name for at, name in enumerate(files)}
    for path, name in names.items():
        path.write_text(files[name])
    command = ["promtool", "check", "web-config", *names]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    assert len(files) == said.count(".yaml SUCCESS\n") + said.count(".yaml FAILED")
    return {name for path, name in names.items() if f"{path} SUCCESS\n" in said}


@pytest.mark.promise("web-config")
def test_every_file_has_its_verdict(folder: Path) -> None:
    assert set(GOOD) == {name for name, text in GOOD.items() if is_taken(folder, text)}
    assert set() == {name for name, text in BAD.items() if is_taken(folder, text)}
    assert set() == {name for name, text in STRICTER.items() if is_taken(folder, text)}
    taken = {name: is_taken(folder, text) for name, (text, _) in NEWER.items()}
    assert {name: verdict for name, (_, verdict) in NEWER.items()} == taken


@pytest.mark.prometheus
@pytest.mark.promise("web-config")
def test_promtool_gives_the_same_verdicts(
    folder: Path, record_property: Callable[[str, object], None]
) -> None:
    files = {**GOOD, **BAD}
    assert len(files) >= 80
    record_property("measured", f"promtool's verdict on {len(files)} of {len(files)} files")

    assert set(GOOD) == taken_by_promtool(folder, files)


@pytest.mark.prometheus
def test_what_is_stricter_than_promtool_is_known(folder: Path) -> None:
    assert set(STRICTER) == taken_by_promtool(folder, STRICTER)


@pytest.mark.parametrize(
    "text",
    [
        "basic_auth_users: {kim: sesame}",
        "sesame: {}",
        "tls_server_config: {cert: sesame, key: sesame}",
        "tls_server_config: {key_file: a, key: {sesame: 1}}",
        "tls_server_config: {min_version: sesame}",
        "rate_limit: {interval: sesame}",
        "sesame\n\tb",
    ],
)
def test_an_error_names_the_place_and_never_what_stands_there(folder: Path, text: str) -> None:
    file = folder / "web.yaml"
    file.write_text(text)

    with pytest.raises(ConfigError) as refusal:
        make_context(WatchedWebFile(file).current().tls)

    assert "sesame" not in str(refusal.value) + repr(vars(refusal.value))


@pytest.mark.parametrize(
    "text",
    [
        "http_server_config: {<<: 1}", "basic_auth_users: {<<: [1]}", "? {a: 1}\n: 2",
        "http_server_config: {? [a] : 1}", "http_server_config: {http2: !!bool maybe}",
        "tls_server_config: {cipher_suites: [[a]]}", "x: !!python/object:os.system ls",
        "rate_limit: {interval: 99999999999999999999}", "[" * 5000, "\x00", "\ud800", "*a", "!!!",
        "%YAML 9.9\n---\n",
    ],
)  # fmt: skip
def test_odd_yaml_is_a_mistake_like_any_other(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_web_file(text, Path("web.yaml"))


@given(st.sampled_from([*GOOD.values(), *BAD.values()]), st.data())
@settings(max_examples=200, deadline=None, derandomize=True, database=None)
def test_a_damaged_file_is_read_or_refused(text: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(text)))
    put = data.draw(st.text(alphabet="{}[]&*!<>:,-'\"\n\t 0aé\x00", max_size=4))
    gone = data.draw(st.integers(0, 8))
    with suppress(ConfigError):
        parse_web_file(text[:at] + put + text[at + gone :], Path("web.yaml"))


def test_a_mistake_is_shown_with_its_line_and_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refusal:
        parse_web_file("tls_server_config:\n  cert_fiel: a", tmp_path / "web.yaml")

    assert (
        f"{tmp_path}/web.yaml:2: tls_server_config has an unknown key; did you mean cert_file?"
        == str(refusal.value)
    )


def test_openssl_knows_every_suite_by_the_name_given_to_it() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for name in CIPHER_SUITES.values():
        context.set_ciphers(f"{name}:@SECLEVEL=0")
        assert name in {each["name"] for each in context.get_ciphers()}


@pytest.mark.parametrize(
    ("text", "expected_ns"),
    [
        ("0", 0), ("1s", 10**9), ("-1s", -(10**9)), ("1.5h", 5_400 * 10**9), ("100ms", 10**8),
        (".5s", 5 * 10**8), ("1.s", 10**9), ("1µs", 1_000), ("1m1.5s", 61_500_000_000),
        ("", None), ("s", None), ("1", None), ("1 s", None), ("1d", None), ("+-1s", None),
        ("9999999h", None),
    ],
)  # fmt: skip
def test_a_duration_is_read_as_go_reads_it(text: str, expected_ns: int | None) -> None:
    assert expected_ns == duration_ns(text)


def test_a_rate_of_nothing_is_no_limit(tmp_path: Path) -> None:
    def rate(text: str) -> RateTerms | None:
        return parse_web_file(f"rate_limit: {text}", tmp_path / "web.yaml").rate

    assert RateTerms(10**8, 20) == rate("{interval: 100ms, burst: 20}")
    assert None is rate("{interval: 0s, burst: 20}")
    assert None is rate("{burst: 20}")


def test_the_examples_of_the_page_are_taken(tmp_path: Path) -> None:
    page = (CHECKOUT / "docs" / "web-config.md").read_text(encoding="utf-8")
    blocks = [part.split("```")[0] for part in page.split("```yaml\n")[1:]]

    tokens = [text for text in blocks if text.startswith("tokens:")]
    files = [text for text in blocks if text.startswith("tls_server_config:")]

    assert (1, 2) == (len(tokens), len(files))
    assert frozenset({"GPU-1c1f..."}) == parse_tokens(tokens[0]).entries[0].principal.gpus
    public, admin = (parse_web_file(text, tmp_path / "web.yaml") for text in files)
    assert ({"scraper"}, set()) == (set(public.users), set(admin.users))
    assert frozenset({"optimizer.example"}) == (admin.tls and admin.tls.client_allowed_sans)
