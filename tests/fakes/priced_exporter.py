"""A scripted exporter that takes the same energy for every step it hears of."""

import socket

from fakes.scripted_server import Received, ScriptedExporter

JOULES_PER_STEP = 5.0
GPU = "GPU-1"


class PricedExporter(ScriptedExporter):
    """Answers that the run took 5 J for each of its steps, in all its processes together."""

    def __init__(self) -> None:
        super().__init__()
        self._steps: dict[str, int] = {}

    def __call__(self, request: Received, connection: socket.socket) -> bytes:
        push = request.json
        self._steps[push["incarnation"]] = sum(
            push["totals"][phase]["steps"] for phase in push["totals"]
        )
        self.energy_joules = {GPU: JOULES_PER_STEP * sum(self._steps.values())}
        return super().__call__(request, connection)

    def phases(self) -> list[str]:
        """Return the phases in their order, without repetitions."""
        found = [push["phase"] for push in self.pushes]
        return [phase for index, phase in enumerate(found) if found[index - 1 : index] != [phase]]

    def totals(self) -> dict[str, dict[str, int]]:
        """Return the counts of the last push."""
        totals: dict[str, dict[str, int]] = self.pushes[-1]["totals"]
        return totals
