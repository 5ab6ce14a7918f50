"""Carries decisions to the exporters, as leases: a limit that nobody renews ends by itself."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from joulestat.client.admin import AdminClient
from joulestat.domain.errors import AdminError
from joulestat.domain.plan import Action, Decision
from joulestat.optimizer.addresses.given import Addresses
from joulestat.optimizer.held import HOLDER as HOLDER
from joulestat.optimizer.held import Held, put_held
from joulestat.optimizer.revisions import Revisions

SHORTEST_TTL_SECONDS = 60.0
ROUNDS_PER_TTL = 3
"""A lease outlives two missed rounds, no more."""

_NOT_KNOWN: Mapping[str, Collection[str]] = MappingProxyType({})
_NOT_FOUND = 404
_HELD = 409
_LOST = 412
_FORBIDDEN_BY_POLICY = 422
_TOO_MANY_WRITES = 429
_PASSING = (None, _TOO_MANY_WRITES, 503)
"""No answer, too soon, leases cannot be recorded now: the next round may succeed."""


@dataclass(frozen=True, slots=True)
class Published:
    """What became of one decision.

    Attributes:
        leased: Devices on which the limit is now held.
        released: Devices whose lease was ended.
        errors: What went wrong, one sentence each; empty if all is well.
        other_holder: Who else holds a device's limit, as its exporter says it; empty if nobody.
    """

    leased: tuple[str, ...] = ()
    released: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    other_holder: str = ""


def ttl_for(watch_seconds: float) -> float:
    """Return how long a lease should run when it is renewed this often."""
    return max(SHORTEST_TTL_SECONDS, ROUNDS_PER_TTL * watch_seconds)


class LeasePublisher:
    """Holds the decided limits on all devices of a run, or on none. For one thread."""

    def __init__(self, addresses: Addresses, ttl_seconds: float) -> None:
        """Publish through exporters' admin APIs.

        Args:
            addresses: Where they are.
            ttl_seconds: How long each lease runs unless renewed.
        """
        self._addresses = addresses
        self._ttl_seconds = ttl_seconds
        self._held: dict[str, Held] = {}
        self._revisions = Revisions()
        self._instances: dict[str, Collection[str]] = {}

    def begin_round(self) -> None:
        """Take note that a round begins: addresses and revisions are read again.

        Those of what the last round looked at and of what is held, all at once, and from where
        it is now: an exporter with another address or token is another client.
        """
        self._addresses.refresh()
        clients, _ = self._find(self._instances, self._instances)
        for uuid, held in self._held.items():
            self._held[uuid] = replace(held, admin=_as_now(held.admin, clients.get(uuid, ())))
        self._instances = {
            uuid: where for uuid, where in self._instances.items() if uuid in self._held
        }
        self._revisions.begin_round(client for several in clients.values() for client in several)

    def look(self, uuids: Collection[str], instances: Mapping[str, Collection[str]]) -> None:
        """Read the revisions of devices that are about to be decided on; nothing is raised.

        Args:
            uuids: The devices.
            instances: By device, values of the ``instance`` label that it is shown with now.
        """
        self._instances.update((uuid, instances.get(uuid, ())) for uuid in uuids)
        clients, _ = self._find(uuids, instances)
        self._revisions.look(client for several in clients.values() for client in several)

    def publish(
        self, decision: Decision, instances: Mapping[str, Collection[str]] = _NOT_KNOWN
    ) -> Published:
        """Hold what was decided; with no advice, end what this publisher held for the run.

        A run whose devices stand at different limits is slow on all and measured on none. So
        where one device cannot be leased, the others are released; unless nothing was changed
        yet, and what is in force may stay until the next round.

        Args:
            decision: What was decided.
            instances: By device, values of the ``instance`` label that it is shown with now.
        """
        if decision.action is Action.NONE or decision.power_limit_watts is None:
            return self.release(decision.run)
        self._instances.update((uuid, instances.get(uuid, ())) for uuid in decision.gpu_uuids)
        # All of them before anything is sent: a node without an address is not found half-way.
        clients, unknown = self._find(decision.gpu_uuids, instances)
        if unknown:
            undone = Published()
            if any(error.status is not None for error in unknown.values()):
                undone = self.release(decision.run)
            said = tuple(f"{uuids}: {error}" for uuids, error in unknown.items())
            return Published(released=undone.released, errors=(*said, *undone.errors))
        left = [
            uuid
            for uuid, held in self._held.items()
            if held.run == decision.run and uuid not in decision.gpu_uuids
        ]
        gone = self._release(left)
        changed = False
        for uuid in decision.gpu_uuids:
            watts = decision.gpu_power_limits_watts.get(uuid, decision.power_limit_watts)
            held = self._held.get(uuid)
            renewing = held is not None and held.limit_watts == watts
            try:
                self._lease(uuid, decision, watts, clients[uuid])
            except AdminError as error:
                if error.status == _FORBIDDEN_BY_POLICY and not changed:
                    return self._kept(decision, gone, f"{uuid}: {error}")
                errors = (*gone.errors, f"{uuid}: {error}")
                other = str(error) if error.status == _HELD else ""
                if not changed and _left_as_it_was(error, renewing=renewing):
                    return Published(released=gone.released, errors=errors, other_holder=other)
                undone = self.release(decision.run)
                return Published(
                    released=(*gone.released, *undone.released),
                    errors=(*errors, *undone.errors),
                    other_holder=other,
                )
            changed = changed or not renewing
        return Published(decision.gpu_uuids, gone.released, gone.errors)

    def _kept(self, decision: Decision, gone: Published, refusal: str) -> Published:
        """Keep what was held before a limit that the host's policy does not let anybody have now.

        That may be the ceiling for all its GPUs, or how far one request may move a limit.
        """
        before = self.renew(decision.run)
        stays = "; its run stays as it was for this round"
        errors = (*gone.errors, refusal + stays, *before.errors)
        return Published(before.leased, gone.released, errors)

    def renew(self, run: str | None = None) -> Published:
        """Hold on to what is held, where no new decision could be made, or be carried out.

        For a power budget: were its leases to end, the limits from before would come back all at
        once, and with them more power than there is.

        Args:
            run: Only this run's; None for all.
        """
        leased: list[str] = []
        errors: list[str] = []
        for uuid, held in self._held.items():
            if run not in (None, held.run):
                continue
            try:
                # This very lease: one that has ended is not revived without a decision.
                put_held(uuid, held, self._ttl_seconds, fencing_token=held.fencing_token)
            except AdminError as error:
                errors.append(f"{uuid}: {error}")
            else:
                leased.append(uuid)
        return Published(leased=tuple(leased), errors=tuple(errors))

    def release(self, run: str | None = None, *, keep_holds: bool = False) -> Published:
        """End leases that this publisher set.

        Args:
            run: Only this run's; None for all.
            keep_holds: End those of probes only; a hold is left to run out.
        """
        return self._release(
            [
                uuid
                for uuid, held in self._held.items()
                if run in (None, held.run) and not (keep_holds and held.action is Action.HOLD)
            ]
        )

    def _find(
        self, uuids: Iterable[str], instances: Mapping[str, Collection[str]]
    ) -> tuple[dict[str, Sequence[AdminClient]], dict[str, AdminError]]:
        """Return the clients for each device; also those without, and why."""
        clients: dict[str, Sequence[AdminClient]] = {}
        refused: dict[str, tuple[list[str], AdminError]] = {}
        for uuid in uuids:
            try:
                clients[uuid] = self._addresses.clients(instances.get(uuid, ()))
            except AdminError as error:
                refused.setdefault(str(error), ([], error))[0].append(uuid)
        return clients, {", ".join(names): error for names, error in refused.values()}

    def _lease(
        self, uuid: str, decision: Decision, limit_watts: int, clients: Sequence[AdminClient]
    ) -> None:
        """Lease at the exporter that has the device.

        Raises:
            AdminError: It refused, or none has the device.
        """
        known = self._held.get(uuid)
        silent: AdminError | None = None
        for admin in (known.admin,) if known and known.admin in clients else clients:
            try:
                revision = self._revisions.of(admin, uuid)
                if revision is None:
                    continue
            except AdminError as error:
                # It may be another node's exporter that is away.
                silent = error
                continue
            self._lease_at(admin, uuid, decision, limit_watts, revision)
            return
        if silent is not None:
            raise silent
        raise AdminError(
            "none of the admin APIs given has this GPU; name each node's exporter with "
            "--admin.url, --admin.url-template or --admin.addresses-file",
            status=_NOT_FOUND,
        )

    def _lease_at(
        self, admin: AdminClient, uuid: str, decision: Decision, limit_watts: int, revision: int
    ) -> None:
        noted = self._held.get(uuid)
        wanted = Held(decision.run, decision.action, limit_watts, admin)
        # Noted before it is known to have worked: an answer may get lost after the grant.
        self._held[uuid] = wanted
        try:
            answer = put_held(uuid, wanted, self._ttl_seconds, if_match=revision)
        except AdminError as error:
            if error.status is not None:
                self._restore(uuid, noted)
            if error.status == _LOST:
                raise AdminError(
                    "its lease changed while this was decided, so nothing was written; it is read "
                    f"again in the next round ({error})",
                    status=_LOST,
                ) from error
            raise
        self._revisions.note(admin, uuid, answer.get("revision"))
        lease = answer.get("lease")
        token = lease.get("fencing_token") if isinstance(lease, dict) else None
        self._held[uuid] = replace(wanted, fencing_token=token if isinstance(token, int) else None)

    def _restore(self, uuid: str, known: Held | None) -> None:
        if known is None:
            del self._held[uuid]
        else:
            self._held[uuid] = known

    def _release(self, uuids: Iterable[str]) -> Published:
        released: list[str] = []
        errors: list[str] = []
        for uuid in uuids:
            held = self._held[uuid]
            try:
                held.admin.delete_lease(uuid, holder=HOLDER, fencing_token=held.fencing_token)
            except AdminError as error:
                # A lease that is over already needs no ending, nor has another one to end for it.
                if error.status != _LOST:
                    errors.append(
                        f"{uuid}: not released ({error}); its lease ends by itself within "
                        f"{self._ttl_seconds:.0f} s"
                    )
            else:
                released.append(uuid)
                self._revisions.read_again(held.admin, uuid)
            # Last, so that what is broken off here is tried again at the end.
            del self._held[uuid]
        return Published(released=tuple(released), errors=tuple(errors))


def _as_now(admin: AdminClient, clients: Iterable[AdminClient]) -> AdminClient:
    """Return the client that now stands for an exporter: its token may have been replaced."""
    return next((client for client in clients if client.url == admin.url), admin)


def _left_as_it_was(error: AdminError, *, renewing: bool) -> bool:
    """Tell whether a failure left the device at the limit that it had before."""
    untouched = error.status in (_TOO_MANY_WRITES, _LOST)
    return untouched or (renewing and error.status in _PASSING)
