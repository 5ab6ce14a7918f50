"""Rows of the journal: records and answers as text, and the seals that show a changed byte.

SQLite notices a broken page, not a changed value: a flipped bit in a baseline would be read back
as another baseline. So every row is covered by a hash.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from joulestat.domain.limit import Grant, GrantOutcome, Lease
from joulestat.power.leases import LeaseRecord, LeaseState


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request with an idempotency key was answered, to be answered again.

    Attributes:
        scope: Hash of principal, device and key: one client's keys are no other's business.
        fingerprint: Hash of the request's body.
        grant: The answer.
        boot_id: The boot it was given in.
        boottime_ns: CLOCK_BOOTTIME of it.
        wall_seconds: Unix time of it; its age after a reboot.
    """

    scope: str
    fingerprint: str
    grant: Grant
    boot_id: str
    boottime_ns: int
    wall_seconds: float


@dataclass(frozen=True, slots=True)
class DeviceNumbers:
    """What outlives every lease of a device.

    Attributes:
        device_uuid: Which device.
        fencing_token: The last one that was, or may have been, given to a lease.
        revision: How often its lease has changed.
        boot_id: The boot that ``writes_until_ns`` belongs to.
        writes_until_ns: CLOCK_BOOTTIME when all its writes are earned back; see ``WriteRate``.
    """

    device_uuid: str
    fencing_token: int = 0
    revision: int = 0
    boot_id: str = ""
    writes_until_ns: int = 0


def digest(*parts: object) -> str:
    """Return the SHA-256 of some values; distinct values have distinct digests."""
    return hashlib.sha256(json.dumps(parts).encode("ascii")).hexdigest()


def record_body(record: LeaseRecord) -> str:
    """Return a record as JSON."""
    return json.dumps(
        {
            "lease": asdict(record.lease),
            "state": record.state.value,
            "boot_id": record.boot_id,
            "ours_watts": record.ours_watts,
        }
    )


def record_from(body: str) -> LeaseRecord:
    """Return the record of a body.

    Raises:
        ValueError, TypeError, KeyError: It is none.
    """
    members: dict[str, Any] = json.loads(body)
    return LeaseRecord(
        lease=Lease(**members["lease"]),
        state=LeaseState(members["state"]),
        boot_id=members["boot_id"],
        ours_watts=tuple(members["ours_watts"]),
    )


def answer_body(answer: Answer) -> str:
    """Return what an answer's own columns do not hold, as JSON."""
    grant = answer.grant
    return json.dumps(
        {
            "fingerprint": answer.fingerprint,
            "outcome": grant.outcome.value,
            "lease": asdict(grant.lease),
            "applied_watts": grant.applied_watts,
            "enforced_watts": grant.enforced_watts,
            "revision": grant.revision,
        }
    )


AnswerRow = tuple[str, str, int, float, str, str]
"""scope, boot_id, boottime_ns, wall_seconds, body, sha256."""


def answer_row(answer: Answer) -> AnswerRow:
    """Return an answer as its columns, sealed."""
    body = answer_body(answer)
    times = (answer.boot_id, answer.boottime_ns, answer.wall_seconds)
    return (answer.scope, *times, body, digest(answer.scope, *times, body))


def answer_from(row: AnswerRow) -> Answer:
    """Return the answer of a row.

    Raises:
        ValueError, TypeError, KeyError: It is not as it was written.
    """
    scope, boot_id, boottime_ns, wall_seconds, body, sha256 = row
    if digest(scope, boot_id, boottime_ns, wall_seconds, body) != sha256:
        raise ValueError("an answer's hash does not fit")
    members: dict[str, Any] = json.loads(body)
    grant = Grant(
        outcome=GrantOutcome(members["outcome"]),
        lease=Lease(**members["lease"]),
        applied_watts=members["applied_watts"],
        enforced_watts=members["enforced_watts"],
        # An answer from before there were any has none.
        revision=members.get("revision", 0),
    )
    return Answer(scope, members["fingerprint"], grant, boot_id, boottime_ns, wall_seconds)
