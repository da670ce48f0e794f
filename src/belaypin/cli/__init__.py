"""The command line. Each command lives in a module of its own and is loaded when it is called.

Every command ends with one of these exit codes:

0: done, or it is so. 1: it is not so (a check failed, items failed, something was lost), or you
said no. 2: the call cannot work (usage, no such store, a store of another version). 3: stopped
early with work left, by SIGTERM, a deadline or (a run) Ctrl-C; nothing is lost, run it again. 4: the
store can't be reached, or it is busy or full. 130: stopped by Ctrl-C. 141: nobody read the output to its end.
"""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from belaypin import __version__
from belaypin.cli.commands import COMMANDS, SECTIONS

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["EXIT_CODES", "INTERRUPTED", "SECTIONS", "main"]

EXIT_CODES = {
    0: "Done, or it is so.",
    1: "It is not so: a check failed, items failed, something was lost; or you said no.",
    2: "The call cannot work: usage, no such store, a store of another version.",
    3: "Stopped early by SIGTERM, a deadline or (`run`) Ctrl-C. Work is left, nothing is lost: run it again.",
    4: "The store can't be reached, or it is busy or full.",
    130: "Stopped by Ctrl-C.",
    141: "Nobody read the output to its end, as with `| head`.",
}
"""What the exit code of every command means."""

INTERRUPTED = 130


class _Commands(click.Group):
    """Loads a command's module when it is called, and no other."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"belaypin.cli.{COMMANDS[cmd_name].module}")
        command: click.Command = getattr(module, f"{cmd_name.replace('-', '_')}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section, commands in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(name, command.help) for name, command in commands.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        options = click.Command.shell_complete(self, ctx, incomplete)
        found = (
            (name, each.help) for name, each in COMMANDS.items() if name.startswith(incomplete)
        )
        return [*(CompletionItem(name, help=line) for name, line in found), *options]

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # click would end the process with 1
            from belaypin.cli.exits import Unread

            raise Unread from None

    def main(
        self,
        args: Sequence[str] | None = None,
        *given: Any,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run, and end the process with the exit code; errors are told as they should be."""
        call = partial(super().main, args, *given, standalone_mode=False, **extra)
        if not standalone_mode:
            return call()
        from belaypin.cli.exits import run

        words = sys.argv[1:] if args is None else args
        code = run(lambda secrets: call(obj=secrets), words)
        # What was imported is not searched for garbage at the end: that is a fifth of a short command.
        gc.freeze()
        sys.exit(code)


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="belaypin")
def main() -> None:
    """The checkpoint layer for Python data pipelines.

    A KEY is written pipeline/entity/stream, or a part of it from the left: social/user:7. A slash
    or a per cent sign in a name is written %2F or %25, as is every other byte that is no text to print.
    """
