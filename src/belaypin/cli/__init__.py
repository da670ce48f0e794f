"""The command line. Each command lives in a module of its own and is loaded when it is called.

Exit codes, the same for every command: 0 it is so; 1 it is not (for the demo: something was lost
or doubled, or could not be proven); 2 the call cannot work as it stands; 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

__all__ = ["INTERRUPTED", "main"]

INTERRUPTED = 130

_COMMANDS = {"demo": "belaypin.cli.demo"}
"""Each command and its module, which has it under the name ``command``."""


class _Commands(click.Group):
    """Loads a command's module when it is needed, so that ``--version`` needs none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(_COMMANDS[cmd_name]).command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="belaypin", prog_name="belaypin")
def main() -> None:
    """The checkpoint layer for Python data pipelines."""
