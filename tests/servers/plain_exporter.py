"""prometheus_client's own server, which most exporters in Python are served by."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator

PROGRAM = """
import sys, threading
from prometheus_client import Gauge, start_http_server
for number in range(40):
    gauge = Gauge(f"gpu_metric_{number}", "One of 40.", ["gpu"])
    for gpu in range(8):
        gauge.labels(str(gpu)).set(number * gpu)
server, _ = start_http_server(0, "127.0.0.1")
print(server.server_port, flush=True)
threading.Event().wait()
"""


@contextlib.contextmanager
def plain_exporter(descriptors: int) -> Iterator[tuple[tuple[str, int], int]]:
    """Run it with 40 metrics of 8 GPUs, and so many files that it may have open.

    Yields:
        Where it listens, and its process's id.
    """
    limited = ["sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh"]
    command = [*limited, sys.executable, "-c", PROGRAM]
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(command, stdout=pipe, stderr=nothing, text=True) as process:
        assert process.stdout is not None
        try:
            yield ("127.0.0.1", int(process.stdout.readline())), process.pid
        finally:
            process.kill()
