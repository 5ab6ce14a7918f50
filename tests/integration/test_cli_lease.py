"""Leases by hand, as an operator types them."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from joulestat.cli.lease import lease
from joulestat.server.token_file import load_tokens
from servers.exporter import Exporter


class Operator:
    """Somebody with a token and a terminal."""

    def __init__(self, exporter: Exporter, folder: Path) -> None:
        self.exporter = exporter
        token_file = folder / "my-token"
        token_file.write_text(exporter.token + "\n")
        self._reach = [
            "--admin.url", f"unix:{exporter.admin_socket}",
            "--admin.token-file", str(token_file),
        ]  # fmt: skip
        world = exporter.world()
        self.gpu = world.uuids[0]
        world.close()

    def types(self, *words: str) -> Result:
        return CliRunner().invoke(lease, [*words, *self._reach])

    def limit_watts(self) -> float:
        world = self.exporter.world()
        limit = world.limit_watts(self.gpu)
        world.close()
        return limit


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    folder = tmp_path_factory.mktemp("lease")
    with Exporter(folder, "--admin.write-burst", "100") as exporter:
        yield Operator(exporter, folder)


def test_a_list_that_knows_of_no_lease_says_why(operator: Operator, tmp_path: Path) -> None:
    gone = ("--actuator.socket", str(tmp_path / "actuator.sock"))
    with Exporter(tmp_path / "x", *gone) as exporter:
        listed = Operator(exporter, tmp_path).types("list")

    assert (0, "") == (operator.types("list").exit_code, operator.types("list").stderr)
    assert 0 == listed.exit_code
    assert "no lease is granted now: the actuator does not answer" in listed.stderr


def test_a_limit_is_held_listed_and_released(operator: Operator) -> None:
    held = operator.types("set", operator.gpu, "--watts", "180", "--ttl", "60", "--holder", "kim")
    assert held.exit_code == 0, held.output
    assert operator.limit_watts() == 180
    ends_seconds = float(held.output.rpartition("lease.expires_timestamp_seconds=")[2].split()[0])
    assert abs(ends_seconds - (time.time() + 60)) < 10

    listed = operator.types("list").output
    assert operator.gpu in listed
    assert "kim" in listed
    assert "180 W" in listed

    assert operator.types("release", operator.gpu).exit_code == 0
    assert operator.limit_watts() == 300


def test_a_command_for_a_lease_that_is_over_changes_nothing(operator: Operator) -> None:
    held = operator.types("set", operator.gpu, "--watts", "180", "--ttl", "60").output
    token = held.rpartition("lease.fencing_token=")[2].split()[0]
    revision = held.rpartition("  revision=")[2].split()[0]
    assert operator.types("release", operator.gpu, "--fencing-token", token).exit_code == 0

    for late in (
        operator.types("set", operator.gpu, "--watts", "200", "--fencing-token", token),
        operator.types("set", operator.gpu, "--watts", "200", "--if-match", revision),
        operator.types("release", operator.gpu, "--if-match", revision),
    ):
        assert late.exit_code == 1
        assert "412 Precondition Failed" in late.output
    assert operator.limit_watts() == 300


def test_a_dry_run_changes_nothing(operator: Operator) -> None:
    tried = operator.types("set", operator.gpu, "--watts", "180", "--dry-run")

    assert tried.exit_code == 0, tried.output
    assert operator.limit_watts() == 300


def test_a_limit_outside_the_range_is_refused_with_the_range(operator: Operator) -> None:
    refused = operator.types("set", operator.gpu, "--watts", "50")

    assert refused.exit_code == 1
    assert "100" in refused.output
    assert operator.limit_watts() == 300


def test_releasing_what_is_not_held_says_so(operator: Operator) -> None:
    released = operator.types("release", operator.gpu)

    assert released.exit_code == 0
    assert "no lease" in released.output


def test_revert_all_puts_every_limit_back(operator: Operator) -> None:
    operator.types("set", operator.gpu, "--watts", "150")
    reverted = operator.types("revert-all")

    assert reverted.exit_code == 0, reverted.output
    assert f"{operator.gpu}: the limit from before is back, now at 300 W\n" in reverted.output
    assert ": there was no lease\n" in reverted.output
    assert operator.limit_watts() == 300


def test_the_audit_log_is_read_on_from_a_record(operator: Operator) -> None:
    operator.types("set", operator.gpu, "--watts", "160", "--holder", "kim", "--reason", "by hand")
    operator.types("revert-all")

    told = operator.types("audit")
    lines = told.output.splitlines()
    after = operator.types("audit", "--after", str(len(lines) - 1), "--json").output.splitlines()

    assert 0 == told.exit_code
    assert any(
        f"phase=intent  action=grant  gpu_uuid={operator.gpu}" in line
        and 'reason="by hand"' in line
        for line in lines
    )
    assert [str(n) for n in range(1, len(lines) + 1)] == [line.split()[0] for line in lines]
    assert [len(lines)] == [json.loads(line)["seq"] for line in after]


def test_a_wrong_address_is_one_clear_line(operator: Operator) -> None:
    lost = CliRunner().invoke(lease, ["list", "--admin.url", "unix:/nowhere/admin.sock"])

    assert lost.exit_code == 1
    assert "/nowhere/admin.sock" in lost.output
    assert len(lost.output.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("url", "token", "said"),
    [
        ("http://example.com:80", b"jst_x", "not on this host"),
        ("nowhere", b"jst_x", "nowhere"),
        ("http://127.0.0.1:9", b"", "must hold one secret"),
        ("http://127.0.0.1:9", b"\xff\xfe", "must hold one secret"),
    ],
)
def test_what_cannot_be_asked_is_said_without_a_traceback(
    tmp_path: Path, url: str, token: bytes, said: str
) -> None:
    file = tmp_path / "token"
    file.write_bytes(token)

    refused = CliRunner().invoke(
        lease, ["list", "--admin.url", url, "--admin.token-file", str(file)]
    )

    assert isinstance(refused.exception, SystemExit)
    assert said in refused.output


def test_a_token_is_shown_once_and_kept_only_as_a_digest(tmp_path: Path) -> None:
    file = tmp_path / "tokens.yaml"
    words = ["token", "--principal", "optimizer", "--file", str(file)]
    first = CliRunner().invoke(lease, words).output.strip()
    second = CliRunner().invoke(lease, [*words, "--role", "viewer", "--expires", "2030-01-31"])

    table = load_tokens(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert first not in file.read_text()
    assert second.exit_code == 0, second.output
    principal = table.authenticate(first, 1_795_000_000.0)
    assert principal is not None
    assert (principal.name, principal.role) == ("optimizer", "operator")
    assert len(yaml.safe_load(file.read_text())["tokens"]) == 2


def test_a_bad_expiry_leaves_the_token_file_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "tokens.yaml"
    words = ["token", "--principal", "optimizer", "--file", str(file)]
    CliRunner().invoke(lease, words)
    before = file.read_text()

    refused = CliRunner().invoke(lease, [*words, "--expires", "next summer"])

    assert refused.exit_code == 1
    assert file.read_text() == before


def test_a_token_is_made_for_some_gpus(tmp_path: Path) -> None:
    file = tmp_path / "tokens.yaml"
    words = ["token", "--principal", "optimizer", "--file", str(file)]

    made = CliRunner().invoke(lease, [*words, "--gpu", "GPU-1", "--gpu", "GPU-2"])
    refused = CliRunner().invoke(lease, [*words, "--role", "viewer", "--gpu", "GPU-1"])

    principal = load_tokens(file).authenticate(made.output.strip(), 0.0)
    assert principal is not None
    assert frozenset({"GPU-1", "GPU-2"}) == principal.gpus
    assert 1 == refused.exit_code
    assert "is for operators" in refused.output
