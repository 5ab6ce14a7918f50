"""The command ``joulestat optimize``: what it refuses, and how it goes round."""

import signal
from typing import Any

import click
import pytest
from click.testing import CliRunner

from joulestat.cli.moments import Duration, Moment
from joulestat.cli.optimize import optimize
from joulestat.cli.optimizing import ended_by_signals, exit_code, watch
from joulestat.domain.errors import HistoryError
from joulestat.domain.plan import Action, Decision
from joulestat.optimizer.rounds import Outcome

NOWHERE = ("--prometheus.url", "http://127.0.0.1:9")


def run(*arguments: str) -> Any:
    return CliRunner().invoke(optimize, [*NOWHERE, *arguments])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "--run RUN or --all-runs"),
        (("--run", "a", "--all-runs"), "--run RUN or --all-runs"),
        (("--run", "a", "--apply"), "--admin.url"),
        (("--run", "a", "--apply", "--admin.url", "unix:/x", "--at", "1"), "acts now"),
        (("--run", "a", "--watch", "60s", "--at", "1"), "follows the present"),
        (("--run", "a", "--eta", "0.3"), "--eta belongs to --objective cost"),
        (("--run", "a", "--objective", "cost", "--max-slowdown", "1.1"), "--max-slowdown belongs"),
        (("--run", "a", "--max-slowdown", "1.0"), "not known better than about 1 %"),
        (("--run", "a", "--objective", "cost", "--eta", "2"), "from 0 (time alone)"),
        (("--run", "a", "--at", "yesterday"), "2026-11-23T14:00:00Z"),
        (("--run", "a", "--at", "2026-11-23T14:00:00"), "has no time zone"),
        (("--run", "a", "--at", "2026-11-23"), "write 2026-11-23T00:00:00Z"),
        (("--run", "a", "--window", "5 minutes"), "such as 90s"),
        (("--run", "a", "--watch", "99999999w"), "100 years at most"),
        (("--run", "a", "--prometheus.header", "X-Scope-OrgID:é"), "not plain ASCII"),
        (("--run", "a", "--watch", "0s"), "longer than nothing"),
        (("--run", "a", "--prometheus.user", "kim"), "go together"),
        (("--all-runs", "--energy-budget-kwh", "5"), "is one run's: give --run"),
        (("--run", "a", "--energy-budget-kwh", "0"), "x>0"),
        (("--run", "a", "--keep-lease"), "--keep-lease is for"),
        (("--run", "a", "--match", "cluster"), "NAME=VALUE"),
        (("--run", "a", "--objective", "speed"), "speed"),
        (("--run", "a", "--prometheus.param", "timeout=1"), "by --prometheus.timeout"),
        (
            ("--run", "a", "--admin.url", "unix:/x", "--admin.url-template", "unix:/{host}"),
            "give one of them",
        ),
        (("--run", "a", "--admin.key-file", __file__), "belongs to --admin.certificate-file"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_cure(
    arguments: tuple[str, ...], says: str
) -> None:
    result = run(*arguments)

    assert 2 == result.exit_code
    assert says in result.output


def test_labels_name_no_admin_api_where_the_history_has_none() -> None:
    words = ["--history.file", __file__, "--run", "a", "--apply"]
    result = CliRunner().invoke(optimize, [*words, "--admin.url-template", "unix:/{host}"])

    assert 2 == result.exit_code
    assert "go by labels of --prometheus.url; give --admin.url" in result.output


def test_an_unreachable_prometheus_is_one_clear_line() -> None:
    result = run("--run", "a")

    assert 1 == result.exit_code
    assert "" == result.stdout
    assert 1 == len(result.stderr.splitlines())
    assert "Prometheus at http://127.0.0.1:9 gave no answer" in result.stderr


def test_a_host_that_cannot_be_one_is_one_clear_line() -> None:
    result = CliRunner().invoke(optimize, ["--prometheus.url", "http://a..b", "--run", "a"])

    assert 1 == result.exit_code
    assert "Prometheus at http://a..b gave no answer" in result.stderr


def test_a_secret_file_must_hold_one_secret(tmp_path: Any) -> None:
    file = tmp_path / "token"
    file.write_text("one\ntwo\n")

    assert 2 == run("--run", "a", "--prometheus.token-file", str(file)).exit_code


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60s", 60.0), ("1h30m", 5400.0), ("7d", 604_800.0), ("250ms", 0.25), ("15", 15.0)],
)
def test_durations_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert seconds == Duration().convert(text, None, None)


@pytest.mark.parametrize(
    "text", ["2026-11-23T14:00:00Z", "2026-11-23T15:00:00+01:00", "1795442400", "1795442400.0"]
)
def test_moments_are_rfc_3339_or_unix_seconds(text: str) -> None:
    assert 1_795_442_400.0 == Moment().convert(text, None, None)


@pytest.mark.parametrize("text", ["", "s", "-5s", "5x", "1h 30m", "inf"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Duration().convert(text, None, None)


def outcome(action: Action | None, *errors: str) -> Outcome:
    decision = None
    if action is not None:
        watts = None if action is Action.NONE else 250
        decision = Decision("a", action, watts, "", {}, None, (), None, None, ())
    return Outcome("a", decision, errors=errors)


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([outcome(Action.HOLD)], 0),
        ([outcome(Action.PROBE)], 0),
        ([outcome(Action.NONE)], 3),
        ([], 3),
        ([outcome(Action.NONE), outcome(Action.HOLD)], 0),
        ([outcome(Action.HOLD), outcome(None, "boom")], 1),
        ([outcome(Action.HOLD, "not applied")], 1),
    ],
)
def test_the_exit_code_tells_advice_from_none_and_from_failure(
    outcomes: list[Outcome], code: int
) -> None:
    assert code == exit_code(outcomes)


def test_a_failed_round_is_said_and_the_next_one_tries_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rounds: list[int] = []

    def one_round() -> None:
        rounds.append(len(rounds))
        if len(rounds) == 2:
            raise HistoryError("Prometheus is away")

    def wait() -> None:
        if len(rounds) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watch(one_round, wait, lambda: None)
    assert [0, 1, 2, 3] == rounds
    assert "joulestat optimize: Prometheus is away\n" == capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_ends_what_waits_and_later_ones_disturb_nothing(
    number: signal.Signals,
) -> None:
    before = signal.getsignal(number)
    with ended_by_signals() as ending:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        signal.raise_signal(number)
        assert ending.asked
    assert before is signal.getsignal(number)
