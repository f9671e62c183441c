"""Any text made fit to be shown: hidden characters as escapes, long lines cut in the middle, columns counted."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence

_KEPT = frozenset("\n\t\u200c\u200d")  # line ends and tabs of quoted texts; the joiners that scripts and emoji need
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # control, format (also right-to-left tricks), surrogate, breaks


def visible(text: str) -> str:
    """Show characters that cannot be seen, or not be written, as escapes: any name can then be displayed.

    >>> visible("사진 <a>"), visible("caf\\udce9"), visible("a\\u202eb\\x1b[0m")
    ('사진 <a>', 'caf\\\\udce9', 'a\\\\u202eb\\\\x1b[0m')
    """
    if text.isascii() and text.isprintable():  # a page's pictures are long texts of this kind
        return text
    return "".join(
        char
        if char in _KEPT or unicodedata.category(char) not in _HIDDEN
        else char.encode("ascii", "backslashreplace").decode("ascii")
        if not char.isascii()
        else f"\\x{ord(char):02x}"
        for char in text
    )


def one_line(text: str, *, limit: int) -> str:
    """The same on one line, with the middle of a long text left out.

    Parameters
    ----------
    limit : int
        Columns of a terminal, 5 or more; a Hangul syllable and other wide characters take two.

    Examples
    --------
    >>> one_line("a" * 30 + "b" * 30, limit=9), one_line("개미와 꿀벌", limit=9), one_line("a\\nb", limit=9)
    ('aaaa…bbbb', '개미…꿀벌', 'a\\\\nb')
    """
    line = visible(text).replace("\n", "\\n").replace("\t", "\\t")
    if n_columns(line) <= limit:
        return line
    head, tail = "", ""
    for first, last in zip(line, reversed(line), strict=True):
        if n_columns(head + first + tail) >= limit:
            break
        head += first
        if n_columns(head + last + tail) >= limit:
            break
        tail = last + tail
    return f"{head}…{tail}"


def sparkline(values: Sequence[float], *, top: float, n_columns: int) -> str:
    """A curve of one line, 0 to top in eight heights; more values than columns are thinned out, the last is kept.

    >>> sparkline([8, 4, 1, float("nan")], top=8, n_columns=10)
    '█▅▂×'
    """
    shown = list(values)
    if len(shown) > n_columns:
        step = (len(shown) - 1) / (n_columns - 1)
        shown = [shown[round(i * step)] for i in range(n_columns)]
    heights = "▁▂▃▄▅▆▇█"
    return "".join(
        "×" if not math.isfinite(value) else heights[min(max(int(8 * value / top), 0), 7) if top > 0 else 0]
        for value in shown
    )


def n_columns(text: str) -> int:
    """Columns that a text takes in a terminal.

    >>> n_columns("ant"), n_columns("개미")
    (3, 4)
    """
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )
