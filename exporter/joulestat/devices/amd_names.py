"""The names of an AMD GPU: one serial number, spelled differently by every library.

Of a card with the serial number e7f04c2d9a1b0001:

- amdsmi: ``e7ff740f-0000-1000-80f0-4c2d9a1b0001``, around the PCI device and the partition;
- HIP and rocminfo: ``GPU-e7f04c2d9a1b0001``;
- PyTorch: ``65376630-3463-3264-3961-316230303031``, the ASCII codes of HIP's sixteen digits.
"""

import re

_AMDSMI = re.compile(r"([0-9a-f]{2})[0-9a-f]{6}-0000-1000-80([0-9a-f]{2})-([0-9a-f]{12})")
_DIGITS = re.compile(r"[0-9a-f]{16}")


def uuid_of(unique_id: str | None, device_id: str | None) -> str | None:
    """Return the UUID that amdsmi makes of a serial number, so that it is the same without it.

    Args:
        unique_id: The serial number, 16 hexadecimal digits; cards for games have none.
        device_id: PCI device, for example ``0x740f``.
    """
    try:
        serial, device = int(unique_id or "", 16), int(device_id or "", 16)
    except ValueError:
        return None
    if not serial:
        return None
    digits = f"{serial:016x}"
    return f"{digits[:2]}ff{device:04x}-0000-1000-80{digits[2:4]}-{digits[4:]}"


def serial_of(name: str) -> str | None:
    """Return the serial number's 16 digits from a GPU's name in any spelling; None without one.

    ``GPU-`` before it is what HIP writes, and joulestat's client before any UUID.
    """
    name = name.lower().removeprefix("gpu-")
    if found := _AMDSMI.fullmatch(name):
        return "".join(found.groups())
    if _DIGITS.fullmatch(name):
        return name
    try:
        digits = bytes.fromhex(name.replace("-", "")).decode("ascii")
    except ValueError:
        return None
    return digits.lower() if _DIGITS.fullmatch(digits.lower()) else None
