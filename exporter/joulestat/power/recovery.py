"""What an earlier process left in the journal: whose limit is to be put back, and whose is not."""

import logging
from collections.abc import Container, Mapping

from joulestat.domain.clock import Clock
from joulestat.domain.errors import StateError
from joulestat.power.audit import AuditPhase
from joulestat.power.bookkeeping import Bookkeeping
from joulestat.power.controlled import ControlledDevice, Ending
from joulestat.power.journal import Journal
from joulestat.power.leases import OURSELVES, EndCause

_LOG = logging.getLogger(__name__)


def take_up(
    devices: Mapping[str, ControlledDevice],
    journal: Journal,
    books: Bookkeeping,
    clock: Clock,
    *,
    in_use: Container[str] = (),
) -> list[ControlledDevice]:
    """Return those of the devices that a lease of this boot was left on, ready to be ended.

    A lease of an earlier boot is dropped and nothing written: limits do not survive a boot. A
    lease of a device that is not there stays in the journal, for when it is back.

    Args:
        devices: Of which nobody can have asked anything yet: their locks are not taken.
        journal: What was left.
        books: Records what is dropped.
        clock: Tells this boot.
        in_use: UUIDs of devices whose leases are this process's own.
    """
    try:
        records = journal.records()
    except StateError:
        _LOG.exception("event=leases_not_recovered")
        return []
    left: list[ControlledDevice] = []
    for record in records:
        uuid = record.lease.device_uuid
        if uuid in in_use:
            continue
        device = devices.get(uuid)
        if record.boot_id != clock.boot_id():
            books.try_note(AuditPhase.EVENT, "drop", gpu_uuid=uuid, cause=EndCause.LOST)
            if device is None:
                books.try_forget_absent(uuid)
            else:
                device.in_force.count_end_of_left_lease()
                books.try_forget(device)
        elif device is None:
            _LOG.warning("event=leased_gpu_missing gpu_uuid=%s", uuid)
        else:
            device.record = record
            device.in_force.count_end_of_left_lease()
            device.ending = Ending(EndCause.RECOVERED, OURSELVES)
            left.append(device)
    return left
