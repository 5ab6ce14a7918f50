"""Which room gets what: the whole exporter, put together."""

import logging
import os
import platform
from collections.abc import Callable
from contextlib import ExitStack

from joulestat import __version__
from joulestat.config import Config
from joulestat.devices.probe import open_backend
from joulestat.domain.clock import Clock
from joulestat.domain.errors import LeaseError
from joulestat.domain.snapshot import Snapshot
from joulestat.domain.units import seconds_to_ns
from joulestat.exposition import Constants, Exposition
from joulestat.loops.driver_threads import attempt
from joulestat.loops.heartbeat import Heartbeat
from joulestat.loops.http import HttpLoop, Listener
from joulestat.loops.supervisor import Supervisor
from joulestat.power.leases import SIGNAL
from joulestat.runs.budgets import Budgets, BudgetTerms
from joulestat.runs.history.file import NodeIdentity
from joulestat.runs.history.keeper import HistoryKeeper
from joulestat.runs.history.reader import HistoryReader
from joulestat.runs.history.schema import FILE_NAME, FLUSH_SECONDS
from joulestat.runs.ledger import Ledger, LedgerPolicy
from joulestat.runs.memory import restored_ledger
from joulestat.runs.store import DocumentStore
from joulestat.sampler import Sampler
from joulestat.server.app import admin_app, public_app
from joulestat.server.token_file import TokenFile
from joulestat.service.hardware import Hardware
from joulestat.service.limits import limits_of
from joulestat.service.listeners import Listeners, names_of
from joulestat.service.memory import Memory
from joulestat.service.simulation import simulated_options
from joulestat.service.status import status_of

DRIVER_PATIENCE_SECONDS = 5.0
"""How long a start waits for the driver, and so for limits that a crash left to be put back."""

log = logging.getLogger(__name__)


