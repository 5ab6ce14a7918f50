"""What an earlier process of this node left behind."""

import json
import logging
import uuid
from dataclasses import dataclass

from joulestat.domain.device import Device
from joulestat.metering.meter import Meter, MeterRecord
from joulestat.runs.memory import DEVICE
from joulestat.runs.store import DocumentStore
from joulestat.sampler import METER, Instrument

IDENTITY = "identity"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Memory:
    """What an earlier process of this node left behind.

    After a reboot the registers of the devices begin anew, and so does all that is told from
    them: Prometheus takes a counter that falls to next to nothing for what it is, a restart,
    while one that falls a little, because the last second was not on disk, would make
    ``increase()`` count a lifetime of energy twice. Runs and budgets go on.

    Attributes:
        documents: By key.
        same_boot: Whether it was of this boot, so that its times and registers go on.
        instance: Identity of the memory; an empty one gets a new identity.
        unsaved: What marks it as this boot's, and drops what was of another. To be written only
            together with all the rest: alone, it would make the next process take times of an
            earlier boot for those of this one.
    """

    documents: dict[str, str]
    same_boot: bool
    instance: str
    unsaved: dict[str, str | None]

    @classmethod
    def load(cls, store: DocumentStore, boot_id: str) -> "Memory":
        """Read the memory."""
        documents = store.load()
        earlier = json.loads(documents.pop(IDENTITY, "{}"))
        instance = earlier.get("instance") or uuid.uuid4().hex
        same_boot = earlier.get("boot_id") == boot_id
        unsaved: dict[str, str | None] = {
            IDENTITY: json.dumps({"instance": instance, "boot_id": boot_id})
        }
        if not same_boot:
            over = [key for key in documents if key.startswith((METER, DEVICE))]
            for key in over:
                del documents[key]
                unsaved[key] = None
        return cls(documents, same_boot, instance, unsaved)

    def instrument(self, device: Device) -> Instrument:
        """Return an instrument for a device, with its meter as it was left."""
        text = self.documents.get(METER + device.uuid)
        try:
            record = None if text is None else MeterRecord.from_document(text)
        except Exception:
            # Its registers go on in the hardware; for Prometheus the counter begins anew.
            log.exception("event=meter_forgotten gpu_uuid=%s", device.uuid)
            record = None
        return Instrument(device, Meter() if record is None else Meter(record))
