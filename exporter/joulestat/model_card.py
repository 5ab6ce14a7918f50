"""Writes a training's energy and emissions into the metadata of a model card.

``write_model_card("out/README.md", run.energy_joules())`` makes, or changes, these lines at the
top of the card, and nothing else on it::

    energy_consumption_joules:
      gpu:
      - 462.653
      - 385.544
"""

import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import ModelCard, ModelCardData
from huggingface_hub.repocard import REGEX_YAML_BLOCK

from joulestat.domain.emissions import Emissions, emissions_at
from joulestat.domain.errors import CardError

__all__ = ["CardError", "Emissions", "emissions_at", "write_model_card"]

ENERGY = "energy_consumption_joules"
EMISSIONS = "co2_eq_emissions"

_JOULES_DIGITS = 6
"""Exporters count in microjoules."""

_log = logging.getLogger("joulestat.model_card")


def write_model_card(
    path: str | os.PathLike[str],
    energy_joules: Mapping[str, float] | Iterable[float],
    *,
    emissions: Emissions | None = None,
) -> bool:
    """Write what a training took into the metadata of a model card, all of it or nothing.

    All else on the card stays as it is to the byte, comments and line ends too; a card that is
    not there is made. Writing the same again changes nothing. ``create_model_card`` of the
    Hugging Face Trainer writes a card anew, so this comes after it.

    Args:
        path: The card, as a rule ``README.md`` in the model's folder.
        energy_joules: J of each GPU in the order that the card is to have; of a mapping by UUID,
            such as ``run.energy_joules()``, in the order of the UUIDs. Empty where no exporter
            told any: then the card stays as it is, and a training without one is not harmed.
        emissions: What the training emitted; None where no intensity is known: then the card's
            ``co2_eq_emissions`` stay what they are, if it has any.

    Returns:
        Whether the card changed.

    Raises:
        CardError: It cannot be read, is no card or cannot be written; or what is given is no
            energy.

    Source:
        https://huggingface.co/docs/hub/model-cards-co2 (``co2_eq_emissions``)
    """
    card = Path(path)
    joules = _joules_by_gpu(energy_joules)
    if not joules:
        _log.warning("event=card_left_alone reason=no_energy_known card=%s", card)
        return False
    entries: dict[str, dict[str, Any]] = {ENERGY: {"gpu": joules}}
    if emissions is not None:
        said = {name: value for name, value in asdict(emissions).items() if value is not None}
        # Six digits: no intensity is known that well.
        entries[EMISSIONS] = {"emissions": float(f"{said.pop('grams'):.6g}"), **said}
    before = _read(card)
    try:
        after = _with_entries(before or "", entries)
    except (ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise CardError(
            f"{card} has metadata that cannot be changed ({reason}); mend the lines between its "
            "first two ---"
        ) from error
    if after != before:
        _write(card, after)
    return after != before


def _joules_by_gpu(energy_joules: Mapping[str, float] | Iterable[float]) -> list[float]:
    given = (
        [energy_joules[uuid] for uuid in sorted(energy_joules)]
        if isinstance(energy_joules, Mapping)
        else list(energy_joules)
    )
    if not all(isfinite(joules) and joules >= 0 for joules in given):
        raise CardError(f"{given} is not energy in joules: a number for each GPU, 0 or more")
    return [round(float(joules), _JOULES_DIGITS) for joules in given]


def _with_entries(text: str, entries: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a card's text with these entries in its metadata.

    Raises:
        ValueError: The metadata would not be what it should be afterwards.
        yaml.YAMLError: It is no YAML, or no mapping.
    """
    found = REGEX_YAML_BLOCK.search(text)
    block = found[2] if found else ""
    known = yaml.safe_load(block) or {}
    if not isinstance(known, dict):
        raise yaml.YAMLError("it is no mapping")
    line_break = "\r\n" if "\r\n" in text else "\n"
    expected = dict(known)
    for key, entry in entries.items():
        before = known.get(key)
        # What else was said there stays: energy of the CPU, where it was trained.
        expected[key] = {**before, **entry} if isinstance(before, dict) else dict(entry)
        if expected[key] != before:
            rendered = ModelCardData(**{key: expected[key]}).to_yaml(line_break=line_break)
            block = _replaced(block, key, rendered.strip(), line_break)
    if found:
        after = text[: found.start(2)] + block + text[found.end(2) :]
    else:
        after = line_break.join(("---", block, "---", text))
    _check(after, expected)
    return after


def _replaced(block: str, key: str, rendered: str, line_break: str) -> str:
    """Return YAML in which one entry of the outermost mapping is another, or is added.

    Not by dumping all of it anew: that would lose comments, the style of texts, nulls, and what
    the library does not understand of evaluation results.
    """
    root = yaml.compose(block, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        return line_break.join(part for part in (block.rstrip(), rendered) if part)
    # From the beginning of the line, because a key may have a question mark before it.
    starts = [block.rfind("\n", 0, name.start_mark.index) + 1 for name, _ in root.value]
    names = [name.value for name, _ in root.value]
    if root.flow_style:
        raise ValueError("it is in braces; write one entry a line")
    if key not in names:
        return block.rstrip() + line_break + rendered
    number = names.index(key)
    begin = starts[number]
    end = starts[number + 1] if number + 1 < len(starts) else len(block)
    # Blank lines and comments before the next entry are that one's.
    lines = block[begin:end].splitlines(keepends=True)
    while lines and (not lines[-1].strip() or lines[-1].startswith("#")):
        lines.pop()
    rest = block[begin + sum(map(len, lines)) :]
    return block[:begin] + rendered + (line_break + rest if rest else "")


def _check(text: str, expected: Mapping[str, Any]) -> None:
    """See to it that the hub's own reader finds in a card what it should.

    Raises:
        ValueError: It does not.
    """
    found = REGEX_YAML_BLOCK.search(text)
    # As texts: a metric that is no number is not even equal to itself.
    if found is None or repr(yaml.safe_load(found[2])) != repr(expected):
        raise ValueError("one of its entries cannot be replaced alone")
    shown = ModelCard(text, ignore_metadata_errors=True).data
    for key in (ENERGY, EMISSIONS):
        if shown.get(key) != expected.get(key):
            raise ValueError(f"the hub's library does not find {key} in it")


def _read(card: Path) -> str | None:
    """Return a card's text with its line ends as they are; None where there is no card."""
    try:
        with card.open(encoding="utf-8", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise CardError(f"{card} cannot be read as a model card: {error}") from error


def _write(card: Path, text: str) -> None:
    """Put a text in a card's place, in one step, with the card's own permissions."""
    target = card.resolve()  # what a link names is changed, not the link
    new = target.with_name(f".{target.name}.{os.getpid()}.new")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with new.open("w", encoding="utf-8", newline="") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            if target.exists():
                new.chmod(target.stat().st_mode & 0o7777)
            new.replace(target)
        finally:
            new.unlink(missing_ok=True)
    except OSError as error:
        raise CardError(f"{card} cannot be written: {error}") from error
