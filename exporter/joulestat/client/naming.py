"""What a run is called, which rank this is, and whose run it is, as far as the host tells."""

import binascii
import logging
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from joulestat.client.notices import Notices

NAME_CHARACTERS = 64

STAND_IN_VARIABLE = "JOULESTAT_STAND_IN"
_INCARNATION = re.compile(r"[0-9a-f]{32}")
_LOOPBACK = ("localhost", "127.0.0.1", "::1", "0.0.0.0")  # noqa: S104 - compared with, not bound to
_RANK_VARIABLES = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK")
# In "srun + torchrun" SLURM_PROCID is the node, so RANK comes first.

_FRAMEWORKS = {
    "lightning": "lightning",
    "pytorch_lightning": "lightning",
    "transformers": "transformers",
    "keras": "keras",
    "jax": "jax",
    "torch": "pytorch",
}


@dataclass(frozen=True, slots=True)
class Host:
    """What this process knows of where it runs.

    Attributes:
        environ: Its environment.
        name: The host's name; in Kubernetes the pod's, unless it uses the host's network.
        pid: Its process id.
        parent_pid: Its parent's: the launcher's, where there is one.
        modules: Loaded modules by name. Nothing is ever imported to learn something.
    """

    environ: Mapping[str, str]
    name: str
    pid: int
    parent_pid: int
    modules: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def here(cls) -> "Host":
        """Return what this process knows; environment and modules are looked at as they change."""
        return cls(os.environ, os.uname().nodename, os.getpid(), os.getppid(), sys.modules)

    @property
    def in_kubernetes(self) -> bool:
        """Whether this process runs in a pod: Kubernetes tells every one where its API is."""
        return "KUBERNETES_SERVICE_HOST" in self.environ

    def first(self, *variables: str) -> str:
        """Return the first of these environment variables that says something, else nothing."""
        texts = (self.environ.get(variable, "").strip() for variable in variables)
        return next(filter(None, texts), "")

    def number(self, *variables: str) -> int | None:
        """Return the first of these environment variables that is a whole number from 0."""
        for variable in variables:
            text = self.environ.get(variable, "").strip()
            if text.isascii() and text.isdecimal() and len(text) < NAME_CHARACTERS:
                return int(text)
        return None


def run_name(explicit: object, host: Host, notices: Notices) -> str:
    """Return the run's name, which must be the same on every rank and in no other run.

    In this order: what the caller said, JOULESTAT_RUN, WANDB_RUN_ID, MLFLOW_RUN_ID, the Slurm
    job, TORCHELASTIC_RUN_ID, the rendezvous of a job of several ranks, the Kubernetes job or
    pod, the host's name with the process id.

    A pod knows the name of its job, or its own in the host's network, only where its spec says
    so: JOB_NAME and POD_NAME, by the downward API.
    """
    if explicit is not None:
        name = clean_name(str(explicit))
        if name != explicit:
            notices.once(
                logging.WARNING,
                "run",
                "joulestat: run=%.80r is shown as %r: 1 to %s characters of A-Z a-z 0-9 . _ -",
                explicit,
                name or "(a name made from the host's)",
                NAME_CHARACTERS,
            )
        if name:
            return name
    for variable in ("JOULESTAT_RUN", "WANDB_RUN_ID", "MLFLOW_RUN_ID"):
        name = clean_name(host.environ.get(variable, ""))
        if name:
            return name
    return _launcher_name(host) or clean_name(f"{host.name}-{host.pid}") or f"run-{host.pid}"


