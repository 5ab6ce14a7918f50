"""From what people wrote to a Config: file, then environment, then flags; the last one wins."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar, cast

from joulestat.config import options
from joulestat.config.address import ListenAddress
from joulestat.config.budgets import read_budgets
from joulestat.config.document import Document
from joulestat.config.model import (
    ActuatorConfig,
    AdminConfig,
    BudgetConfig,
    Config,
    HistoryConfig,
    LogConfig,
    PolicyConfig,
    PushConfig,
    SamplingConfig,
    SimulatedConfig,
    WebConfig,
)
from joulestat.config.options import OPTIONS, Option
from joulestat.config.sources import (
    CONFIG_FILE_VARIABLE,
    Given,
    defaults,
    from_environment,
    from_flags,
    parse,
)
from joulestat.domain.errors import ConfigError
from joulestat.domain.tariff import Tariff

T = TypeVar("T")

ROOT_STATE_PATH = Path("/var/lib/joulestat")

_BY_KEY = {option.key: option for option in OPTIONS}


def load_config(
    *,
    flags: Mapping[str, object],
    environment: Mapping[str, str],
    file: Path | None,
    is_root: bool,
    home: Path,
) -> Config:
    """Return the configuration that file, environment and flags make together.

    Every value is checked, those that a stronger place overrides included: a mistake in the
    file does not wait for the day its flag is removed.

    Args:
        flags: By ``Option.key``, as text or as click parsed it; None where not given.
        environment: All variables of the process.
        file: YAML; None takes ``JOULESTAT_CONFIG_FILE``, and without that there is no file.
        is_root: Whether the process runs as root, which decides the default ``state_path``.
        home: What ``~/`` means.

    Raises:
        ConfigError: A name is unknown, a value is not allowed, or two values contradict each
            other; it names the key, the value, the place and what is allowed.
    """
    if file is None and environment.get(CONFIG_FILE_VARIABLE):
        file = _expanded(environment[CONFIG_FILE_VARIABLE], None, home)
    document = None if file is None else Document(file)
    settings = _Settings(home)
    settings.add(defaults())
    if document is not None:
        settings.add(document.settings())
    settings.add(from_environment(environment))
    settings.add(from_flags(flags))
    tariff = _tariff(settings)
    return _build(
        settings,
        budgets=() if document is None else read_budgets(document, tariff),
        tariff=tariff,
        default_state_path=_default_state_path(environment, is_root=is_root, home=home),
    )


class _Settings:
    """Parsed values and where each was given; later ones replace earlier ones."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._values: dict[str, object] = {}
        self._places: dict[str, str] = {}

    def add(self, source: Iterable[Given]) -> None:
        for given in source:
            kind = _BY_KEY[given.key].kind
            text = given.text
            if kind.name == "path" and text:
                text = str(_expanded(text, given.folder, self._home))
            self._values[given.key] = parse(replace(given, text=text), kind)
            self._places[given.key] = given.place

    def get(self, option: Option[T]) -> T | None:
        return cast("T | None", self._values.get(option.key))

    def require(self, option: Option[T]) -> T:
        """Return the value of an option that has a default."""
        return cast("T", self._values[option.key])

    def error(self, option: Option[T], about: Option[object], what: str) -> ConfigError:
        """Return the error about ``option``, standing where ``about`` was given."""
        place = self._places.get(about.key, about.flag)
        return ConfigError(
            f"{place}: {what}",
            field=option.key,
            value=self._values.get(option.key, ""),
            place=place,
            allowed=option.kind.allowed,
        )


