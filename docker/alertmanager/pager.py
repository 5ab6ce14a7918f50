"""Prints what Alertmanager sends, one line per alert: stands for the chats and pagers of people."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOST = "127.0.0.1"
PORT = 9099
"""Where the receivers of alerts/alertmanager.yaml are; another may be given as argument."""

MOST_BYTES = 1 << 20


class Pager(BaseHTTPRequestHandler):
    """One message: ``POST /<who>/<how>`` with Alertmanager's JSON."""

    timeout = 10

    def do_POST(self) -> None:
        """Print a message's alerts; refuse with 400 what is none, with 413 what is too long."""
        try:
            length = int(self.headers["Content-Length"])
            if length > MOST_BYTES:
                self.send_error(413)
                return
            lines = [_line(self.path, one) for one in json.loads(self.rfile.read(length))["alerts"]]
        except (ValueError, KeyError, TypeError, AttributeError):
            self.send_error(400)
            return
        print("".join(f"{line}\n" for line in lines), end="", flush=True)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing about requests: what they bring is printed."""


def _line(path: str, alert: dict[str, dict[str, str]]) -> str:
    labels, annotations = alert["labels"], alert["annotations"]
    text = annotations.get("description") or annotations.get("summary") or ""
    words = (path, alert["status"], labels.get("severity", "-"), f"{labels['alertname']}:", text)
    # One line whatever a label holds: a line break in it must not make up an alert of its own.
    return " ".join(" ".join(words).split())


def main() -> None:
    """Listen until SIGTERM."""
    port = int(sys.argv[1]) if len(sys.argv) > 1 else PORT
    server = ThreadingHTTPServer((HOST, port), Pager)
    print(f"listening at {HOST}:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
