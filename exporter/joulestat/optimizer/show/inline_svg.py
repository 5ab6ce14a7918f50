"""Makes matplotlib's SVG part of a page: in the page's colours, with names of its own."""

import re
from collections.abc import Mapping
from html import escape

from joulestat.optimizer.show import panels

COLOURS: Mapping[str, str] = {
    panels.PAPER: "var(--paper)",
    panels.INK: "var(--ink)",
    panels.MUTED: "var(--muted)",
    panels.GRID: "var(--grid)",
    panels.FIT: "var(--fit)",
    panels.CHOSEN: "var(--chosen)",
    panels.REFERENCE: "var(--reference)",
    panels.BOUND: "var(--bound)",
}
"""Colours of the panels as the page's style sheet names them: it has two schemes."""

_METADATA = re.compile(r"\s*<metadata>.*?</metadata>", re.DOTALL)
_COMMENT = re.compile(r"\s*<!--.*?-->", re.DOTALL)
_SIZE = re.compile(r'(<svg[^>]*?) width="[^"]*"')
_HEIGHT = re.compile(r'(<svg[^>]*?) height="[^"]*"')
_FONT = re.compile(r"font: ([\d.]+)px [^;\"]*")
_NAME = re.compile(r'(\bid="|url\(#|href="#)')


def inline_svg(svg: str, alt: str, prefix: str) -> str:
    """Return the drawing as an element of a page, as wide as what is around it.

    Args:
        svg: A whole SVG file as matplotlib writes it.
        alt: What is to be seen, for who does not see it; any text is safe.
        prefix: Makes its names unique in the page.
    """
    element = svg[svg.index("<svg") :]
    for unwanted in (_METADATA, _COMMENT):
        element = unwanted.sub("", element)
    element = _HEIGHT.sub(r"\1", _SIZE.sub(r"\1", element, count=1), count=1)
    # The page's font instead of a list of those that matplotlib would like.
    element = _FONT.sub(r"font-size: \1px", element)
    element = _NAME.sub(rf"\g<1>{prefix}", element)
    for colour, variable in COLOURS.items():
        element = element.replace(colour, variable)
    return element.replace("<svg ", f'<svg role="img" aria-label="{escape(alt)}" ', 1).strip()
