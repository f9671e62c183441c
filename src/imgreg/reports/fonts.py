"""Text in figures: matplotlib's font, an East Asian one where the machine has it, and what neither can draw.

In: any displayable text. Out: text whose every character some installed font has.
"""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path

_EAST_ASIAN = (
    "Noto Sans CJK KR",
    "Noto Sans KR",
    "NanumGothic",
    "Malgun Gothic",
    "Apple SD Gothic Neo",
    "AppleGothic",
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Noto Sans CJK TC",
    "Source Han Sans",
    "Hiragino Sans",
    "Yu Gothic",
    "Microsoft YaHei",
    "PingFang SC",
    "WenQuanYi Zen Hei",
    "Droid Sans Fallback",
    "Arial Unicode MS",
)
_FILES = (
    "cjk",
    "sanskr",
    "nanum",
    "malgun",
    "gothic",
    "sourcehan",
    "msyh",
    "pingfang",
    "wqy",
    "droidsansfallback",
)


@cache
def families() -> list[str]:
    """matplotlib's own font, then the first East Asian one this machine has.

    matplotlib remembers its list of fonts from run to run: where none of ours is in it, look for new ones.
    """
    from matplotlib.font_manager import findSystemFonts, fontManager

    if not _installed():
        listed = {font.fname for font in fontManager.ttflist}
        for path in sorted(set(findSystemFonts()) - listed):
            if any(part in Path(path).name.lower() for part in _FILES):
                fontManager.addfont(path)
    return ["DejaVu Sans", *_installed()[:1]]


def _installed() -> list[str]:
    from matplotlib.font_manager import fontManager

    names = {font.name for font in fontManager.ttflist}
    return [name for name in _EAST_ASIAN if name in names]


@cache
def _characters() -> frozenset[int]:
    """Code points that the fonts of families can draw."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    return frozenset(
        point for name in families() for point in get_font(findfont(FontProperties(family=name))).get_charmap()
    )


@cache
def _say_no_font() -> None:
    warnings.warn(
        "No installed font covers some characters in the names: figures show □ instead (the HTML report shows them "
        "correctly). For Korean, Chinese and Japanese install fonts-noto-cjk or another CJK font.",
        stacklevel=2,
    )


def drawable(text: str) -> str:
    """Put □ where no installed font has a character, and say so once in a process."""
    known = _characters()
    if all(ord(char) in known for char in text):
        return text
    _say_no_font()
    return "".join(char if ord(char) in known else "□" for char in text)
