"""The configuration as the rest of the house sees it: frozen, complete, every value checked.

Every default stands here and, as people write it, in ``options.py``; a test holds them together.
"""

from dataclasses import dataclass, field
from pathlib import Path

from joulestat.config.address import ListenAddress
from joulestat.domain.tariff import Tariff


@dataclass(frozen=True, slots=True)
class WebConfig:
    """Where metrics are read and pushes arrive.

    Attributes:
        listen_addresses: At least one.
        config_file: TLS and users of the TCP addresses among them; None asks for neither.
    """

    listen_addresses: tuple[ListenAddress, ...] = (ListenAddress("127.0.0.1", 10400),)
    config_file: Path | None = None


@dataclass(frozen=True, slots=True)
class AdminConfig:
    """The API that changes power limits.

    Attributes:
        listen_address: None means that there is no such API.
        token_file: Never None while ``listen_address`` is given.
        web_config_file: Never None while other hosts can reach ``listen_address``.
        max_ttl_seconds: Longest lease.
        write_interval_seconds: One more write to a device is allowed each time this passes.
        write_burst: How many writes to a device may follow each other at once.
    """

    listen_address: ListenAddress | None = None
    token_file: Path | None = None
    web_config_file: Path | None = None
    max_ttl_seconds: float = 21_600.0
    write_interval_seconds: float = 10.0
    write_burst: int = 3


@dataclass(frozen=True, slots=True)
class PolicyConfig:
    """What leases may ask, beyond ``AdminConfig``; no file, nothing more to obey."""

    file: Path | None = None


@dataclass(frozen=True, slots=True)
class ActuatorConfig:
    """Which actuator holds the power limits; None for the exporter itself."""

    socket: Path | None = None


@dataclass(frozen=True, slots=True)
class SamplingConfig:
    """The beat of the sampler.

    Attributes:
        interval_seconds: From tick to tick: energy, power and limits.
        details_interval_seconds: Between readings of slow values; a shorter one than
            ``interval_seconds`` means at every tick.
        settle_seconds: How long after a change of limit an interval still counts as
            ``transition``.
    """

    interval_seconds: float = 0.1
    details_interval_seconds: float = 1.0
    settle_seconds: float = 2.0


@dataclass(frozen=True, slots=True)
class PushConfig:
    """What training code may do.

    Attributes:
        ttl_seconds: A rank silent for longer loses its claim.
        retention_seconds: How long an ended run stays on /metrics.
        allow_remote: Take pushes from other hosts too. Their clocks are not this host's.
    """

    ttl_seconds: float = 60.0
    retention_seconds: float = 900.0
    allow_remote: bool = False


@dataclass(frozen=True, slots=True)
class HistoryConfig:
    """The exporter's own history of runs.

    Attributes:
        retention_seconds: How long it is kept; 0 means that there is none.
        max_size_bytes: What it may take; above it, what is oldest goes before its time.
    """

    retention_seconds: float = 2_592_000.0
    max_size_bytes: int = 1_073_741_824


@dataclass(frozen=True, slots=True)
class SimulatedConfig:
    """GPUs that exist only in software, for the backend ``simulated``.

    Attributes:
        model: Name of the card to imitate.
        gpus: How many.
        seed: Of their noise.
        state_file: Where their counters and limits outlive the process; None keeps them nowhere.
    """

    model: str = "V100"
    gpus: int = 4
    seed: int = 1
    state_file: Path | None = None


@dataclass(frozen=True, slots=True)
class BudgetConfig:
    """How much energy a team may spend in a period; times are Unix seconds, the end excluded."""

    name: str
    team: str
    joules: float
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True, slots=True)
class LogConfig:
    """What is logged (debug, info, warn, error), and how it is written (logfmt, json)."""

    level: str = "info"
    format: str = "logfmt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that can be configured.

    Attributes:
        backend: auto, nvml, amd, simulated or none.
        state_path: Folder of all that must outlive the process; it may not exist yet.
        budgets: In the order of the file, names unique.
    """

    state_path: Path
    backend: str = "auto"
    web: WebConfig = WebConfig()
    admin: AdminConfig = AdminConfig()
    policy: PolicyConfig = PolicyConfig()
    actuator: ActuatorConfig = ActuatorConfig()
    sampling: SamplingConfig = SamplingConfig()
    push: PushConfig = PushConfig()
    history: HistoryConfig = HistoryConfig()
    simulated: SimulatedConfig = SimulatedConfig()
    budgets: tuple[BudgetConfig, ...] = ()
    tariff: Tariff = field(default_factory=Tariff)
    log: LogConfig = LogConfig()
