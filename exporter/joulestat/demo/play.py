"""The demo itself: start everything, let the optimizer decide round by round, put all back."""

import tempfile
from contextlib import ExitStack
from pathlib import Path

from joulestat.client.admin import AdminClient
from joulestat.demo.children import Children, DemoFailed
from joulestat.demo.database import find_prometheus
from joulestat.demo.options import HOLD_SECONDS, OBJECTIVES, DemoOptions
from joulestat.demo.result import Result
from joulestat.demo.scene import Scene, still_limited
from joulestat.demo.show import Show
from joulestat.demo.stopping import Stopped, Stopping
from joulestat.demo.trainer import RUN
from joulestat.domain.clock import Clock
from joulestat.domain.plan import Action, Decision
from joulestat.domain.units import ns_to_seconds
from joulestat.optimizer.addresses.given import GivenAddresses
from joulestat.optimizer.history.prometheus import PrometheusHistory
from joulestat.optimizer.history.promql import PrometheusClient
from joulestat.optimizer.publish import LeasePublisher, ttl_for
from joulestat.optimizer.rounds import Optimizer, Question

ROUND_SECONDS = 1.0
TIMEOUT_SECONDS = 5.0


class Play:
    """One demo. Everything it starts ends with it, whatever happens; for the main thread."""

    def __init__(self, options: DemoOptions, show: Show, clock: Clock) -> None:
        self._options = options
        self._show = show
        self._clock = clock
        self._began_ns = clock.monotonic_ns()
        self._baseline_watts: dict[str, float] = {}
        self._decision: Decision | None = None

    def run(self) -> Result:
        """Run the demo until a limit is held, or until somebody stops it.

        Raises:
            DemoFailed: There is no Prometheus, or a part of the demo did not do what it should.
                Everything was ended, and limits put back, before.
        """
        find_prometheus()
        with ExitStack() as stack:
            stopping = stack.enter_context(Stopping())
            folder = Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="joulestat-demo-"))
            )
            children = Children(folder)
            stack.callback(children.stop_all)
            scene = Scene(self._options, Path(folder), children, self._clock)
            try:
                self._perform(scene, stopping)
            except Stopped:
                self._show.doing("Stopping, and putting limits back.", self._elapsed_seconds())
            elapsed_seconds = self._elapsed_seconds()
            joules = scene.joules_in_training_code()
            children.stop_all()
            return Result(
                decision=self._decision,
                elapsed_seconds=elapsed_seconds,
                joules_in_training_code=joules,
                baseline_watts=self._baseline_watts,
                left_behind_watts=still_limited(self._baseline_watts, scene.limits_watts())
                if self._baseline_watts
                else {},
            )

    def _perform(self, scene: Scene, stopping: Stopping) -> None:
        self._show.doing("Starting an exporter and a Prometheus.", self._elapsed_seconds())
        scene.start_servers(stopping)
        self._baseline_watts = scene.limits_watts()
        self._show.opened(scene.addresses)
        self._show.doing("Starting a training process.", self._elapsed_seconds())
        scene.start_training()
        with ExitStack() as stack:
            optimizer = self._optimizer(scene, stack)
            self._decide_until_held(scene, optimizer, stopping)
            if self._options.keep:
                self._show.kept(scene.addresses, self._decision)
                while True:
                    self._round(scene, optimizer)
                    stopping.wait(ROUND_SECONDS)

    def _optimizer(self, scene: Scene, stack: ExitStack) -> Optimizer:
        addresses = scene.addresses
        prometheus = stack.enter_context(
            PrometheusClient(
                addresses.prometheus, timeout_seconds=TIMEOUT_SECONDS, monotonic=self._now_seconds
            )
        )
        admin = AdminClient(addresses.admin, token=scene.token, timeout_seconds=TIMEOUT_SECONDS)
        question = Question(
            objective=OBJECTIVES[self._options.objective],
            minimum=self._options.minimum,
            explore=True,
        )
        publisher = LeasePublisher(GivenAddresses([admin]), ttl_for(ROUND_SECONDS))
        return Optimizer(PrometheusHistory(prometheus), question, publisher)

    def _decide_until_held(self, scene: Scene, optimizer: Optimizer, stopping: Stopping) -> None:
        held_since_seconds: float | None = None
        while held_since_seconds is None or (
            self._elapsed_seconds() - held_since_seconds < HOLD_SECONDS
        ):
            if self._elapsed_seconds() > self._options.patience_seconds:
                reason = self._decision.reason if self._decision else "it never answered"
                raise DemoFailed(
                    f"the optimizer held no limit after {self._elapsed_seconds():.0f} s: {reason}"
                )
            holds = self._round(scene, optimizer)
            if not holds:
                held_since_seconds = None
            elif held_since_seconds is None:
                held_since_seconds = self._elapsed_seconds()
            stopping.wait(ROUND_SECONDS)

    def _round(self, scene: Scene, optimizer: Optimizer) -> bool:
        """Let the optimizer decide and act once; return whether it holds a limit now."""
        scene.check()
        (outcome,) = optimizer.round([RUN], self._clock.wall_seconds())
        decision = outcome.decision
        if outcome.errors or decision is None:
            self._show.failing("; ".join(outcome.errors), self._elapsed_seconds())
            return False
        self._decision = decision
        if decision.window is None:
            self._show.doing("Waiting for the first measurements.", self._elapsed_seconds())
            return False
        self._show.decided(decision, scene.limits_watts(), self._elapsed_seconds())
        return decision.action is Action.HOLD

    def _elapsed_seconds(self) -> float:
        return self._now_seconds() - ns_to_seconds(self._began_ns)

    def _now_seconds(self) -> float:
        """Return CLOCK_MONOTONIC, s."""
        return ns_to_seconds(self._clock.monotonic_ns())
