"""imgreg recipes [NAME]"""

from __future__ import annotations

import click

from imgreg.cli.flags import json_option


@click.command("recipes")
@click.argument("name", required=False)
@json_option
def command(name: str | None, as_json: bool) -> None:
    """List the recipes, or print one as TOML, ready to copy and edit.

    \b
    Example:
      imgreg recipes
      imgreg recipes regularized > mine.toml
      imgreg train data/ --recipe mine.toml
    """
    import tomli_w

    from imgreg.cli.show import print_json
    from imgreg.recipes import load_recipe, recipe_names

    recipes = [load_recipe(one) for one in ([name] if name else recipe_names())]
    if as_json:
        documents = [recipe.rendered() for recipe in recipes]
        print_json(documents[0] if name else documents)
    elif name:
        click.echo(tomli_w.dumps(recipes[0].rendered()), nl=False)
    else:
        for recipe in recipes:
            click.echo(f"{recipe.name}\n  {recipe.source}\n  Expect: {recipe.expect}")
