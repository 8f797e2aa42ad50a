"""A report whose refusals are errors of their own."""

from __future__ import annotations

from typing import Any, cast

from fixtures.report import run
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

    refuses = cast(Any, run.Report).refuses
