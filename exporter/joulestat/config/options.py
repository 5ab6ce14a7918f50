"""One table of every setting: flags, variables, file keys and documentation derive from it."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from joulestat.config import kinds
from joulestat.config.kinds import Kind

T_co = TypeVar("T_co", covariant=True)

ENVIRONMENT_PREFIX = "JOULESTAT_"


@dataclass(frozen=True, slots=True)
class Option(Generic[T_co]):
    """One setting.

    Attributes:
        key: Dotted name, as in the file.
        kind: What may be written and what it becomes.
        default: As people write it; None where the setting is off or is found out otherwise.
        help: What it does, one sentence.
        default_note: Says what happens without it where ``default`` is None.
    """

    key: str
    kind: Kind[T_co]
    default: str | None
    help: str
    default_note: str = ""

    @property
    def flag(self) -> str:
        """Its spelling on the command line: ``--web.listen-address``."""
        return f"--{self.key}"

    @property
    def environment(self) -> str:
        """Its environment variable: ``JOULESTAT_WEB_LISTEN_ADDRESS``."""
        return ENVIRONMENT_PREFIX + self.parameter.upper()

    @property
    def parameter(self) -> str:
        """Its name as a Python parameter: ``web_listen_address``."""
        return self.key.replace(".", "_").replace("-", "_")


BACKEND = Option(
    "backend",
    kinds.choice("auto", "nvml", "amd", "simulated", "none"),
    "auto",
    "Where GPUs are read: auto takes nvml (NVIDIA), else amd, whichever shows a GPU, else none.",
)
STATE_PATH = Option(
    "state-path",
    kinds.path(),
    None,
    "Folder of everything that must outlive the exporter: energy of runs, leases, audit log.",
    "/var/lib/joulestat for root, else $XDG_STATE_HOME/joulestat or ~/.local/state/joulestat",
)
WEB_LISTEN_ADDRESS = Option(
    "web.listen-address",
    kinds.addresses(),
    "127.0.0.1:10400",
    "Where metrics are read and pushes arrive; may be given several times.",
)
WEB_CONFIG_FILE = Option(
    "web.config.file",
    kinds.path(),
    None,
    "TLS, client certificates, users and rate limit of web.listen-address, as Prometheus's own "
    "exporters take them.",
    "none: plain HTTP for everyone",
)
ADMIN_LISTEN_ADDRESS = Option(
    "admin.listen-address",
    kinds.address(),
    None,
    "Where power limits can be changed; where other hosts reach it, it takes "
    "admin.web-config-file with TLS.",
    "off: nobody can change a power limit",
)
ADMIN_WEB_CONFIG_FILE = Option(
    "admin.web-config-file",
    kinds.path(),
    None,
    "TLS and client certificates of admin.listen-address: a file like web.config.file, without "
    "users.",
    "none: plain HTTP, on this host only",
)
ADMIN_TOKEN_FILE = Option(
    "admin.token-file",
    kinds.path(),
    None,
    "File of the tokens that the admin API accepts; needed with admin.listen-address.",
    "none",
)
ADMIN_MAX_TTL = Option(
    "admin.max-ttl",
    kinds.duration(5, 604_800),
    "6h",
    "Longest time that a lease may ask for.",
)
ADMIN_WRITE_INTERVAL = Option(
    "admin.write-interval",
    kinds.duration(0, 3_600),
    "10s",
    "A device's limit may be written once more each time this has passed; 0 never makes it wait.",
)
ADMIN_WRITE_BURST = Option(
    "admin.write-burst",
    kinds.integer(1, 1_000),
    "3",
    "How many writes of one device's limit may follow each other at once.",
)
POLICY_FILE = Option(
    "policy.file",
    kinds.path(),
    None,
    "What leases may ask, in a file that its owner alone can write; see docs/actuator.md. Of the "
    "actuator, where there is one.",
    "none: what the driver accepts, within admin.*",
)
ACTUATOR_SOCKET = Option(
    "actuator.socket",
    kinds.path(),
    None,
    "Socket of a joulestat actuator, which then holds the power limits for this exporter.",
    "none: the exporter holds them itself",
)
SAMPLING_INTERVAL = Option(
    "sampling.interval",
    kinds.duration(0.02, 10),
    "100ms",
    "From one reading of energy, power and limits to the next.",
)
SAMPLING_DETAILS_INTERVAL = Option(
    "sampling.details-interval",
    kinds.duration(0.02, 3_600),
    "1s",
    "Between readings of temperature, clocks, memory, utilization and throttling.",
)
SAMPLING_SETTLE = Option(
    "sampling.settle",
    kinds.duration(0, 60),
    "2s",
    "How long after a change of a power limit a run's energy still counts as transition.",
)
PUSH_TTL = Option(
    "push.ttl",
    kinds.duration(5, 3_600),
    "60s",
    "A rank that has not pushed for this long loses its claim on its GPUs.",
)
PUSH_RETENTION = Option(
    "push.retention",
    kinds.duration(0, 604_800),
    "15m",
    "How long an ended run stays on /metrics.",
)
PUSH_ALLOW_REMOTE = Option(
    "push.allow-remote",
    kinds.boolean(),
    "false",
    "Accept pushes from other hosts too, where web.listen-address lets them in.",
)
HISTORY_RETENTION = Option(
    "history.retention",
    kinds.duration(0, 31_536_000),
    "30d",
    "How long the exporter keeps its own history of runs, in history.sqlite; 0 keeps none.",
)
HISTORY_MAX_SIZE = Option(
    "history.max-size",
    kinds.size(1024**2, 1024**4),
    "1GiB",
    "What history.sqlite may hold; above it, runs that ended longest ago go before their time.",
)
SIMULATED_MODEL = Option(
    "simulated.model",
    kinds.word(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,63}", "the name of a simulated card, such as V100"),
    "V100",
    "Card that the simulated GPUs imitate.",
)
SIMULATED_GPUS = Option(
    "simulated.gpus", kinds.integer(1, 1_024), "4", "How many GPUs are simulated."
)
SIMULATED_SEED = Option(
    "simulated.seed",
    kinds.integer(0, 2**32 - 1),
    "1",
    "Seed of the simulated noise: the same seed, the same numbers.",
)
SIMULATED_STATE_FILE = Option(
    "simulated.state-file",
    kinds.path(),
    None,
    "File in which simulated counters and limits outlive the exporter, as a driver's would.",
    "none: they start anew",
)
TARIFF_PRICE = Option(
    "tariff.price-per-kilowatt-hour",
    kinds.number(0),
    None,
    "Price of a kilowatt-hour, in tariff.currency.",
    "not exported",
)
TARIFF_CURRENCY = Option(
    "tariff.currency",
    kinds.word(r"[A-Z]{3}", "an ISO 4217 code, such as EUR"),
    None,
    "Currency of the price; needed with it.",
    "none",
)
TARIFF_CARBON = Option(
    "tariff.carbon-grams-per-kilowatt-hour",
    kinds.number(0),
    None,
    "Carbon intensity of the electricity, grams of CO2-equivalent.",
    "not exported",
)
TARIFF_ZONE = Option(
    "tariff.zone",
    kinds.word(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "the name of a grid zone, such as DE"),
    None,
    "Grid zone of the carbon intensity.",
    "none",
)
TARIFF_PUE = Option(
    "tariff.pue-ratio",
    kinds.number(1, 10),
    None,
    "Power usage effectiveness: energy of the building per energy of its machines.",
    "not exported",
)
LOG_LEVEL = Option(
    "log.level", kinds.choice("debug", "info", "warn", "error"), "info", "What is logged."
)
LOG_FORMAT = Option(
    "log.format", kinds.choice("logfmt", "json"), "logfmt", "How log lines are written."
)

OPTIONS: tuple[Option[object], ...] = (
    BACKEND,
    STATE_PATH,
    WEB_LISTEN_ADDRESS,
    WEB_CONFIG_FILE,
    ADMIN_LISTEN_ADDRESS,
    ADMIN_TOKEN_FILE,
    ADMIN_WEB_CONFIG_FILE,
    ADMIN_MAX_TTL,
    ADMIN_WRITE_INTERVAL,
    ADMIN_WRITE_BURST,
    POLICY_FILE,
    ACTUATOR_SOCKET,
    SAMPLING_INTERVAL,
    SAMPLING_DETAILS_INTERVAL,
    SAMPLING_SETTLE,
    PUSH_TTL,
    PUSH_RETENTION,
    PUSH_ALLOW_REMOTE,
    HISTORY_RETENTION,
    HISTORY_MAX_SIZE,
    SIMULATED_MODEL,
    SIMULATED_GPUS,
    SIMULATED_SEED,
    SIMULATED_STATE_FILE,
    TARIFF_PRICE,
    TARIFF_CURRENCY,
    TARIFF_CARBON,
    TARIFF_ZONE,
    TARIFF_PUE,
    LOG_LEVEL,
    LOG_FORMAT,
)
"""Every setting that a flag, a variable or a line of the file can give, in order of the page."""
