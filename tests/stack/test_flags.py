"""Every command line in docker/ is one that the package understands: a renamed flag fails here."""

import argparse
import importlib
from collections.abc import Sequence
from pathlib import Path

import click
import pytest

from joulestat.cli.group import joulestat
from joulestat.config import OPTIONS, load_config
from joulestat.domain.errors import ConfigError
from stack import stack_files
from stack.stack_files import Invocation, invocations, invocations_in

TRAINER = ("python", "-m", "joulestat.demo.trainer")


def parse(arguments: Sequence[str]) -> None:
    """Parse a command line as ``joulestat`` does, run nothing, and fail where it would refuse."""
    command: click.Command = joulestat
    context = click.Context(command)
    left = list(arguments)
    while isinstance(command, click.Group):
        name = left.pop(0)
        chosen = command.get_command(context, name)
        assert chosen is not None, f"no command {name}"
        command, context = chosen, click.Context(chosen, context, info_name=name)
    known = {flag for parameter in command.params for flag in parameter.opts}
    given, rest, _ = command.make_parser(context).parse_args(left)
    assert [] == rest, f"of these flags there are only {sorted(known)}"
    for parameter in command.params:
        value = given.get(parameter.name or "")
        # Files are not there now; everything else must be what the flag takes.
        if value is not None and not isinstance(parameter.type, click.Path):
            parameter.type_cast_value(context, value)
    if command.name == "serve":
        check_settings(given)


def check_settings(given: dict[str, object]) -> None:
    """Let the configuration read what ``serve`` is given."""
    keys = {option.parameter: option.key for option in OPTIONS}
    flags = {keys[name]: value for name, value in given.items() if name in keys and value}
    load_config(flags=flags, environment={}, file=None, is_root=False, home=Path("/"))


def parse_training(arguments: Sequence[str]) -> None:
    """Parse a command line of the simulated training."""
    parser: argparse.ArgumentParser = importlib.import_module(TRAINER[-1])._parser()
    parser.parse_args(list(arguments))


def check(call: Invocation) -> None:
    """Parse a command line by whoever it is for."""
    if call.arguments[:3] == TRAINER:
        parse_training(call.arguments[3:])
    else:
        assert "joulestat" == call.arguments[0]
        parse(call.arguments[1:])


@pytest.mark.parametrize("call", list(invocations()), ids=lambda call: call.id)
def test_the_package_understands_what_compose_file_and_units_call(call: Invocation) -> None:
    check(call)


@pytest.mark.skipif(bool(stack_files.no_kustomize()), reason=stack_files.no_kustomize())
@pytest.mark.parametrize("overlay", stack_files.OVERLAYS)
def test_the_package_understands_what_the_manifests_call(overlay: str) -> None:
    calls = list(invocations_in(f"overlays/{overlay}"))

    assert calls
    for call in calls:
        check(call)


@pytest.mark.parametrize(
    "arguments",
    [
        ("serve", "--web.listen-adress=:10400"),
        ("serve", "--sampling.interval=5ms"),
        ("optimize", "--objective=speed"),
        ("lease", "revert-some"),
        ("serve", "surplus"),
    ],
)
def test_a_command_line_that_is_wrong_is_found(arguments: tuple[str, ...]) -> None:
    with pytest.raises((click.ClickException, AssertionError, ConfigError)):
        parse(arguments)
