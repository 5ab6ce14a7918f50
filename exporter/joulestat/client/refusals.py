"""What the admin API's refusals and its silence mean, for people."""

import json
import ssl
from pathlib import Path

from joulestat.client.target import Target
from joulestat.client.transport import Reply

_REDIRECT = range(300, 400)
_UNAUTHORIZED = 401
_ADVICE = {
    _UNAUTHORIZED: "check the token: it may be wrong or expired",
    403: "this token's role may not do that, or the admin API does not serve this peer",
    404: "check the GPU's UUID, and that this is the admin listener, not the public one",
}


def refusal_text(reply: Reply, *, with_token: bool) -> str:
    """Return what a refusal says: its status, its problem document, and what to do.

    Args:
        reply: The refusal.
        with_token: Whether a token was sent.
    """
    advice = _ADVICE.get(reply.status, "")
    if reply.status == _UNAUTHORIZED and not with_token:
        advice = "no token was sent: give --admin.token-file"
    if reply.status in _REDIRECT:
        location = reply.headers.get("location", "")[:200]
        return (
            f"{reply.status}, a redirect to {location!r}; not followed, the token stays here: give "
            "the URL of the admin API itself"
        )
    try:
        document = json.loads(reply.body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        return f"{reply.status}" + (f"; {advice}" if advice else "")
    parts = [f"{reply.status} {document.get('title', '')}".rstrip()]
    parts += [str(document["detail"])] if document.get("detail") else []
    parts += [
        f"{key}: {document[key]}"
        for key in ("field", "value", "allowed", "holder", "retry_after_seconds")
        if document.get(key)
    ]
    return "; ".join([*parts, advice] if advice else parts)


def silence_advice(target: Target, error: OSError) -> str:
    """Return what to do where there was no answer."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "check --admin.ca-file, and that the server's certificate names this host"
    if isinstance(error, ssl.SSLError):
        return "check that it speaks TLS there, and what client certificate it wants"
    if isinstance(error, PermissionError):
        return "this user may not open the socket: ask who runs the exporter for its group"
    if target.path and not Path(target.path).exists():
        return "there is no such socket: is the exporter running, with its admin API enabled?"
    return "is the exporter running, with its admin API enabled at this address?"
