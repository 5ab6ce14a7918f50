"""One line for people on how the exporter is; ``systemctl status`` shows it."""

from joulestat.domain.snapshot import Snapshot


def status_of(snapshot: Snapshot | None) -> str | None:
    """Return what the last tick saw, and which GPUs it did not hear of; None before the first."""
    if snapshot is None:
        return None
    silent = [str(each.device.index) for each in snapshot.devices if each.reading is None]
    told = f"{len(snapshot.devices)} GPUs, {len(snapshot.runs)} runs"
    return f"{told}; no answer from GPU {', '.join(silent)}" if silent else told
