"""An actuator and an exporter as two processes, the exporter as nobody, on one simulated host."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from fakes.patience import eventually
from joulestat.actuator.client import ActuatorClient
from joulestat.loops.system_clock import SystemClock
from servers.exporter import Exporter

NOBODY = 65534
"""The exporter's user and group; no host gives them any right."""

START_SECONDS = 20.0

UNPRIVILEGED = (
    "setpriv",
    f"--reuid={NOBODY}",
    f"--regid={NOBODY}",
    "--clear-groups",
    "--bounding-set=-all",
    "--inh-caps=-all",
    "--no-new-privs",
)
SYS_ADMIN_ALONE = (
    "setpriv",
    "--bounding-set=-all,+sys_admin",
    "--inh-caps=-all",
    f"--groups={NOBODY}",
)
"""As its unit confines it. Its one group is the exporter's, so that it may give the socket to it
without CAP_CHOWN."""


def cannot_split() -> str | None:
    """Return why two processes cannot have two users here, None where they can."""
    if os.geteuid() != 0:
        return "only root can start a process as somebody else"
    if shutil.which("setpriv") is None:
        return "no setpriv (util-linux) on PATH"
    tried = subprocess.run(
        [*UNPRIVILEGED, sys.executable, "-c", "import joulestat.service"],
        capture_output=True,
        check=False,
    )
    return None if tried.returncode == 0 else "another user cannot use this Python"


class Actuator:
    """``joulestat actuator`` with its state in a folder; may be killed and started again."""

    def __init__(self, folder: Path, policy: str, prefix: Sequence[str] = ()) -> None:
        self.folder = folder
        self.prefix = prefix
        self.socket = folder / "actuator.sock"
        self.world_file = folder / "world"
        self.policy = folder / "policy.yaml"
        self.policy.write_text(policy)
        self.policy.chmod(0o644)
        self.environment: dict[str, str] = {}
        self.process: subprocess.Popen[str] | None = None

    def launch(self, *flags: str) -> subprocess.Popen[str]:
        """Start the process and wait for nothing; its log goes on in one file."""
        with (self.folder / "actuator.log").open("a") as log:
            self.process = subprocess.Popen(
                [
                    *self.prefix, sys.executable, "-m", "joulestat", "actuator",
                    f"--listen-address=unix:{self.socket}",
                    f"--policy.file={self.policy}",
                    f"--state-path={self.folder / 'actuator'}",
                    "--backend=simulated",
                    "--simulated.gpus=2",
                    f"--simulated.state-file={self.world_file}",
                    *flags,
                ],
                stderr=log,
                text=True,
                env={**os.environ, **self.environment},
            )  # fmt: skip
        return self.process

    def start(self, *flags: str) -> None:
        """Start the process and wait until it answers."""
        process = self.launch(*flags)
        client = ActuatorClient(self.socket, SystemClock())
        deadline = time.monotonic() + START_SECONDS
        while True:
            client.refresh()
            if client.read_only_reason is None:
                return
            assert process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.02)

    def log(self) -> str:
        return (self.folder / "actuator.log").read_text()

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it, as a supervisor or as a crash does; return its exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(15)

    def audited(self) -> list[dict[str, object]]:
        """Return its audit log."""
        lines = (self.folder / "actuator" / "audit.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]


class Split:
    """Both processes. The exporter's limits are the actuator's."""

    def __init__(self, folder: Path, policy: str) -> None:
        folder.chmod(0o755)
        self.actuator = Actuator(folder, policy, SYS_ADMIN_ALONE)
        theirs = folder / "exporter"
        self.exporter = Exporter(theirs, f"--actuator.socket={self.actuator.socket}")
        self.exporter.prefix = UNPRIVILEGED
        self.exporter.world_file = self.actuator.world_file
        for path in (theirs, *theirs.iterdir()):
            os.chown(path, NOBODY, NOBODY)

    def start(self) -> None:
        """Start the actuator, then the exporter."""
        self.actuator.start(f"--socket-group={NOBODY}")
        # What a driver would let anybody read; the simulated one is a file.
        self.actuator.world_file.chmod(0o666)
        self.exporter.start()

    def stop(self) -> None:
        """End both, whatever became of them."""
        for process in (self.exporter.process, self.actuator.process):
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
                process.wait(15)

    def limits(self) -> list[float]:
        """Return the limits as the hardware has them, W."""
        world = self.exporter.world()
        try:
            return [world.limit_watts(uuid) for uuid in world.uuids]
        finally:
            world.close()

    def comes_to(self, *limits: float, within_seconds: float = 10.0) -> bool:
        """Tell whether the hardware comes to stand at these limits."""
        return eventually(lambda: self.limits() == list(limits), within_seconds=within_seconds)
