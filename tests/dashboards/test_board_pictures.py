"""Pictures of the boards: each board has one, and what pages show is there (``make pictures``)."""

import re

import pytest

from dashboards.shown import BOARDS, CHECKOUT

IMAGES = CHECKOUT / "docs" / "img"
PAGES = ("README.md", "dashboards/README.md")
SHOWN = re.compile(r"!\[[^\]]+\]\(([^)]+)\)")
PNG = b"\x89PNG\r\n\x1a\n"
MOST_BYTES_EACH = 1_000_000
MOST_BYTES = 2_000_000


def test_every_board_has_its_picture_on_the_boards_page() -> None:
    shown = set(SHOWN.findall((CHECKOUT / "dashboards" / "README.md").read_text(encoding="utf-8")))

    assert (
        set()
        == {f"../docs/img/board-{uid.removeprefix('joulestat-')}.png" for uid in BOARDS} - shown
    )


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_pictures_that_are_there(page: str) -> None:
    source = CHECKOUT / page
    shown = SHOWN.findall(source.read_text(encoding="utf-8"))

    assert shown
    assert [] == [link for link in shown if not (source.parent / link).is_file()]


def test_pictures_are_pngs_that_a_page_may_carry() -> None:
    sizes = {}
    for picture in IMAGES.iterdir():
        content = picture.read_bytes()
        assert content.startswith(PNG), picture
        sizes[picture.name] = len(content)

    assert {} == {name: size for name, size in sizes.items() if size > MOST_BYTES_EACH}
    assert sum(sizes.values()) < MOST_BYTES
