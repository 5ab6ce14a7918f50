"""The command ``joulestat``, one module a command.

A command is imported only when it is used: the optimizer runs without the exporter's libraries,
and a missing library is named with its cure.
"""

import importlib
import sys
from types import ModuleType

COMMANDS = {
    "serve": ("server", "Run the exporter."),
    "actuator": ("server", "Hold power limits for an exporter that runs without privilege."),
    "demo": ("all", "Run the whole loop on simulated GPUs, with a real Prometheus."),
    "doctor": ("all", "Check whether the loop would work here, and say what is missing."),
    "optimize": ("optimizer", "Find the best power limit of a run from its history."),
    "report": ("optimizer", "Tell a run's energy and emissions, also on its model card."),
    "lease": ("server", "See, take and end leases on power limits; make tokens."),
}
"""Name -> the extra that brings its libraries, and what ``joulestat --help`` says of it."""

PLAIN_COMMANDS = {
    "run": "Run any command and report its energy, with no change to its code.",
}
"""Those that need no extra, and so no click: their modules have a ``main`` of their own."""


def main() -> None:
    """Run the command line; exits the process."""
    if sys.argv[1:2] and sys.argv[1] in PLAIN_COMMANDS:
        plain = importlib.import_module(f"joulestat.cli.{sys.argv[1]}")
        sys.exit(plain.main(sys.argv[2:]))
    try:
        group = importlib.import_module("joulestat.cli.group")
    except ModuleNotFoundError as error:
        sys.exit(missing_library(error, "all", "the command line"))
    group.joulestat(prog_name="joulestat")


def load(command: str) -> ModuleType:
    """Import a command's module, or exit saying which extra is missing."""
    extra, _ = COMMANDS[command]
    try:
        return importlib.import_module(f"joulestat.cli.{command}")
    except ModuleNotFoundError as error:
        sys.exit(missing_library(error, extra, f"joulestat {command}"))


def load_pictures(name: str) -> ModuleType:
    """Import a module that draws, or exit saying how to get the library that it draws with.

    Imported only for those who ask for a picture: it takes half a second.
    """
    try:
        return importlib.import_module(f"joulestat.optimizer.show.{name}")
    except ModuleNotFoundError as error:
        sys.exit(missing_library(error, "optimizer", "drawing"))


def load_card() -> ModuleType:
    """Import the module that writes model cards, or exit saying how to get the hub's library."""
    try:
        return importlib.import_module("joulestat.model_card")
    except ModuleNotFoundError as error:
        sys.exit(missing_library(error, "model-card", "writing a model card"))


def missing_library(error: ModuleNotFoundError, extra: str, what: str) -> str:
    """Return what to tell someone who installed the client alone; our own bugs are raised."""
    name = (error.name or "").partition(".")[0]
    if name == "joulestat":
        raise error
    return (
        f"joulestat: {what} needs the library {name!r}, which is not installed here; "
        f"install it with: pip install 'joulestat[{extra}]'"
    )
