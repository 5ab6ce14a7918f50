"""What ``joulestat doctor`` looks at: one file per place, each returning findings."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        check: What was looked at.
        verdict: ok; warn: the loop works, but less well; fail: the loop does not work.
        found: What was seen.
        cure: What to do about it; empty where nothing is to be done.
    """

    check: str
    verdict: Verdict
    found: str
    cure: str = ""


def ok(check: str, found: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(check, Verdict.OK, found)


def warn(check: str, found: str, cure: str) -> Finding:
    """Return a finding that the loop works less well than it could."""
    return Finding(check, Verdict.WARN, found, cure)


def fail(check: str, found: str, cure: str) -> Finding:
    """Return a finding that the loop does not work."""
    return Finding(check, Verdict.FAIL, found, cure)


def explained(check: str, verdict: Verdict, message: str, cure: str = "") -> Finding:
    """Return a finding from an error's text.

    Args:
        check: What was looked at.
        verdict: How bad it is.
        message: Says what to do after its first semicolon.
        cure: What to do if the message does not say.
    """
    found, _, advice = message.partition("; ")
    return Finding(check, verdict, found, advice or cure)
