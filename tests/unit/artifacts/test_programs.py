"""Programs that are found, or downloaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.artifacts import programs
from fixtures.artifacts.supply import SupplyError
from supply import versions


@pytest.mark.parametrize(("version", "is_taken"), [("v3.12.3", False), ("v3.13.0", True), ("v4.0.1", True)])
def test_a_helm_on_path_that_cannot_label_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, is_taken: bool
) -> None:
    program = tmp_path / "helm"
    program.write_text(f"#!/bin/sh\nprintf {version}\n")
    program.chmod(0o755)
    pinned = tmp_path / "tools" / f"helm-{versions.load().programs['helm'].version}"
    pinned.parent.mkdir()
    pinned.touch()
    monkeypatch.setattr(programs, "on_path", lambda _: program)
    monkeypatch.setattr(programs, "cache_folder", lambda: tmp_path)
    assert programs._helm(tmp_path) == (program if is_taken else pinned)


def test_a_helm_that_does_not_run_is_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "helm"
    program.write_text("#!/bin/sh\necho 'helm: exec format error' >&2\nexit 126\n")
    program.chmod(0o755)
    monkeypatch.setattr(programs, "on_path", lambda _: program)
    with pytest.raises(SupplyError, match="helm does not say its version: helm: exec format error"):
        programs._helm(tmp_path)
