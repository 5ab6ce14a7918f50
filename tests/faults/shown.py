"""What rows say that an exporter shows: text for the page, and the check behind it."""

import pytest

from faults.fault import Shown
from faults.scene import Scene

SLACK_SECONDS = 0.5
"""Readings are 0.1 s apart, and both ends of a row lie somewhere between two."""


def up(value: int) -> Shown:
    return Shown(
        f"`gpu_up` {value}", lambda scene, uuid: scene.page.value("gpu_up", gpu_uuid=uuid) == value
    )


def shows(name: str, number: float) -> Shown:
    """A gauge has this value."""
    return Shown(
        f"`{name}` {number:g}",
        lambda scene, uuid: scene.page.value(name, gpu_uuid=uuid) == pytest.approx(number),
    )


def present(*names: str) -> Shown:
    return Shown(
        f"{_listed(names)} there",
        lambda scene, uuid: all(
            scene.page.value(name, gpu_uuid=uuid) is not None for name in names
        ),
    )


def absent(*names: str) -> Shown:
    return Shown(
        f"{_listed(names)} absent",
        lambda scene, uuid: all(scene.page.value(name, gpu_uuid=uuid) is None for name in names),
    )


def errors(call: str, error: str) -> Shown:
    """Failures are counted, tick by tick."""
    return Shown(
        f'`tick_errors_total{{call="{call}", error="{error}"}}` rises',
        lambda scene, uuid: (
            scene.risen("tick_errors_total", gpu_uuid=uuid, call=call, error=error) >= 3
        ),
    )


def anomaly(reason: str) -> Shown:
    """It is counted once, however many readings show it."""
    return Shown(
        f'`gpu_energy_anomalies_total{{reason="{reason}"}}` + 1',
        lambda scene, uuid: (
            scene.risen("gpu_energy_anomalies_total", gpu_uuid=uuid, reason=reason) == 1
        ),
    )


def source(name: str) -> Shown:
    return Shown(
        f'`gpu_energy_source_info{{source="{name}"}}`',
        lambda scene, uuid: (
            scene.page.value("gpu_energy_source_info", gpu_uuid=uuid, source=name) == 1
        ),
    )


def changes(result: str) -> Shown:
    """Attempts to set the limit are counted."""
    return Shown(
        f'`gpu_power_limit_changes_total{{result="{result}"}}` + 1',
        lambda scene, uuid: (
            scene.risen("gpu_power_limit_changes_total", gpu_uuid=uuid, result=result) == 1
        ),
    )


def answered(status: str, *words: str) -> Shown:
    """The admin API said so."""
    code = "" if status == "ok" else f"{status}: "
    said = "".join(f", “{word}”" for word in words)
    return Shown(
        f"`PUT .../lease` answered {'with success' if status == 'ok' else status}{said}",
        lambda scene, _: (
            scene.answer.startswith(code or "ok") and all(word in scene.answer for word in words)
        ),
    )


def on_the_landing_page(text: str, *, there: bool = True) -> Shown:
    def holds(scene: Scene, _: str) -> bool:
        scene.read_landing()
        return (text in scene.landing) is there

    return Shown(f"the page for people says{'' if there else ' no more'}: “{text}”", holds)


ENERGY_GOES_ON = Shown("energy goes on", lambda scene, uuid: (scene.window(uuid) or 0) > 0)

ENERGY_STANDS = Shown("energy stands", lambda scene, uuid: scene.window(uuid) == 0)


def _is_whole(scene: Scene, uuid: str) -> bool:
    """Tell whether the total rose by what the card drew, which was the same power all along."""
    watts = scene.page.value("gpu_power_watts", gpu_uuid=uuid)
    if watts is None:
        return False
    drawn_joules = watts * (scene.page.at_seconds - scene.before.at_seconds)
    risen_joules = scene.page.joules(uuid) - scene.before.joules(uuid)
    return abs(risen_joules - drawn_joules) <= watts * SLACK_SECONDS


ENERGY_IS_WHOLE = Shown("no joule is missing, none too many", _is_whole)

WELL = up(1)


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)
