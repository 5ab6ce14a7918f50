"""The endpoints that lease power limits. What calls a driver blocks, so threads make it."""

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from joulestat.domain.errors import LimitWriteFailed, UnknownDevice
from joulestat.domain.limit import GrantOutcome, PowerControl, RevertOutcome
from joulestat.domain.snapshot import DeviceState, Snapshot
from joulestat.power.authority import LimitAuthority
from joulestat.server.answers import (
    AuditWire,
    GpusWire,
    GpuWire,
    RevertsWire,
    gpu_wire,
    grant_wire,
    revert_wire,
)
from joulestat.server.conditions import entity_tag, revision_asked
from joulestat.server.gates import principal_of
from joulestat.server.guard import read_json
from joulestat.server.lanes import (
    GRANTS_AT_ONCE,
    GRANTS_PER_GPU,
    RELEASES_AT_ONCE,
    RELEASES_PER_GPU,
    REVERTS_AT_ONCE,
    Lane,
)
from joulestat.server.parameters import flag, number, number_or_none, one
from joulestat.server.problems import Refused, shown
from joulestat.server.wire import MAX_EXACT, parse_lease_request

MAX_ADMIN_BYTES = 8 * 1024

MAX_AUDIT_RECORDS = 1000
_USUAL_AUDIT_RECORDS = 100

AuditRecords = Callable[[int, int], Sequence[Mapping[str, object]]]
"""Records after a sequence number (first), at most so many (second), oldest first; may block."""

_EACH = ""
"""In a lane, what is about all GPUs, or about one that is not here."""

_ENCODER = msgspec.json.Encoder()


class AdminDoor:
    """Reads and leases power limits."""

    def __init__(
        self,
        *,
        authority: LimitAuthority,
        snapshot: Callable[[], Snapshot | None],
        audit_records: AuditRecords,
        wall_seconds: Callable[[], float],
    ) -> None:
        """Make the door.

        Args:
            authority: Holds the limits.
            snapshot: The last tick, None before the first one.
            audit_records: What was asked and done.
            wall_seconds: Unix time.
        """
        self._authority = authority
        self._snapshot = snapshot
        self._audit_records = audit_records
        self._wall_seconds = wall_seconds
        self._grants = Lane(GRANTS_AT_ONCE, GRANTS_PER_GPU)
        self._releases = Lane(RELEASES_AT_ONCE, RELEASES_PER_GPU)
        self._reverts = Lane(REVERTS_AT_ONCE, REVERTS_AT_ONCE)

    async def gpus(self, _request: Request) -> Response:
        """Answer ``GET /v1/gpus``."""
        controls = self._authority.controls()
        gpus = [self._gpu(state, controls) for state in self._states()]
        return _json(GpusWire(gpus, self._authority.read_only_reason))

    async def gpu(self, request: Request) -> Response:
        """Answer ``GET /v1/gpus/{uuid}``."""
        device_uuid = _device_uuid(request)
        for state in self._states():
            if state.device.uuid == device_uuid:
                gpu = self._gpu(state, self._authority.controls())
                if gpu.revision is None:
                    return _json(gpu)
                return _json(gpu, headers={"ETag": entity_tag(gpu.revision)})
        raise UnknownDevice(
            f"no GPU here has the UUID {shown(device_uuid)!r}; GET /v1/gpus lists them",
            field="gpu_uuid",
            value=shown(device_uuid),
        )

    async def put_lease(self, request: Request) -> Response:
        """Answer ``PUT /v1/gpus/{uuid}/lease``: 201 for a new lease, 200 for the holder's own."""
        device_uuid = _device_uuid(request)
        dry_run = flag(request, "dry_run")
        key = request.headers.get("idempotency-key")
        if_match = revision_asked(request)
        wanted = parse_lease_request(await read_json(request, MAX_ADMIN_BYTES))
        principal = principal_of(request)
        grant = await self._grants.run(
            self._known(device_uuid),
            lambda: self._authority.grant(
                device_uuid,
                wanted,
                principal=principal.name,
                dry_run=dry_run,
                idempotency_key=key,
                if_match=if_match,
            ),
        )
        created = grant.outcome is GrantOutcome.GRANTED
        status = HTTPStatus.CREATED if created else HTTPStatus.OK
        return _json(grant_wire(grant, self._wall_seconds()), status)

    async def delete_lease(self, request: Request) -> Response:
        """Answer ``DELETE /v1/gpus/{uuid}/lease``: 200 with the limit now, 204 without a lease."""
        device_uuid = _device_uuid(request)
        holder = one(request, "holder")
        token = number_or_none(request, "fencing_token", lowest=0, highest=MAX_EXACT)
        if_match = revision_asked(request)
        principal = principal_of(request)
        revert = await self._releases.run(
            self._known(device_uuid),
            lambda: self._authority.release(
                device_uuid,
                principal=principal.name,
                holder=holder,
                fencing_token=token,
                if_match=if_match,
            ),
        )
        if revert.outcome is RevertOutcome.NONE:
            return Response(status_code=HTTPStatus.NO_CONTENT)
        if revert.outcome is RevertOutcome.FAILED:
            raise _not_reverted([device_uuid])
        return _json(revert_wire(device_uuid, revert))

    async def revert_all(self, request: Request) -> Response:
        """Answer ``POST /v1/revert-all``: every lease ends, whoever holds it."""
        principal = principal_of(request)
        reverts = await self._reverts.run(
            _EACH, lambda: self._authority.revert_all(principal=principal.name)
        )
        failed = [uuid for uuid, end in reverts.items() if end.outcome is RevertOutcome.FAILED]
        if failed:
            raise _not_reverted(failed)
        return _json(RevertsWire([revert_wire(uuid, end) for uuid, end in reverts.items()]))

    async def audit(self, request: Request) -> Response:
        """Answer ``GET /v1/audit``: the records after a sequence number, oldest first."""
        after = number(request, "after", usual=0, lowest=0, highest=MAX_EXACT)
        limit = number(
            request, "limit", usual=_USUAL_AUDIT_RECORDS, lowest=1, highest=MAX_AUDIT_RECORDS
        )
        records = await run_in_threadpool(self._audit_records, after, limit)
        return _json(AuditWire([dict(record) for record in records]))

    def _known(self, device_uuid: str) -> str:
        return device_uuid if device_uuid in self._authority.controls() else _EACH

    def _states(self) -> tuple[DeviceState, ...]:
        snapshot = self._snapshot()
        if snapshot is None:
            raise Refused(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "the GPUs have not been read yet; ask again in a second",
                headers={"Retry-After": "1"},
            )
        return snapshot.devices

    def _gpu(self, state: DeviceState, controls: Mapping[str, PowerControl]) -> GpuWire:
        # The lease as it is now: the snapshot's may be a tick old, and a client that was just
        # granted one looks for it here.
        return gpu_wire(state, controls.get(state.device.uuid), self._wall_seconds())


def _device_uuid(request: Request) -> str:
    return str(request.path_params["uuid"])


def _json(
    body: msgspec.Struct,
    status: HTTPStatus = HTTPStatus.OK,
    headers: Mapping[str, str] | None = None,
) -> Response:
    return Response(_ENCODER.encode(body), status, headers, media_type="application/json")


def _not_reverted(device_uuids: list[str]) -> LimitWriteFailed:
    return LimitWriteFailed(
        f"the baseline limit could not be put back on {', '.join(device_uuids)}; it is tried "
        "again until it is, see the audit log and the exporter's log"
    )
