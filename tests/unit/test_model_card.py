"""Energy and emissions on a model card: what is written, and that all else stays."""

import os
import stat
from pathlib import Path

import pytest

pytest.importorskip("huggingface_hub", reason="no huggingface_hub: pip install '.[model-card]'")

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from joulestat.model_card import CardError, Emissions, emissions_at, write_model_card

JOULES = [462.653, 385.544]
EMISSIONS = Emissions(12.5, "joulestat: measured", "fine-tuning", "Germany, DE", "2 x NVIDIA H100")

CARD = """\
---
# Kept: a comment
license: "apache-2.0"   # quoted, and why
language:
- 'no'

base_model: null
version: 1.10
model-index:
- name: tiny
  results:
  - task: {type: text-generation}
    unheard_of: kept
    metrics:
    - {type: loss, value: .nan}
# Of the tags
tags: [energy, tiny]
---

# Tiny

Text with --- in it.

---

More.
"""


def card(tmp_path: Path, text: str = CARD) -> Path:
    path = tmp_path / "README.md"
    path.write_text(text, encoding="utf-8", newline="")
    return path


def metadata(path: Path) -> ModelCardData:
    return ModelCard.load(path, ignore_metadata_errors=True).data


def test_a_card_that_is_not_there_is_made(tmp_path: Path) -> None:
    path = tmp_path / "out" / "README.md"

    assert write_model_card(path, JOULES, emissions=EMISSIONS)
    assert {"gpu": JOULES} == metadata(path).get("energy_consumption_joules")
    assert {
        "emissions": 12.5,
        "source": "joulestat: measured",
        "training_type": "fine-tuning",
        "geographical_location": "Germany, DE",
        "hardware_used": "2 x NVIDIA H100",
    } == metadata(path).get("co2_eq_emissions")


def test_all_else_on_a_card_stays_to_the_byte(tmp_path: Path) -> None:
    path = card(tmp_path)
    write_model_card(path, JOULES, emissions=EMISSIONS)
    after = path.read_text(encoding="utf-8")
    added = after[after.index("energy_consumption_joules") : after.index("\n---\n\n# Tiny")]

    assert CARD == after.replace("\n" + added, "", 1)
    assert set(ModelCard(CARD, ignore_metadata_errors=True).data.to_dict()) | {
        "energy_consumption_joules",
        "co2_eq_emissions",
    } == set(metadata(path).to_dict())


def test_what_was_written_before_is_replaced_in_its_place(tmp_path: Path) -> None:
    path = card(tmp_path)
    write_model_card(path, JOULES)
    text = path.read_text(encoding="utf-8").replace("tags: [energy, tiny]\n", "")
    path.write_text(text.replace("\n---\n\n# Tiny", "\n\n# Of the tags\ntags: [a]\n---\n\n# Tiny"))

    write_model_card(path, [1.5])

    assert "- 1.5\n\n# Of the tags\ntags: [a]\n---" in path.read_text(encoding="utf-8")
    assert {"gpu": [1.5]} == metadata(path).get("energy_consumption_joules")


def test_writing_the_same_again_changes_nothing(tmp_path: Path) -> None:
    path = card(tmp_path)
    write_model_card(path, JOULES, emissions=EMISSIONS)
    first, written = path.read_bytes(), path.stat()

    assert not write_model_card(path, JOULES, emissions=EMISSIONS)
    assert (first, written.st_ino) == (path.read_bytes(), path.stat().st_ino)


def test_without_emissions_those_of_others_are_left_alone(tmp_path: Path) -> None:
    theirs = "co2_eq_emissions:\n  emissions: 5.08\n  source: CodeCarbon\n"
    path = card(tmp_path, f"---\n{theirs}---\nText")
    write_model_card(path, JOULES)

    assert theirs in path.read_text(encoding="utf-8")
    assert {"emissions": 5.08, "source": "CodeCarbon"} == metadata(path).get("co2_eq_emissions")


def test_without_emissions_none_are_written(tmp_path: Path) -> None:
    path = card(tmp_path)
    write_model_card(path, JOULES)

    assert "co2_eq_emissions" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("theirs", ["co2_eq_emissions: 5.08", "co2_eq_emissions: {emissions: 5}"])
def test_emissions_of_others_give_way_to_measured_ones(tmp_path: Path, theirs: str) -> None:
    path = card(tmp_path, f"---\n{theirs}\nlicense: mit\n---\n")
    write_model_card(path, JOULES, emissions=Emissions(7.0, "joulestat"))

    assert {"emissions": 7.0, "source": "joulestat"} == metadata(path).get("co2_eq_emissions")
    assert "mit" == metadata(path).license


def test_what_is_not_said_again_stays(tmp_path: Path) -> None:
    path = card(tmp_path, "---\nenergy_consumption_joules: {cpu: [3.5], gpu: [1]}\n---\n")
    write_model_card(path, JOULES, emissions=EMISSIONS)
    write_model_card(path, JOULES, emissions=Emissions(2.0, "again"))

    assert {"cpu": [3.5], "gpu": JOULES} == metadata(path).get("energy_consumption_joules")
    assert "Germany, DE" == metadata(path).get("co2_eq_emissions")["geographical_location"]