def _build(
    settings: _Settings,
    *,
    budgets: tuple[BudgetConfig, ...],
    tariff: Tariff,
    default_state_path: Path,
) -> Config:
    return Config(
        state_path=settings.get(options.STATE_PATH) or default_state_path,
        backend=settings.require(options.BACKEND),
        web=WebConfig(
            listen_addresses=settings.require(options.WEB_LISTEN_ADDRESS),
            config_file=settings.get(options.WEB_CONFIG_FILE),
        ),
        admin=_admin(settings),
        policy=PolicyConfig(file=settings.get(options.POLICY_FILE)),
        actuator=ActuatorConfig(socket=settings.get(options.ACTUATOR_SOCKET)),
        sampling=SamplingConfig(
            interval_seconds=settings.require(options.SAMPLING_INTERVAL),
            details_interval_seconds=settings.require(options.SAMPLING_DETAILS_INTERVAL),
            settle_seconds=settings.require(options.SAMPLING_SETTLE),
        ),
        push=PushConfig(
            ttl_seconds=settings.require(options.PUSH_TTL),
            retention_seconds=settings.require(options.PUSH_RETENTION),
            allow_remote=settings.require(options.PUSH_ALLOW_REMOTE),
        ),
        history=HistoryConfig(
            retention_seconds=settings.require(options.HISTORY_RETENTION),
            max_size_bytes=settings.require(options.HISTORY_MAX_SIZE),
        ),
        simulated=SimulatedConfig(
            model=settings.require(options.SIMULATED_MODEL),
            gpus=settings.require(options.SIMULATED_GPUS),
            seed=settings.require(options.SIMULATED_SEED),
            state_file=settings.get(options.SIMULATED_STATE_FILE),
        ),
        budgets=budgets,
        tariff=tariff,
        log=LogConfig(
            level=settings.require(options.LOG_LEVEL),
            format=settings.require(options.LOG_FORMAT),
        ),
    )


def _admin(settings: _Settings) -> AdminConfig:
    listen_address = settings.get(options.ADMIN_LISTEN_ADDRESS)
    token_file = settings.get(options.ADMIN_TOKEN_FILE)
    web_config_file = settings.get(options.ADMIN_WEB_CONFIG_FILE)
    if listen_address is not None:
        if token_file is None:
            raise settings.error(
                options.ADMIN_TOKEN_FILE,
                options.ADMIN_LISTEN_ADDRESS,
                "admin.listen-address is given without admin.token-file; the admin API takes "
                "no request without a token, so give it a file of tokens",
            )
        if _is_taken(listen_address, settings.require(options.WEB_LISTEN_ADDRESS)):
            raise settings.error(
                options.ADMIN_LISTEN_ADDRESS,
                options.ADMIN_LISTEN_ADDRESS,
                f"admin.listen-address {listen_address} is a web.listen-address already; "
                "the admin API has a listener of its own",
            )
        if web_config_file is None and not listen_address.is_loopback:
            raise settings.error(
                options.ADMIN_LISTEN_ADDRESS,
                options.ADMIN_LISTEN_ADDRESS,
                f"admin.listen-address {listen_address} is where other hosts reach it, and there "
                "is no admin.web-config-file with TLS, so tokens would cross the network in the "
                "clear; give that file, a Unix socket or a loopback address",
            )
    return AdminConfig(
        listen_address=listen_address,
        token_file=token_file,
        web_config_file=web_config_file,
        max_ttl_seconds=settings.require(options.ADMIN_MAX_TTL),
        write_interval_seconds=settings.require(options.ADMIN_WRITE_INTERVAL),
        write_burst=settings.require(options.ADMIN_WRITE_BURST),
    )


def _is_taken(address: ListenAddress, others: tuple[ListenAddress, ...]) -> bool:
    # Port 0 is a new port each time it is bound.
    return address in others and address.port != 0


def _tariff(settings: _Settings) -> Tariff:
    price = settings.get(options.TARIFF_PRICE)
    currency = settings.get(options.TARIFF_CURRENCY)
    if price is not None and currency is None:
        raise settings.error(
            options.TARIFF_CURRENCY,
            options.TARIFF_PRICE,
            "tariff.price-per-kilowatt-hour is given without tariff.currency; "
            "say in which currency it is, such as EUR",
        )
    return Tariff(
        price_per_kilowatt_hour=price,
        currency=currency or "",
        carbon_grams_per_kilowatt_hour=settings.get(options.TARIFF_CARBON),
        zone=settings.get(options.TARIFF_ZONE) or "",
        pue_ratio=settings.get(options.TARIFF_PUE),
    )


def _default_state_path(environment: Mapping[str, str], *, is_root: bool, home: Path) -> Path:
    if is_root:
        return ROOT_STATE_PATH
    given = environment.get("XDG_STATE_HOME", "")
    # The XDG base directory specification: a relative path there is to be ignored.
    state_home = Path(given) if given.startswith("/") else home / ".local" / "state"
    return state_home / "joulestat"


def _expanded(text: str, folder: Path | None, home: Path) -> Path:
    if text == "~" or text.startswith("~/"):
        return home / text[2:]
    return Path(text) if folder is None else folder / text
