"""The ledger's way to disk and back: which documents changed, and what a restart makes of them."""

from collections.abc import Mapping

from joulestat.runs.budgets import Budgets
from joulestat.runs.codec import (
    device_from_document,
    device_to_document,
    run_from_document,
    run_to_document,
)
from joulestat.runs.ledger import Ledger, LedgerPolicy

DEVICE = "device/"
RUN = "run/"
BUDGETS = "budgets"


def changed_documents(ledger: Ledger) -> dict[str, str | None]:
    """Return what must be written so that the disk equals the ledger; None deletes a document.

    Devices are always written: their energy moves all the time. Runs only when they changed.
    """
    documents: dict[str, str | None] = {
        DEVICE + uuid: device_to_document(device) for uuid, device in ledger.devices.items()
    }
    for name in ledger.dirty:
        run = ledger.runs.get(name)
        documents[RUN + name] = None if run is None else run_to_document(run)
    for name, text in ledger.budgets.record.items():
        documents[f"{BUDGETS}/{name}"] = text
    ledger.dirty.clear()
    return documents


def restored_ledger(
    documents: Mapping[str, str],
    *,
    policy: LedgerPolicy,
    budgets: Budgets,
    instance: str,
    now_ns: int,
    same_boot: bool,
) -> Ledger:
    """Return the ledger as it was when its documents were written.

    Within one boot the hardware counters ran on, so open claims go on and the interval across
    the restart is credited whole. After a reboot no process of before can push any more, so its
    claims have ended, and the devices' registers, with all that is told from them, begin anew.

    Args:
        documents: What ``changed_documents`` returned, merged over time.
        policy: As for ``Ledger``.
        budgets: From the config file; what was consumed is filled in.
        instance: Identity of the memory.
        now_ns: CLOCK_MONOTONIC; silent ranks are given a whole TTL from here.
        same_boot: Whether the documents are of this boot.
    """
    ledger = Ledger(policy, instance, budgets)
    for key, text in documents.items():
        if key.startswith(DEVICE) and same_boot:
            ledger.devices[key.removeprefix(DEVICE)] = device_from_document(text)
        elif key.startswith(RUN):
            ledger.runs[key.removeprefix(RUN)] = run_from_document(text)
    prefix = f"{BUDGETS}/"
    budgets.restore(
        {
            key.removeprefix(prefix): text
            for key, text in documents.items()
            if key.startswith(prefix)
        }
    )
    for run in ledger.runs.values():
        for book in run.ranks.values():
            book.pushed_ns = now_ns
            if not same_boot:
                book.queue.clear()
                book.settled = None
                book.ended = True
        ledger.dirty.add(run.name)
    return ledger
