"""What a counter grew by, and when: life by life."""

import pytest

from joulestat.report.facts import Portion
from joulestat.report.growth import GpuTrack, by_hour, portions_of
from joulestat.report.lives import Life, changes, edges, lives_of

TARGET = frozenset({("instance", "a")})


def track(*values: tuple[float, float, float], looks: tuple[float, ...] = ()) -> GpuTrack:
    made = GpuTrack()
    for birth, at, joules in values:
        made.note(birth, at, joules)
        made.looks.add(at)
    made.looks.update(looks)
    return made


def test_what_a_counter_shows_at_first_was_taken_since_its_birth() -> None:
    assert [(95.0, 100.0, 7.0), (100.0, 105.0, 3.0)] == list(
        track((95.0, 100.0, 7.0), (95.0, 105.0, 10.0)).grown()
    )


def test_a_life_adds_to_the_one_before_whatever_it_shows() -> None:
    made = track((0.0, 10.0, 50.0), (14.0, 20.0, 80.0))

    assert 130.0 == made.joules
    assert [(0.0, 10.0, 50.0), (14.0, 20.0, 80.0)] == list(made.grown())


def test_a_value_that_falls_within_a_life_is_an_older_one() -> None:
    made = track((0.0, 10.0, 50.0), (0.0, 15.0, 45.0), (0.0, 20.0, 60.0))

    assert 60.0 == made.joules
    assert [50.0, 10.0] == [joules for _, _, joules in made.grown()]


def test_what_grows_after_standing_still_grew_since_the_last_look() -> None:
    made = track((0.0, 10.0, 50.0), (0.0, 40.0, 60.0), looks=(20.0, 30.0))

    assert (30.0, 40.0, 10.0) == list(made.grown())[-1]


def test_a_birth_after_the_look_is_of_a_clock_that_is_ahead() -> None:
    assert [(10.0, 10.0, 5.0)] == list(track((99.0, 10.0, 5.0)).grown())


def test_gpus_of_a_node_are_one_portion() -> None:
    tracks = {name: track((0.0, 10.0, joules)) for name, joules in (("x", 1.0), ("y", 2.0))}

    assert [Portion("a", 0.0, 10.0, 3.0)] == portions_of(tracks, {"x": "a", "y": "a"})
    assert [Portion("a", 0.0, 10.0, 1.0), Portion("b", 0.0, 10.0, 2.0)] == portions_of(
        tracks, {"x": "a", "y": "b"}
    )


def test_a_portion_across_the_hour_is_shared_by_time() -> None:
    assert {0: 25.0, 3_600: 100.0, 7_200: 25.0} == pytest.approx(
        by_hour([Portion("a", 2_700.0, 8_100.0, 150.0)])
    )
    assert {3_600: 4.0} == by_hour([Portion("a", 3_600.0, 3_600.0, 4.0)])


def test_looks_that_show_another_life_are_told_apart() -> None:
    looks = [(10.0, 1.0), (20.0, 1.0), (30.0, 25.0), (40.0, 25.0), (50.0, 25.0)]

    assert [30.0] == changes(looks)
    assert [10.0, 20.0, 30.0, 50.0] == edges(looks)
    assert ([], []) == (changes([]), edges([]))


def test_lives_end_where_their_last_samples_lie() -> None:
    """A second life begins and ends between two looks: only samples tell."""
    looks = [(10.0, 1.0), (20.0, 1.0), (30.0, 27.0), (40.0, 27.0)]
    samples = [(4.0, 1.0), (9.0, 1.0), (14.0, 1.0), (19.0, 1.0), (22.0, 1.0), (25.0, 24.5),
               (28.0, 27.0), (33.0, 27.0), (38.0, 27.0)]  # fmt: skip

    assert [
        Life(TARGET, 1.0, 22.0, 22.0, 10.0),
        Life(TARGET, 24.5, 25.0, 25.0, 0.001),
        Life(TARGET, 27.0, 38.0, 40.0, 10.0),
    ] == lives_of(TARGET, looks, samples, 10.0)


def test_a_server_that_shows_no_samples_is_believed_at_looks() -> None:
    assert [Life(TARGET, 1.0, 10.0, 10.0, 10.0)] == lives_of(TARGET, [(10.0, 1.0)], [], 10.0)
