"""The power limits of a run's devices, as far as they are one."""

from urllib.parse import parse_qs

import httpx
import pytest

from joulestat.optimizer.history.limits import ENFORCED, TARGET, Limits, read_limits
from joulestat.optimizer.history.promql import PrometheusClient

UUIDS = ("GPU-0", "GPU-1")


def limits(**watts: tuple[float | None, ...]) -> Limits:
    """Read the limits where Prometheus shows these, by metric and device, and no history."""

    def answer(request: httpx.Request) -> httpx.Response:
        form = parse_qs(request.content.decode())
        if request.url.path.endswith("query_range"):
            data = {"resultType": "matrix", "result": []}
        else:
            shown = next(
                (
                    values
                    for metric, values in ((ENFORCED, watts["enforced"]), (TARGET, watts["target"]))
                    if f'"{metric}"' in form["query"][0]
                ),
                (),
            )
            result = [
                {"metric": {"gpu_uuid": uuid}, "value": [1.0, str(value)]}
                for uuid, value in zip(UUIDS, shown, strict=False)
                if value is not None
            ]
            data = {"resultType": "vector", "result": result}
        return httpx.Response(200, json={"status": "success", "data": data})

    client = PrometheusClient("http://prometheus.test", transport=httpx.MockTransport(answer))
    return read_limits(client, UUIDS, 0.0, 100.0, 1.0)


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
