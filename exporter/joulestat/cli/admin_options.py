"""The options that say where exporters' admin APIs are, and whom to believe there."""

from pathlib import Path

import click

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

ADMIN_TLS = (
    click.option(
        "--admin.ca-file",
        "admin_ca_file",
        type=_FILE,
        help="Authorities to believe over https, PEM; default is the system's.",
    ),
    click.option(
        "--admin.certificate-file",
        "admin_certificate_file",
        type=_FILE,
        help="Certificate to show, PEM.",
    ),
    click.option("--admin.key-file", "admin_key_file", type=_FILE, help="Its key, PEM."),
)

ADMIN = (
    click.option(
        "--admin.url",
        "admin_urls",
        multiple=True,
        metavar="URL",
        help="Admin API of an exporter: unix:/PATH, http://127.0.0.1:PORT or https://HOST:PORT. "
        "Repeatable.",
    ),
    click.option(
        "--admin.url-template",
        "admin_url_template",
        metavar="URL",
        help="Instead, for many nodes: a URL with {host} for the host in a GPU's instance label, "
        "for example https://{host}.gpu.example:10401.",
    ),
    click.option(
        "--admin.addresses-file",
        "admin_addresses_file",
        type=_FILE,
        metavar="PATH",
        help="Instead: YAML with a URL for each instance label, read again in every round.",
    ),
    click.option(
        "--admin.token-file",
        "admin_token_file",
        type=_FILE,
        envvar="JOULESTAT_ADMIN_CLIENT_TOKEN_FILE",
        help="File with the admin API's token.",
    ),
    *ADMIN_TLS,
)
