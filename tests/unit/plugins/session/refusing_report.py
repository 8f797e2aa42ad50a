"""A report whose refusals are errors of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fixtures.report.data.facts import Facts


class RefusedError(Exception):
    """The run is ended with this sentence."""


class Report:
    """Notes what is printed."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.facts = Facts()

    def say(self, line: str) -> None:
        self.said.append(line)

    def warn(self, text: str) -> None:
        self.say(f"warning: {text}")

    def refuse(self, why: str) -> None:
        raise RefusedError(why)

    @contextmanager
    def refuses(self, *errors: type[Exception]) -> Iterator[None]:
        try:
            yield
        except errors as error:
            self.refuse(str(error))
