"""The power limits of a run's devices, as far as they are one."""

from collections import Counter
from urllib.parse import parse_qs

import httpx
import pytest

from joulestat.optimizer.history.facts import Limits, Slice
from joulestat.optimizer.history.limits import (
    BASELINE,
    DEFAULT,
    ENFORCED,
    TARGET,
    Devices,
    limits_of,
    on_one_scale,
    read_devices,
)
from joulestat.optimizer.history.promql import PrometheusClient

UUIDS = ("GPU-0", "GPU-1")


def limits(**watts: tuple[float | None, ...]) -> Limits:
    """Read the limits where Prometheus shows these, by metric and device, and no history."""

    def answer(request: httpx.Request) -> httpx.Response:
        (query,) = parse_qs(request.content.decode())["query"]
        result = [
            {"metric": {"__name__": metric, "gpu_uuid": uuid}, "value": [1.0, str(value)]}
            for metric, values in ((ENFORCED, watts["enforced"]), (TARGET, watts["target"]))
            for uuid, value in zip(UUIDS, values, strict=False)
            if value is not None and "count_values" not in query
        ]
        data = {"resultType": "vector", "result": result}
        return httpx.Response(200, json={"status": "success", "data": data})

    client = PrometheusClient("http://prometheus.test", transport=httpx.MockTransport(answer))
    return limits_of(read_devices(client, UUIDS, 0.0, 100.0), UUIDS, {})


@pytest.mark.parametrize(
    ("enforced", "target", "leased"),
    [
        ((180.0, 180.0), (180.0, 180.0), True),
        ((179.6, 180.0), (180.0, 180.0), True),
        ((180.0, 180.0), (180.0, None), False),
        ((300.0, 300.0), (), False),
        # nvidia-smi -pl 150 while a lease says 180
        ((150.0, 150.0), (180.0, 180.0), False),
        ((180.0,), (180.0, 180.0), False),
    ],
)
def test_a_limit_is_leased_where_every_device_stands_as_its_lease_says(
    enforced: tuple[float, ...], target: tuple[float | None, ...], *, leased: bool
) -> None:
    assert leased is limits(enforced=enforced, target=target).leased


def test_a_limit_is_known_where_all_devices_stand_at_one() -> None:
    assert 180 == limits(enforced=(180.0, 180.2), target=()).current_watts
    assert limits(enforced=(180.0, 200.0), target=()).current_watts is None
    assert limits(enforced=(180.0,), target=()).current_watts is None


def test_a_device_that_stands_elsewhere_than_its_lease_says_is_named() -> None:
    assert ("GPU-1",) == limits(enforced=(180.0, 150.0), target=(180.0, 180.0)).foreign
    assert () == limits(enforced=(180.0, 300.0), target=(180.0, None)).foreign


def devices(**references: int) -> Devices:
    defaults = {uuid: float(watts) for uuid, watts in references.items()}
    enforced = {uuid: 0.7 * watts for uuid, watts in defaults.items()}
    return Devices({DEFAULT: defaults, ENFORCED: enforced})


def test_limits_of_unlike_nodes_are_on_the_scale_of_the_highest_reference() -> None:
    seen = limits_of(devices(a=400, b=300), ["a", "b"], {"a": "big", "b": "small"})

    assert (400, 280, False) == (
        seen.reference_watts,
        seen.current_watts,
        seen.unequal_reference,
    )
    assert {"a": 400, "b": 300} == seen.reference_by_gpu


def test_unlike_devices_of_one_node_have_no_common_limit() -> None:
    seen = limits_of(devices(a=400, b=300), ["a", "b"], {"a": "node", "b": "node"})

    assert (None, None, True) == (seen.reference_watts, seen.current_watts, seen.unequal_reference)


def test_of_limits_seen_without_a_lease_the_most_frequent_is_the_reference() -> None:
    seen = Devices({DEFAULT: {"a": 300.0}}, unleased={"a": Counter({250: 9, 300: 2})})

    assert 250 == seen.reference("a")
    assert 300 == Devices(unleased={"a": Counter({250: 2, 300: 2})}).reference("a")
    assert Devices().reference("a") is None


def test_a_device_that_was_always_leased_has_the_limit_that_comes_back_for_a_reference() -> None:
    shown = {DEFAULT: {"a": 300.0, "b": 300.0}, BASELINE: {"a": 250.2}}
    leased = Devices(shown)

    assert (250, 300) == (leased.reference("a"), leased.reference("b"))
    assert 280 == Devices(shown, unleased={"a": Counter({280: 1})}).reference("a")


def test_a_limit_that_is_still_to_be_put_back_does_not_count_as_seen_without_a_lease() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.extend(parse_qs(request.content.decode())["query"])
        return httpx.Response(
            200, json={"status": "success", "data": {"resultType": "vector", "result": []}}
        )

    client = PrometheusClient("http://prometheus.test", transport=httpx.MockTransport(answer))
    read_devices(client, UUIDS, 0.0, 100.0)
    (counted,) = [query for query in asked if "count_values" in query]

    assert counted.index("unless on(gpu_uuid)") < counted.index(BASELINE)
    assert TARGET in counted


def test_slices_of_unlike_nodes_share_one_limit() -> None:
    slices = [
        Slice("big", 281, 0, 1, 5, 10, 1),
        Slice("small", 211, 0, 1, 5, 7, 1),
        Slice("small", 150, 1, 2, 5, 7, 1),
    ]
    scaled = on_one_scale(slices, {"big": 400, "small": 300})

    assert [281, 281, 200] == [item.power_limit_watts for item in scaled]
    assert slices == on_one_scale(slices, {"big": 400})
    assert slices == on_one_scale(slices, {"big": 400, "small": 400})
