"""`mimir completion`: the script that completes commands and options in a shell."""

import click

from client.framework import command
from client.output import write_line


@command(
    "completion",
    local=True,
    examples=(
        "mimir completion bash > /etc/bash_completion.d/mimir",
        'mimir completion zsh > "${fpath[1]}/_mimir"',
        "mimir completion fish > ~/.config/fish/completions/mimir.fish",
    ),
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for a shell."""
    from click.shell_completion import get_completion_class

    from client.cli import cli
    from client.main import COMPLETE_VARIABLE, PROGRAM

    completer = get_completion_class(shell)
    if completer is None:
        raise click.UsageError(f"there is no completion for {shell}")
    write_line(completer(cli, {}, PROGRAM, COMPLETE_VARIABLE).source().rstrip("\n"))
