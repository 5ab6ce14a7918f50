"""Decisions carried to a real exporter: all devices of a run, or none."""

from collections.abc import Iterator
from typing import Any

import pytest

from joulestat.client.admin import AdminClient
from joulestat.domain.plan import Action, Decision
from joulestat.optimizer.addresses.given import GivenAddresses
from joulestat.optimizer.publish import HOLDER, LeasePublisher, ttl_for
from servers.exporter import Exporter

TTL_SECONDS = 120.0


@pytest.fixture(scope="module")
def exporters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Exporter, Exporter]]:
    """Two nodes with two GPUs each."""
    folder = tmp_path_factory.mktemp("e")
    quick = ("--admin.write-interval", "0s")
    with (
        Exporter(folder / "a", *quick, "--simulated.seed", "1") as one,
        Exporter(folder / "b", *quick, "--simulated.seed", "2") as other,
    ):
        yield one, other


@pytest.fixture
def admins(exporters: tuple[Exporter, Exporter]) -> Iterator[list[AdminClient]]:
    found = [AdminClient(f"unix:{one.admin_socket}", one.token) for one in exporters]
    yield found
    for admin in found:
        admin.revert_all()


def uuids_of(admin: AdminClient) -> list[str]:
    return [gpu["gpu_uuid"] for gpu in admin.gpus()]


def leases(admins: list[AdminClient]) -> dict[str, tuple[str, float]]:
    """Return holder and limit by device, where there is a lease."""
    return {
        gpu["gpu_uuid"]: (gpu["lease"]["holder"], gpu["lease"]["power_limit_watts"])
        for admin in admins
        for gpu in admin.gpus()
        if gpu["lease"] is not None
    }


def a_decision(
    uuids: list[str], *, action: Action = Action.HOLD, watts: int | None = 250, run: str = "llama"
) -> Decision:
    return Decision(
        run=run,
        action=action,
        power_limit_watts=watts,
        reason="because",
        objective={"name": "cost", "eta": 0.5},
        reference_power_limit_watts=300,
        points=(),
        expected=None,
        window=None,
        gpu_uuids=tuple(uuids),
    )


def test_a_limit_is_held_on_all_devices_of_a_run_wherever_they_are(
    admins: list[AdminClient],
) -> None:
    uuids = uuids_of(admins[0]) + uuids_of(admins[1])
    published = LeasePublisher(GivenAddresses(admins), TTL_SECONDS).publish(a_decision(uuids))

    assert (tuple(uuids), (), ()) == (published.leased, published.released, published.errors)
    assert dict.fromkeys(uuids, (HOLDER, 250.0)) == leases(admins)


def test_a_lease_says_why_and_ends_by_itself(admins: list[AdminClient]) -> None:
    (uuid, _) = uuids_of(admins[0])
    LeasePublisher(GivenAddresses(admins), TTL_SECONDS).publish(
        a_decision([uuid], action=Action.PROBE)
    )
    lease = admins[0].gpu(uuid)["lease"]

    assert "llama: probe 250 W" == lease["reason"]
    assert TTL_SECONDS - 10 <= lease["expires_in_seconds"] <= TTL_SECONDS


def test_the_same_decision_renews_and_another_changes(admins: list[AdminClient]) -> None:
    uuids = uuids_of(admins[0])
    publisher = LeasePublisher(GivenAddresses(admins), TTL_SECONDS)
    for watts in (250, 250, 200):
        assert () == publisher.publish(a_decision(uuids, watts=watts)).errors
        assert dict.fromkeys(uuids, (HOLDER, float(watts))) == leases(admins)


def test_a_new_process_takes_over_what_an_earlier_one_leased(admins: list[AdminClient]) -> None:
    uuids = uuids_of(admins[0])
    LeasePublisher(GivenAddresses(admins), TTL_SECONDS).publish(a_decision(uuids, watts=250))
    LeasePublisher(GivenAddresses(admins), TTL_SECONDS).publish(a_decision(uuids, watts=200))

    assert dict.fromkeys(uuids, (HOLDER, 200.0)) == leases(admins)


def test_where_one_device_is_refused_the_others_are_released(admins: list[AdminClient]) -> None:
    uuids = uuids_of(admins[0]) + uuids_of(admins[1])
    taken = uuids[-1]
    admins[1].put_lease(taken, power_limit_watts=220, ttl_seconds=60, holder="kim", reason="mine")
    published = LeasePublisher(GivenAddresses(admins), TTL_SECONDS).publish(a_decision(uuids))

    assert ((), tuple(uuids[:-1])) == (published.leased, published.released)
    assert 1 == len(published.errors)
    assert published.errors[0].startswith(f"{taken}: ")
    assert "is leased by 'kim'" in published.errors[0]
    assert {taken: ("kim", 220.0)} == leases(admins)


def test_a_device_that_no_exporter_has_is_said(admins: list[AdminClient]) -> None:
    published = LeasePublisher(GivenAddresses(admins), TTL_SECONDS).publish(
        a_decision([*uuids_of(admins[0]), "GPU-elsewhere"])
    )

    assert published.errors[0].startswith("GPU-elsewhere: none of the admin APIs given has")
    assert {} == leases(admins)


def test_no_advice_ends_what_was_held(admins: list[AdminClient]) -> None:
    uuids = uuids_of(admins[0])
    publisher = LeasePublisher(GivenAddresses(admins), TTL_SECONDS)
    publisher.publish(a_decision(uuids))
    published = publisher.publish(a_decision(uuids, action=Action.NONE, watts=None))

    assert tuple(uuids) == published.released
    assert {} == leases(admins)


