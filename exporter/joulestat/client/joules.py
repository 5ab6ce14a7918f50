"""What the exporter says a run has spent, made into totals that never fall."""

from collections.abc import Mapping
from types import MappingProxyType

from joulestat.client.wire import amounts
from joulestat.domain.run import PushAnswer

_NOTHING: Mapping[str, float] = MappingProxyType({})
_STATE_VERSION = 1


class Joules:
    """The energy of a run on this node, by device UUID, in J.

    Two totals are kept. *Spent* is everything the run took, work lost after the last checkpoint
    included. *Lineage* is what the model as it now stands took: what its checkpoint carried,
    and what was spent since that was loaded.

    One thread calls ``take``; any thread may call the rest. There is no lock, because a forked
    child could find it taken: mappings are replaced, never changed.

    Attributes:
        answered: Whether the exporter has said anything yet.
        late: Whether by its first answer the energy of the run's beginning was lost.
        power_limit_watts: As of its last answer, by device UUID.
    """

    def __init__(self) -> None:
        self.answered = False
        self.late = False
        self.power_limit_watts = _NOTHING
        self._spent = _NOTHING
        self._devices: dict[str, _Device] = {}
        self._origin: Mapping[str, float] | None = None
        self._restored = _NOTHING

    def take(self, answer: PushAnswer) -> None:
        """Take over an answer of the exporter."""
        for uuid, joules in answer.energy_joules.items():
            self._devices.setdefault(uuid, _Device()).take(answer.instance, joules)
        self._spent = {uuid: device.total_joules for uuid, device in self._devices.items()}
        self.power_limit_watts = answer.power_limit_watts
        if self._origin is None:
            self._origin = self._spent
        self.answered = True

    def spent(self) -> dict[str, float]:
        """Return J by device as last heard; empty where nothing was heard yet."""
        return dict(self._spent)

    def lineage(self) -> dict[str, float]:
        """Return J by device that the model as it now stands has taken."""
        spent, origin = self._spent, self._origin or _NOTHING
        total = dict(self._restored)
        for uuid, joules in spent.items():
            total[uuid] = total.get(uuid, 0.0) + joules - origin.get(uuid, 0.0)
        return total

    def state_dict(self) -> dict[str, object]:
        """Return what a checkpoint carries: plain JSON."""
        return {"version": _STATE_VERSION, "energy_joules": self.lineage()}

    def load_state_dict(self, state: object) -> bool:
        """Let the lineage go on from a checkpoint.

        What was spent until now and is not in the checkpoint was spent on work that is lost.

        Returns:
            Whether this is a state of ours; nothing was changed if it is not.
        """
        if not isinstance(state, Mapping) or not isinstance(state.get("energy_joules"), Mapping):
            return False
        self._restored = amounts(state["energy_joules"])
        self._origin = self._spent or None
        return True


class _Device:
    """One device's energy over the lives of the exporter."""

    def __init__(self) -> None:
        self._base_joules = 0.0
        self._heard_joules = 0.0
        self._instance = ""

    @property
    def total_joules(self) -> float:
        return self._base_joules + self._heard_joules

    def take(self, instance: str, joules: float) -> None:
        if instance != self._instance and joules < self._heard_joules:
            # An exporter that forgot: it counts from 0, so what the old one said is the base.
            self._base_joules += self._heard_joules
            self._heard_joules = joules
        # One that remembers may still say a little less than before: what had been pending
        # when it was stopped. Within one instance a total does not fall.
        self._heard_joules = max(self._heard_joules, joules)
        self._instance = instance
