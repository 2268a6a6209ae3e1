"""``mep completion``: the script that makes a shell complete commands and options."""

import click
from click.shell_completion import get_completion_class

from modelendpoint.commands import root


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    \b
      eval "$(mep completion bash)"                               # in ~/.bashrc
      eval "$(mep completion zsh)"                                # in ~/.zshrc
      mep completion fish > ~/.config/fish/completions/mep.fish
    """
    made = get_completion_class(shell)
    if made is None:
        raise click.UsageError(f"There is no completion for {shell}.")
    click.echo(made(root.mep, {}, "mep", "_MEP_COMPLETE").source())
