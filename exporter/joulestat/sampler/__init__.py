"""The heartbeat: take all readings, meter, credit, write down, publish one Snapshot."""

from joulestat.sampler.heartbeat import Sampler
from joulestat.sampler.instrument import METER, Instrument

__all__ = ["METER", "Instrument", "Sampler"]
