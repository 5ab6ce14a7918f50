"""The click group: lists every command without importing any."""

import click

from joulestat import __version__
from joulestat.cli import COMMANDS, PLAIN_COMMANDS, load


class LazyGroup(click.Group):
    """Imports a command's module only when that command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table, which is the order of use."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, None where there is none of that name."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(load(cmd_name), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table: ``--help`` must work without any extra."""
        del ctx
        with formatter.section("Commands"):
            listed = {name: text for name, (_, text) in COMMANDS.items()} | PLAIN_COMMANDS
            formatter.write_dl(list(listed.items()))


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="joulestat")
def joulestat() -> None:
    """A thermostat for GPU energy: joules per step, and the limit that spends the fewest."""
