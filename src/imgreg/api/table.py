"""A table that shows itself in a notebook and becomes a pandas DataFrame on request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from imgreg.errors import MachineError

_SHOWN = 20  # rows; the others are there all the same


class Table(Sequence[Mapping[str, Any]]):
    """Rows with the same columns, in order.

    Examples
    --------
    >>> table = Table([{"recipe": "plain", "loss": 0.4213}])
    >>> table[0]["recipe"], len(table), table.columns
    ('plain', 1, ('recipe', 'loss'))
    >>> print(table)
    recipe    loss
    plain   0.4213
    """

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._rows = tuple(dict(row) for row in rows)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self._rows[0]) if self._rows else ()

    def to_frame(self) -> Any:
        """Convert to a pandas.DataFrame. Raises MachineError if pandas is not installed."""
        try:
            import pandas
        except ImportError as error:
            raise MachineError(
                "pandas is not installed. Run `pip install imgreg[notebook]`, or use the rows directly."
            ) from error
        return pandas.DataFrame(list(self._rows), columns=list(self.columns))

    def __getitem__(self, index: Any) -> Any:
        return self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __str__(self) -> str:
        shown = self._rows[:_SHOWN]
        cells = [list(self.columns), *([_text(value) for value in row.values()] for row in shown)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        numeric = [isinstance(value, int | float) for value in self._rows[0].values()] if self._rows else []
        lines = (
            "  ".join(
                cell.rjust(width) if right else cell.ljust(width)
                for cell, width, right in zip(line, widths, numeric, strict=True)
            )
            for line in cells
        )
        return "\n".join([*(line.rstrip() for line in lines), *self._rest()])

    def _rest(self) -> list[str]:
        n_more = len(self) - _SHOWN
        return [f"and {n_more} more rows"] if n_more > 0 else []

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{escape(name)}</th>" for name in self.columns)
        body = "".join(
            f"<tr>{''.join(f'<td>{escape(_text(value))}</td>' for value in row.values())}</tr>"
            for row in self._rows[:_SHOWN]
        )
        rest = "".join(f"<p>{line}</p>" for line in self._rest())
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{rest}"


def _text(value: Any) -> str:
    """A cell: four significant digits, nothing for None.

    >>> _text(0.123456), _text(None), _text(True), _text(("a", "b"))
    ('0.1235', '', 'True', 'a, b')
    """
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
