"""The host in an ``instance`` label, by a grammar that leaves nothing else room.

A label is text from a database that many may write to. Nothing of it may reach a URL but a host:
no scheme, no user, no port, no path.
"""

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address

LONGEST_NAME = 253

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_PORT = re.compile(r"[0-9]{1,5}")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")


def host_of(instance: str) -> str:
    """Return the host of ``host``, ``host:port`` or ``[v6]:port``, ready for a URL.

    Raises:
        ValueError: It is none of them.
    """
    if instance.startswith("["):
        inside, closed, rest = instance[1:].partition("]")
        if closed and (not rest or _is_port(rest)):
            return f"[{_v6(inside, instance)}]"
        raise ValueError(_no_host(instance))
    name, colon, _ = instance.partition(":")
    if colon and not _is_port(instance[len(name) :]):
        raise ValueError(_no_host(instance))
    if not is_host(name):
        raise ValueError(_no_host(instance))
    return name.lower()


def is_host(text: str) -> bool:
    """Tell whether this is a name or an IPv4 address, written as everybody writes it.

    Systems take ``127.1``, ``0x7f.1`` and ``2130706433`` for addresses, too; here they are none.
    """
    if len(text) > LONGEST_NAME or _NAME.fullmatch(text) is None:
        return False
    if _NUMBER.fullmatch(text.rpartition(".")[2]) is None:
        return True
    try:
        return str(IPv4Address(text)) == text
    except AddressValueError:
        return False


def _is_port(text: str) -> bool:
    return text[:1] == ":" and _PORT.fullmatch(text[1:]) is not None


def _v6(text: str, instance: str) -> str:
    try:
        address = IPv6Address(text)
    except AddressValueError:
        raise ValueError(_no_host(instance)) from None
    if address.scope_id is not None:
        raise ValueError(_no_host(instance))
    return str(address)


def _no_host(instance: str) -> str:
    return f"the instance label {instance[:100]!r} is no host, host:port or [IPv6]:port"
