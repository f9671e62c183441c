"""Results, on stdout.

rich is imported when something of it is shown: predict, whose answers need none, starts a tenth of a second sooner.
"""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType

    from imgreg.api.study import Study
    from imgreg.cli.flags import Printed


def print_json(document: Any) -> None:
    """One JSON document, one line, ASCII: safe for any terminal and any file name."""
    sys.stdout.write(json.dumps(document, allow_nan=False) + "\n")


def wrapped(text: str) -> str:
    """A message in lines of the terminal's width that end between words; a path or an option is never broken."""
    width = shutil.get_terminal_size().columns
    return "\n".join(
        textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False, subsequent_indent="  ")
        for line in text.split("\n")
    )


def print_result(renderable: RenderableType) -> None:
    """A result for people; 80 columns wide where it goes into a file or a pipe. Plain text is printed as it is."""
    if isinstance(renderable, str):
        sys.stdout.write(f"{renderable}\n")
        return
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=80)
    console.print(renderable, crop=False)  # a path is never cut


def printed_study(done: Study, *, command: str, repeats: int) -> Printed:
    """What study and compare --repeats print of a finished study.

    Parameters
    ----------
    command : str
        The command line that made it, with so many repeats.
    """
    from imgreg.api.study import study_document
    from imgreg.paths import with_option
    from imgreg.reports.terminal.repeats import study_text

    return (
        lambda: study_document(done),
        lambda: study_text(done, more_repeats=with_option(command, "--repeats", str(2 * repeats))),
    )
