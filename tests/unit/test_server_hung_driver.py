"""Requests that wait for a driver that hangs keep nobody from ending a lease, or asking for one."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.admin import AdminRig, admin_rig, lease, over_the_socket
from fakes.asgi import Answer, ask
from fakes.host import BASELINE_WATTS, GPU, Host
from fakes.patience import eventually
from joulestat.loops.driver_threads import spawn
from joulestat.power.leases import LeasePolicy

N_PUTS = 60
"""More than any pool of threads that they could share with others has."""

PATIENCE_SECONDS = 10.0


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path / "host", LeasePolicy(driver_timeout_seconds=25.0), n_cards=4)
    made.stop()
    made.options["spawn"] = spawn
    made.start()
    for gpu in ("GPU-b", "GPU-c"):
        made.grant(250.0, gpu=gpu)
    yield made
    made.card.wake.set()
    made.stop()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[AdminRig]:
    (tmp_path / "rig").mkdir()
    with admin_rig(tmp_path / "rig") as made:
        yield made


def test_requests_about_a_driver_that_hangs_delay_nobody_else(host: Host, rig: AdminRig) -> None:
    app = rig.application(authority=host.governor)
    host.card.fault = "hang"

    async def send(method: str, path: str, **how: object) -> Answer:
        return await ask(app, method, path, **over_the_socket(), **how)  # type: ignore[arg-type]

    async def put(gpu: str) -> Answer:
        return await send("PUT", f"/v1/gpus/{gpu}/lease", json_body=lease())

    async def restored(gpu: str) -> bool:
        return await asyncio.to_thread(
            eventually, lambda: BASELINE_WATTS == host.cards[gpu].limit_watts
        )

    async def play() -> None:
        stuck = [asyncio.create_task(put(GPU)) for _ in range(N_PUTS)]
        stuck += [
            asyncio.create_task(send("DELETE", f"/v1/gpus/{GPU}/lease")) for _ in range(N_PUTS)
        ]
        assert await asyncio.to_thread(host.card.hanging.wait, PATIENCE_SECONDS)
        # Not a time that anything has to be done in: without it, a failure would be a hang.
        async with asyncio.timeout(PATIENCE_SECONDS):
            granted = await put("GPU-d")
            released = await send("DELETE", "/v1/gpus/GPU-b/lease")
        everything = asyncio.create_task(send("POST", "/v1/revert-all"))
        others = [await restored("GPU-c"), await restored("GPU-d")]
        waiting = sum(not each.done() for each in stuck)

        assert (201, 200) == (granted.status, released.status)
        assert [True, True] == others
        assert 2 * N_PUTS == waiting
        host.card.fault = None
        host.card.wake.set()
        # Written, ended and written again so often, some of them are told to wait (429).
        assert 500 > max(each.status for each in await asyncio.gather(*stuck))
        assert 200 == (await everything).status

    asyncio.run(play())

    assert 1 == host.card.most_calls_at_once
