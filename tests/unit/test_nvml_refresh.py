"""The real nvidia-ml-py over the stand-in library: GPUs that come, go and move."""

from fakes.nvml.remote import RemoteNvml, Start, errors_of, limiter_of, read_all
from fakes.nvml.standin import StandIn


def test_a_look_at_the_same_gpus_changes_and_logs_nothing(
    nvml: RemoteNvml, nvml_standin: StandIn
) -> None:
    assert [False] * 3 == [nvml.refresh() for _ in range(3)]
    assert "nvmlShutdown" not in [function for function, _, _ in nvml_standin.calls()]
    assert [] == nvml.events()


def test_a_gpu_that_was_lost_at_opening_is_found_once_it_answers(
    start: Start, nvml_standin: StandIn
) -> None:
    nvml_standin.plan("* 0 ret 15")
    nvml = start(nvml_standin)
    nvml.open()
    assert [False, False] == [nvml.refresh(), nvml.refresh()]
    nvml_standin.plan()

    assert nvml.refresh()
    assert [0, 1] == [device.index for device in nvml.devices()]
    assert [set(), set()] == errors_of(nvml)
    assert ["gpu_left_out", "gpu_came"] == nvml.events()


def test_a_gpu_that_comes_later_is_found(nvml: RemoteNvml, nvml_standin: StandIn) -> None:
    nvml_standin.add_gpu()

    assert nvml.refresh()
    assert 3 == len(nvml.devices())
    assert [set()] * 3 == errors_of(nvml)
    limiter_of(nvml, 2).write_watts(150.0)
    assert 150.0 == limiter_of(nvml, 2).read_watts()
    assert ["gpu_came"] == nvml.events()


def test_a_gpu_that_is_taken_away_stays_with_errors_and_moves_the_others_up(
    nvml: RemoteNvml, nvml_standin: StandIn
) -> None:
    first, second = (device.uuid for device in nvml.devices())
    nvml_standin.change(0, hidden=1)
    assert [{"GPU_IS_LOST"}, set()] == errors_of(nvml)

    assert nvml.refresh()
    assert [(second, 0), (first, 0)] == [(each.uuid, each.index) for each in nvml.devices()]
    assert [set(), {"NOT_FOUND"}] == errors_of(nvml)
    nvml.refresh()
    nvml_standin.change(0, hidden=0)
    assert nvml.refresh()
    assert [(first, 0), (second, 1)] == [(each.uuid, each.index) for each in nvml.devices()]
    assert [set(), set()] == errors_of(nvml)
    nvml.refresh()
    changes = ["gpu_moved", "gpu_lost", "nvml_reopened", "gpu_moved", "gpu_came"]
    assert changes == nvml.events()


def test_a_gpu_that_hangs_is_spared_by_the_look(nvml: RemoteNvml, nvml_standin: StandIn) -> None:
    stuck = nvml.devices()[0].uuid
    nvml_standin.change(0, mig_instances=1)
    nvml.refresh()
    nvml_standin.plan("* 0 hang")
    hanging = nvml.begin("backend", "read", stuck, details=False)
    assert not nvml.answered(hanging, within_seconds=0.05)
    nvml_standin.add_gpu()

    assert nvml.refresh()
    assert [0, 1, 2] == [device.index for device in nvml.devices()]
    instance = "MIG-5a4d1000-0000-4000-8001-000000000000"
    assert stuck == nvml.ask("backend", "parent_of", instance)
    nvml_standin.plan()
    nvml.answer(hanging)


def test_a_process_without_gpus_finds_the_first_one(start: Start, nvml_standin: StandIn) -> None:
    nvml_standin.plan("nvmlDeviceGetCount_v2 * val 0")
    nvml = start(nvml_standin)
    nvml.open()
    assert not nvml.refresh()
    nvml_standin.plan()

    assert nvml.refresh()
    assert 2 == len(nvml.devices())


def test_a_mig_instance_is_told_to_be_of_its_gpu(nvml: RemoteNvml, nvml_standin: StandIn) -> None:
    parent = nvml.devices()[1].uuid
    nvml_standin.change(1, mig_instances=3)
    nvml.refresh()
    instance = "MIG-5a4d1000-0000-4000-8003-000000000001"

    assert parent == nvml.ask("backend", "parent_of", instance)
    assert parent == nvml.ask("backend", "parent_of", f"MIG-{parent}/7/0")
    assert nvml.ask("backend", "parent_of", "MIG-of-somebody-else") is None
    assert nvml.ask("backend", "parent_of", "MIG-GPU-of-somebody-else/7/0") is None
    assert 2 == len(nvml.devices())


def test_with_mig_the_board_is_read_once_and_has_no_utilization(
    nvml: RemoteNvml, nvml_standin: StandIn
) -> None:
    nvml_standin.change(1, mig_instances=7)
    nvml.refresh()
    plain, sliced = read_all(nvml)

    assert plain.details.utilization_ratio is not None
    assert sliced.details.utilization_ratio is None
    assert () == sliced.errors
    assert sliced.energy_counter_uj is not None
    assert sliced.limits.set_watts is not None
