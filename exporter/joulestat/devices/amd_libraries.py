"""AMD's two Python packages, as far as they can be imported here; the only file that touches them.

``amdsmi`` comes with ROCm and loads ``libamd_smi.so`` as it is imported: its wheel without ROCm
prints to stdout and raises ``KeyError('libamd_smi.so')``, one of another version AttributeError.
``pyrsmi`` is pure Python, and asks ``amdsmi`` or the library itself.

A ROCm that is installed later is found by ``importlib.reload`` of this module.
"""

import contextlib
import io
from typing import Any

amdsmi: Any = None
"""The package, None where it cannot be used."""

rocml: Any = None
"""The module of pyrsmi that does the work, None where it cannot be used."""

reasons: dict[str, str] = {}
"""Package -> why it cannot be used."""

with contextlib.redirect_stdout(io.StringIO()):
    try:
        import amdsmi as _amdsmi

        amdsmi = _amdsmi
    except Exception as error:  # noqa: BLE001 - see above: it fails in many ways
        reasons["amdsmi"] = repr(error)
    try:
        from pyrsmi import rocml as _rocml

        rocml = _rocml
    except Exception as error:  # noqa: BLE001 - its versions differ in what they need
        reasons["pyrsmi"] = repr(error)
