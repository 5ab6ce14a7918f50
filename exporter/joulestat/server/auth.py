"""Who may use the admin API: bearer tokens, known by their SHA-256 only."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from enum import StrEnum

TOKEN_PREFIX = "jst_"  # noqa: S105 - not a secret: it lets secret scanners recognise one
_TOKEN_BYTES = 32


class Role(StrEnum):
    """What a token may do: a viewer reads, an operator also leases and reverts."""

    VIEWER = "viewer"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a token belongs to, and what it opens.

    Attributes:
        name: What the audit log shows.
        role: What it may do.
        gpus: UUIDs of the only GPUs whose limits it may change; None for every GPU.
    """

    name: str
    role: Role
    gpus: frozenset[str] | None = None

    def may_change(self, device_uuid: str | None) -> bool:
        """Tell whether it may change this GPU's limit; None stands for those of all at once."""
        return self.gpus is None or device_uuid in self.gpus


@dataclass(frozen=True, slots=True)
class TokenEntry:
    """One token: its digest, its owner, its end in Unix seconds (None: it has none)."""

    sha256: str
    principal: Principal
    expires_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class TokenTable:
    """All tokens that are known."""

    entries: tuple[TokenEntry, ...] = ()

    def authenticate(self, token: str, now_seconds: float) -> Principal | None:
        """Return whose token this is, or None for an unknown or expired one.

        Every entry is compared, whichever fits, so that the time taken tells nothing. A token
        has 256 random bits, so one round of SHA-256 is enough.

        Args:
            token: As presented.
            now_seconds: Unix time.
        """
        digest = hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
        found: Principal | None = None
        for entry in self.entries:
            alive = entry.expires_seconds is None or now_seconds < entry.expires_seconds
            if hmac.compare_digest(digest, entry.sha256) and alive:
                found = entry.principal
        return found


def new_token() -> tuple[str, str]:
    """Return a fresh token, to be shown once, and its SHA-256, to be kept."""
    token = TOKEN_PREFIX + secrets.token_urlsafe(_TOKEN_BYTES)
    return token, hashlib.sha256(token.encode()).hexdigest()
