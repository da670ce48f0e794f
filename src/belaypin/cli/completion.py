"""``belaypin completion``: what a shell needs to complete commands and options."""

from __future__ import annotations

import click

from belaypin.cli.call import Call, shows

__all__ = ["completion_command"]


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@shows
def completion_command(call: Call, shell: str) -> None:
    """Print what SHELL runs to complete belaypin's commands and options.

    bash: eval "$(belaypin completion bash)" in ~/.bashrc. zsh: the same in ~/.zshrc, behind
    compinit. fish: belaypin completion fish > ~/.config/fish/completions/belaypin.fish
    """
    from click.shell_completion import get_completion_class

    root = click.get_current_context().find_root().command
    kind = get_completion_class(shell)
    assert kind is not None  # click knows the three
    script = kind(root, {}, "belaypin", "_BELAYPIN_COMPLETE").source()
    call.show.record({"shell": shell, "script": script}, lambda: click.echo(script))
