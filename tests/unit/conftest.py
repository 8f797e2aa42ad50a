"""What several of these tests need: real outputs, recorded, and an API server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.api_server import ApiServer, serving

RECORDED = Path(__file__).parent / "recorded"


@pytest.fixture
def recorded() -> Callable[[str], str]:
    """Reads a recorded output by its file's name."""
    return lambda name: (RECORDED / name).read_text()


@pytest.fixture
def api_server() -> Iterator[ApiServer]:
    """An API server of a few answers."""
    with serving() as made:
        yield made
