"""A checkout of charts, and a Helm that completes and renders them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.chart_examples import write_checkout, write_helm


@pytest.fixture
def helm(tmp_path: Path) -> Path:
    return write_helm(tmp_path)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return write_checkout(tmp_path)
