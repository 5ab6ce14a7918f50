"""Who holds the power limits: this process, or an actuator that it only asks."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from joulestat.actuator.client import REFRESH_SECONDS, ActuatorClient
from joulestat.actuator.own_limits import OnWrite, OwnLimits
from joulestat.config import AdminConfig, Config
from joulestat.devices.backend import Limiter
from joulestat.domain.clock import Clock
from joulestat.loops.heartbeat import Heartbeat
from joulestat.power.authority import LimitAuthority
from joulestat.power.policy import LeasePolicy
from joulestat.power.policy_file import read_policy


class ActuatorLimits:
    """An actuator's socket. What it holds is its own: leases outlive this process."""

    def __init__(self, socket_path: Path, clock: Clock, *, on_write: OnWrite) -> None:
        client = ActuatorClient(socket_path, clock, on_write=on_write)
        self._client = client
        self.authority: LimitAuthority = client
        self.audit_records: Callable[[int, int], Sequence[Mapping[str, object]]] = (
            client.audit_records
        )
        self.loop = Heartbeat("actuator", REFRESH_SECONDS, client.refresh)

    def adopt(self, limiters: Mapping[str, Limiter], models: Mapping[str, str]) -> None:
        """Learn which devices there are; their limits are not for this process to set."""
        del limiters
        self._client.expect(models)

    def start(self) -> None:
        """Hear from the actuator once, before anybody looks, and then regularly."""
        self._client.refresh()
        self.loop.start()

    def stop(self) -> None:
        """Ask no more. Idempotent."""
        self.loop.ask_to_stop()
        self.loop.join(2.0)


Limits = OwnLimits | ActuatorLimits


def limits_of(config: Config, clock: Clock, closing: ExitStack, *, on_write: OnWrite) -> Limits:
    """Return what the configuration asks for; the governor also where there is no admin API.

    A crash may have left a limit.

    Raises:
        ConfigError: The policy file is none.
        StateError: The state folder cannot be used.
    """
    if config.actuator.socket is not None:
        return ActuatorLimits(config.actuator.socket, clock, on_write=on_write)
    policy = _policy_of(config.admin)
    if config.policy.file is not None:
        policy = read_policy(config.policy.file, policy).lease
    return OwnLimits(config.state_path, policy, clock, closing, on_write=on_write)


def _policy_of(admin: AdminConfig) -> LeasePolicy:
    return LeasePolicy(
        max_ttl_seconds=admin.max_ttl_seconds,
        write_interval_seconds=admin.write_interval_seconds,
        write_burst=admin.write_burst,
    )
