"""Real outputs, recorded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

RECORDED = Path(__file__).parent / "recorded"


@pytest.fixture
def recorded() -> Callable[[str], str]:
    """Reads a recorded output by its file's name."""
    return lambda name: (RECORDED / name).read_text()
