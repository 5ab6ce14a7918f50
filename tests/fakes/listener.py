"""The public application around whatever a test cares about."""

from collections.abc import Callable
from typing import Any

from fakes.node import a_snapshot, gpu_uuid
from joulestat.domain.run import Push, PushAnswer
from joulestat.domain.snapshot import Snapshot
from joulestat.domain.tariff import Tariff
from joulestat.exposition import Constants, Exposition
from joulestat.server.app import public_app

CONSTANTS = Constants(version="1.2.3", revision="", python="3.11", tariff=Tariff())


def accept(push: Push) -> PushAnswer:
    """Answer as the ledger does to a push that it took."""
    return PushAnswer(
        accepted=True,
        seq=push.seq,
        instance="instance-1",
        energy_joules=dict.fromkeys(push.gpus, 81234.5),
        power_limit_watts=dict.fromkeys(push.gpus, 250.0),
    )


def public(
    *,
    push: Callable[[Push], PushAnswer] = accept,
    snapshot: Callable[[], Snapshot | None] = a_snapshot,
    is_ticking: Callable[[], bool] = lambda: True,
    allow_remote_push: bool = False,
    **more: Any,
) -> Any:
    """Return the application; two GPUs have the indices 0 and 1."""
    return public_app(
        snapshot=snapshot,
        exposition=Exposition(CONSTANTS),
        push=push,
        resolve_index=lambda index: gpu_uuid(index) if index < 2 else None,
        is_ticking=is_ticking,
        allow_remote_push=allow_remote_push,
        version="1.2.3",
        **more,
    )
