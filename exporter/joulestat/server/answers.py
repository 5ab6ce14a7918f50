"""What both APIs answer, as structs, and what makes them out of domain objects."""

from typing import Any

import msgspec

from joulestat.domain.limit import Grant, Lease, PowerControl, Revert, leasable_watts
from joulestat.domain.run import PushAnswer
from joulestat.domain.snapshot import DeviceState

_ENCODER = msgspec.json.Encoder()


class PushAnswerWire(msgspec.Struct):
    """What a rank gets back; ``accepted`` is false for a duplicate, which is no error.

    ``energy_joules`` is the run's energy so far by device; it never falls while ``instance``
    stays the same.
    """

    accepted: bool
    seq: int
    instance: str
    energy_joules: dict[str, float]
    power_limit_watts: dict[str, float]


class LeaseWire(msgspec.Struct):
    """A limit that is held. ``baseline_watts`` comes back when it ends.

    ``fencing_token`` tells this lease from every other one that the GPU ever had.
    """

    holder: str
    principal: str
    reason: str
    power_limit_watts: float
    baseline_watts: float
    expires_in_seconds: float
    expires_timestamp_seconds: float
    fencing_token: int


class GpuWire(msgspec.Struct):
    """One GPU: its limits as of the last tick (null: unknown), and who holds them now.

    ``revision`` rises with every grant, renewal, change and end of a lease; null where nobody here
    can set the GPU's limit, and while that is being found out after a start. A lease may hold
    ``allowed_min_watts`` to ``allowed_max_watts``: the card's own range, less what the host's
    policy forbids.
    """

    gpu_uuid: str
    index: int
    model: str
    up: bool
    power_limit_watts: float | None
    enforced_watts: float | None
    default_watts: float | None
    min_watts: float | None
    max_watts: float | None
    allowed_min_watts: float | None
    allowed_max_watts: float | None
    writable: bool
    drift: bool
    revision: int | None
    lease: LeaseWire | None


class GpusWire(msgspec.Struct):
    """All GPUs of this host, in order of index, and why none of them can be leased, if so."""

    gpus: list[GpuWire]
    read_only_reason: str | None


class GrantWire(msgspec.Struct):
    """What a lease request did; the limits were read back, and are null in a dry run.

    ``revision`` is the GPU's since this grant.
    """

    gpu_uuid: str
    outcome: str
    dry_run: bool
    applied_watts: float | None
    enforced_watts: float | None
    revision: int
    lease: LeaseWire


class RevertWire(msgspec.Struct):
    """How a lease ended: restored, foreign (somebody else's limit was left alone), none, failed."""

    gpu_uuid: str
    outcome: str
    power_limit_watts: float | None


class RevertsWire(msgspec.Struct):
    """How every lease ended."""

    gpus: list[RevertWire]


class AuditWire(msgspec.Struct):
    """Records of the audit log, oldest first."""

    records: list[dict[str, Any]]


def push_answer_json(answer: PushAnswer) -> bytes:
    """Return an answer to a push as JSON."""
    return _ENCODER.encode(
        PushAnswerWire(
            accepted=answer.accepted,
            seq=answer.seq,
            instance=answer.instance,
            energy_joules=dict(answer.energy_joules),
            power_limit_watts=dict(answer.power_limit_watts),
        )
    )


def lease_wire(lease: Lease, now_seconds: float) -> LeaseWire:
    """Return the JSON form of a lease; ``now_seconds`` is Unix time."""
    return LeaseWire(
        holder=lease.holder,
        principal=lease.principal,
        reason=lease.reason,
        power_limit_watts=lease.target_watts,
        baseline_watts=lease.baseline_watts,
        expires_in_seconds=max(0.0, round(lease.expires_seconds - now_seconds, 3)),
        expires_timestamp_seconds=lease.expires_seconds,
        fencing_token=lease.fencing_token,
    )


def gpu_wire(state: DeviceState, controlled: PowerControl | None, now_seconds: float) -> GpuWire:
    """Return the JSON form of a device.

    Args:
        state: As of the last tick.
        controlled: As of now, not as of the tick; None where nobody here can set its limit.
        now_seconds: Unix time.
    """
    control = controlled or state.control
    limits = state.reading.limits if state.reading is not None else None
    allowed = leasable_watts(limits, control)
    return GpuWire(
        gpu_uuid=state.device.uuid,
        index=state.device.index,
        model=state.device.model,
        up=state.up,
        power_limit_watts=limits.set_watts if limits else None,
        enforced_watts=limits.enforced_watts if limits else None,
        default_watts=limits.default_watts if limits else None,
        min_watts=limits.min_watts if limits else None,
        max_watts=limits.max_watts if limits else None,
        allowed_min_watts=allowed[0],
        allowed_max_watts=allowed[1],
        writable=control.writable,
        drift=control.drift,
        revision=controlled.revision if controlled else None,
        lease=lease_wire(control.lease, now_seconds) if control.lease else None,
    )


def grant_wire(grant: Grant, now_seconds: float) -> GrantWire:
    """Return the JSON form of a grant."""
    return GrantWire(
        gpu_uuid=grant.lease.device_uuid,
        outcome=grant.outcome,
        dry_run=grant.dry_run,
        applied_watts=grant.applied_watts,
        enforced_watts=grant.enforced_watts,
        revision=grant.revision,
        lease=lease_wire(grant.lease, now_seconds),
    )


def revert_wire(device_uuid: str, revert: Revert) -> RevertWire:
    """Return the JSON form of a lease's end."""
    return RevertWire(device_uuid, revert.outcome, revert.limit_watts)
