"""The two applications and their route tables: every endpoint, with its scope, on one screen."""

import socket
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from joulestat import __version__
from joulestat.config import ListenAddress
from joulestat.domain.run import Push, PushAnswer
from joulestat.domain.snapshot import Snapshot
from joulestat.exposition import Exposition
from joulestat.power.authority import LimitAuthority
from joulestat.runs.history.reader import HistoryReader
from joulestat.runs.history.records import HistoryPage, RunsPage
from joulestat.server import answers, openapi, problems, wire
from joulestat.server.admin import AdminDoor, AuditRecords
from joulestat.server.auth import TokenTable
from joulestat.server.gates import AdminGate, PublicGate
from joulestat.server.guard import HostRule, SafeHeaders
from joulestat.server.history import HistoryDoor
from joulestat.server.metrics import PublicPages
from joulestat.server.push import PushDoor
from joulestat.server.routes import Endpoint, Gate, Scope, routes


def public_endpoints(pages: PublicPages, door: PushDoor) -> tuple[Endpoint, ...]:
    """Return the route table of the public listener."""
    return (
        _read("/", pages.landing, "A page for people"),
        _read("/metrics", pages.metrics, "All metrics, as of the last tick", failing=True),
        _read("/healthz", pages.healthz, "Whether the process is alive"),
        _read("/readyz", pages.readyz, "Whether the data is fresh", failing=True),
        Endpoint(
            method="POST",
            path="/v1/push",
            scope=Scope.PUSHER,
            handler=door.take,
            summary="Report the progress of one rank of a run",
            body=wire.PushWire,
            answers={200: answers.PushAnswerWire},
        ),
    )


_IF_MATCH = 'The revision that the GPU has to be at still, in quotes, such as "7"'


def admin_endpoints(door: AdminDoor, history: HistoryDoor) -> tuple[Endpoint, ...]:
    """Return the route table of the admin listener."""
    return (
        Endpoint(
            method="GET",
            path="/v1/gpus",
            scope=Scope.VIEWER,
            handler=door.gpus,
            summary="Every GPU: limits, range, lease, drift",
            answers={200: answers.GpusWire},
        ),
        Endpoint(
            method="GET",
            path="/v1/gpus/{uuid}",
            scope=Scope.VIEWER,
            handler=door.gpu,
            summary="One GPU: limits, range, lease, drift",
            answers={200: answers.GpuWire},
        ),
        Endpoint(
            method="PUT",
            path="/v1/gpus/{uuid}/lease",
            scope=Scope.OPERATOR,
            handler=door.put_lease,
            summary="Hold a power limit for a while: take, renew or change a lease",
            body=wire.LeaseRequestWire,
            answers={200: answers.GrantWire, 201: answers.GrantWire},
            query={"dry_run": "true: check only, change nothing"},
            headers={
                "Idempotency-Key": "A retry with the same key is done once",
                "If-Match": _IF_MATCH,
            },
        ),
        Endpoint(
            method="DELETE",
            path="/v1/gpus/{uuid}/lease",
            scope=Scope.OPERATOR,
            handler=door.delete_lease,
            summary="End a lease: the limit from before it comes back",
            answers={200: answers.RevertWire, 204: None},
            query={
                "holder": "end it only if this one holds it",
                "fencing_token": "end only the lease with this token",
            },
            headers={"If-Match": _IF_MATCH},
        ),
        Endpoint(
            method="POST",
            path="/v1/revert-all",
            scope=Scope.OPERATOR,
            handler=door.revert_all,
            summary="End every lease",
            answers={200: answers.RevertsWire},
        ),
        Endpoint(
            method="GET",
            path="/v1/audit",
            scope=Scope.VIEWER,
            handler=door.audit,
            summary="What was asked, by whom, what happened",
            answers={200: answers.AuditWire},
            query={
                "after": "only records with a higher sequence number",
                "limit": "at most so many records, 1 to 1000",
            },
        ),
        *history_endpoints(history),
    )


def history_endpoints(door: HistoryDoor) -> tuple[Endpoint, ...]:
    """Return the routes of the exporter's own history."""
    return (
        Endpoint(
            method="GET",
            path="/v1/history",
            scope=Scope.VIEWER,
            handler=door.history,
            summary="What one run did: joules, seconds and steps by limit and time",
            answers={200: HistoryPage},
            query={
                "run": "name of the run",
                "start": "Unix seconds; rows that end from then on, else all",
                "end": "Unix seconds; nothing later is looked at, else now",
                "window": "seconds; rows are added up within multiples of this, 15 to 86400",
            },
        ),
        Endpoint(
            method="GET",
            path="/v1/history/runs",
            scope=Scope.VIEWER,
            handler=door.runs,
            summary="The runs that are remembered, in order of name",
            answers={200: RunsPage},
            query={
                "at": "Unix seconds; only runs that had begun by then, else now",
                "after": "only names after this one",
            },
        ),
    )


