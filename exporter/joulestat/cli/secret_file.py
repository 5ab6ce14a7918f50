"""Tokens and passwords: named by a file, because a command line is everybody's to read."""

from pathlib import Path

import click


def secret_in(file: Path) -> str:
    """Return what a file holds, without the newline that editors add.

    Raises:
        click.UsageError: It holds no secret, or more than one line.
    """
    secret = file.read_bytes().strip()
    if not secret or not secret.isascii() or b"\n" in secret:
        raise click.UsageError(f"{file} must hold one secret, on one line, in ASCII")
    return secret.decode()
