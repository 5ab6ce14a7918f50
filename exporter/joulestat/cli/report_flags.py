"""The command line of ``joulestat report``, checked and turned into what it names."""

from dataclasses import dataclass
from pathlib import Path

import click

from joulestat.cli.moments import Moment
from joulestat.cli.prometheus_flags import PrometheusFlags, refuse
from joulestat.cli.prometheus_options import MATCH, PROMETHEUS, many
from joulestat.optimizer.history.promql import PrometheusClient
from joulestat.optimizer.history.selector import Matcher
from joulestat.report.carbon import Intensity, constant
from joulestat.report.intensity_file import read_intensity_file
from joulestat.report.intensity_series import IntensityReader
from joulestat.report.report import Told

report_options = many(
    *PROMETHEUS,
    MATCH,
    click.option("--run", "run", required=True, metavar="RUN", help="Name of the run."),
    click.option(
        "--at",
        type=Moment(),
        help="Energy until then; default is now. The run is looked for in the 400 days before.",
    ),
    click.option(
        "--since",
        type=Moment(),
        help="Leave out what was begun before; default is all that has the name.",
    ),
    click.option(
        "--carbon.grams-per-kwh",
        "carbon_grams_per_kwh",
        type=click.FloatRange(min=0),
        metavar="GRAMS",
        help="Carbon intensity of the electricity, CO2e, the same all the time.",
    ),
    click.option(
        "--carbon.csv",
        "carbon_csv",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Intensities over time: a heading, then a time and g CO2e per kWh a line.",
    ),
    click.option(
        "--carbon.csv-column",
        "carbon_csv_column",
        metavar="NAME",
        help="Heading of the column with the intensity, where there is more than one.",
    ),
    click.option(
        "--carbon.promql",
        "carbon_promql",
        metavar="EXPR",
        help="Intensities over time, g CO2e per kWh: one series, or one for each node. "
        "Default is what the exporters show.",
    ),
    click.option(
        "--carbon.source",
        "carbon_source",
        metavar="TEXT",
        help="Where the intensities are from, as the card is to say it.",
    ),
    click.option(
        "--pue",
        type=click.FloatRange(min=1),
        help="Energy of the building over that of the GPUs; default is what the exporters show.",
    ),
    click.option(
        "--location", metavar="TEXT", help="Where it ran; default is the zone of the intensity."
    ),
    click.option(
        "--hardware", metavar="TEXT", help="What it ran on; default is number and model of GPUs."
    ),
    click.option(
        "--training-type",
        type=click.Choice(["pre-training", "fine-tuning"]),
        help="For the card; it cannot be measured.",
    ),
    click.option(
        "--model-card",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="README.md",
        help="Write energy and emissions into the metadata of this card.",
    ),
    click.option(
        "--output", type=click.Choice(["table", "json"]), default="table", show_default=True
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFlags(PrometheusFlags):
    """The command line, parsed; names and meanings are those of its options."""

    run: str
    at: float | None
    since: float | None
    carbon_grams_per_kwh: float | None
    carbon_csv: Path | None
    carbon_csv_column: str | None
    carbon_promql: str | None
    carbon_source: str | None
    pue: float | None
    location: str | None
    hardware: str | None
    training_type: str | None
    model_card: Path | None
    output: str

    @property
    def asks_for_carbon(self) -> bool:
        """Whether an intensity was given, so that emissions are expected."""
        return self._n_intensities > 0

    @property
    def _n_intensities(self) -> int:
        given = (self.carbon_grams_per_kwh, self.carbon_csv, self.carbon_promql)
        return sum(one is not None for one in given)

    @property
    def told(self) -> Told:
        """What was said of the training."""
        return Told(self.pue, self.training_type, self.location, self.hardware)

    def check(self, ctx: click.Context) -> None:
        """Refuse combinations that cannot mean what was meant.

        Raises:
            click.UsageError: Which, and what to do.
        """
        wrong = {
            "give --prometheus.url, the PromQL server with the history": (
                self.prometheus_url is None
            ),
            "give one of --carbon.grams-per-kwh, --carbon.csv and --carbon.promql": (
                self._n_intensities > 1
            ),
            "--carbon.csv-column belongs to --carbon.csv": (
                self.carbon_csv_column is not None and self.carbon_csv is None
            ),
        }
        refuse(wrong | self.wrong_prometheus(), ctx)

    def given_intensity(self) -> Intensity | None:
        """Return the intensity that needs no server; None where there is none.

        Raises:
            ConfigError: The CSV file is none.
        """
        said = self.carbon_source or ""
        if self.carbon_grams_per_kwh is not None:
            return constant(self.carbon_grams_per_kwh, said)
        if self.carbon_csv is not None:
            source = said or "mean over time"
            return read_intensity_file(self.carbon_csv, self.carbon_csv_column, source)
        return None

    def intensity(self, reader: IntensityReader, matchers: list[Matcher]) -> Intensity | None:
        """Return the intensity that a server tells; None where it tells none.

        Raises:
            HistoryError: As for any query.
        """
        if self.carbon_promql is not None:
            return reader.of_expression(self.carbon_promql, self.carbon_source or "mean over time")
        return reader.of_exporters(matchers, self.carbon_source or "")

    def client(self) -> PrometheusClient:
        """Return the client of the Prometheus that is named.

        Raises:
            HistoryError: Its URL cannot be asked.
        """
        return self.prometheus()
