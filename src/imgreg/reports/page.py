"""One HTML file that needs nothing else: no network, no folder beside it.

In: values, figures and a template's name. Out: a file written whole. Must not know: what the values mean.
Text is escaped by jinja2; what cannot be seen or written becomes an escape such as \\udce9. The page's own policy
forbids every request, and every script but those that the page names.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgreg.atomic_write import write_atomic
from imgreg.reports.figure import DARK, LIGHT, darkened
from imgreg.reports.hover import Hover
from imgreg.reports.text import one_line, visible

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Caption:
    """What a figure says in words: `alt` is for readers who cannot see it."""

    heading: str
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Chart:
    """A figure in both colour schemes, as data addresses, with a text for readers who cannot see it."""

    heading: str
    light: str
    dark: str
    alt: str
    caption: str
    names: tuple[str, ...] = ()  # of the runs in it, where there are several,
    colours: tuple[int, ...] = ()  # and their colours' numbers; none where they are taken in turn
    hover: str = ""  # what the pointer and the arrow keys show, as JSON (page.js)


def chart(
    svg: str,
    says: Caption,
    *,
    names: tuple[str, ...] = (),
    colours: tuple[int, ...] = (),
    hover: Hover | None = None,
) -> Chart:
    """A figure, as SVG text, made fit for a page."""
    values = "" if hover is None else json.dumps(asdict(hover), separators=(",", ":"))
    numbers = colours or tuple(range(len(names)))
    light, dark = _svg_address(svg), _svg_address(darkened(svg))
    return Chart(says.heading, light, dark, says.alt, says.caption, names, numbers, values)


def page_templates(*folders: Path) -> Environment:
    """The templates of these folders and of the reports; of those of the same name the first."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    def shown(value: Any) -> Any:
        return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    templates = Environment(
        loader=FileSystemLoader([*folders, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"nats": _nats, "percent": _percent, "one_line": one_line, "with_code": _with_code}
    return templates


def stylesheet() -> str:
    """The style of every page, as CSS."""
    return page_templates().get_template("style.css.j2").render(light=LIGHT, dark=DARK)


def write_page(template: str, *, target: Path, scripts: Sequence[str] = ("page.js",), **values: Any) -> None:
    """Fill a template and write the page under a temporary name, then rename.

    Parameters
    ----------
    scripts : sequence of str
        Files beside the template that the page runs, and no others.

    Raises
    ------
    OSError
        If the disk refuses.
    """
    from markupsafe import Markup

    script, digest = _script(tuple(scripts))
    text = (
        page_templates()
        .get_template(template)
        .render(light=LIGHT, dark=DARK, script=Markup(script), script_digest=digest, **values)
    )
    write_atomic(target, text.encode("utf-8", "backslashreplace"))


def jpeg_address(data: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii")


def number(value: float) -> float | None:
    """For the raw data in a page: what is not a number becomes null."""
    return value if math.isfinite(value) else None


def _svg_address(svg: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode("utf-8")).decode("ascii")


@cache
def _script(names: tuple[str, ...]) -> tuple[str, str]:
    """The scripts as one, and its digest, by which the page's policy knows it."""
    text = "\n".join((TEMPLATES / name).read_text(encoding="utf-8") for name in names)
    return text, base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _nats(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}" if abs(value) < 100 else f"{value:.3g}"


def _with_code(text: str) -> Markup:
    """The text as HTML, with what is between backticks as code."""
    from markupsafe import Markup, escape

    parts = visible(text).split("`")
    if len(parts) % 2 == 0:  # a backtick without its other half
        return escape(visible(text))
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 else escape(part) for number, part in enumerate(parts)
    )


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"
