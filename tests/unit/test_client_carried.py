from typing import Any

from joulestat.client.carried import (
    as_json,
    checkpoint_in,
    entry_of,
    find_entry,
    put_entry,
    remove_entry,
)

MINE = {"run": "mine"}
OTHERS = {"run": "other"}


def test_an_entry_says_how_to_make_the_callback_anew_and_what_it_knew() -> None:
    entry = entry_of(MINE, {"steps": 3})

    assert {"args": MINE, "attributes": {"checkpoint": {"steps": 3}}} == entry
    assert {"steps": 3} == checkpoint_in(entry)


def test_a_single_entry_is_taken_although_the_arguments_were_changed() -> None:
    entry = entry_of(OTHERS, {"steps": 3})

    assert entry is find_entry(entry, MINE)
    assert entry is find_entry([entry], MINE)


def test_of_several_entries_the_latest_with_the_same_arguments_is_taken() -> None:
    entries = [entry_of(MINE, 1), entry_of(MINE, 2), entry_of(OTHERS, 3)]

    assert entries[1] is find_entry(entries, MINE)
    assert find_entry(entries, {"run": "third"}) is None


def test_what_is_no_entry_is_none() -> None:
    for carried in (None, [], 7, "text", [None, 3]):
        assert find_entry(carried, MINE) is None
    for entry in (None, {}, {"attributes": None}, {"attributes": {"checkpoint": 5}}):
        assert checkpoint_in(entry) is None


def test_removing_takes_ones_own_entries_out_of_a_list_and_leaves_the_rest() -> None:
    entries: list[Any] = [entry_of(MINE, 1), entry_of(OTHERS, 2), None, entry_of(MINE, 3)]
    remove_entry(entries, MINE)

    assert [entry_of(OTHERS, 2), None] == entries


def test_putting_replaces_and_never_piles_up() -> None:
    single: dict[str, Any] = {"C": entry_of(MINE, 1)}
    several: dict[str, Any] = {"C": [entry_of(MINE, 1), entry_of(OTHERS, 2)]}
    for number in range(3):
        put_entry(single, "C", entry_of(MINE, number))
        put_entry(several, "C", entry_of(MINE, number))

    assert entry_of(MINE, 2) == single["C"]
    assert [entry_of(OTHERS, 2), entry_of(MINE, 2)] == several["C"]


def test_arguments_become_what_json_hands_back() -> None:
    assert {"gpus": [0, 1], "run": "None", "rank": None} == as_json(
        {"gpus": (0, 1), "run": type("Odd", (), {"__str__": lambda _: "None"})(), "rank": None}
    )
