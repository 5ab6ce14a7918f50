"""What one simulated GPU does between two changes, in closed form."""

import hashlib
import math

from joulestat.devices.models import CardModel, Workload
from joulestat.devices.wobble import Wobble
from joulestat.devices.world_file import GpuRecord
from joulestat.domain.units import NS_PER_SECOND

AMBIENT_CELSIUS = 30.0
RISE_CELSIUS = 45.0
"""Above ambient, in the long run at a draw of the default limit."""
WARMING_NS = 20 * NS_PER_SECOND
"""Time constant of the temperature."""

_UJ_PER_WATT_NS = 1e-3


def cold_record(model: CardModel, now_ns: int) -> GpuRecord:
    """Return a GPU that was just powered on: idle, cool, its default limit acting."""
    default_mw = round(model.default_limit_watts * 1_000)
    return GpuRecord(
        base_ns=now_ns,
        energy_uj=0,
        register_uj=0,
        offset_uj=0,
        acting_mw=default_mw,
        set_mw=default_mw,
        acts_ns=now_ns,
        temperature_celsius=AMBIENT_CELSIUS,
        busy=False,
        compute_share=0.0,
        base_step_seconds=1.0,
        intensity=1.0,
        waiting_ratio=0.0,
        fault=0,
    )


def workload_of(record: GpuRecord) -> Workload | None:
    """Return what occupies the GPU, None when it idles."""
    if not record.busy:
        return None
    return Workload(
        record.compute_share, record.base_step_seconds, record.intensity, record.waiting_ratio
    )


def acting_mw(record: GpuRecord, at_ns: int) -> int:
    """Return the limit that holds the clocks at an instant, mW."""
    return record.set_mw if at_ns >= record.acts_ns else record.acting_mw


class GpuPhysics:
    """The laws of one GPU: its model and its noise. Has no state; any thread may call it.

    By hand, without noise: a V100 that is set to 150 W at 10 s and busy since 0 s draws 270 W
    until 10.2 s (its reaction takes 200 ms) and 150 W from then on. At 20 s that makes
    270 * 10.2 + 150 * 9.8 = 4224 J; its counter, which moves every 20 ms, shows the same within
    150 W * 20 ms = 3 J.
    """

    def __init__(self, model: CardModel, uuid: str, noise_ratio: float) -> None:
        self._model = model
        self._noise_ratio = noise_ratio
        self._draw_noise = Wobble(f"{uuid} draw")
        self._step_noise = Wobble(f"{uuid} step")
        # The counters of several cards do not move at the same instant.
        digest = hashlib.sha256(f"{uuid} counter".encode()).digest()
        self._phase_ns = int.from_bytes(digest[:8], "big") % model.counter_granularity_ns

    def energy_uj(self, record: GpuRecord, at_ns: int) -> int:
        """Return the exact energy since the world began, uJ."""
        total = 0.0
        for start_ns, end_ns, watts in self._pieces(record, at_ns):
            noise_ns = (
                self._noise_ratio * self._draw_noise.integral_ns(start_ns, end_ns)
                if self._noise_ratio
                else 0.0
            )
            total += watts * (end_ns - start_ns + noise_ns)
        return record.energy_uj + round(total * _UJ_PER_WATT_NS)

    def register_uj(self, record: GpuRecord, at_ns: int) -> int:
        """Return the energy, uJ, as of the last instant at which the counter moved."""
        moved_ns = at_ns - (at_ns - self._phase_ns) % self._model.counter_granularity_ns
        if moved_ns < record.base_ns:
            return record.register_uj
        return self.energy_uj(record, moved_ns)

    def draw_watts(self, record: GpuRecord, at_ns: int) -> float:
        """Return the draw at an instant, noise included, W."""
        mean_watts = self._mean_watts(record, acting_mw(record, at_ns))
        return mean_watts * (1.0 + self._noise_ratio * self._draw_noise.at(at_ns))

    def step_seconds(self, record: GpuRecord, workload: Workload, at_ns: int) -> float:
        """Return how long a step that begins at an instant takes, noise included, s."""
        mean_seconds = self._model.step_seconds(acting_mw(record, at_ns) / 1_000, workload)
        return mean_seconds * (1.0 + self._noise_ratio / 2.0 * self._step_noise.at(at_ns))

    def temperature_celsius(self, record: GpuRecord, at_ns: int) -> float:
        """Return the temperature, which nears that of the mean draw exponentially."""
        celsius = record.temperature_celsius
        for start_ns, end_ns, watts in self._pieces(record, at_ns):
            target = AMBIENT_CELSIUS + RISE_CELSIUS * watts / self._model.default_limit_watts
            celsius = target + (celsius - target) * math.exp((start_ns - end_ns) / WARMING_NS)
        return celsius

    def rebased(self, record: GpuRecord, now_ns: int) -> GpuRecord:
        """Return the same GPU, written down as of now: what a change starts from."""
        now_ns = max(now_ns, record.base_ns)
        return record._replace(
            base_ns=now_ns,
            energy_uj=self.energy_uj(record, now_ns),
            register_uj=self.register_uj(record, now_ns),
            acting_mw=acting_mw(record, now_ns),
            acts_ns=max(now_ns, record.acts_ns),
            temperature_celsius=self.temperature_celsius(record, now_ns),
        )

    def _mean_watts(self, record: GpuRecord, limit_mw: int) -> float:
        workload = workload_of(record)
        if workload is None:
            return self._model.idle_watts
        return self._model.mean_watts(limit_mw / 1_000, workload)

    def _pieces(self, record: GpuRecord, until_ns: int) -> list[tuple[int, int, float]]:
        """Return the spans of constant mean draw since the last change: (start, end, W)."""
        base_ns, acts_ns = record.base_ns, record.acts_ns
        pieces = []
        if base_ns < acts_ns and base_ns < until_ns:
            before_watts = self._mean_watts(record, record.acting_mw)
            pieces.append((base_ns, min(acts_ns, until_ns), before_watts))
        if acts_ns < until_ns:
            pieces.append((acts_ns, until_ns, self._mean_watts(record, record.set_mw)))
        return pieces
