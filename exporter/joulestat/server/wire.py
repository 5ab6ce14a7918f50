"""What clients may send, as structs, and what turns it into domain objects."""

import re
import unicodedata
from collections.abc import Callable
from typing import Annotated

import msgspec
from msgspec import Meta

from joulestat.domain.errors import InvalidLease, InvalidPush
from joulestat.domain.limit import LeaseRequest
from joulestat.domain.run import Counts, Phase, Push, RunLabels
from joulestat.server.problems import shown
from joulestat.server.strict_json import decode

MAX_EXACT = 2**53
"""Largest count: beyond it floats, and so Prometheus, skip whole numbers."""

MAX_LABEL_BYTES = 128
"""A usual ``label_value_length_limit``: one value above it costs the *whole* scrape."""

MAX_REASON_BYTES = 256

_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Controls, line and paragraph separators, lone surrogates: what forges lines in logs."""

# "$" alone would let a final newline pass in Python; in other dialects the look-ahead is idle.
_END = r"$(?!\n)"

RunName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,64}" + _END)]
Incarnation = Annotated[str, Meta(pattern=r"^[ -~]{1,64}" + _END)]
Count = Annotated[int, Meta(ge=0, le=MAX_EXACT)]
GpuName = Annotated[str, Meta(pattern=r"^[!-~]{1,96}" + _END)]
GpuIndex = Annotated[int, Meta(ge=0, le=1023)]
LabelText = Annotated[str, Meta(description="At most 128 bytes of UTF-8, no control characters")]
ReasonText = Annotated[str, Meta(min_length=1, max_length=MAX_REASON_BYTES)]
HolderText = Annotated[str, Meta(min_length=1, max_length=MAX_LABEL_BYTES)]


class CountsWire(msgspec.Struct, forbid_unknown_fields=True):
    """Cumulative work of one phase."""

    steps: Count = 0
    samples: Count = 0
    tokens: Count = 0


class TotalsWire(msgspec.Struct, forbid_unknown_fields=True):
    """Cumulative work by phase since the process started."""

    train: CountsWire | None = None
    eval: CountsWire | None = None
    checkpoint: CountsWire | None = None
    other: CountsWire | None = None


class LabelsWire(msgspec.Struct, forbid_unknown_fields=True):
    """Whose run it is; values become label values of ``run_info`` only."""

    job: LabelText = ""
    user: LabelText = ""
    team: LabelText = ""
    framework: LabelText = ""


class PushWire(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One push of one rank: cumulative totals, and the phase in force from ``at_ns`` on.

    ``gpus`` null: the rank cannot tell; see docs/training/which-gpu.md for what becomes of it.
    ``instead_of``: the process that stood in for this one, such as ``joulestat run``.
    """

    run: RunName
    rank: Annotated[int, Meta(ge=0, le=65535)]
    incarnation: Incarnation
    seq: Count
    at_ns: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    gpus: Annotated[list[GpuName | GpuIndex], Meta(max_length=16)] | None
    phase: Phase
    totals: TotalsWire = msgspec.field(default_factory=TotalsWire)
    labels: LabelsWire = msgspec.field(default_factory=LabelsWire)
    energy_budget_joules: Annotated[float, Meta(gt=0, le=1e18)] | None = None
    planned_steps: Annotated[int, Meta(ge=1, le=MAX_EXACT)] | None = None
    final: bool = False
    instead_of: Incarnation | None = None


