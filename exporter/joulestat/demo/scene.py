"""Who plays in the demo: an exporter, a Prometheus, a training process, and where they are."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from joulestat.demo.children import Child, Children, DemoFailed
from joulestat.demo.database import free_port, start_prometheus
from joulestat.demo.options import DemoOptions
from joulestat.demo.stopping import Stopping
from joulestat.devices.world import SimulatedWorld
from joulestat.domain.clock import Clock
from joulestat.domain.units import NS_PER_SECOND, same_limit
from joulestat.server.auth import new_token

READY_SECONDS = 30.0
LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the demo's servers listen, all on loopback, and what opens the admin API."""

    exporter: str
    admin: str
    prometheus: str
    token_file: Path


class Scene:
    """The demo's processes and the simulated GPUs under them. For the main thread only."""

    def __init__(
        self, options: DemoOptions, folder: Path, children: Children, clock: Clock
    ) -> None:
        self._options = options
        self._folder = folder
        self._children = children
        self._clock = clock
        self._world_file = folder / "gpus"
        exporter, admin, prometheus = (f"127.0.0.1:{free_port()}" for _ in range(3))
        self.addresses = Addresses(
            f"http://{exporter}",
            f"http://{admin}",
            f"http://{prometheus}",
            folder / "token",
        )
        self.token, self._sha256 = new_token()
        self._trainer: Child | None = None

    def start_servers(self, stopping: Stopping) -> None:
        """Start exporter and Prometheus, and wait until both answer.

        Raises:
            DemoFailed: One of them ends or does not answer in time.
        """
        tokens = self._folder / "tokens.yaml"
        entry = {"sha256": self._sha256, "principal": "demo", "role": "operator"}
        for file, text in (
            (tokens, json.dumps({"tokens": [entry]})),
            (self.addresses.token_file, self.token),
        ):
            file.touch(mode=0o600)
            file.write_text(f"{text}\n", encoding="utf-8")
        flags = {
            "backend": "simulated",
            "simulated.model": self._options.model,
            "simulated.gpus": str(self._options.gpus),
            "simulated.state-file": str(self._world_file),
            "state-path": str(self._folder / "state"),
            "web.listen-address": _host_port(self.addresses.exporter),
            "admin.listen-address": _host_port(self.addresses.admin),
            "admin.token-file": str(tokens),
            # The demo probes every few seconds what a real run is given minutes for.
            "admin.write-interval": "1s",
            "admin.write-burst": "100",
            "sampling.settle": "1s",
        }
        command = [f"--{name}={value}" for name, value in flags.items()]
        self._children.start("exporter", [sys.executable, "-m", "joulestat", "serve", *command])
        port = int(self.addresses.prometheus.rpartition(":")[2])
        target = _host_port(self.addresses.exporter)
        start_prometheus(self._children, self._folder, target=target, port=port)
        self._wait_for(stopping, lambda: _answers(f"{self.addresses.exporter}/readyz"))
        self._wait_for(stopping, lambda: _answers(f"{self.addresses.prometheus}/-/ready"))

    def start_training(self) -> None:
        """Start the training process."""
        command = [sys.executable, "-m", "joulestat.demo.trainer"]
        command += [f"--world={self._world_file}", f"--url={self.addresses.exporter}"]
        self._trainer = self._children.start("training", command)

    def check(self) -> None:
        """See whether everything still runs.

        Raises:
            DemoFailed: Something does not.
        """
        self._children.check()

    def limits_watts(self) -> dict[str, float]:
        """Return the power limits as the simulated hardware has them, by GPU UUID."""
        world = SimulatedWorld.join(self._world_file, clock=self._clock)
        try:
            return {uuid: world.limit_watts(uuid) for uuid in world.uuids}
        finally:
            world.close()

    def joules_in_training_code(self) -> float | None:
        """End the training process and return what its own client says that the run took.

        None where it did not say so.
        """
        if self._trainer is None:
            return None
        self._children.stop(self._trainer)
        try:
            joules: float = json.loads(self._trainer.output.read_text(encoding="utf-8"))["joules"]
        except (ValueError, KeyError):
            return None
        return joules

    def _wait_for(self, stopping: Stopping, arrived: Callable[[], bool]) -> None:
        deadline_ns = self._clock.monotonic_ns() + READY_SECONDS * NS_PER_SECOND
        while not arrived():
            self.check()
            if self._clock.monotonic_ns() > deadline_ns:
                raise DemoFailed(f"the servers did not answer within {READY_SECONDS:.0f} s")
            stopping.wait(LOOK_SECONDS)


def still_limited(
    before_watts: Mapping[str, float], after_watts: Mapping[str, float]
) -> dict[str, float]:
    """Return the limits that are not what they were, by GPU UUID."""
    return {
        uuid: watts
        for uuid, watts in after_watts.items()
        if not same_limit(watts, before_watts[uuid])
    }


def _host_port(url: str) -> str:
    return url.removeprefix("http://")


def _answers(url: str) -> bool:
    try:
        # No proxy: it could not reach this host's loopback.
        return httpx.get(url, timeout=1.0, trust_env=False).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
