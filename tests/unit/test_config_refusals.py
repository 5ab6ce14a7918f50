from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.configs import HOME, Load, loader
from joulestat.config import (
    load_config,
)
from joulestat.config.options import OPTIONS
from joulestat.domain.errors import ConfigError
from joulestat.domain.tariff import Tariff


@pytest.fixture
def load(tmp_path: Path) -> Load:
    return loader(tmp_path)


def refusal(load: Load, *args: object, **kwargs: object) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(*args, **kwargs)
    return caught.value


def test_an_unknown_variable_is_refused_with_the_nearest(load: Load) -> None:
    error = refusal(load, environment={"JOULESTAT_WEB_LISTEN_ADDRES": ":1"})

    assert "JOULESTAT_WEB_LISTEN_ADDRES" == error.field
    assert ":1" == error.value
    assert "environment" == error.place
    assert "did you mean JOULESTAT_WEB_LISTEN_ADDRESS?" in str(error)


def test_an_unknown_key_is_refused_with_its_line_and_the_nearest(
    load: Load, tmp_path: Path
) -> None:
    error = refusal(load, "log: {level: info}\nweb:\n  listen_address: :1\n")

    assert "web.listen_address" == error.field
    assert f"{tmp_path}/joulestat.yaml:3" == error.place
    assert "did you mean web.listen-address?" in str(error)


def test_an_unknown_section_is_refused_with_the_nearest(load: Load) -> None:
    error = refusal(load, "sample: {interval: 1s}")

    assert "sample" == error.field
    assert "did you mean sampling?" in str(error)


def test_an_unknown_flag_is_refused_with_the_nearest(load: Load) -> None:
    assert "did you mean state-path?" in str(refusal(load, flags={"state-dir": "/x"}))


def test_a_bad_value_names_key_value_place_and_what_is_allowed(load: Load, tmp_path: Path) -> None:
    error = refusal(load, "\n\nsampling:\n  interval: 5ms\n")

    assert "sampling.interval" == error.field
    assert "5ms" == error.value
    assert f"{tmp_path}/joulestat.yaml:4" == error.place
    assert "a duration from 20ms to 10s in ms, s, m, h or d" == error.allowed
    assert str(error) == (
        f"{tmp_path}/joulestat.yaml:4: sampling.interval cannot be '5ms'; allowed: {error.allowed}"
    )


def test_a_bad_value_in_the_file_is_refused_even_where_a_flag_overrides_it(load: Load) -> None:
    error = refusal(load, "backend: cuda", flags={"backend": "nvml"})

    assert "backend" == error.field


@pytest.mark.parametrize(
    ("yaml", "field", "message"),
    [
        ("backend:", "backend", "has no value"),
        ("backend: ''", "backend", "has no value"),
        ("backend: [auto]", "backend", "is not a single value"),
        ("web: 3", "web", "is not a mapping"),
        ("web: {listen-address: []}", "web.listen-address", "is not a single value"),
        ("web: {listen-address: [[x]]}", "web.listen-address", "is not a single value"),
        ("log: {level: info}\nlog: {format: json}", "log", "stands there twice"),
        ("[a, b]", "", "is not a mapping"),
        ("? [a]\n: b", "", "has a key that is not text"),
        ("a: b: c", "config.file", "mapping values are not allowed"),
        ("a: 1\n---\nb: 2", "config.file", "but found another document"),
        ("budgets: {name: x}", "budgets", "is not a list"),
        ("log: {level: warning}", "log.level", "did you mean warn?"),
        ("push: {allow-remote: maybe}", "push.allow-remote", "true or false"),
        ("web: {listen-address: 10400}", "web.listen-address", "ends in :PORT"),
        ("web: {listen-address: [':1', ':1']}", "web.listen-address", "the same address twice"),
        ("simulated: {gpus: 0}", "simulated.gpus", "from 1 to 1024"),
        ("tariff: {pue-ratio: 0.9}", "tariff.pue-ratio", "from 1 to 10"),
        ("tariff: {currency: euro}", "tariff.currency", "ISO 4217"),
        ("web: &a {web: *a}", "web.web", "is not a setting"),
    ],
)
def test_what_cannot_be_understood_is_refused(
    load: Load, yaml: str, field: str, message: str
) -> None:
    error = refusal(load, yaml)

    assert field == error.field
    assert message in str(error)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    for name in ("absent.yaml", "binary.yaml", ""):
        with pytest.raises(ConfigError, match="cannot read the configuration"):
            load_config(flags={}, environment={}, file=tmp_path / name, is_root=False, home=HOME)


def test_a_file_that_is_not_there_is_named_in_words_for_people(tmp_path: Path) -> None:
    absent = tmp_path / "absent.yaml"

    with pytest.raises(ConfigError) as refused:
        load_config(flags={}, environment={}, file=absent, is_root=False, home=HOME)

    assert str(refused.value) == (
        f"{absent}: cannot read the configuration: No such file or directory; "
        "allowed: a readable YAML file"
    )


@pytest.mark.parametrize("address", [":10401", "0.0.0.0:10401", "gpu-node:10401", "[::]:10401"])
def test_the_admin_api_is_not_offered_to_other_hosts_without_tls(load: Load, address: str) -> None:
    given = {"admin.listen-address": address, "admin.token-file": "/t"}

    error = refusal(load, flags=given)

    assert "admin.listen-address" == error.field
    assert "there is no admin.web-config-file with TLS" in str(error)
    config = load(flags={**given, "admin.web-config-file": "/web.yaml"})
    assert Path("/web.yaml") == config.admin.web_config_file


