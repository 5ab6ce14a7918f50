"""``joulestat run``: the energy of any command, with no change to its code.

Stands on the standard library and the client alone, so that ``pip install joulestat`` is enough.
"""

import argparse
import logging
import math
import os
import sys
from collections.abc import Sequence

from joulestat.cli import run_energy
from joulestat.cli.child import CannotRun, Signals, check_command, run_command
from joulestat.cli.clocks import monotonic_seconds, pause
from joulestat.client.arguments import is_switched_on
from joulestat.client.naming import STAND_IN_VARIABLE
from joulestat.client.notices import LOGGER
from joulestat.client.outbox import monotonic_ns
from joulestat.client.run import Run
from joulestat.client.start import AUTO, init
from joulestat.client.target import DEFAULT_URL, Target, parse_target

LABELS = ("job", "user", "team")
FLUSH_SECONDS = 1.0
TAKEN_OVER = 409

_DESCRIPTION = """\
Run a command and report the energy of its GPUs as a run: in phase "other", with no steps. The
command gets every signal and its exit status is passed on (128+n after signal n). A command that
reports itself, by joulestat.init, takes over from then on: nothing is counted twice."""

_EPILOG = """\
example: joulestat run --run llama-ft-42 --team nlp -- python train.py --lr 1e-4

Without an exporter the command runs all the same. JOULESTAT_DISABLED=1 runs it and nothing else."""


def main(arguments: Sequence[str]) -> int:
    """Run a command; return its exit status."""
    options = _parse(arguments)
    command: list[str] = options.command
    try:
        check_command(command[0])
        if is_switched_on(os.environ, "JOULESTAT_DISABLED"):
            os.execvp(command[0], command)  # noqa: S606 - to run a command is what this is for
        return _run(options, command)
    except CannotRun as error:
        _say(str(error))
        return error.status


def _run(options: argparse.Namespace, command: Sequence[str]) -> int:
    with Signals() as signals:
        began_seconds = monotonic_seconds()
        labels = {name: getattr(options, name) for name in LABELS}
        LOGGER.addFilter(_is_news)
        run = init(
            options.run,
            gpus=options.gpus or AUTO,
            url=options.url,
            energy_budget_kwh=options.energy_budget_kwh,
            **labels,
        )
        try:
            status = run_command(command, _environment(options, run), signals)
            seconds = monotonic_seconds() - began_seconds
        finally:
            # One that the command took over from hears of it now, if not before.
            heard = run.flush(FLUSH_SECONDS) or not run.active
            run.finish()
        _say(_outcome(options, run, seconds, heard=heard))
    return status


def _is_news(record: logging.LogRecord) -> bool:
    """Keep quiet about what is meant to happen: a command that reports itself takes over."""
    return not (isinstance(record.args, tuple) and TAKEN_OVER in record.args)


def _environment(options: argparse.Namespace, run: Run) -> dict[str, str]:
    """Return what the command finds: the run to join, and whom it takes over from."""
    said = (*LABELS, "url", "gpus")
    told = {f"JOULESTAT_{name.upper()}": getattr(options, name) for name in said}
    return {
        **os.environ,
        **{name: text for name, text in told.items() if text},
        "JOULESTAT_RUN": run.name,
        STAND_IN_VARIABLE: run.incarnation,
    }


def _outcome(options: argparse.Namespace, run: Run, seconds: float, *, heard: bool) -> str:
    url = options.url or os.environ.get("JOULESTAT_URL") or DEFAULT_URL
    if not heard:
        return f"the energy of run {run.name} is not known: no exporter took its pushes at {url}"
    joules = run_energy.booked_joules(run, _target(url), now_ns=monotonic_ns, pause=pause)
    joules = joules or run.lineage_joules()
    if not joules:
        return (
            f"the energy of run {run.name} is not known: nothing tells which GPUs it used; "
            "name them with --gpus"
        )
    return run_energy.energy_line(run.name, joules, seconds)


def _target(url: str) -> Target:
    try:
        return parse_target(url.strip())
    except ValueError:  # init said so, and took the default
        return parse_target(DEFAULT_URL)


def _say(text: str) -> None:
    try:
        print(f"joulestat: {text}", file=sys.stderr, flush=True)
    except OSError:  # nobody listens any more; the command's exit status is what counts
        return


def _kilowatt_hours(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no amount of energy; say 12.5 for 12.5 kWh")
    return value


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="joulestat run",
        usage="joulestat run [options] -- COMMAND [ARGUMENT ...]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--run", metavar="NAME", help="name of the run; else as JOULESTAT_RUN or a scheduler says"
    )
    parser.add_argument(
        "--gpus",
        metavar="GPUS",
        help="UUIDs or NVML indices, with commas between, or all; else what the command will see",
    )
    for name in LABELS:
        parser.add_argument(f"--{name}", metavar="TEXT", help="label; else as the environment says")
    parser.add_argument(
        "--energy-budget-kwh",
        metavar="KWH",
        type=_kilowatt_hours,
        help="what the run may use; nothing stops it, but alerts tell when it is used up",
    )
    parser.add_argument(
        "--url", help=f"the exporter: http://host:port or unix:/path [{DEFAULT_URL}]"
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.command[:1] == ["--"]:
        del options.command[0]
    if not options.command:
        parser.error("say which command to run: joulestat run --run NAME -- python train.py")
    return options
