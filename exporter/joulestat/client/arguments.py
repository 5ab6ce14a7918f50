"""What the training code handed over: taken as it was meant, or dropped with one warning."""

import logging
import math
import numbers
import re
from collections.abc import Mapping

from joulestat.client.notices import Notices
from joulestat.domain.run import Phase

MAX_RANK = 65_535
MAX_COUNT = 2**53
"""Beyond it floats, and so Prometheus, skip whole numbers."""

MAX_JOULES = 1e18
"""The largest budget that the exporter takes."""

LABEL_BYTES = 128
"""What the exporter takes; a usual limit of Prometheus for one label value."""

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_OFF = ("", "0", "false", "no", "off")


class Arguments:
    """Checks values and says what is wrong with them, once per name."""

    def __init__(self, notices: Notices) -> None:
        self._notices = notices

    def whole(self, name: str, value: object, *, least: int, most: int = MAX_COUNT) -> int | None:
        """Return a whole number, None where it was not given or is none.

        NumPy's integers pass, and floats without a fraction. True and False do not, and tensors
        neither: take ``.item()`` of one where waiting for its device does no harm.
        """
        if value is None:
            return None
        number = _as_int(value)
        if number is None or not least <= number <= most:
            self.refuse(name, value, f"a whole number from {least} to {most}")
            return None
        return number

    def positive(self, name: str, value: object, *, most: float) -> float | None:
        """Return a number above 0, None where it was not given or is none."""
        if value is None:
            return None
        number = _as_float(value)
        if number is None or not 0 < number <= most:
            self.refuse(name, value, f"a number above 0, at most {most:g}")
            return None
        return number

    def label(self, name: str, value: object) -> str:
        """Return a text fit for a label value, empty where it was not given or is none."""
        if value is None:
            return ""
        if not isinstance(value, str):
            self.refuse(name, value, "text")
            return ""
        text = _CONTROLS.sub(" ", value).strip()
        cut = text.encode()[:LABEL_BYTES].decode(errors="ignore")
        if cut != value:
            self._notices.once(
                logging.WARNING,
                name,
                "joulestat: %s is shown as %r: at most %s bytes without control characters",
                name,
                cut,
                LABEL_BYTES,
            )
        return cut

    def phase(self, name: object) -> Phase:
        """Return a phase; anything that is none is ``other``."""
        try:
            return Phase(name)  # type: ignore[arg-type] # whatever it is, an enum can judge it
        except Exception:  # noqa: BLE001 - foreign code answers: the enum prints what it refuses
            self._notices.once(
                logging.WARNING,
                "phase",
                "joulestat: phase %s counts as 'other'; phases are: %s",
                _shown(name),
                ", ".join(Phase),
            )
            return Phase.OTHER

    def refuse(self, name: str, value: object, allowed: str) -> None:
        """Say that a value is dropped."""
        self._notices.once(
            logging.WARNING,
            name,
            "joulestat: %s=%s was dropped; it must be %s",
            name,
            _shown(value),
            allowed,
        )


def is_switched_on(environ: Mapping[str, str], name: str) -> bool:
    """Tell whether an environment variable says yes."""
    return environ.get(name, "").strip().lower() not in _OFF


def _as_int(value: object) -> int | None:
    # A tensor is not asked, although it could answer: it would wait for its device first.
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return int(value) if isinstance(value, numbers.Integral) else None


def _as_float(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return None
    try:
        number = float(value)
    except OverflowError:  # whole numbers know no limit
        return None
    return number if math.isfinite(number) else None


def _shown(value: object) -> str:
    try:
        return repr(value)[:80]
    except Exception:  # noqa: BLE001 - foreign code answers
        return type(value).__name__