def test_the_admin_api_needs_tokens_and_a_listener_of_its_own(load: Load) -> None:
    without_tokens = refusal(load, "admin: {listen-address: 'unix:/a.sock'}")
    shared = refusal(
        load, flags={"admin.listen-address": "127.0.0.1:10400", "admin.token-file": "/t"}
    )

    assert "admin.token-file" == without_tokens.field
    assert without_tokens.place.endswith("joulestat.yaml:1")
    assert "admin.listen-address" == shared.field


def test_a_price_has_a_currency(load: Load) -> None:
    yaml = """
tariff:
  price-per-kilowatt-hour: 0.31
  currency: EUR
  carbon-grams-per-kilowatt-hour: 380
  zone: NO
  pue-ratio: 1.25
"""
    assert Tariff(0.31, "EUR", 380.0, "NO", 1.25) == load(yaml).tariff
    assert "tariff.currency" == refusal(load, "tariff: {price-per-kilowatt-hour: 0.31}").field


BUDGET = "{name: a, team: t, joules: 1, start: 2026-11-01, end: 2026-12-01}"


@pytest.mark.parametrize(
    ("budget", "field", "message"),
    [
        ("x", "budgets[0]", "is not a mapping"),
        (BUDGET.replace("name: a, ", ""), "budgets[0].name", "is missing"),
        (BUDGET.replace("name: a", "name: ' '"), "budgets[0].name", "1 to 64"),
        (BUDGET.replace("joules: 1, ", ""), "budgets[0]", "has no amount; allowed: one of"),
        (BUDGET.replace("joules", "joules: 1, kilowatt-hours"), "budgets[0]", "has 2 amounts"),
        (BUDGET.replace("joules", "joules: 1, cost"), "budgets[0]", "kilowatt-hours, joules and"),
        (BUDGET.replace("joules", "cost"), "budgets[0].cost", "the tariff has no price"),
        (
            BUDGET.replace("joules", "currency: EUR, joules"),
            "budgets[0].currency",
            "stands beside joules",
        ),
        (BUDGET.replace("joules: 1", "joules: 0"), "budgets[0].joules", "above 0"),
        (
            BUDGET.replace("joules: 1", "kilowatt-hours: 1e303"),
            "budgets[0].kilowatt-hours",
            "no am",
        ),
        (BUDGET.replace("11-01", "13-01"), "budgets[0].start", "a date or time"),
        (BUDGET.replace("2026-11-01", "may"), "budgets[0].start", "'may'; allowed: a date"),
        (BUDGET.replace("12-01", "11-01"), "budgets[0].end", "is not after start"),
        (BUDGET.replace("joules", "joule"), "budgets[0].joule", "did you mean joules?"),
        (f"{BUDGET}\n- {BUDGET}", "budgets[1].name", "'a' is taken"),
    ],
)
def test_a_budget_that_is_incomplete_or_contradicts_itself_is_refused(
    load: Load, budget: str, field: str, message: str
) -> None:
    error = refusal(load, f"budgets:\n- {budget}")

    assert field == error.field
    assert message in str(error)


@pytest.mark.parametrize(
    ("price", "amount", "field", "message"),
    [
        ("0", "cost: 5", "cost", "the tariff has a price of 0"),
        ("0.3", "cost: 0", "cost", "no amount of energy"),
        ("0.3", "cost: -5", "cost", "a number above 0"),
        ("0.3", "cost: 5, currency: USD", "currency", "is USD, and the tariff's price is in EUR"),
        ("0.3", "cost: 5, currency: euro", "currency", "ISO 4217"),
        ("1e-300", "cost: 1e300", "cost", "no amount of energy"),
    ],
)
def test_a_budget_in_money_that_the_tariff_cannot_turn_into_energy_is_refused(
    load: Load, price: str, amount: str, field: str, message: str
) -> None:
    tariff = f"tariff: {{price-per-kilowatt-hour: {price}, currency: EUR}}"
    error = refusal(load, f"{tariff}\nbudgets:\n- {BUDGET.replace('joules: 1', amount)}")

    assert f"budgets[0].{field}" == error.field
    assert message in str(error)


@settings(deadline=None, max_examples=150)
@given(
    st.dictionaries(
        st.sampled_from([option.key for option in OPTIONS]),
        st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(["1", "unix:/x", ":1"]),
        max_size=4,
    )
)
def test_any_text_is_either_taken_or_refused_as_a_config_error(flags: dict[str, str]) -> None:
    try:
        load_config(flags=flags, environment={}, file=None, is_root=False, home=HOME)
    except ConfigError as error:
        refused = error.field
    else:
        refused = None
    assert refused in {None, "admin.token-file", "tariff.currency", *flags}


@settings(deadline=None, max_examples=150)
@given(st.text(st.sampled_from("weblog:ntradi-{}[]&*!|>\n '\"#%@`,0?~<"), max_size=40))
def test_any_file_is_either_taken_or_refused_as_a_config_error(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    file = tmp_path_factory.getbasetemp() / "random.yaml"
    file.write_text(text, encoding="utf-8")
    try:
        load_config(flags={}, environment={}, file=file, is_root=False, home=HOME)
    except ConfigError as error:
        places = error.place
    else:
        places = str(file)
    assert places.startswith(str(file))
