"""docs/sources-table.md: every command and setting in it is accepted, every test in it exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from imgreg.cli import COMMANDS, root
from imgreg.recipes import load_recipe, parse_override
from imgreg.recipes.topics import load_topics

REPOSITORY = Path(__file__).parent.parent
TABLE = REPOSITORY / "docs" / "sources-table.md"


def rows() -> list[tuple[str, str, str, str]]:
    """Source, technique, imgreg and proof of each row."""
    lines = [line for line in TABLE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")][1:]
    found = []
    for line in lines:
        source, technique, offered, proof = (cell.strip() for cell in line.strip("|").split("|"))
        found.append((source, technique, offered, proof))
    return found


ROWS = rows()


def test_the_table_is_whole() -> None:
    """Five sources, the number of rows that the page says, no technique of a source twice."""
    assert len({source for source, *_ in ROWS}) == 5
    assert f"The {len(ROWS)} techniques" in TABLE.read_text(encoding="utf-8")
    assert len({row[:2] for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("proof", sorted({proof for *_, proof in ROWS}))
def test_each_proof_exists(proof: str) -> None:
    """The test that a row names is in the file that it names."""
    file, _, name = proof.strip("`").partition("::")
    assert re.search(rf"^def {re.escape(name)}\(", (REPOSITORY / file).read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize(("technique", "offered"), [(technique, offered) for _, technique, offered, _ in ROWS])
def test_what_a_row_offers_is_accepted(technique: str, offered: str) -> None:
    """Its settings make a recipe together, and each command parses, with recipes and topics that exist."""
    tokens = re.findall(r"`([^`]+)`", offered)
    assert tokens, technique
    commands = [token for token in tokens if token.startswith("imgreg ")]
    if settings := dict(parse_override(token) for token in tokens if token not in commands):
        load_recipe("plain", overrides=settings)
    for command in commands:
        _, name, *arguments = shlex.split(command)
        assert name in COMMANDS
        parser = root.get_command(click.Context(root), name)
        assert parser is not None
        given = parser.make_context(name, arguments).params
        if name == "recipes":
            load_recipe(given["name"])
        for recipe in filter(None, [given.get("recipe"), *(given.get("recipes") or "").split(",")]):
            load_recipe(recipe)
        if given.get("topics"):
            load_topics(given["topics"].split(","))
