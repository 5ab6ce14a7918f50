from pathlib import Path

import pytest

from fakes.configs import HOME, Load, loader
from joulestat.config import (
    AdminConfig,
    BudgetConfig,
    Config,
    ListenAddress,
    SamplingConfig,
    load_config,
)
from joulestat.config.options import OPTIONS


@pytest.fixture
def load(tmp_path: Path) -> Load:
    return loader(tmp_path)


def test_nothing_given_is_the_defaults(load: Load) -> None:
    assert Config(state_path=HOME / ".local/state/joulestat") == load()


def test_root_keeps_its_state_under_var_lib() -> None:
    config = load_config(flags={}, environment={}, file=None, is_root=True, home=Path("/root"))

    assert Path("/var/lib/joulestat") == config.state_path


def test_the_state_folder_follows_xdg_unless_it_is_relative(load: Load) -> None:
    assert Path("/xdg/joulestat") == load(environment={"XDG_STATE_HOME": "/xdg"}).state_path
    assert (
        HOME / ".local/state/joulestat" == load(environment={"XDG_STATE_HOME": "state"}).state_path
    )


def test_flags_win_over_environment_and_environment_over_the_file(load: Load) -> None:
    yaml = "sampling: {interval: 200ms, details-interval: 2s, settle: 3s}"
    environment = {"JOULESTAT_SAMPLING_INTERVAL": "300ms", "JOULESTAT_SAMPLING_SETTLE": "4"}
    flags = {"sampling.settle": "5s"}

    config = load(yaml, environment, flags)

    assert SamplingConfig(0.3, 2.0, 5.0) == config.sampling


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.key)
def test_every_setting_can_be_given_in_every_place(load: Load, option) -> None:
    text = {
        "state-path": "/s", "admin.token-file": "/t", "simulated.state-file": "/f",
        "admin.listen-address": "unix:/a.sock", "tariff.price-per-kilowatt-hour": "0.3",
        "tariff.currency": "EUR", "tariff.carbon-grams-per-kilowatt-hour": "380",
        "tariff.zone": "DE", "tariff.pue-ratio": "1.2", "backend": "none", "log.level": "debug",
        "log.format": "json", "simulated.model": "H100", "push.allow-remote": "yes",
        "web.listen-address": "unix:/w.sock", "web.config.file": "/w",
        "admin.web-config-file": "/a", "policy.file": "/p", "actuator.socket": "/k",
        "history.max-size": "7MiB",
    }.get(option.key, "7")  # fmt: skip
    needed = {"admin.token-file": "/t", "tariff.currency": "EUR"}
    needed = {key: value for key, value in needed.items() if key != option.key}
    nothing = load(flags=needed)

    by_file = load(f'{option.key}: "{text}"', flags=needed)
    by_variable = load(environment={option.environment: text}, flags=needed)
    by_flag = load(flags={**needed, option.key: text})

    assert nothing != by_flag
    assert by_flag == by_file
    assert by_flag == by_variable


def test_a_file_nests_at_dots_and_lists_repeat(load: Load) -> None:
    yaml = """
web:
  listen-address:
    - 127.0.0.1:10400
    - unix:/run/joulestat/push.sock
admin:
  listen-address: "[::1]:10401"
  token-file: tokens.json
log: {level: debug, format: json}
push:
"""
    config = load(yaml)

    assert (
        ListenAddress("127.0.0.1", 10400),
        ListenAddress(unix_path=Path("/run/joulestat/push.sock")),
    ) == config.web.listen_addresses
    assert ListenAddress("::1", 10401) == config.admin.listen_address
    assert "debug" == config.log.level


def test_paths_in_a_file_are_relative_to_it_and_elsewhere_to_the_working_directory(
    load: Load, tmp_path: Path
) -> None:
    assert tmp_path / "state" == load("state-path: state").state_path
    assert Path("state") == load(environment={"JOULESTAT_STATE_PATH": "state"}).state_path
    assert HOME / "state" == load("state-path: ~/state").state_path
    assert HOME / "state" == load(flags={"state-path": "~/state"}).state_path


def test_click_gives_flags_as_values_and_missing_ones_as_none(load: Load) -> None:
    flags = {
        "web.listen-address": (":1", ":2"),
        "push.allow-remote": True,
        "simulated.gpus": 8,
        "state-path": Path("/s"),
        "log.level": None,
    }

    config = load(flags=flags)

    assert (ListenAddress(None, 1), ListenAddress(None, 2)) == config.web.listen_addresses
    assert config.push.allow_remote
    assert 8 == config.simulated.gpus
    assert Path("/s") == config.state_path
    assert load(flags={"web.listen-address": ()}) == load()


