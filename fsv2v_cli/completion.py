"""fsv2v completion: shell completion scripts."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from fsv2v_cli.console import emit


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of SHELL.

    Bash: add `eval "$(fsv2v completion bash)"` to ~/.bashrc. Zsh: add `eval "$(fsv2v completion zsh)"` to ~/.zshrc. Fish: add
    `fsv2v completion fish | source` to ~/.config/fish/config.fish.
    """
    found = get_completion_class(shell)
    assert found is not None
    script = found(click.get_current_context().find_root().command, {}, "fsv2v", "_FSV2V_COMPLETE").source().strip()
    emit(script.replace("complete -o nosort", "complete -o nosort -o default"))  # bash: fall back to file names
