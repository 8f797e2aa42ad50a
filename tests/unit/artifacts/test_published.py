"""Which node image goes with published images."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.artifacts.published import pinned_node_image
from supply import versions

PINS = versions.load()


def kind(folder: Path, version: str) -> Path:
    program = folder / "kind"
    program.write_text(f"#!/bin/sh\necho 'kind {version} go1.26.8 linux/amd64'\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    ("version", "is_pinned"), [(PINS.programs["kind"].version, True), ("v0.40.0", True), ("v0.27.0", False)]
)
def test_an_older_kind_than_the_pinned_one_has_its_own(tmp_path: Path, version: str, is_pinned: bool) -> None:
    lines: list[str] = []
    found = pinned_node_image(kind(tmp_path, version), lines.append)
    assert found == (PINS.node_image if is_pinned else None)
    assert [line.partition(":")[0] for line in lines] == ([] if is_pinned else [f"{tmp_path}/kind is kind 0.27.0"])


def test_the_pinned_image_is_one_and_the_same_for_everybody() -> None:
    name, _, digest = PINS.node_image.partition("@sha256:")
    assert name.startswith("kindest/node:v1.")
    assert len(digest) == 64