def clean_name(text: str) -> str:
    """Return a text as a run's name, empty where nothing is left of it.

    A name that is too long keeps its beginning and gets a checksum, so that two long names
    with one beginning stay two runs.
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-")
    if len(name) <= NAME_CHARACTERS:
        return name
    checksum = f"-{binascii.crc32(text.encode(errors='replace')):08x}"
    return name[: NAME_CHARACTERS - len(checksum)] + checksum


def rank_of(host: Host) -> int:
    """Return this process's rank in its job; 0 where nothing says so.

    Pods of an indexed Kubernetes Job that no launcher numbers have the Job's own numbers.
    """
    completion = ("JOB_COMPLETION_INDEX",) if host.in_kubernetes else ()
    return host.number(*_RANK_VARIABLES, *completion) or 0


def stand_in(host: Host) -> str | None:
    """Return the incarnation of the ``joulestat run`` that this process runs under, if any.

    It claims the GPUs until this process does so itself.
    """
    incarnation = host.environ.get(STAND_IN_VARIABLE, "")
    return incarnation if _INCARNATION.fullmatch(incarnation) else None


def job_label(host: Host) -> str:
    """Return JOULESTAT_JOB, else the scheduler's name of the job; empty where there is none.

    JOB_NAME counts in Kubernetes alone: elsewhere it may be a build server's.
    """
    variables = ["JOULESTAT_JOB", "SLURM_JOB_NAME", "PBS_JOBNAME", "LSB_JOBNAME"]
    return host.first(*variables, *(["JOB_NAME"] if host.in_kubernetes else []))


def user_label(host: Host) -> str:
    """Return who runs this, empty where the environment does not say."""
    return host.first("JOULESTAT_USER", "SLURM_JOB_USER", "USER", "LOGNAME")


def team_label(host: Host) -> str:
    """Return JOULESTAT_TEAM, else the account that Slurm charges; empty where neither is there.

    A team's energy budget pays for the run, so nothing is guessed: a Kubernetes namespace, for
    one, counts only where the pod's spec puts it into JOULESTAT_TEAM.
    """
    return host.first("JOULESTAT_TEAM", "SLURM_JOB_ACCOUNT")


def framework_label(host: Host) -> str:
    """Return the outermost framework that is loaded, empty where none is."""
    loaded = (label for module, label in _FRAMEWORKS.items() if module in host.modules)
    return next(loaded, "")


def _launcher_name(host: Host) -> str:
    environ = host.environ
    array_job, array_task = environ.get("SLURM_ARRAY_JOB_ID"), environ.get("SLURM_ARRAY_TASK_ID")
    if array_job and array_task:
        return clean_name(f"slurm-{array_job}_{array_task}")
    if environ.get("SLURM_JOB_ID"):
        return clean_name(f"slurm-{environ['SLURM_JOB_ID']}")
    elastic = environ.get("TORCHELASTIC_RUN_ID", "")
    if elastic not in ("", "none"):
        return clean_name(elastic)
    if (host.number("WORLD_SIZE") or 1) > 1 and environ.get("MASTER_ADDR"):
        return _rendezvous_name(host)
    return _pod_name(host) if host.in_kubernetes else ""


def _rendezvous_name(host: Host) -> str:
    address = host.environ["MASTER_ADDR"]
    port = host.environ.get("MASTER_PORT", "0")
    if address in _LOOPBACK:
        # torchrun's default, the same on every host and in every run; but all ranks of a run
        # have one launcher.
        return clean_name(f"{host.name}-{port}-{host.parent_pid}")
    return clean_name(f"{address}-{port}")


def _pod_name(host: Host) -> str:
    index = host.environ.get("JOB_COMPLETION_INDEX")
    if index or host.number(*_RANK_VARIABLES) is not None:
        # Pods that do not know their place in the job would all be its rank 0.
        job = clean_name(host.first("JOB_NAME"))
        if job:
            return job
    # Of a pod in the host's network the host's name is the node's.
    pod = host.first("POD_NAME") or host.name
    # Pods of an indexed Job are called <job>-<index>, with five random characters behind where
    # it is not the host's name; the job is the run.
    name = re.sub(rf"-{re.escape(index)}(?:-[a-z0-9]{{5}})?$", "", pod) if index else pod
    return clean_name(name)
