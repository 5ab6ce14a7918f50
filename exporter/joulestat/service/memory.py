"""What an earlier process of this node left behind."""

import json
import uuid
from dataclasses import dataclass

from joulestat.domain.device import Device
from joulestat.metering.meter import Meter, MeterRecord
from joulestat.runs.store import DocumentStore
from joulestat.sampler import METER, Instrument

IDENTITY = "identity"


@dataclass(frozen=True, slots=True)
class Memory:
    """What an earlier process of this node left behind.

    Attributes:
        documents: By key.
        same_boot: Whether it was of this boot, so that its times and counters go on.
        instance: Identity of the memory; an empty one gets a new identity.
        unsaved: What marks it as this boot's, and meters as this boot continues them. To be
            written only together with all the rest: alone, it would make the next process take
            times and registers of an earlier boot for those of this one.
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
            meters = {key: text for key, text in documents.items() if key.startswith(METER)}
            continued = {
                key: MeterRecord.from_document(text, same_boot=False).to_document()
                for key, text in meters.items()
            }
            documents |= continued
            unsaved |= continued
        return cls(documents, same_boot, instance, unsaved)

    def instrument(self, device: Device) -> Instrument:
        """Return an instrument for a device, with its meter as it was left."""
        text = self.documents.get(METER + device.uuid)
        if text is None:
            return Instrument(device, Meter())
        return Instrument(device, Meter(MeterRecord.from_document(text, same_boot=True)))
