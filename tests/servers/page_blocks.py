"""The blocks of code on a page, so that what a page says is what a test runs."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def blocks(page: str, language: str) -> list[str]:
    """Return what a page of ``docs/`` has in fences of a language, in order."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def file_block(page: str, name: str) -> str:
    """Return the YAML whose first line names this file."""
    (found,) = (block for block in blocks(page, "yaml") if name in block.splitlines()[0])
    return found
