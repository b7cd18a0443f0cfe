"""Tables of text, for a terminal."""

import re
from collections.abc import Iterable, Sequence

Cell = str | int | float | None

NUMBER = re.compile(r"[-+]?\d[\d.,\N{NARROW NO-BREAK SPACE}]*( ?[%×]| (?:[kMG]?B|[mµ]?s))?|nan|inf|[–-]?")


def text_table(head: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """Return rows in columns under their heads: text to the left, numbers to the right.

    Parameters
    ----------
    head : sequence of str
        Name of each column.
    rows : iterable of sequences
        One cell for each column. A float is shown with three decimals, None as nothing.

    Returns
    -------
    str
        Lines without spaces at their ends. A column with neither a name nor content is left out.

    Examples
    --------
    >>> print(text_table(("song", "score"), [("blues.00002", 0.5), ("jazz.1", 0.25)]))
    song         score
    blues.00002  0.500
    jazz.1       0.250
    """
    columns = [[printable(str(name)), *map(_shown, cells)] for name, *cells in zip(head, *rows, strict=True)]
    padded = [_padded(column) for column in columns if any(column)]
    return "\n".join("  ".join(line).rstrip() for line in zip(*padded, strict=True))


def printable(text: str) -> str:
    """Return the text without characters that control the terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _shown(cell: Cell) -> str:
    return f"{cell:.3f}" if isinstance(cell, float) else "" if cell is None else printable(str(cell))


def _padded(column: list[str]) -> list[str]:
    """Return the cells, all of one width."""
    width = max(map(len, column))
    is_numeric = all(map(NUMBER.fullmatch, column[1:]))
    return [cell.rjust(width) if is_numeric else cell.ljust(width) for cell in column]
