"""Write the generated pages of the documentation: commands, recipes, settings and the Python API.

python tools/reference.py docs/reference
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal, get_args, get_origin

import click
from pydantic.fields import FieldInfo

import imgreg
from imgreg.cli import COMMANDS, root
from imgreg.config import Base, Photos, Recipe
from imgreg.recipes import FOLDER, load_recipe, recipe_names


def cli_page() -> str:
    """Every command with the help that it prints."""
    parts = ["# Commands\n\nWhat `imgreg COMMAND --help` prints.\n"]
    context = click.Context(root, info_name="imgreg", max_content_width=100)
    parts.append(f"```text\n{root.get_help(context)}\n```\n")
    for name in COMMANDS:
        command = root.get_command(context, name)
        assert command is not None  # COMMANDS lists what there is
        own = click.Context(command, info_name=name, parent=context, max_content_width=100)
        parts.append(f"## imgreg {name}\n\n```text\n{command.get_help(own)}\n```\n")
    return "\n".join(parts)


def recipes_page() -> str:
    """Every bundled recipe: source, expectation and file."""
    parts = ["# Recipes\n\n`imgreg recipes NAME` prints one as TOML; `--recipe mine.toml` trains your own.\n"]
    for name in recipe_names():
        recipe = load_recipe(name)
        text = (FOLDER / f"{name}.toml").read_text(encoding="utf-8").strip()
        parts.append(f"## {name}\n\n{recipe.source}\n\n**Expect:** {recipe.expect}\n\n```toml\n{text}\n```\n")
    return "\n".join(parts)


def settings_page() -> str:
    """Every setting with its default and description, from imgreg.config."""
    parts = ["# Settings\n\nKeys of a recipe (`--set KEY=VALUE`), then those of photos and backbone (options).\n"]
    tables = [(name, field.annotation) for name, field in Recipe.model_fields.items()]
    for prefix, model in [*tables, ("photos", Photos), ("base", Base)]:
        fields = getattr(model, "model_fields", None)
        if fields is None:
            continue
        parts.append(
            f"## {prefix}\n\n{(model.__doc__ or '').strip()}\n\n| key | default | values | |\n|---|---|---|---|"
        )
        for name, field in fields.items():
            described = (field.description or "").replace("|", "\\|")
            parts.append(f"| `{prefix}.{name}` | `{field.default!r}` | {_values(field)} | {described} |")
        parts.append("")
    return "\n".join(parts)


def _values(field: FieldInfo) -> str:
    """What a setting may be: its names, or its bounds."""
    kinds = [field.annotation, *get_args(field.annotation)]
    names = [name for kind in kinds if get_origin(kind) is Literal for name in get_args(kind)]
    if names:
        return ", ".join(f"`{name}`" for name in dict.fromkeys(names))
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    return ", ".join(
        f"{sign} {getattr(bound, key):g}"
        for bound in field.metadata
        for key, sign in signs.items()
        if getattr(bound, key, None) is not None
    )


def api_page() -> str:
    """The public names of the package, each rendered from its docstring: the way in first, the errors last."""
    first = ("Workspace", "TrainedRun", "load_run", "Result", "ComparisonResult", "Table", "Explained")
    rest = sorted((name for name in imgreg.__all__ if name not in (*first, "__version__")), key=_is_error)
    return "# Python API\n\n" + "\n".join(f"::: imgreg.{name}\n" for name in (*first, *rest))


def _is_error(name: str) -> tuple[bool, str]:
    return name.endswith("Error"), name


def main(folder: Path) -> None:
    """Write the pages into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = {"cli": cli_page, "recipes": recipes_page, "settings": settings_page, "api": api_page}
    for name, page in pages.items():
        (folder / f"{name}.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
