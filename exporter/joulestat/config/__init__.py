"""What can be configured: parsed or refused, then frozen."""

from joulestat.config.address import ListenAddress
from joulestat.config.loading import load_config
from joulestat.config.model import (
    AdminConfig,
    BudgetConfig,
    Config,
    HistoryConfig,
    LogConfig,
    PushConfig,
    SamplingConfig,
    SimulatedConfig,
    WebConfig,
)
from joulestat.config.options import OPTIONS, Option

__all__ = [
    "OPTIONS",
    "AdminConfig",
    "BudgetConfig",
    "Config",
    "HistoryConfig",
    "ListenAddress",
    "LogConfig",
    "Option",
    "PushConfig",
    "SamplingConfig",
    "SimulatedConfig",
    "WebConfig",
    "load_config",
]
