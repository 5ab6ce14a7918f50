"""Links of all pages lead to files that are there, and to headings that stand in them."""

import re
from pathlib import Path

import pytest

from golden.written import CHECKOUT

FOLDERS = ("alerts", "dashboards", "docker", "docs", "tests")
PAGES = sorted(
    [
        *CHECKOUT.glob("*.md"),
        *(page for folder in FOLDERS for page in (CHECKOUT / folder).rglob("*.md")),
    ]
)

LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def prose(page: Path) -> str:
    return CODE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """Return what GitHub and GitLab make of a page's headings."""
    headings = (re.sub(r"[^\w\- ]", "", text.lower()) for text in HEADING.findall(prose(page)))
    return {heading.replace(" ", "-") for heading in headings}


def leads_nowhere(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.exists():
        return True
    return bool(anchor) and target.suffix == ".md" and anchor not in anchors(target)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_every_link_within_the_repository_leads_somewhere(page: Path) -> None:
    links = [link for link in LINK.findall(prose(page)) if "://" not in link]

    assert [] == [link for link in links if leads_nowhere(page, link)]
