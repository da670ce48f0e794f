"""The command line. Each command lives in a module of its own and is loaded when it is called.

Every command ends with one of these exit codes:

0: done, or it is so. 1: it is not so (a check failed, items failed, something was lost), or you
said no. 2: the call cannot work (usage, no such store, a store of another version). 3: stopped
early with work left, by SIGTERM or a deadline; nothing is lost, run it again. 4: the store can't
be reached, or it is busy or full. 130: stopped by Ctrl-C. 141: nobody read the output to its end.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import click

from belaypin import __version__

__all__ = ["EXIT_CODES", "INTERRUPTED", "SECTIONS", "main"]

EXIT_CODES = {
    0: "Done, or it is so.",
    1: "It is not so: a check failed, items failed, something was lost; or you said no.",
    2: "The call cannot work: usage, no such store, a store of another version.",
    3: "Stopped early by SIGTERM or a deadline, with work left. Nothing is lost: run it again.",
    4: "The store can't be reached, or it is busy or full.",
    130: "Stopped by Ctrl-C.",
    141: "Nobody read the output to its end, as with `| head`.",
}
"""What the exit code of every command means."""

INTERRUPTED = 130

SECTIONS: dict[str, dict[str, str]] = {
    "Set up": {
        "init": "init",
        "migrate": "migrate",
        "doctor": "doctor",
        "completion": "completion",
    },
    "Run": {
        "run": "run",
        "plan": "recovery",
        "recover": "recovery",
    },
    "Look": {
        "status": "status",
        "lag": "coverage",
        "gaps": "coverage",
        "coverage": "coverage",
        "failures": "failures",
        "leases": "listings",
        "windows": "listings",
        "orphans": "listings",
        "operations": "listings",
        "items": "listings",
        "explain": "explain",
        "get": "states",
        "history": "states",
        "diff": "states",
        "savepoints": "travel",
        "audit": "audit",
        "health": "health",
        "metrics": "metrics",
        "storage": "storage",
        "ui": "ui",
    },
    "Mend": {
        "retry": "mend",
        "skip": "mend",
        "quarantine": "mend",
        "readmit": "recovery",
        "break-lease": "recovery",
        "backfill": "travel",
        "reset": "travel",
        "rewind": "travel",
        "savepoint": "travel",
    },
    "Keep": {
        "gc": "upkeep",
        "compact": "upkeep",
        "verify": "verify",
        "upgrade-state": "upgrade",
        "export": "exchange",
        "import": "exchange",
    },
    "Prove": {
        "bench": "bench",
        "demo": "demo",
        "drill": "drill",
    },
}
"""Each command and its module, in which it is a function of its name with ``_command`` behind it."""

_MODULES = {name: module for section in SECTIONS.values() for name, module in section.items()}


class _Commands(click.Group):
    """Loads a command's module when it is needed, so that ``--version`` needs none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _MODULES:
            return None
        module = importlib.import_module(f"belaypin.cli.{_MODULES[cmd_name]}")
        command: click.Command = getattr(module, f"{cmd_name.replace('-', '_')}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section, names in SECTIONS.items():
            with formatter.section(section):
                commands = ((name, self.get_command(ctx, name)) for name in names)
                formatter.write_dl(
                    [(name, c.get_short_help_str(60)) for name, c in commands if c is not None]
                )

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
        sys.exit(run(lambda secrets: call(obj=secrets), words))


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="belaypin")
def main() -> None:
    """The checkpoint layer for Python data pipelines.

    A KEY is written pipeline/entity/stream, or a part of it from the left: social/user:7. A slash
    or a per cent sign in a name is written %2F or %25, as is every other byte that is no text to print.
    """