class LeaseRequestWire(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A limit to hold, W, and for how long.

    ``fencing_token``: only if the lease with this token is still in force.
    """

    # Without bounds: the governor knows the device's range, and its refusal names it.
    power_limit_watts: float
    ttl_seconds: float
    holder: HolderText
    reason: ReasonText
    takeover: bool = False
    fencing_token: Count | None = None


_PUSH = msgspec.json.Decoder(PushWire)
_PUSH_ALLOWED = {
    "": ", ".join(PushWire.__struct_fields__),
    "run": "1 to 64 characters of A-Z a-z 0-9 . _ -",
    "incarnation": "1 to 64 printable ASCII characters",
    "instead_of": "1 to 64 printable ASCII characters",
    "gpus": "at most 16 GPUs, by UUID or index; null where they are not known",
    "phase": ", ".join(Phase),
    "totals": ", ".join(TotalsWire.__struct_fields__),
    "labels": ", ".join(LabelsWire.__struct_fields__),
}
_LEASE_REQUEST = msgspec.json.Decoder(LeaseRequestWire)
_LEASE_REQUEST_ALLOWED = {"": ", ".join(LeaseRequestWire.__struct_fields__)}


def parse_push(
    body: bytes,
    resolve_index: Callable[[int], str | None],
    find_gpus: Callable[[], tuple[str, ...]] = tuple,
) -> Push:
    """Return the push in a JSON body.

    Args:
        body: At most 16 KiB.
        resolve_index: Device UUID by index, None where there is none.
        find_gpus: UUIDs of the devices of a rank that cannot tell them itself.

    Raises:
        InvalidPush: Names the field.
        Refused: Not JSON.
    """
    wire = decode(body, _PUSH, InvalidPush, _PUSH_ALLOWED)
    totals = {
        phase: Counts(counts.steps, counts.samples, counts.tokens)
        for phase in Phase
        if (counts := getattr(wire.totals, phase)) is not None
    }
    named = find_gpus() if wire.gpus is None else wire.gpus
    return Push(
        run=wire.run,
        rank=wire.rank,
        incarnation=wire.incarnation,
        seq=wire.seq,
        at_ns=wire.at_ns,
        # One device named twice, or by UUID and by index, is one claim.
        gpus=tuple(dict.fromkeys(_device_uuid(gpu, resolve_index) for gpu in named)),
        phase=wire.phase,
        totals=totals,
        labels=_labels(wire.labels),
        energy_budget_joules=wire.energy_budget_joules,
        planned_steps=wire.planned_steps,
        final=wire.final,
        instead_of=wire.instead_of,
    )


def parse_lease_request(body: bytes) -> LeaseRequest:
    """Return the lease request in a JSON body; its range is the governor's to judge.

    Raises:
        InvalidLease: Names the field.
        Refused: Not JSON.
    """
    wire = decode(body, _LEASE_REQUEST, InvalidLease, _LEASE_REQUEST_ALLOWED)
    return LeaseRequest(
        power_limit_watts=wire.power_limit_watts,
        ttl_seconds=wire.ttl_seconds,
        holder=_clean(wire.holder, "holder", MAX_LABEL_BYTES, InvalidLease),
        reason=_clean(wire.reason, "reason", MAX_REASON_BYTES, InvalidLease),
        takeover=wire.takeover,
        fencing_token=wire.fencing_token,
    )


def _device_uuid(gpu: str | int, resolve_index: Callable[[int], str | None]) -> str:
    if isinstance(gpu, str):
        return gpu
    device_uuid = resolve_index(gpu)
    if device_uuid is None:
        raise InvalidPush(
            f"gpus: no GPU here has index {gpu}; name GPUs by UUID, or see the exporter's page",
            field="gpus",
            value=gpu,
            allowed="UUIDs, or indices of GPUs of this host",
        )
    return device_uuid


def _labels(wire: LabelsWire) -> RunLabels:
    def clean(name: str, value: str) -> str:
        return _clean(value, f"labels.{name}", MAX_LABEL_BYTES, InvalidPush)

    return RunLabels(
        job=clean("job", wire.job),
        user=clean("user", wire.user),
        team=clean("team", wire.team),
        framework=clean("framework", wire.framework),
    )


def _clean(
    text: str, field: str, max_bytes: int, error: type[InvalidPush] | type[InvalidLease]
) -> str:
    """Return a text in NFC: two spellings of one value would be two time series."""
    if text.isascii() and text.isprintable() and len(text) <= max_bytes:
        return text
    # Accents by the thousand on one letter are sorted in a time that grows with their square: one
    # push would stop everything for a second. A byte in NFC was 1.5 characters at most.
    if len(text) <= 2 * max_bytes:
        text = unicodedata.normalize("NFC", text)
    if len(text.encode("utf-8", "replace")) > max_bytes or _FORBIDDEN.search(text):
        raise error(
            f"{field} is too long or has control characters: {shown(text)!r}",
            field=field,
            value=shown(text),
            allowed=f"at most {max_bytes} bytes of UTF-8 without control characters",
        )
    return text
