"""Files that must be what the code makes of them, regenerated only when asked for."""

import os
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
SWITCH = "REGENERATE_GOLDEN"


def assert_is_as_written(path: Path, made: bytes) -> None:
    """Compare with the file, or write it where ``REGENERATE_GOLDEN=1``: the diff is the review."""
    if os.environ.get(SWITCH) == "1":
        path.write_bytes(made)
    written = path.read_bytes() if path.exists() else b""
    assert written == made, f"{path} is out of date: run with {SWITCH}=1 and review the diff"
