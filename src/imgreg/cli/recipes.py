"""imgreg recipes [NAME]"""

from __future__ import annotations

from dataclasses import asdict

import click

from imgreg.cli.flags import json_option


@click.command("recipes")
@click.argument("name", required=False)
@click.option(
    "--image-size",
    "--imgsz",
    type=click.IntRange(min=32, max=1024),
    default=224,
    show_default=True,
    metavar="N",
    help="Photo size in pixels that the layers' output shapes and numbers of parameters are listed for.",
)
@json_option
def command(name: str | None, image_size: int, as_json: bool) -> None:
    """List the recipes, or print one as TOML, ready to copy and edit.

    The TOML ends with the head's layers as comments: output shapes and numbers of parameters, for two classes.

    \b
    Example:
      imgreg recipes
      imgreg recipes large --image-size 128
      imgreg recipes regularized > mine.toml
      imgreg train data/ --recipe mine.toml
    """
    import tomli_w

    from imgreg.cli.show import print_json
    from imgreg.heads.summary import summarize_head, summary_lines
    from imgreg.recipes import load_recipe, recipe_names
    from imgreg.recipes.notes import recipe_notes

    recipes = [load_recipe(one) for one in ([name] if name else recipe_names())]
    if as_json:
        documents = [
            recipe.rendered()
            | {"layers": [asdict(row) for row in summarize_head(recipe.head, image_size=image_size)]}
            | {"notes": list(recipe_notes(recipe))}
            for recipe in recipes
        ]
        print_json(documents[0] if name else documents)
    elif name:
        click.echo(tomli_w.dumps(recipes[0].rendered()))
        click.echo(f"# The head on VGG16's features of photos of {image_size} px, for two classes:")
        for line in summary_lines(summarize_head(recipes[0].head, image_size=image_size)):
            click.echo(f"#   {line}")
        for note in recipe_notes(recipes[0]):
            click.echo(f"# Note: {note}")
    else:
        for recipe in recipes:
            click.echo(f"{recipe.name}\n  {recipe.source}\n  Expect: {recipe.expect}")
