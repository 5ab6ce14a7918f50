"""Whatever is on a model card stays there when energy and emissions are written."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("huggingface_hub", reason="no huggingface_hub: pip install '.[model-card]'")

import yaml
from huggingface_hub import ModelCard
from huggingface_hub.repocard import REGEX_YAML_BLOCK
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from joulestat.model_card import CardError, Emissions, write_model_card

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=12)
SCALARS = st.one_of(
    TEXTS, st.none(), st.booleans(), st.integers(), st.floats(), st.dates(), st.just("no")
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)
KEYS = st.one_of(TEXTS, st.sampled_from(["co2_eq_emissions", "energy_consumption_joules"]))
METADATA = st.dictionaries(KEYS, VALUES, min_size=1, max_size=6)
STYLES = st.fixed_dictionaries(
    {
        "allow_unicode": st.booleans(),
        "default_flow_style": st.sampled_from([False, None]),
        "default_style": st.sampled_from([None, '"', "'", "|"]),
        "width": st.sampled_from([20, 80, 10_000]),
        "indent": st.sampled_from([2, 4]),
    }
)
JOULES = st.lists(st.floats(0, 1e12), min_size=1, max_size=4)
OURS = {"co2_eq_emissions", "energy_consumption_joules"}


def others(metadata: dict[Any, Any]) -> str:
    """Return the entries that are not ours; as text, because NaN is not equal to itself."""
    return repr({key: value for key, value in metadata.items() if key not in OURS})


def metadata_of(text: str) -> dict[Any, Any]:
    found = REGEX_YAML_BLOCK.search(text)
    assert found is not None
    metadata: dict[Any, Any] = yaml.safe_load(found[2])
    return metadata


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    metadata=METADATA,
    style=STYLES,
    comment=st.booleans(),
    windows=st.booleans(),
    joules=JOULES,
    grams=st.none() | st.floats(0, 1e9),
)
def test_all_that_is_not_ours_stays(
    tmp_path: Path,
    metadata: dict[str, Any],
    style: dict[str, Any],
    comment: bool,
    windows: bool,
    joules: list[float],
    grams: float | None,
) -> None:
    block = yaml.safe_dump(metadata, sort_keys=False, **style)
    text = f"---\n{'# why' if comment else ''}\n{block}\n# end\n---\n\n# A model\n---\n"
    if windows:
        text = text.replace("\n", "\r\n")
    before = metadata_of(text)
    path = tmp_path / "README.md"
    path.write_text(text, encoding="utf-8", newline="")
    emissions = None if grams is None else Emissions(grams, "measured")

    try:
        write_model_card(path, joules, emissions=emissions)
    except CardError:
        # Refused, as one that is in braces, and untouched.
        assert text.encode() == path.read_bytes()
        assert block.startswith("{")
        return

    after = path.read_bytes().decode()
    written = metadata_of(after)
    assert others(before) == others(written)
    assert [round(value, 6) for value in joules] == written["energy_consumption_joules"]["gpu"]
    assert (
        ModelCard(text, ignore_metadata_errors=True).text
        == after[-len("\n# A model\n---\n") - 3 * windows :]
    )
    if emissions is None:
        assert repr(before.get("co2_eq_emissions")) == repr(written.get("co2_eq_emissions"))
    else:
        assert written["co2_eq_emissions"]["emissions"] == pytest.approx(grams, rel=1e-5)
    assert not write_model_card(path, joules, emissions=emissions)
