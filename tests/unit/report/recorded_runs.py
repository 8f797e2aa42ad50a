"""Documents (`run.json`) of real runs, recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fixtures.report.data.document import read_document

RECORDED = sorted((Path(__file__).parent / "recorded").glob("*.json"))


def recorded(name: str) -> dict[str, Any]:
    """The run that was recorded under this name."""
    return read_document(Path(__file__).parent / "recorded" / f"{name}.json")