def test_a_mapping_is_written_in_the_order_of_the_uuids(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    write_model_card(path, {"GPU-b": 2.0, "GPU-a": 1.0})

    assert {"gpu": [1.0, 2.0]} == metadata(path).get("energy_consumption_joules")


def test_joules_are_written_to_the_microjoule(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    write_model_card(path, [0.1 + 0.2, 123_456_789.123456789])

    assert {"gpu": [0.3, 123_456_789.123457]} == metadata(path).get("energy_consumption_joules")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# Only text\n",
        "---\n---\ntext\n",
        "---\n# only a comment\n---\ntext\n",
        "---\r\nlicense: mit\r\n---\r\n# Text\r\n",
        "---\nlicense: mit\n---",
        "---\nunterminated: yes\n",
    ],
    ids=["empty", "text", "no-entry", "comment", "crlf", "no-end", "unterminated"],
)
def test_odd_cards_keep_their_text(tmp_path: Path, text: str) -> None:
    path = card(tmp_path, text)
    write_model_card(path, JOULES)
    after = path.read_bytes().decode()

    assert after.endswith(ModelCard(text).text)
    assert {"gpu": JOULES} == metadata(path).get("energy_consumption_joules")
    assert ("\r\n" in text) is ("\r\n" in after)
    assert after.count("\n") == after.count("\r\n") or "\r\n" not in text


def test_a_card_of_the_hubs_own_making_is_read_back_whole(tmp_path: Path) -> None:
    data = ModelCardData(
        language="en",
        license="mit",
        model_name="tiny",
        eval_results=[EvalResult("text-generation", "wikitext", "WikiText", "ppl", 12.5)],
    )
    path = card(tmp_path, f"---\n{data.to_yaml()}\n---\n# Tiny\n")
    write_model_card(path, JOULES)

    assert data.to_dict() | {"energy_consumption_joules": {"gpu": JOULES}} == (
        metadata(path).to_dict()
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("---\n[not, a, mapping]\n---\n", "no mapping"),
        ("---\na: [1\n---\n", "cannot be changed"),
        ("---\n{license: mit}\n---\n", "in braces"),
        (f"---\n{'co2_eq_emissions: 1'}\nco2_eq_emissions: 2\n---\n", "cannot be replaced alone"),
        ("---\nco2_eq_emissions: &e {emissions: 1}\nother: *e\n---\n", "cannot be changed"),
    ],
)
def test_a_card_that_cannot_be_changed_is_left_as_it_was(
    tmp_path: Path, text: str, says: str
) -> None:
    path = card(tmp_path, text)

    with pytest.raises(CardError, match=says) as error:
        write_model_card(path, JOULES, emissions=EMISSIONS)

    assert text == path.read_text(encoding="utf-8")
    assert "\n" not in str(error.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_bytes(b"---\nlicense: \xff\n---\n")

    with pytest.raises(CardError, match="cannot be read"):
        write_model_card(path, JOULES)


@pytest.mark.parametrize("joules", [[], {}])
def test_without_energy_the_card_stays_as_it_is(
    tmp_path: Path, joules: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    """As at the end of a training that had no exporter."""
    path = card(tmp_path)

    assert not write_model_card(path, joules, emissions=EMISSIONS)
    assert CARD == path.read_text(encoding="utf-8")
    assert "reason=no_energy_known" in caplog.text


@pytest.mark.parametrize("joules", [[float("nan")], [-1.0], [float("inf")]])
def test_what_is_no_energy_is_refused(tmp_path: Path, joules: list[float]) -> None:
    with pytest.raises(CardError):
        write_model_card(tmp_path / "README.md", joules)

    assert [] == list(tmp_path.iterdir())


def test_a_link_stays_a_link_and_permissions_stay(tmp_path: Path) -> None:
    path = card(tmp_path)
    path.chmod(0o640)
    link = tmp_path / "link.md"
    link.symlink_to(path)
    write_model_card(link, JOULES)

    assert link.is_symlink()
    assert 0o640 == stat.S_IMODE(path.stat().st_mode)
    assert "energy_consumption_joules" in path.read_text(encoding="utf-8")
    assert {"README.md", "link.md"} == {entry.name for entry in tmp_path.iterdir()}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    path = card(tmp_path)
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(CardError, match="cannot be written"):
            write_model_card(path, JOULES)
    finally:
        tmp_path.chmod(0o700)


def test_a_folder_in_its_place_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "README.md").mkdir()

    with pytest.raises(CardError, match="cannot be read"):
        write_model_card(tmp_path / "README.md", JOULES)


def test_a_constant_intensity_makes_emissions(tmp_path: Path) -> None:
    emissions = emissions_at(7.2e6, 380.0, pue_ratio=1.25, geographical_location="DE")

    assert 950.0 == pytest.approx(emissions.grams)
    assert "joulestat, measured GPU energy x PUE 1.25 x 380 g/kWh" == emissions.source
    assert "380 g/kWh, without PUE" in emissions_at(7.2e6, 380.0).source
