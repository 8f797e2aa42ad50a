"""A terminal's screen, as far as the live view needs one: what is written, and what can be seen then."""

from __future__ import annotations

import io
import os
import re

_PART = re.compile(r"\x1b\[(?P<count>\d*)(?P<what>[A-Za-z])|(?P<sign>.|\n|\r)", re.DOTALL)


class Screen(io.StringIO):
    """A stream of a live terminal; `text` is what stands on it, with what has been scrolled away above."""

    def __init__(self, columns: int = 100, lines: int = 30) -> None:
        super().__init__()
        self.size = os.terminal_size((columns, lines))
        self._rows: list[list[str]] = [[]]
        self._row = self._column = 0

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return 0

    def write(self, text: str) -> int:
        for part in _PART.finditer(text):
            self._take(part["sign"], part["what"], int(part["count"] or 1))
        return len(text)

    def _take(self, sign: str | None, what: str | None, count: int) -> None:
        row = self._rows[self._row]
        if sign == "\n":  # as a terminal's driver has it: the next line, from its beginning
            self._row, self._column = self._row + 1, 0
            self._rows += [[]] if self._row == len(self._rows) else []
        elif sign == "\r":
            self._column = 0
        elif sign:
            if self._column == self.size.columns:
                self._take("\n", None, 1)
                row = self._rows[self._row]
            row += [" "] * (self._column + 1 - len(row))
            row[self._column] = sign
            self._column += 1
        elif what == "A":
            self._row = max(0, self._row - count, len(self._rows) - self.size.lines)
        elif what == "C":
            self._column = min(self._column + count, self.size.columns - 1)
        elif what in ("J", "K"):
            del row[self._column :]
            if what == "J":
                del self._rows[self._row + 1 :]

    @property
    def text(self) -> list[str]:
        """The lines, without what is empty at the end."""
        return "\n".join("".join(row).rstrip() for row in self._rows).rstrip().split("\n")
