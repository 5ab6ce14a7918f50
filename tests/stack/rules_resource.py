"""Makes docker/kubernetes/monitoring/rules.yaml from alerts/*.rules.yaml."""

from collections.abc import Sequence
from pathlib import Path

HEAD = """\
# Made from alerts/*.rules.yaml by tests/stack/rules_resource.py; change those.
# REGENERATE_GOLDEN=1 pytest tests/stack/test_kubernetes.py writes it anew.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: joulestat
spec:
  groups:
"""


def rules_resource(files: Sequence[Path]) -> str:
    """Return the rules of Prometheus' own files as one resource of the Prometheus operator.

    The text is kept as it is, comments and all, and only moved to the right.

    Raises:
        ValueError: A file has no line ``groups:``.
    """
    parts = [HEAD]
    for path in files:
        lines = path.read_text(encoding="utf-8").splitlines()
        groups = lines[lines.index("groups:") + 1 :]
        parts.append("".join(f"  {line}".rstrip() + "\n" for line in groups))
    return "".join(parts)
