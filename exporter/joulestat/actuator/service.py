"""The actuator, put together: a governor, its cards, and a socket that five verbs come in by."""

import grp
import logging
import os
import socket
from collections.abc import Callable
from contextlib import ExitStack

from joulestat.actuator.cards import LOOK_INTERVAL_SECONDS, Cards
from joulestat.actuator.own_limits import OwnLimits
from joulestat.actuator.peers import PeerRule
from joulestat.actuator.server import ActuatorServer
from joulestat.actuator.verbs import Verbs
from joulestat.config import Config, ListenAddress
from joulestat.devices.probe import SimulatedOptions, open_backend
from joulestat.domain.clock import Clock
from joulestat.domain.errors import ConfigError
from joulestat.loops.driver_threads import attempt, spawn
from joulestat.loops.heartbeat import Heartbeat
from joulestat.loops.listening import bind
from joulestat.loops.supervisor import Supervisor
from joulestat.power.authority import LimitAuthority
from joulestat.power.leases import SIGNAL
from joulestat.power.policy import LeasePolicy
from joulestat.power.policy_file import HostPolicy, read_policy

SOCKET_MODE = 0o660
DRIVER_PATIENCE_SECONDS = 5.0
"""How long a start waits for the driver, and so for limits that a crash left to be put back."""

ROOT_UID = 0

log = logging.getLogger(__name__)


class ActuatorService:
    """A running actuator."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        listen: ListenAddress,
        socket_group: str | None,
        *,
        on_failure: Callable[[], None],
    ) -> None:
        """Build everything; nothing runs and nothing is served yet.

        Args:
            config: Backend, state folder, policy file.
            clock: Times leases.
            listen: A Unix socket.
            socket_group: Whose members may connect; None for this process's group.
            on_failure: Called when the socket is not served any more, from its thread.

        Raises:
            ConfigError: The policy file is none, the socket cannot be had, or simulated GPUs
                have no file that the exporter could read them from.
            StateError: The state folder cannot be used.
        """
        self._on_failure = on_failure
        self._closing = ExitStack()
        with ExitStack() as undo:
            undo.callback(self._closing.close)
            policy = HostPolicy(LeasePolicy())
            if config.policy.file is not None:
                policy = read_policy(config.policy.file, policy.lease)
            self._limits = OwnLimits(config.state_path, policy.lease, clock, self._closing)
            simulated = _simulated(config)
            self._cards = Cards(
                lambda: open_backend(config.backend, clock=clock, simulated=simulated),
                self._limits.governor,
            )
            self._look = Heartbeat(
                "look", LOOK_INTERVAL_SECONDS, self._cards.look, delay_seconds=LOOK_INTERVAL_SECONDS
            )
            rule = PeerRule(policy.allowed_uids | {ROOT_UID, os.geteuid()}, policy.allowed_gids)
            verbs = Verbs(self._limits.authority, self._limits.audit_records)
            self._server = ActuatorServer(verbs, rule, spawn)
            self._socket = self._listen(listen, socket_group)
            # Not the look at the cards: it waits for the driver.
            self._supervisor = Supervisor(
                os.environ,
                doors={"socket": self._server.answers},
                rhythms={"limits": self._limits.loop},
                status=lambda: status_of(self._limits.authority),
            )
            undo.pop_all()
        self._path = listen.unix_path

    def start(self) -> None:
        """Put limits of a crashed process back, then serve.

        Raises:
            BackendUnavailable: The backend that was asked for by name is not there.
        """
        if not attempt(self._cards.look, DRIVER_PATIENCE_SECONDS):
            log.warning("event=driver_hangs_at_start")
        self._limits.start()
        self._look.start()
        spawn(self._serve)
        log.info("event=listening address=unix:%s", self._path)
        self._supervisor.start()

    def stop(self) -> None:
        """Serve nobody any more, and put every limit back. Idempotent."""
        self._supervisor.stop()
        self._server.stop()
        self._look.ask_to_stop()
        self._limits.stop()
        if self._look.join(0.5):
            self._cards.close()
        self._closing.close()

    def revert_all(self) -> None:
        """Put every power limit back, whoever holds it, and go on. Any thread."""
        ended = self._limits.authority.revert_all(principal=SIGNAL)
        log.warning("event=reverted_by_signal gpus=%d", len(ended))

    def _serve(self) -> None:
        try:
            self._server.run(self._socket)
        except Exception:
            log.exception("event=actuator_socket_lost")
            self._on_failure()

    def _listen(self, listen: ListenAddress, group: str | None) -> socket.socket:
        listening = bind(listen, unix_mode=SOCKET_MODE)
        self._closing.callback(listening.close)
        if group is not None and listen.unix_path is not None:
            try:
                gid = int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
                # The very name: whoever may write the folder could have put a link there by now.
                os.chown(listen.unix_path, -1, gid, follow_symlinks=False)
            except (KeyError, OSError) as error:
                why = "there is no such group" if isinstance(error, KeyError) else error.strerror
                raise ConfigError(
                    f"the socket cannot be given to group {group!r}: {why}; without CAP_CHOWN this "
                    "process has to be a member of it (SupplementaryGroups= of its unit)",
                    field="socket-group",
                    value=group,
                    place="--socket-group",
                    allowed="a group that this process is a member of",
                ) from error
        return listening


def status_of(authority: LimitAuthority) -> str:
    """Return one line for people on what is held; ``systemctl status`` shows it. Never waits."""
    controls = authority.controls()
    held = sum(each.lease is not None for each in controls.values())
    told = f"{len(controls)} GPUs, {held} leased"
    reason = authority.read_only_reason
    return told if reason is None else f"{told}; grants nothing: {reason}"


def _simulated(config: Config) -> SimulatedOptions:
    simulated = config.simulated
    if config.backend == "simulated" and simulated.state_file is None:
        raise ConfigError(
            "simulated.state-file is missing: exporter and actuator have to name one file, or each "
            "would simulate GPUs of its own",
            field="simulated.state-file",
            value="",
            place="--simulated.state-file",
            allowed="a path",
        )
    return SimulatedOptions(simulated.state_file, simulated.model, simulated.gpus, simulated.seed)