def test_a_variable_may_name_the_file(load: Load, tmp_path: Path) -> None:
    file = tmp_path / "other.yaml"
    file.write_text("backend: none")

    assert "none" == load(environment={"JOULESTAT_CONFIG_FILE": str(file)}).backend


def test_an_empty_variable_is_not_set(load: Load) -> None:
    assert load() == load(environment={"JOULESTAT_BACKEND": "", "JOULESTAT_CONFIG_FILE": ""})


def test_variables_of_the_client_and_of_kubernetes_are_left_alone(load: Load) -> None:
    environment = {
        "JOULESTAT_URL": "http://127.0.0.1:10400",
        "JOULESTAT_RUN": "llama",
        "JOULESTAT_DISABLED": "1",
        "JOULESTAT_PROMETHEUS_URL": "http://127.0.0.1:9090",
        "JOULESTAT_ADMIN_CLIENT_TOKEN_FILE": "/run/token",
        "JOULESTAT_PORT": "tcp://10.0.0.1:10400",
        "JOULESTAT_PORT_10400_TCP": "tcp://10.0.0.1:10400",
        "JOULESTAT_PORT_10400_TCP_ADDR": "10.0.0.1",
        "JOULESTAT_SERVICE_HOST": "10.0.0.1",
        "JOULESTAT_SERVICE_PORT": "10400",
        "JOULESTAT_SERVICE_PORT_METRICS": "10400",
        "JOULESTAT_EXPORTER_SERVICE_HOST": "10.0.0.1",
        "JOULESTAT_EXPORTER_PORT": "tcp://10.0.0.1:10400",
        "PATH": "/bin",
    }

    assert load() == load(environment=environment)


def test_an_empty_file_says_nothing(load: Load) -> None:
    assert load() == load("") == load("# only a comment\n")


def test_the_admin_api_is_off_unless_it_is_given_an_address(load: Load) -> None:
    assert AdminConfig(token_file=Path("/t")) == load(flags={"admin.token-file": "/t"}).admin


def test_budgets_come_in_kilowatt_hours_or_joules_and_in_utc(load: Load) -> None:
    yaml = """
budgets:
  - {name: november, team: nlp, kilowatt-hours: 500, start: 2026-11-01, end: 2026-12-01}
  - name: sprint
    team: vision
    joules: 3.6e7
    start: 2026-11-01T06:00:00+01:00
    end: "2026-11-02T05:00:00"
"""
    assert (
        BudgetConfig("november", "nlp", 1.8e9, 1_793_491_200.0, 1_796_083_200.0),
        BudgetConfig("sprint", "vision", 3.6e7, 1_793_509_200.0, 1_793_595_600.0),
    ) == load(yaml).budgets


@pytest.mark.parametrize(
    ("tariff", "kilowatt_hours"),
    [
        ("{price-per-kilowatt-hour: 0.25, currency: EUR}", 2_000.0),
        ("{price-per-kilowatt-hour: 0.25, currency: EUR, pue-ratio: 1.25}", 1_600.0),
    ],
    ids=["the GPUs alone", "with what the building adds"],
)
def test_a_budget_in_money_is_the_energy_of_the_gpus_that_it_pays_for(
    load: Load, tariff: str, kilowatt_hours: float
) -> None:
    yaml = f"""
tariff: {tariff}
budgets:
  - {{name: a, team: t, cost: 500, start: 2026-11-01, end: 2026-12-01}}
  - {{name: b, team: t, cost: 500, currency: EUR, start: 2026-11-01, end: 2026-12-01}}
"""
    assert [kilowatt_hours * 3.6e6] * 2 == [each.joules for each in load(yaml).budgets]


def test_a_budget_in_money_takes_the_price_that_won_wherever_it_was_given(load: Load) -> None:
    yaml = """
tariff: {price-per-kilowatt-hour: 0.25, currency: EUR}
budgets: [{name: a, team: t, cost: 500, start: 2026-11-01, end: 2026-12-01}]
"""
    flags = {"tariff.price-per-kilowatt-hour": "0.5"}

    assert 1_000 * 3.6e6 == load(yaml, flags=flags).budgets[0].joules
