"""What can be configured: parsed or refused, then frozen."""

from joulestat.config.address import ListenAddress
from joulestat.config.loading import load_config
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

__all__ = [
    "OPTIONS",
    "ActuatorConfig",
    "AdminConfig",
    "BudgetConfig",
    "Config",
    "HistoryConfig",
    "ListenAddress",
    "LogConfig",
    "Option",
    "PolicyConfig",
    "PushConfig",
    "SamplingConfig",
    "SimulatedConfig",
    "WebConfig",
    "load_config",
]
