"""``joulestat demo``: the whole loop on simulated GPUs, against a real Prometheus."""

import json
import sys

import click
from rich.console import Console

from joulestat.demo.options import OBJECTIVES, DemoOptions
from joulestat.demo.play import Play
from joulestat.demo.show import Show
from joulestat.devices.models import MODELS
from joulestat.domain.errors import JoulestatError
from joulestat.loops.system_clock import SystemClock

DEFAULTS = DemoOptions()
FAILURE = 1
INTERRUPTED = 130


@click.command()
@click.option(
    "--model",
    type=click.Choice(list(MODELS), case_sensitive=False),
    default=DEFAULTS.model,
    show_default=True,
    help="Card to simulate.",
)
@click.option(
    "--gpus",
    type=click.IntRange(1, 64),
    default=DEFAULTS.gpus,
    show_default=True,
    help="How many of it; the run holds them all.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(40, 3600),
    default=DEFAULTS.seconds,
    show_default=True,
    help="About how long it takes; more time is more exact.",
)
@click.option(
    "--objective",
    type=click.Choice(list(OBJECTIVES)),
    default=DEFAULTS.objective,
    show_default=True,
    help="slowdown: least energy at 1.05 times the step time. cost: energy against time, evenly.",
)
@click.option("--keep", is_flag=True, help="Go on afterwards until Ctrl-C, to look around.")
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def demo(*, model: str, gpus: int, seconds: float, objective: str, keep: bool, output: str) -> None:
    """Run the whole loop: simulated GPUs, everything else real.

    Starts an exporter, a Prometheus and a training process on loopback, lets the optimizer probe
    power limits until it holds the best, shows what that saves, and puts everything back.

    Exit status: 0 when a limit was held, 1 when something failed or a limit was left behind,
    130 when stopped before.
    """
    options = DemoOptions(model, gpus, seconds, objective, keep)
    console = Console(stderr=output == "json")
    show = Show(console, options)
    try:
        with show:
            result = Play(options, show, SystemClock()).run()
    except JoulestatError as error:
        click.echo(f"joulestat demo: {error}", err=True)
        sys.exit(FAILURE)
    if result.decision is not None and not keep:
        show.result(result.decision)
    show.ended(result)
    if output == "json":
        click.echo(json.dumps(result.as_json_object(), allow_nan=False, indent=2))
    if result.left_behind_watts:
        sys.exit(FAILURE)
    if not result.held:
        sys.exit(INTERRUPTED)
