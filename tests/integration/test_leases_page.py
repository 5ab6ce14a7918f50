"""The examples of docs/leases.md, typed one after the other as they stand there."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from servers.exporter import Exporter

PAGE = Path(__file__).parents[2] / "docs" / "leases.md"
BLOCK = re.compile(r"^```(sh|json)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BETWEEN = "\n-- next example --\n"
CHANGING = {"expires_in_seconds", "expires_timestamp_seconds"}
AS_OF_THE_LAST_TICK = {"power_limit_watts", "enforced_watts"}
NEEDS_CURL = pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")


def examples() -> list[tuple[str, Any]]:
    """Return what is typed, and what is answered; None where nothing is shown."""
    found: list[tuple[str, Any]] = []
    for kind, text in BLOCK.findall(PAGE.read_text()):
        if kind == "sh":
            found.append((text, None))
        else:
            found[-1] = (found[-1][0], json.loads(text))
    return found


def comparable(answer: Any, gpu: str) -> Any:
    """Return an answer without times, and with the page's name for the GPU."""
    if isinstance(answer, dict):
        left_out = CHANGING | AS_OF_THE_LAST_TICK if "index" in answer else CHANGING
        return {key: comparable(answer[key], gpu) for key in answer if key not in left_out}
    return answer.replace(gpu, "GPU-...") if isinstance(answer, str) else answer


@NEEDS_CURL
def test_every_example_is_answered_as_the_page_shows_it(tmp_path: Path) -> None:
    with Exporter(tmp_path) as exporter:
        world = exporter.world()
        gpu = world.uuids[0]
        world.close()
        token_file = tmp_path / "operator-token"
        token_file.write_text(exporter.token + "\n")
        script = f"\nprintf '%s' '{BETWEEN}'\n".join(typed for typed, _ in examples())
        typed = subprocess.run(
            ["bash", "-e", "-c", script],
            env={
                "PATH": "/usr/bin:/bin",
                "SOCKET": str(exporter.admin_socket),
                "TOKEN_FILE": str(token_file),
                "GPU": gpu,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert (0, "") == (typed.returncode, typed.stderr)
    answers = typed.stdout.split(BETWEEN)
    assert len(examples()) == len(answers) == 6
    for (question, shown), answer in zip(examples(), answers, strict=True):
        if shown is not None:
            assert comparable(shown, gpu) == comparable(json.loads(answer), gpu), question