def test_a_device_that_the_run_gave_up_is_released(admins: list[AdminClient]) -> None:
    first, second = uuids_of(admins[0])
    publisher = LeasePublisher(GivenAddresses(admins), TTL_SECONDS)
    publisher.publish(a_decision([first, second]))
    published = publisher.publish(a_decision([second]))

    assert (first,) == published.released
    assert [second] == list(leases(admins))


def test_at_the_end_probes_are_released_and_holds_may_be_kept(admins: list[AdminClient]) -> None:
    held, probed = uuids_of(admins[0])
    publisher = LeasePublisher(GivenAddresses(admins), TTL_SECONDS)
    publisher.publish(a_decision([held], run="held"))
    publisher.publish(a_decision([probed], run="probed", action=Action.PROBE))

    assert (probed,) == publisher.release(keep_holds=True).released
    assert [held] == list(leases(admins))
    assert (held,) == publisher.release().released
    assert {} == leases(admins)


def test_what_others_hold_is_not_released(admins: list[AdminClient]) -> None:
    (uuid, _) = uuids_of(admins[0])
    admins[0].put_lease(uuid, power_limit_watts=220, ttl_seconds=60, holder="kim", reason="mine")

    assert () == LeasePublisher(GivenAddresses(admins), TTL_SECONDS).release().released
    assert [uuid] == list(leases(admins))


def test_an_exporter_that_is_away_is_said(admins: list[AdminClient]) -> None:
    nobody = AdminClient("unix:/nonexistent/admin.sock")
    published = LeasePublisher(GivenAddresses([nobody]), TTL_SECONDS).publish(a_decision(["GPU-0"]))

    assert () == published.leased
    assert "there is no such socket" in published.errors[0]


def test_what_was_decided_before_somebody_changed_a_lease_is_given_up_for_this_round(
    admins: list[AdminClient],
) -> None:
    (uuid, _) = uuids_of(admins[0])
    publisher = LeasePublisher(GivenAddresses(admins), TTL_SECONDS)
    publisher.begin_round()
    publisher.look([uuid], {})
    admins[0].put_lease(uuid, power_limit_watts=220, ttl_seconds=60, holder="kim", reason="mine")
    admins[0].delete_lease(uuid)

    late = publisher.publish(a_decision([uuid]))

    assert ((), (), {}) == (late.leased, late.released, leases(admins))
    (said,) = late.errors
    assert said.startswith(
        f"{uuid}: its lease changed while this was decided, so nothing was written; it is read "
        "again in the next round (PUT "
    )
    publisher.begin_round()
    assert (uuid,) == publisher.publish(a_decision([uuid])).leased
    assert (uuid,) == publisher.release().released


def test_a_round_may_write_one_device_twice(admins: list[AdminClient]) -> None:
    uuids = uuids_of(admins[0])
    publisher = LeasePublisher(GivenAddresses(admins), TTL_SECONDS)
    publisher.begin_round()
    assert () == publisher.publish(a_decision(uuids, watts=250)).errors
    assert () == publisher.publish(a_decision(uuids, watts=200)).errors
    assert () == publisher.release().errors
    assert () == publisher.publish(a_decision(uuids, watts=220)).errors

    assert dict.fromkeys(uuids, (HOLDER, 220.0)) == leases(admins)


def test_a_lease_that_is_over_is_neither_revived_nor_ended_for_its_successor(
    admins: list[AdminClient],
) -> None:
    (uuid, _) = uuids_of(admins[0])
    publisher = LeasePublisher(GivenAddresses(admins), TTL_SECONDS)
    publisher.publish(a_decision([uuid]))
    assert (uuid,) == publisher.renew().leased
    admins[0].put_lease(
        uuid, power_limit_watts=220, ttl_seconds=60, holder=HOLDER, reason="hand", takeover=True
    )
    admins[0].delete_lease(uuid)
    admins[0].put_lease(uuid, power_limit_watts=210, ttl_seconds=60, holder=HOLDER, reason="hand")

    renewed = publisher.renew()

    assert () == renewed.leased
    assert "is over" in renewed.errors[0]
    assert ((), ()) == ((ended := publisher.release()).released, ended.errors)
    assert {uuid: (HOLDER, 210.0)} == leases(admins)


def test_an_exporter_that_is_away_keeps_no_limit_from_another_nodes_devices(
    admins: list[AdminClient],
) -> None:
    nobody = AdminClient("unix:/nonexistent/admin.sock")
    publisher = LeasePublisher(GivenAddresses([nobody, *admins]), TTL_SECONDS)
    uuids = uuids_of(admins[1])

    published = publisher.publish(a_decision(uuids))

    assert (tuple(uuids), ()) == (published.leased, published.errors)
    assert tuple(uuids) == publisher.release().released
    assert {} == leases(admins)


@pytest.mark.parametrize(("watch", "ttl"), [(1.0, 60.0), (20.0, 60.0), (60.0, 180.0)])
def test_a_lease_outlives_two_missed_rounds(watch: float, ttl: float) -> None:
    assert ttl == ttl_for(watch)


def test_a_write_that_comes_too_soon_leaves_what_is_held(tmp_path_factory: Any) -> None:
    with Exporter(tmp_path_factory.mktemp("e"), "--admin.write-interval", "1h") as exporter:
        admins = [AdminClient(f"unix:{exporter.admin_socket}", exporter.token)]
        uuids = uuids_of(admins[0])
        publisher = LeasePublisher(GivenAddresses(admins), TTL_SECONDS)
        held = 150
        while not (published := publisher.publish(a_decision(uuids, watts=held + 10))).errors:
            held += 10

        assert ((), ()) == (published.leased, published.released)
        assert "written too often" in published.errors[0]
        assert dict.fromkeys(uuids, (HOLDER, float(held))) == leases(admins)
        assert () == publisher.publish(a_decision(uuids, watts=held)).errors
        assert tuple(uuids) == publisher.release().released
