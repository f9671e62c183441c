"""imgreg help [COMMAND]"""

from __future__ import annotations

import click


@click.command("help")
@click.argument("words", nargs=-1, metavar="[COMMAND]...")
@click.pass_context
def command(ctx: click.Context, words: tuple[str, ...]) -> None:
    """Show the help of a command, or the list of all.

    \b
    Example:
      imgreg help train
      imgreg help cache clear
    """
    assert ctx.parent is not None
    shown, one = ctx.parent, ctx.parent.command
    for word in words:
        if not isinstance(one, click.Group):
            raise click.UsageError(f"{shown.command_path} has no subcommands. Omit {word!r}.")
        _, found, _ = one.resolve_command(shown, [word])
        assert found is not None
        one, shown = found, click.Context(found, info_name=word, parent=shown)
    click.echo(shown.get_help())
