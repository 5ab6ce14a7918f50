"""``joulestat.init``: from what the caller and the host say to a run that pushes."""

import os
from collections.abc import Sequence

from joulestat.client import naming, placement, process
from joulestat.client.arguments import MAX_JOULES, MAX_RANK, Arguments, is_switched_on
from joulestat.client.joules import Joules
from joulestat.client.notices import Notices, harmless
from joulestat.client.outbox import Outbox, monotonic_ns
from joulestat.client.run import Run
from joulestat.client.synchronise import NewLimit, Synchronisation, SynchronisedTally
from joulestat.client.tally import Gpu, Tally
from joulestat.client.target import DEFAULT_URL, Target, parse_target
from joulestat.client.transport import Transport
from joulestat.domain.units import JOULES_PER_KWH

AUTO = "auto"


@harmless(Run.inert)
def init(
    run: str | None = None,
    *,
    gpus: str | int | Sequence[str | int] = AUTO,
    rank: int | None = None,
    job: str | None = None,
    user: str | None = None,
    team: str | None = None,
    framework: str | None = None,
    planned_steps: int | None = None,
    energy_budget_kwh: float | None = None,
    energy_budget_joules: float | None = None,
    url: str | None = None,
    sync_every: int | None = None,
    sync_probes_only: bool = False,
) -> Run:
    """Start to report a training run to the exporter on this host.

    Never raises and never waits: a wrong value costs one warning and is dropped, and without an
    exporter the run counts for itself after one line in the log. Call it once per process, on
    every rank. The environment variable ``JOULESTAT_DISABLED=1`` makes it do nothing.

    Args:
        run: Name of the run, the same on every rank: 1 to 64 characters of ``[A-Za-z0-9._-]``.
            None: ``JOULESTAT_RUN``, else what a tracker, a scheduler or the host calls it.
        gpus: The GPUs of this process: UUIDs or NVML indices; ``"all"`` of the host.
            ``"auto"``: see ``joulestat.client.placement``.
        rank: This process's rank; None: as the launcher says, else 0.
        job: Label; None: ``JOULESTAT_JOB``, else the scheduler's name of the job.
        user: Label; None: ``JOULESTAT_USER``, else as the environment says.
        team: Label; also decides which of the exporter's energy budgets pays. None:
            ``JOULESTAT_TEAM``, else Slurm's account.
        framework: Label; None: as the loaded modules say.
        planned_steps: How many training steps there will be.
        energy_budget_kwh: What the run may spend, kWh.
        energy_budget_joules: The same in J; wins where both are given.
        url: ``http://host:port`` or ``unix:/path``; None: ``JOULESTAT_URL``, else
            ``http://127.0.0.1:10400``.
        sync_every: Every so many steps let ``step`` wait until the GPU is done with them, as
            ``torch.cuda.synchronize`` and ``jax.block_until_ready`` do; a wait of 10 s is given
            up, and was the last one. None: never.
        sync_probes_only: Wait only in the two minutes after a power limit changed, or was first
            heard of: that is when the optimizer measures.

    Returns:
        The run; an inert one where there is nothing to report to.
    """
    notices = Notices()
    arguments = Arguments(notices)
    host = naming.Host.here()
    name = naming.run_name(run, host, notices)
    number = arguments.whole("rank", rank, least=0, most=MAX_RANK)
    if number is None:
        number = min(naming.rank_of(host), MAX_RANK)
    if is_switched_on(host.environ, "JOULESTAT_DISABLED"):
        return Run.inert(name, number)

    incarnation = os.urandom(16)
    labels = {
        "job": arguments.label("job", naming.job_label(host) if job is None else job),
        "user": arguments.label("user", naming.user_label(host) if user is None else user),
        "team": arguments.label("team", naming.team_label(host) if team is None else team),
        "framework": arguments.label(
            "framework", naming.framework_label(host) if framework is None else framework
        ),
    }
    budget_joules = _budget_joules(arguments, energy_budget_kwh, energy_budget_joules)
    about = {
        "run": name,
        "rank": number,
        "incarnation": incarnation.hex(),
        "instead_of": naming.stand_in(host),
        "labels": {key: label for key, label in labels.items() if label},
        "energy_budget_joules": budget_joules,
        "planned_steps": arguments.whole("planned_steps", planned_steps, least=1),
    }
    named = _named_gpus(arguments, gpus)
    joules = Joules()
    held = _found_gpus(host) if named is None else named
    tally = Tally(monotonic_ns, held)
    every_steps = arguments.whole("sync_every", sync_every, least=1)
    if every_steps is not None:
        limits = NewLimit(lambda: joules.power_limit_watts, monotonic_ns)
        wait = Synchronisation(
            every_steps,
            host.modules,
            notices,
            now_ns=monotonic_ns,
            wanted=limits if sync_probes_only else None,
        )
        tally = SynchronisedTally(monotonic_ns, held, wait)
    outbox = Outbox(
        tally,
        joules,
        Transport(_target(arguments, url), monotonic_ns),
        notices,
        about={key: value for key, value in about.items() if value is not None},
        now_ns=monotonic_ns,
        spread=_spread(incarnation),
    )
    if outbox.start():
        process.enlist(outbox)
    return Run(
        name,
        number,
        tally=tally,
        joules=joules,
        arguments=arguments,
        outbox=outbox,
        look_for_gpus=None if named is not None else lambda: placement.framework_gpus(host),
        incarnation=incarnation.hex(),
    )


def _budget_joules(arguments: Arguments, kwh: object, joules: object) -> float | None:
    given_joules = arguments.positive("energy_budget_joules", joules, most=MAX_JOULES)
    most_kwh = MAX_JOULES / JOULES_PER_KWH
    given_kwh = arguments.positive("energy_budget_kwh", kwh, most=most_kwh)
    if given_joules is not None and given_kwh is not None:
        arguments.refuse("energy_budget_kwh", kwh, "left out where energy_budget_joules is given")
    if given_joules is not None or given_kwh is None:
        return given_joules
    return given_kwh * JOULES_PER_KWH


def _named_gpus(arguments: Arguments, gpus: object) -> tuple[Gpu, ...] | None:
    """Return what the caller named, None where the GPUs are to be found."""
    # An array would compare item by item, and its answer is neither true nor false.
    if gpus is None or (isinstance(gpus, str) and gpus == AUTO):
        return None
    named = placement.named_gpus(gpus)
    if named is None:
        allowed = f"'auto', 'all', or 1 to {placement.MAX_GPUS} UUIDs or indices"
        arguments.refuse("gpus", gpus, allowed)
    return named


def _found_gpus(host: naming.Host) -> tuple[Gpu, ...] | None:
    found = placement.framework_gpus(host)
    return placement.environment_gpus(host) if found is None else found


def _target(arguments: Arguments, url: object) -> Target:
    for name, text in (("url", url), ("JOULESTAT_URL", os.environ.get("JOULESTAT_URL"))):
        if not text:
            continue
        try:
            return parse_target(str(text).strip())
        except ValueError:
            arguments.refuse(name, text, "http://host:port or unix:/path")
    return parse_target(DEFAULT_URL)


def _spread(incarnation: bytes) -> float:
    """Return a factor from 0.8 to 1 that differs from process to process."""
    return 1.0 - 0.2 * incarnation[0] / 255
