"""``joulestat report``: what a run took and emitted, in a terminal and on its model card."""

import sys
from types import ModuleType
from typing import Any

import click
from rich.console import Console

from joulestat.cli import load_card
from joulestat.cli.report_flags import ReportFlags, report_options
from joulestat.domain.errors import CardError, ConfigError, HistoryError
from joulestat.optimizer.history.promql import PrometheusClient
from joulestat.optimizer.show.wording import rfc3339
from joulestat.report.energy import EnergyReader
from joulestat.report.intensity_series import IntensityReader
from joulestat.report.report import Report, report_of
from joulestat.report.show import as_json, as_table

COMPLETE = 0
FAILURE = 1
INCOMPLETE = 3
"""The history does not tell what was asked: nothing of the run, or not its emissions."""


PIPED_WIDTH_COLUMNS = 100


@click.command()
@report_options
@click.pass_context
def report(ctx: click.Context, /, **given: Any) -> None:
    """Tell what a run took, by GPU and by phase, and what it emitted.

    Reads the history in a PromQL server. Emissions are told only where the carbon intensity of
    the electricity is known for all of the run's time. Exits 0 with all that was asked for, 3
    where the history does not tell it, 1 on failure, 2 on wrong usage.
    """
    flags = ReportFlags(**given)
    flags.check(ctx)
    cards = load_card() if flags.model_card is not None else None
    try:
        sys.exit(_run(flags, cards))
    except (HistoryError, ConfigError, CardError) as error:
        _say(str(error))
        sys.exit(FAILURE)


def _run(flags: ReportFlags, cards: ModuleType | None) -> int:
    """Show the report, write the card, and return the exit code."""
    found = _read(flags)
    if found is None:
        return INCOMPLETE
    if flags.output == "json":
        click.echo(as_json(found))
    else:
        console = Console(highlight=False, emoji=False)
        if not console.is_terminal:
            console.width = PIPED_WIDTH_COLUMNS
        console.print(as_table(found))
    if cards is not None:
        joules = {gpu.gpu_uuid: gpu.joules for gpu in found.energy.gpus}
        if not joules:
            _say(f"the run took no energy yet; {flags.model_card} stays as it is")
            return INCOMPLETE
        changed = cards.write_model_card(flags.model_card, joules, emissions=found.emissions)
        _say(f"{flags.model_card} {'written' if changed else 'says so already'}")
    return INCOMPLETE if flags.asks_for_carbon and found.carbon is None else COMPLETE


def _read(flags: ReportFlags) -> Report | None:
    """Read what there is; None where there is nothing of the run, which is said."""
    given, matchers = flags.given_intensity(), flags.matchers()
    with flags.client() as client:
        at_seconds = client.now_seconds() if flags.at is None else flags.at
        found = EnergyReader(client, matchers).read(flags.run, at_seconds, flags.since)
        if found is None:
            _say_nothing(flags, client, at_seconds)
            return None
        energy, nodes = found
        reader = IntensityReader(client, energy, nodes)
        intensity = flags.intensity(reader, matchers) if given is None else given
        return report_of(energy, intensity, reader.pue_ratio(matchers), flags.told)


def _say_nothing(flags: ReportFlags, client: PrometheusClient, at_seconds: float) -> None:
    _say(
        f"Prometheus at {client.place} has nothing of a run {flags.run!r} in the 400 days before "
        f"{rfc3339(round(at_seconds))}; see that the name is right, or give --at"
    )


def _say(text: str) -> None:
    """Write one line to standard error."""
    click.echo(f"joulestat report: {text}", err=True)
