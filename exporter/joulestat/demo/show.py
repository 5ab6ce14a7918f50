"""What a person sees while the demo runs: a live picture, or lines where there is no screen."""

import shutil
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from joulestat.demo.options import DemoOptions
from joulestat.demo.result import Result, points_table
from joulestat.demo.scene import Addresses
from joulestat.demo.trainer import RUN
from joulestat.domain.plan import Action, Decision

BAR_WIDTH = 40


class Show:
    """Tells a person how far the demo is; a context manager.

    On a terminal one picture is drawn over and over; elsewhere each new thing is one line.
    """

    def __init__(self, console: Console, options: DemoOptions) -> None:
        self._console = console
        self._options = options
        self._elapsed_seconds = 0.0
        self._doing = ""
        self._limits = ""
        self._decision: Decision | None = None
        self._last_news: object = None
        self._live = (
            Live(
                console=console,
                get_renderable=self._picture,
                refresh_per_second=4,
                transient=True,
            )
            if console.is_terminal
            else None
        )

    def __enter__(self) -> Self:
        self._console.print(
            f"[bold]joulestat demo[/]: {self._options.gpus} simulated {self._options.model}; "
            "everything else is real."
        )
        self._console.print(
            f"Takes about {self._options.seconds:.0f} s. Ctrl-C stops it and puts all back."
        )
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def doing(self, what: str, elapsed_seconds: float, *, news: object = None) -> None:
        """Say what is done now.

        Args:
            what: In a sentence.
            elapsed_seconds: Since the demo began.
            news: What must have changed for this to be worth another line; the sentence itself
                if not given. A screen shows every sentence.
        """
        self._elapsed_seconds = elapsed_seconds
        self._doing = what
        news = what if news is None else news
        if self._live is None and news != self._last_news:
            self._last_news = news
            self._console.print(f"[{elapsed_seconds:5.1f} s] {what}", markup=False, soft_wrap=True)

    def decided(
        self, decision: Decision, limits_watts: Mapping[str, float], elapsed_seconds: float
    ) -> None:
        """Show a decision, and the limits that the hardware has now."""
        self._decision = decision
        distinct = sorted({f"{watts:.0f} W" for watts in limits_watts.values()})
        self._limits = f"{' and '.join(distinct)} on {len(limits_watts)} GPU(s)"
        self.doing(
            decision.reason, elapsed_seconds, news=(decision.action, decision.power_limit_watts)
        )

    def failing(self, why: str, elapsed_seconds: float) -> None:
        """Say what does not work just now."""
        self.doing(f"not yet: {why}", elapsed_seconds)

    def opened(self, addresses: Addresses) -> None:
        """Show where to look, as soon as there is something to see."""
        self._console.print("Open in a browser while it runs:")
        self._places(*_pages(addresses))

    def kept(self, addresses: Addresses, decision: Decision | None) -> None:
        """Show the result so far, and where to look while everything goes on."""
        if decision is not None:
            self.result(decision)
        minimum = self._options.minimum
        evidence = f"--min-steps {minimum.steps} --min-seconds {minimum.seconds:g}"
        objective = f"--objective {self._options.objective}"
        history = f"--prometheus.url {addresses.prometheus} {objective} {evidence}"
        admin = f"--admin.url {addresses.admin} --admin.token-file {addresses.token_file}"
        self._console.print("\nEverything goes on until Ctrl-C. Where to look:")
        self._places(
            *_pages(addresses),
            ("leases", f"{_command()} lease list {admin}"),
            ("advice", f"{_command()} optimize --run {RUN} {history}"),
        )

    def result(self, decision: Decision) -> None:
        """Show what was found out."""
        self._decision = None
        self._console.print()
        self._console.print(points_table(decision))
        self._console.print(
            "  cost = 0.5 * J/step + 0.5 * reference limit of all GPUs * s/step, J", style="dim"
        )
        self._console.print()
        self._console.print(_verdict(decision), soft_wrap=True)

    def ended(self, result: Result) -> None:
        """Say what the training code knew, and whether everything is back as it was."""
        joules = result.joules_in_training_code
        if joules:
            self._console.print(
                f"The training code's own count of the run's energy: {joules:.0f} J."
            )
        if result.left_behind_watts:
            left = ", ".join(f"{uuid}: {w:.0f} W" for uuid, w in result.left_behind_watts.items())
            self._console.print(f"[bold red]Limits were left behind:[/] {escape(left)}")
        elif result.baseline_watts:
            watts = sorted({f"{watts:.0f} W" for watts in result.baseline_watts.values()})
            self._console.print(
                f"Everything stopped; all {len(result.baseline_watts)} power limits are back at "
                f"{' and '.join(watts)}."
            )
            if result.held and not self._options.keep:
                self._console.print("To look around afterwards, run it with --keep.")
        else:
            self._console.print("Everything stopped; no limit was touched.")

    def _places(self, *places: tuple[str, str]) -> None:
        for what, where in places:
            self._console.print(f"  {what:<11} {where}", markup=False, soft_wrap=True)

    def _picture(self) -> RenderableType:
        total = self._options.seconds
        head = Table.grid(padding=(0, 2))
        head.add_row(
            ProgressBar(total=total, completed=min(self._elapsed_seconds, total), width=BAR_WIDTH),
            f"{self._elapsed_seconds:.0f} s",
            f"limit now {self._limits}" if self._limits else "",
        )
        parts: list[RenderableType] = [head, Text(self._doing)]
        if self._decision is not None and self._decision.points:
            parts += [Text(), points_table(self._decision)]
        return Group(*parts)


def _command() -> str:
    """Return how this shell calls joulestat: `make demo` puts nothing on PATH."""
    return "joulestat" if shutil.which("joulestat") else f"{sys.executable} -m joulestat"


def _pages(addresses: Addresses) -> tuple[tuple[str, str], ...]:
    graph = "/graph?g0.expr=joulestat_gpu_power_limit_watts&g0.tab=0&g0.range_input=5m"
    return ("exporter", addresses.exporter), ("Prometheus", addresses.prometheus + graph)


def _verdict(decision: Decision) -> str:
    if decision.action is not Action.HOLD or decision.expected is None:
        return f"No limit was chosen: {escape(decision.reason)}"
    expected = decision.expected
    return (
        f"[bold]Chosen: {decision.power_limit_watts} W[/] per GPU instead of "
        f"{decision.reference_power_limit_watts} W: {100 * expected.energy_saving_ratio:.1f} % "
        f"less energy per step, {expected.slowdown_ratio:.3f} times as long."
    )
