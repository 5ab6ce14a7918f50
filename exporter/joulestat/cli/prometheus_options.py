"""The options that name a PromQL server, of every command that reads from one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from joulestat.cli.moments import Duration

Decorated = Callable[..., Any]

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def many(*options: Callable[[Decorated], Decorated]) -> Callable[[Decorated], Decorated]:
    """Return a decorator that gives a command all of these options, in this order."""

    def add(command: Decorated) -> Decorated:
        for option in reversed(options):
            command = option(command)
        return command

    return add


PROMETHEUS = (
    click.option(
        "--prometheus.url",
        "prometheus_url",
        envvar="JOULESTAT_PROMETHEUS_URL",
        metavar="URL",
        help="PromQL server with the history, a path prefix included.",
    ),
    click.option(
        "--prometheus.token-file",
        "prometheus_token_file",
        type=_FILE,
        help="File with a bearer token.",
    ),
    click.option(
        "--prometheus.user",
        "prometheus_user",
        metavar="NAME",
        help="User name for basic authentication.",
    ),
    click.option(
        "--prometheus.password-file",
        "prometheus_password_file",
        type=_FILE,
        help="File with that user's password.",
    ),
    click.option(
        "--prometheus.header",
        "prometheus_headers",
        multiple=True,
        metavar="NAME:VALUE",
        help="Further header, for example X-Scope-OrgID:team-a. Repeatable.",
    ),
    click.option(
        "--prometheus.param",
        "prometheus_params",
        multiple=True,
        metavar="NAME=VALUE",
        help="Further parameter of every query, for example engine=thanos. Repeatable.",
    ),
    click.option(
        "--prometheus.ca-file",
        "prometheus_ca_file",
        type=_FILE,
        help="Authorities to believe, PEM; default is the system's.",
    ),
    click.option(
        "--prometheus.certificate-file",
        "prometheus_certificate_file",
        type=_FILE,
        help="Certificate to show, PEM.",
    ),
    click.option("--prometheus.key-file", "prometheus_key_file", type=_FILE, help="Its key, PEM."),
    click.option(
        "--prometheus.proxy", "prometheus_proxy", metavar="URL", help="Proxy to go through."
    ),
    click.option(
        "--prometheus.timeout",
        "prometheus_timeout",
        type=Duration(),
        default="60s",
        show_default=True,
        help="Per request.",
    ),
)

MATCH = click.option(
    "--match",
    "matches",
    multiple=True,
    metavar="LABEL=VALUE",
    help="Only series with this label, where runs of one name exist twice. Repeatable.",
)
