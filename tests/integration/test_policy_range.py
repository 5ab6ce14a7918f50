"""A node whose policy is narrower than its cards: what it shows, and what is leased there."""

from collections.abc import Iterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from fakes.decisions import to_hold
from joulestat.client.admin import AdminClient
from joulestat.optimizer.addresses.given import GivenAddresses
from joulestat.optimizer.publish import LeasePublisher
from servers.exporter import Exporter

POLICY = """\
floor-watts: 180
ceiling-watts: 290
max-step-ratio: 0.5
node-ceiling-watts: 560
write-interval: 0s
"""


@pytest.fixture(scope="module")
def exporter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    folder = tmp_path_factory.mktemp("p")
    policy = folder / "policy.yaml"
    policy.write_text(POLICY)
    policy.chmod(0o644)
    with Exporter(folder / "a", "--policy.file", str(policy)) as started:
        yield started


@pytest.fixture
def admin(exporter: Exporter) -> Iterator[AdminClient]:
    client = AdminClient(f"unix:{exporter.admin_socket}", exporter.token)
    yield client
    client.revert_all()


def held(admin: AdminClient) -> list[float | None]:
    return [gpu["lease"] and gpu["lease"]["power_limit_watts"] for gpu in admin.gpus()]


def test_metrics_and_admin_api_name_the_same_range(exporter: Exporter, admin: AdminClient) -> None:
    shown = {
        (family.name, sample.labels["gpu_uuid"]): sample.value
        for family in text_string_to_metric_families(httpx.get(f"{exporter.url}/metrics").text)
        for sample in family.samples
        if family.name.startswith("joulestat_gpu_power_limit_")
    }
    for gpu in admin.gpus():
        ends = [
            shown["joulestat_gpu_power_limit_" + end, gpu["gpu_uuid"]]
            for end in ("min_watts", "floor_watts", "ceiling_watts", "max_watts")
        ]
        assert [100.0, 180.0, 290.0, 300.0] == ends
        assert ends[1:3] == [gpu["allowed_min_watts"], gpu["allowed_max_watts"]]


def test_a_step_that_is_too_long_is_refused_for_that_round_and_the_run_stays_as_it_was(
    admin: AdminClient,
) -> None:
    uuids = [gpu["gpu_uuid"] for gpu in admin.gpus()]
    publisher = LeasePublisher(GivenAddresses([admin]), 60.0)
    assert () == publisher.publish(to_hold(uuids, watts=285)).errors
    publisher.begin_round()
    published = publisher.publish(to_hold(uuids, watts=182))

    assert (tuple(uuids), ()) == (published.leased, published.released)
    assert "lets one request move it by 100 W at most" in published.errors[0]
    assert published.errors[0].endswith("; its run stays as it was for this round")
    assert [285.0, 285.0] == held(admin)
    publisher.begin_round()
    assert () == publisher.publish(to_hold(uuids, watts=185)).errors


def test_what_the_node_has_no_room_for_is_refused_for_that_round_and_nothing_is_released(
    admin: AdminClient,
) -> None:
    uuids = [gpu["gpu_uuid"] for gpu in admin.gpus()]
    publisher = LeasePublisher(GivenAddresses([admin]), 60.0)
    assert () == publisher.publish(to_hold(uuids[:1], watts=200)).errors
    publisher.begin_round()
    published = publisher.publish(to_hold(uuids[:1], watts=280))

    assert (tuple(uuids[:1]), ()) == (published.leased, published.released)
    assert "make 580 W, but this host's policy allows 560 W for all its GPUs" in published.errors[0]
    assert [200.0, None] == held(admin)
