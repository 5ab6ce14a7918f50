"""The real pyrsmi over the stand-in for amdsmi: what is odd about it, as it is really shipped."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fakes.amd.remote import FOLDER, AmdHost

pytest.importorskip("pyrsmi", reason="pyrsmi is not installed: pip install 'joulestat[server]'")

ASK_IN_A_FRESH_PROCESS = """
import json
from pyrsmi import rocml
from joulestat.devices.amd_rsmi import Rsmi
from joulestat.devices.amd_source import Gate
from joulestat.domain.errors import DeviceError

source = Rsmi(rocml, Gate())
try:
    source.open()
except DeviceError as error:
    print(json.dumps({"call": error.call, "error": error.error}))
else:
    print(json.dumps([
        {"bdf": card.bdf, "model": card.model, "index": card.index,
         **{str(quantity): offer.ask() for quantity, offer in card.offers.items()}}
        for card in source.cards()
    ]))
    source.close()
"""


def answer_of(amd: AmdHost, **environment: str) -> Any:
    shown = amd.environment()
    path = os.pathsep.join([str(FOLDER / "with_amdsmi"), str(FOLDER.parents[1])])
    finished = subprocess.run(
        [sys.executable, "-c", ASK_IN_A_FRESH_PROCESS],
        env={**os.environ, **shown, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(finished.stdout.splitlines()[-1])


@pytest.fixture
def amd(tmp_path: Path) -> AmdHost:
    """A host with two GPUs."""
    return AmdHost(tmp_path, sources=("amdsmi",))


def test_it_shows_cards_by_their_address(amd: AmdHost) -> None:
    cards = answer_of(amd)

    assert ["0000:03:00.0", "0000:13:00.0"] == [card["bdf"] for card in cards]
    assert {"AMD Instinct Stand-in"} == {card["model"] for card in cards}
    assert [50.0, 50.0] == [card["power"] for card in cards]
    assert [0.0, 0.0] == [card["utilization"] for card in cards]


def test_it_does_not_know_the_average_power_of_a_card_without_a_current_one(amd: AmdHost) -> None:
    amd.change(0, tells_current=False)

    assert answer_of(amd)[0]["power"] is None


def test_it_fails_in_many_ways_where_amdsmi_has_no_rocm(amd: AmdHost) -> None:
    assert {"call": "smi_initialize", "error": "KeyError"} == answer_of(amd, FAKE_AMD_NO_ROCM="1")


def test_it_says_that_there_is_no_library(amd: AmdHost, tmp_path: Path) -> None:
    nowhere = {"PYTHONPATH": str(FOLDER.parents[1]), "ROCM_PATH": str(tmp_path)}

    assert "ROCMLError_LibraryNotFound" == answer_of(amd, **nowhere)["error"]