def public_app(
    *,
    snapshot: Callable[[], Snapshot | None],
    exposition: Exposition,
    push: Callable[[Push], PushAnswer],
    resolve_index: Callable[[int], str | None],
    gpus_of_peer: Callable[[int | None], tuple[str, ...]] = lambda _: (),
    is_ticking: Callable[[], bool],
    allow_remote_push: bool,
    version: str,
    listen: Iterable[ListenAddress] = (),
    count_refused_push: Callable[[], None] | None = None,
    docs_url: str = "",
) -> Starlette:
    """Return the application that everyone on the network may see.

    Args:
        snapshot: The last tick, None before the first one.
        exposition: What renders it.
        push: Takes a push; called on the event loop's thread, so it must not wait.
        resolve_index: Device UUID by index, None where there is none.
        gpus_of_peer: Device UUIDs of the process with an id (None: not known), for pushes that
            name none; must not wait either.
        is_ticking: Whether ticks come on time.
        allow_remote_push: Take pushes from other hosts.
        version: Of this program.
        listen: Where it will be served; their names are answered to.
        count_refused_push: Told of pushes that are too broken to reach ``push``.
        docs_url: Where the documentation is.
    """
    pages = PublicPages(
        snapshot=snapshot,
        exposition=exposition,
        is_ticking=is_ticking,
        version=version,
        docs_url=docs_url,
    )
    door = PushDoor(
        push,
        resolve_index=resolve_index,
        gpus_of_peer=gpus_of_peer,
        count_refused=count_refused_push,
    )
    names = _names(listen)
    if allow_remote_push:
        names.add(socket.gethostname())
    gate = PublicGate(
        HostRule.of_names(names, any_ip=allow_remote_push), allow_remote_push=allow_remote_push
    )
    return _assemble(public_endpoints(pages, door), gate, title="joulestat", version=version)


def admin_app(
    *,
    authority: LimitAuthority,
    snapshot: Callable[[], Snapshot | None],
    audit_records: AuditRecords,
    tokens: Callable[[], TokenTable],
    wall_seconds: Callable[[], float],
    listen: ListenAddress,
    history: HistoryReader | None = None,
    version: str = __version__,
) -> Starlette:
    """Return the application that leases power limits; for a listener of its own.

    Args:
        authority: Holds the limits; called on worker threads.
        snapshot: The last tick, None before the first one.
        audit_records: Reads the audit log, such as ``Audit.read``; called on worker threads.
        tokens: The tokens as of now, such as ``TokenFile.table``.
        wall_seconds: Unix time, for expiries.
        listen: Where it will be served; its name is answered to.
        history: Reads the exporter's own history, None where it keeps none.
        version: Of this program.
    """
    door = AdminDoor(
        authority=authority,
        snapshot=snapshot,
        audit_records=audit_records,
        wall_seconds=wall_seconds,
    )
    history_door = HistoryDoor(history, wall_seconds=wall_seconds)
    gate = AdminGate(HostRule.of_names(_names([listen])), tokens=tokens, wall_seconds=wall_seconds)
    table = admin_endpoints(door, history_door)
    return _assemble(table, gate, title="joulestat admin", version=version)


def _read(
    path: str, handler: Callable[..., Any], summary: str, *, failing: bool = False
) -> Endpoint:
    """Return the row of a page that anyone may read; a failing one may answer 503 in plain text."""
    return Endpoint(
        method="GET",
        path=path,
        scope=Scope.ANYONE,
        handler=handler,
        summary=summary,
        answers={200: None, 503: None} if failing else {200: None},
    )


def _assemble(table: Sequence[Endpoint], gate: Gate, *, title: str, version: str) -> Starlette:
    description = b""

    async def openapi_document(_request: Request) -> Response:
        return Response(description, media_type="application/json")

    endpoints = (*table, _read("/openapi.json", openapi_document, "This description"))
    description = openapi.describe(endpoints, title=title, version=version)
    app = Starlette(
        routes=routes(endpoints, gate),
        middleware=[Middleware(SafeHeaders)],
        exception_handlers=dict(problems.HANDLERS),
    )
    # A redirect would send credentials and bodies to places nobody named.
    app.router.redirect_slashes = False
    app.state.endpoints = endpoints
    return app


def _names(listen: Iterable[ListenAddress]) -> set[str]:
    return {address.host for address in listen if address.host is not None}