class Service:
    """A running exporter."""

    def __init__(self, config: Config, clock: Clock) -> None:
        """Build everything; nothing runs and nothing is served yet.

        Raises:
            ConfigError: An address cannot be listened on, or the token file makes no sense.
            StateError: The state folder cannot be used.
        """
        self._config, self._clock = config, clock
        self._closing = ExitStack()
        with ExitStack() as undo:
            undo.callback(self._closing.close)
            self._build()
            undo.pop_all()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens, as really bound."""
        return tuple(self._addresses)

    def start(self) -> None:
        """Put limits of a crashed process back, then read, tick and serve.

        Raises:
            BackendUnavailable: The backend that was asked for by name is not there.
        """
        if not attempt(self._hardware.start, DRIVER_PATIENCE_SECONDS):
            # It is read as soon as it answers; until then there is nothing to show but that.
            log.warning("event=driver_hangs_at_start")
        for part in (self._limits, self._heartbeat, self._writing):
            part.start()
        self._http.start()
        for address in self._addresses:
            log.info("event=listening address=%s", address)
        self._supervisor.start()

    def stop(self) -> None:
        """Stop serving, put every limit back, write everything down. Idempotent."""
        self._supervisor.stop()
        self._http.stop()
        self._limits.stop()
        self._heartbeat.ask_to_stop()
        hanging = self._hardware.stop()
        if hanging:
            log.warning("event=driver_hangs_at_stop threads=%d", hanging)
        if self._heartbeat.join(2.0):
            self._sampler.tick(last=True)
        if self._history is not None:
            self._writing.ask_to_stop()
            if self._writing.join(2.0):
                self._history.close()
        self._closing.close()

    def revert_all(self) -> None:
        """Put every power limit back, whoever holds it, and go on. Any thread."""
        try:
            ended = self._limits.authority.revert_all(principal=SIGNAL)
            log.warning("event=reverted_by_signal gpus=%d", len(ended))
        except LeaseError as error:
            log.warning("event=not_reverted_by_signal error=%r", str(error))

    def _build(self) -> None:
        config, clock = self._config, self._clock
        store = DocumentStore(config.state_path / "ledger.sqlite")
        self._closing.callback(store.close)
        # Also where the admin API is off: a crash may have left a limit.
        self._limits = limits_of(config, clock, self._closing, on_write=self._on_write)
        memory, ledger = self._remember(store)
        self._history = self._build_history(memory.instance)
        self._sampler = Sampler(
            ledger=ledger,
            store=store,
            unsaved=memory.unsaved,
            clock=clock,
            interval_ns=seconds_to_ns(config.sampling.interval_seconds),
            controls=self._limits.authority.controls,
            control_read_only=lambda: self._limits.authority.read_only_reason is not None,
            history=self._history,
        )
        simulated = simulated_options(config, self._closing)
        self._hardware = Hardware(
            lambda: open_backend(config.backend, clock=clock, simulated=simulated),
            self._sampler,
            self._limits.adopt,
            memory.instrument,
            config.sampling,
            clock,
        )
        interval = config.sampling.interval_seconds
        # One interval late: the first snapshot shall find every device's first reading.
        self._heartbeat = Heartbeat(
            "heartbeat", interval, self._sampler.tick, delay_seconds=interval
        )
        self._writing = Heartbeat(
            "history",
            FLUSH_SECONDS,
            self._history.flush if self._history is not None else lambda: None,
            delay_seconds=interval + 1.0,
        )
        self._http = HttpLoop(self._bind_listeners())
        self._supervisor = Supervisor(
            os.environ,
            doors={"http": self._http.answers},
            rhythms={"tick": self._heartbeat, "limits": self._limits.loop},
            status=lambda: status_of(self._sampler.snapshot),
        )

    def _remember(self, store: DocumentStore) -> tuple[Memory, Ledger]:
        boot_id = self._clock.boot_id()
        try:
            memory = Memory.load(store, boot_id)
            return memory, self._build_ledger(memory)
        except Exception as error:  # noqa: BLE001 - a changed byte may make anything of a document
            store.begin_anew(f"{type(error).__name__}: {error}")
        memory = Memory.load(store, boot_id)
        return memory, self._build_ledger(memory)

    def _build_history(self, instance: str) -> HistoryKeeper | None:
        kept = self._config.history
        if not kept.retention_seconds:
            return None
        return HistoryKeeper(
            self._config.state_path / FILE_NAME,
            NodeIdentity(platform.node(), instance, self._config.tariff),
            kept.retention_seconds,
            kept.max_size_bytes,
        )

    def _on_write(self, device_uuid: str) -> None:
        self._sampler.mark_limit_write(device_uuid)

    def _build_ledger(self, memory: Memory) -> Ledger:
        push = self._config.push
        policy = LedgerPolicy(
            ttl_ns=seconds_to_ns(push.ttl_seconds),
            settle_ns=seconds_to_ns(self._config.sampling.settle_seconds),
            retention_seconds=push.retention_seconds,
        )
        terms = [
            BudgetTerms(each.name, each.team, each.joules, each.start_seconds, each.end_seconds)
            for each in self._config.budgets
        ]
        return restored_ledger(
            memory.documents,
            policy=policy,
            budgets=Budgets(terms),
            instance=memory.instance,
            now_ns=self._clock.monotonic_ns(),
            same_boot=memory.same_boot,
        )

    def _bind_listeners(self) -> list[Listener]:
        config = self._config
        constants = Constants(
            version=__version__,
            revision="",
            python=platform.python_version(),
            tariff=config.tariff,
        )
        snapshot: Callable[[], Snapshot | None] = lambda: self._sampler.snapshot  # noqa: E731
        public = public_app(
            snapshot=snapshot,
            exposition=Exposition(constants),
            push=lambda push: self._sampler.push(self._hardware.whole(push)),
            resolve_index=self._sampler.uuid_of_index,
            gpus_of_peer=self._hardware.peers.gpus_of,
            is_ticking=self._sampler.is_ticking,
            allow_remote_push=config.push.allow_remote,
            version=__version__,
            listen=config.web.listen_addresses,
            count_refused_push=self._sampler.count_refused_push,
        )
        doors = Listeners(self._closing, self._clock.monotonic_ns)
        listeners = doors.public(public, config.web, remote_pushes=config.push.allow_remote)
        self._addresses = [name for each in listeners for name in names_of(each)]
        listen, token_file = config.admin.listen_address, config.admin.token_file
        if listen is not None and token_file is not None:
            admin = admin_app(
                authority=self._limits.authority,
                snapshot=snapshot,
                audit_records=self._limits.audit_records,
                tokens=TokenFile(token_file).table,
                wall_seconds=self._clock.wall_seconds,
                listen=listen,
                history=HistoryReader(self._config.state_path / FILE_NAME)
                if self._history is not None
                else None,
            )
            listener = doors.admin(admin, listen, config.admin)
            self._addresses += [f"{name} (admin)" for name in names_of(listener)]
            listeners.append(listener)
        return listeners
