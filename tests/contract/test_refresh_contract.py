"""What every backend promises when it looks again at what is there."""

from contract.rigs import Rig
from joulestat.domain.units import same_limit


def test_a_look_at_what_has_not_changed_changes_nothing(rig: Rig) -> None:
    before = rig.backend.devices()
    limiter = rig.backend.limiter(before[1].uuid)
    assert limiter is not None
    limiter.write_watts(150.0)

    assert [False, False] == [rig.backend.refresh(), rig.backend.refresh()]
    assert before == rig.backend.devices()
    assert same_limit(150.0, limiter.read_watts())


def test_a_lost_gpu_stays_among_the_devices_and_lists_errors(rig: Rig) -> None:
    before = rig.backend.devices()
    rig.lose(1)
    rig.backend.read(before[1].uuid, details=True)
    rig.backend.refresh()

    assert {each.uuid for each in before} == {each.uuid for each in rig.backend.devices()}
    assert rig.backend.read(before[1].uuid, details=True).errors
    for healthy in (before[0], before[2]):
        assert () == rig.backend.read(healthy.uuid, details=True).errors


def test_a_gpu_that_is_back_is_read_and_set_as_before(rig: Rig) -> None:
    before = rig.backend.devices()
    limiter = rig.backend.limiter(before[1].uuid)
    assert limiter is not None
    rig.lose(1)
    rig.backend.read(before[1].uuid, details=True)
    rig.backend.refresh()
    rig.find(1)
    rig.backend.refresh()

    assert before == rig.backend.devices()
    assert () == rig.backend.read(before[1].uuid, details=True).errors
    limiter.write_watts(150.0)
    assert same_limit(150.0, limiter.read_watts())


def test_a_gpu_that_is_lost_for_long_keeps_its_place_and_comes_back(rig: Rig) -> None:
    before = rig.backend.devices()
    rig.lose(1)
    for _ in range(3):
        rig.backend.read(before[1].uuid, details=False)
        rig.advance(400.0)
        rig.backend.refresh()
    assert before == rig.backend.devices()

    rig.find(1)
    rig.advance(400.0)
    rig.backend.refresh()

    assert before == rig.backend.devices()
    assert () == rig.backend.read(before[1].uuid, details=True).errors


def test_a_look_after_closing_changes_nothing(rig: Rig) -> None:
    before = rig.backend.devices()
    rig.backend.close()

    assert not rig.backend.refresh()
    assert before == rig.backend.devices()
