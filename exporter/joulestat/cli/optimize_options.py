"""The options of ``joulestat optimize``, in the groups that its help shows them in."""

from pathlib import Path

import click

from joulestat.cli.admin_options import ADMIN
from joulestat.cli.moments import Duration, Moment
from joulestat.cli.prometheus_options import MATCH, PROMETHEUS, many
from joulestat.optimizer.evidence.profile import Minimum

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_NEW_FILE = click.Path(dir_okay=False, writable=True, path_type=Path)
_NOT_NEGATIVE = click.FloatRange(min=0)


source_options = many(
    *PROMETHEUS,
    click.option(
        "--history.file",
        "history_files",
        multiple=True,
        type=_FILE,
        metavar="PATH",
        help="An exporter's own history instead: history.sqlite in its state folder. One per node.",
    ),
    click.option(
        "--history.admin",
        "history_admin",
        is_flag=True,
        help="Ask the exporters at --admin.url for their own history instead.",
    ),
    click.option("--run", "run", metavar="RUN", help="Name of the run."),
    click.option("--all-runs", is_flag=True, help="Every run that is shown at that time."),
    MATCH,
    click.option("--at", type=Moment(), help="Decide as of then; default is now."),
    click.option(
        "--window", type=Duration(), help="How far back to look; default is the whole run."
    ),
)

goal_options = many(
    click.option(
        "--objective",
        type=click.Choice(["slowdown", "cost", "energy", "money", "finish-by", "budget"]),
        default="slowdown",
        show_default=True,
        help="slowdown: least energy within --max-slowdown. cost: energy against time, by --eta. "
        "energy: least energy. money: least money. finish-by: least energy, done by --finish-by. "
        "budget: least time within the energy budget.",
    ),
    click.option(
        "--eta", type=float, default=0.5, show_default=True, help="Weight of energy, 0 to 1."
    ),
    click.option(
        "--max-slowdown",
        type=float,
        default=1.05,
        show_default=True,
        help="Steps may take this many times as long as at the reference limit.",
    ),
    click.option("--finish-by", type=Moment(), help="When all planned steps are to be made."),
    click.option("--price-per-kwh", type=_NOT_NEGATIVE, help="Default is the exporter's tariff."),
    click.option("--currency", help="Of the prices, for example EUR."),
    click.option("--price-per-gpu-hour", type=_NOT_NEGATIVE, default=0.0, show_default=True),
    click.option("--price-per-tonne-carbon", type=_NOT_NEGATIVE, help="Counted if given."),
    click.option(
        "--carbon-intensity",
        type=_NOT_NEGATIVE,
        help="Grams CO2e per kWh; default is the exporter's tariff.",
    ),
    click.option("--pue", type=click.FloatRange(min=1), help="Default is the exporter's tariff."),
    click.option(
        "--energy-budget-kwh",
        type=click.FloatRange(min=0, min_open=True),
        help="With --run: say whether it finishes on so much; default is what the run said.",
    ),
    click.option(
        "--power-budget-kw",
        type=click.FloatRange(min=0, min_open=True),
        help="With --all-runs: divide so much among all runs, by what it is worth to each.",
    ),
    click.option(
        "--straggler-aware",
        is_flag=True,
        help="Lower GPUs that wait for a slower one. Proven on simulated GPUs only.",
    ),
    click.option("--explore", is_flag=True, help="Also propose limits only to measure them."),
    click.option(
        "--min-steps",
        type=click.IntRange(min=1),
        default=Minimum().steps,
        show_default=True,
        help="Fewer steps at a limit are no measurement.",
    ),
    click.option(
        "--min-seconds",
        type=Duration(),
        default=Minimum().seconds,
        show_default=True,
        help="Less training time at a limit is no measurement.",
    ),
)

control_options = many(
    click.option(
        "--apply", "apply", is_flag=True, help="Hold the limit on the run's GPUs, as leases."
    ),
    *ADMIN,
    click.option("--lease-ttl", type=Duration(), help="Default 15m; with --watch three rounds."),
    click.option("--keep-lease", is_flag=True, help="At the end of --watch let holds run out."),
    click.option("--watch", type=Duration(), metavar="INTERVAL", help="Decide anew, this often."),
)

output_options = many(
    click.option(
        "--output", type=click.Choice(["table", "json"]), default="table", show_default=True
    ),
    click.option(
        "--explain", is_flag=True, help="Also print every query and the numbers behind a decision."
    ),
    click.option("--plot", type=_NEW_FILE, help="Draw the run: FILE.png or FILE.svg."),
    click.option("--report", type=_NEW_FILE, help="Write one self-contained page: FILE.html."),
)
