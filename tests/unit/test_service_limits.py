"""Which limits an exporter has: its own under a policy file, or an actuator's."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fakes.clock import FakeClock
from fakes.limiter import FakeLimiter
from joulestat.config import ActuatorConfig, AdminConfig, Config, PolicyConfig
from joulestat.domain.errors import ConfigError, InvalidLease
from joulestat.domain.limit import LeaseRequest
from joulestat.service.limits import ActuatorLimits, OwnLimits, limits_of

MODELS = {"GPU-a": "H100", "GPU-b": "V100"}


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as closing:
        yield closing


def policy_file(folder: Path, text: str) -> PolicyConfig:
    file = folder / "policy.yaml"
    file.write_text(text)
    file.chmod(0o644)
    return PolicyConfig(file)


def test_one_process_obeys_the_file_and_where_that_is_silent_its_settings(
    tmp_path: Path, closing: ExitStack
) -> None:
    config = Config(
        state_path=tmp_path / "state",
        admin=AdminConfig(max_ttl_seconds=60.0),
        policy=policy_file(tmp_path, "models: {h100: {floor-watts: 250}}"),
    )
    limits = limits_of(config, FakeClock(), closing, on_write=lambda _: None)
    limits.adopt({uuid: FakeLimiter() for uuid in MODELS}, MODELS)
    grant = limits.authority.grant

    with pytest.raises(InvalidLease, match="policy allows this GPU 250 to 400 W"):
        grant("GPU-a", LeaseRequest(200.0, 30.0, "h", "r"), principal="p")
    with pytest.raises(InvalidLease, match="5 to 60 s"):
        grant("GPU-b", LeaseRequest(200.0, 61.0, "h", "r"), principal="p")
    grant("GPU-b", LeaseRequest(200.0, 60.0, "h", "r"), principal="p")

    assert isinstance(limits, OwnLimits)
    limits.stop()


def test_a_bad_policy_file_stops_the_exporter_too(tmp_path: Path, closing: ExitStack) -> None:
    config = Config(state_path=tmp_path / "state", policy=policy_file(tmp_path, "floor: 1"))

    with pytest.raises(ConfigError, match="floor is not a setting"):
        limits_of(config, FakeClock(), closing, on_write=lambda _: None)


def test_before_the_actuator_has_spoken_no_count_is_made_up(
    tmp_path: Path, closing: ExitStack
) -> None:
    config = Config(state_path=tmp_path / "state", actuator=ActuatorConfig(tmp_path / "none.sock"))
    limits = limits_of(config, FakeClock(), closing, on_write=lambda _: None)
    limits.adopt({}, MODELS)

    assert isinstance(limits, ActuatorLimits)
    controls = limits.authority.controls()
    assert [("GPU-a", {}), ("GPU-b", {})] == [(u, dict(c.changes)) for u, c in controls.items()]
    assert {False} == {control.writable for control in controls.values()}
    assert not (tmp_path / "state" / "leases.sqlite").exists()
