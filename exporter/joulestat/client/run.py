"""A training run, as the training code sees it."""

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from joulestat.client.arguments import MAX_COUNT, Arguments
from joulestat.client.joules import Joules
from joulestat.client.notices import Notices, harmless, nothing, report_fault
from joulestat.client.outbox import Outbox, monotonic_ns
from joulestat.client.tally import Gpu, Tally
from joulestat.domain.run import Phase

FINISH_SECONDS = 1.0


class Run:
    """Counts a rank's steps, tells the exporter about them, and knows the joules it answers.

    Made by ``joulestat.init``. No method raises, and only ``flush`` and ``finish`` wait, both
    with a limit. Any thread may call any method, and so may a signal handler. In a forked child
    and after unpickling a run is inert: it takes every call and does nothing, so that data
    loader workers may inherit one.
    """

    def __init__(
        self,
        name: str,
        rank: int,
        *,
        tally: Tally,
        joules: Joules,
        arguments: Arguments,
        outbox: Outbox | None = None,
        look_for_gpus: Callable[[], tuple[Gpu, ...] | None] | None = None,
        incarnation: str = "",
    ) -> None:
        self._name = name
        self._rank = rank
        self._incarnation = incarnation
        self._tally = tally
        self._joules = joules
        self._arguments = arguments
        self._outbox = outbox
        self._look_for_gpus = look_for_gpus
        self._phase_named = False
        self._settling = True
        self._looked_after_a_step = False

    @classmethod
    def inert(cls, name: str = "", rank: int = 0) -> "Run":
        """Return a run that takes every call and sends nothing."""
        notices = Notices()
        return cls(
            name, rank, tally=Tally(monotonic_ns), joules=Joules(), arguments=Arguments(notices)
        )

    @property
    def name(self) -> str:
        """The name under which the exporter knows the run."""
        return self._name

    @property
    def rank(self) -> int:
        """This process's rank in the job."""
        return self._rank

    @property
    def incarnation(self) -> str:
        """What tells this process from others of the run and rank; empty for an inert run."""
        return self._incarnation

    @property
    def active(self) -> bool:
        """Whether anything is still sent: not disabled, not finished, not a forked child."""
        return self._outbox is not None and self._outbox.alive

    @property
    def answered(self) -> bool:
        """Whether the exporter has answered yet."""
        return self._joules.answered

    @property
    def answered_late(self) -> bool:
        """Whether its first answer came so late that it does not know what was spent before."""
        return self._joules.late

    def phase(self, name: str) -> "_PhaseBlock":
        """Return a ``with`` block for a phase: train, eval, checkpoint or other.

        Blocks nest; when one ends, the phase around it is in force again.
        """
        return _PhaseBlock(self, name, self._tally, self._change_phase)

    @harmless(nothing)
    def set_phase(self, name: str) -> None:
        """Let a phase begin now, for callbacks, which cannot hold a ``with``."""
        phase = self._arguments.phase(name)
        # An evaluation before the first step does not say what the steps after it are.
        self._phase_named = self._phase_named or phase in (Phase.TRAIN, Phase.OTHER)
        self._change_phase(phase)

    def step(self, n_samples: int = 0, n_tokens: int = 0) -> None:
        """Count one optimizer step that ends now, under the phase in force.

        Call it on every rank, with the rank's own samples and tokens. It takes about a
        microsecond. GPUs work behind their queues: a step "ends" when this is called.

        A run that names neither ``train`` nor ``other`` is in ``other`` until its first step
        outside of a phase ends, and in ``train`` from then on. That first step stays in
        ``other``, where its energy is: it can not be told from the start-up before it, and
        joules per training step stay exact.

        Args:
            n_samples: Samples of this rank in this step.
            n_tokens: Tokens of this rank in this step.
        """
        try:
            if (
                type(n_samples) is int
                and type(n_tokens) is int
                and 0 <= n_samples <= MAX_COUNT
                and 0 <= n_tokens <= MAX_COUNT
            ):
                self._tally.step(n_samples, n_tokens)
            else:
                self._tally.step(*self._checked(n_samples, n_tokens))
            if self._settling:
                self._settle()
        except Exception as error:  # noqa: BLE001 - this is the promise never to raise
            report_fault("Run.step", error)

    @harmless(nothing)
    def add(self, n_samples: int = 0, n_tokens: int = 0) -> None:
        """Count samples and tokens without a step, for example of a micro-batch."""
        self._tally.add(*self._checked(n_samples, n_tokens))

    @harmless(dict[str, float])
    def energy_joules(self) -> dict[str, float]:
        """Return what the run has spent on this node, all its processes so far, by GPU UUID, J.

        As of the exporter's last answer, about a second old; empty where none came yet. Never
        falls, whatever becomes of the exporter.
        """
        return self._joules.spent()

    @harmless(dict[str, float])
    def lineage_joules(self) -> dict[str, float]:
        """Return what the model as it now stands has taken, by GPU UUID, J.

        That is what its checkpoint carried, see ``load_state_dict``, and what was spent since.
        """
        return self._joules.lineage()

    @harmless(dict[str, float])
    def power_limit_watts(self) -> dict[str, float]:
        """Return the power limits in force by GPU UUID, W, as of the exporter's last answer."""
        return dict(self._joules.power_limit_watts)

    @harmless(bool)
    def flush(self, timeout: float = 1.0) -> bool:
        """Push now and wait for the answer.

        Args:
            timeout: How long to wait at most, s; 50 ms where the last push got no answer.

        Returns:
            Whether the exporter has everything counted until now.
        """
        return self._outbox is not None and self._outbox.flush(timeout)

    @harmless(nothing)
    def finish(self, timeout: float = FINISH_SECONDS) -> None:
        """End the run: push for the last time, and wait for the answer.

        Happens by itself when the process ends, unless a signal kills it.

        Args:
            timeout: How long to wait at most, s. After 0 the push is on its way, and the end of
                the process waits for it, at most 1 s.
        """
        waiter = self._outbox.ask_last() if self._outbox is not None else None
        if waiter is not None:
            waiter.wait(min(timeout, FINISH_SECONDS))

    @harmless(dict[str, object])
    def state_dict(self) -> dict[str, object]:
        """Return what a checkpoint should carry: plain JSON, no input or output, no collective.

        Where ranks save together, rank 0's is the one to keep.
        """
        return self._joules.state_dict()

    @harmless(nothing)
    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Let the lineage go on from a checkpoint.

        Every rank may call it with the same state: rank 0 alone adopts the joules, or else
        they would count once per rank.
        """
        if self._rank == 0 and not self._joules.load_state_dict(state_dict):
            self._arguments.refuse("state_dict", state_dict, "what Run.state_dict() returned")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.finish()

    def __reduce__(self) -> tuple[Callable[..., "Run"], tuple[str, int]]:
        """Pickle and copy as an inert run: a spawned worker is not the run."""
        return Run.inert, (self._name, self._rank)

    def __repr__(self) -> str:
        state = "active" if self.active else "inert"
        return f"<joulestat.Run {self._name!r} rank {self._rank} {state}>"

    def _settle(self) -> None:
        """After a step: let the phase be what an unnamed one is, and find the devices at last."""
        if not self._looked_after_a_step:
            # A phase may begin before its framework touches a device; a step cannot end so.
            self._looked_after_a_step = True
            self._find_gpus()
        if not self._phase_named and self._tally.phase is Phase.OTHER:
            self.set_phase(Phase.TRAIN)
        self._settling = not self._phase_named

    def _find_gpus(self) -> None:
        # Only in the training code's own thread is its framework ever asked.
        if self._look_for_gpus is not None and self.active:
            self._tally.gpus = self._look_for_gpus() or self._tally.gpus

    @harmless(nothing)
    def _change_phase(self, phase: Phase) -> None:
        if not self.active:
            return
        self._find_gpus()
        if self._tally.change_phase(phase) and self._outbox is not None:
            self._outbox.wake()

    def _checked(self, n_samples: object, n_tokens: object) -> tuple[int, int]:
        samples = self._arguments.whole("n_samples", n_samples, least=0)
        tokens = self._arguments.whole("n_tokens", n_tokens, least=0)
        return samples or 0, tokens or 0


class _PhaseBlock:
    """A ``with`` block; may be entered again, one after the other."""

    __slots__ = ("_go_back_to", "_name", "_outer", "_run", "_tally")

    def __init__(
        self, run: Run, name: str, tally: Tally, go_back_to: Callable[[Phase], None]
    ) -> None:
        self._run = run
        self._name = name
        self._tally = tally
        self._go_back_to = go_back_to
        self._outer = Phase.OTHER

    def __enter__(self) -> Run:
        self._outer = self._tally.phase
        self._run.set_phase(self._name)
        return self._run

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._go_back_to(self._outer)
