"""Eight clients at once over HTTP, and the exporter killed under them: still one register."""

import math
import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http import HTTPStatus

import pytest

from joulestat.client.admin import AdminClient
from joulestat.domain.errors import AdminError
from properties.lease_clients import Answer, Call, Client, all_at_once, moment
from properties.lease_register import LEASE_REGISTER, Put, Read, Release, Restart
from properties.linearizability import Operation, is_linearizable
from servers.exporter import START_SECONDS, Exporter

KILLS = max(2, int(os.environ.get("HISTORIES", "20")) // 10)
N_CLIENTS = 8
N_CALLS = 8
BASELINE_WATTS = 300.0


class OverHttp:
    """The admin API of an exporter; silence once it is killed."""

    def __init__(self, exporter: Exporter, gpu: str) -> None:
        self._admin = AdminClient(f"unix:{exporter.admin_socket}", exporter.token)
        self._gpu = gpu

    def answer(self, call: Call) -> Answer | None:
        try:
            return self._answer(call)
        except AdminError as error:
            match error.status:
                case None:
                    return None
                case HTTPStatus.PRECONDITION_FAILED:
                    return ("lost",)
                case HTTPStatus.CONFLICT:
                    return ("held",)
            raise

    def _answer(self, call: Call) -> Answer:
        match call:
            case Put():
                granted = self._admin.put_lease(
                    self._gpu,
                    power_limit_watts=call.watts,
                    ttl_seconds=60.0,
                    holder=call.holder,
                    reason="race",
                    takeover=call.takeover,
                    fencing_token=call.token,
                    if_match=call.revision,
                )
                token = granted["lease"]["fencing_token"]
                return ("ok", granted["outcome"], token, granted["revision"])
            case Release():
                ended = self._admin.delete_lease(
                    self._gpu, fencing_token=call.token, if_match=call.revision
                )
                return ("none",) if ended is None else (ended["outcome"],)
            case Read():
                gpu = self._admin.gpu(self._gpu)
                lease = gpu["lease"]
                if lease is None:
                    return (None, None, None, gpu["revision"])
                held = (lease["holder"], lease["fencing_token"], lease["power_limit_watts"])
                return (*held, gpu["revision"])


@pytest.fixture(scope="module")
def exporter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    folder = tmp_path_factory.mktemp("killed")
    with Exporter(folder, "--admin.write-interval", "0s", gpus=1) as started:
        yield started


def limit_watts(exporter: Exporter, gpu: str) -> float:
    world = exporter.world()
    watts = world.limit_watts(gpu)
    world.close()
    return watts


def uuid_of(exporter: Exporter) -> str:
    world = exporter.world()
    (gpu,) = world.uuids
    world.close()
    return gpu


def revision_once_controlled(service: OverHttp) -> int:
    """Return the revision after a start; it is unknown until the GPU is under control."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        answer = service.answer(Read())
        assert answer is not None
        assert (None, None, None) == answer[:3], "a lease outlived the exporter"
        if isinstance(answer[3], int):
            return answer[3]
        time.sleep(0.02)
    raise AssertionError("the exporter has not taken control of its GPU")


@pytest.mark.promise("one-holder")
def test_a_history_with_kills_in_the_middle_is_linearizable(
    exporter: Exporter, record_property: Callable[[str, object], None]
) -> None:
    gpu = uuid_of(exporter)
    clients = [Client(f"client-{n}", random.Random(n)) for n in range(N_CLIENTS)]
    service = OverHttp(exporter, gpu)
    restarts: list[Operation] = []
    for _ in range(KILLS):
        all_at_once(clients, service, N_CALLS, exporter.kill)
        invoked = moment()
        exporter.start()
        assert BASELINE_WATTS == limit_watts(exporter, gpu)
        revision = revision_once_controlled(service)
        restarts.append(Operation(Restart(), (revision,), invoked, moment()))
        for client in clients:
            # What the killed one left unanswered, it did before the next one began, or never.
            client.history[:] = [
                replace(each, returned=invoked) if each.returned == math.inf else each
                for each in client.history
            ]
    history = [*restarts, *(each for client in clients for each in client.history)]

    assert is_linearizable(history, LEASE_REGISTER)
    unanswered = [each for each in history if each.answer is None]
    assert unanswered, "no kill came while somebody asked: the test is not worth its name"
    record_property(
        "measured",
        f"{KILLS} kills of the exporter amid {len(history)} calls over HTTP, {len(unanswered)} of "
        "them unanswered: linearizable",
    )


def test_the_audit_log_of_all_these_lives_is_whole(exporter: Exporter) -> None:
    records = AdminClient(f"unix:{exporter.admin_socket}", exporter.token).audit()

    assert list(range(1, len(records) + 1)) == [record["seq"] for record in records]
