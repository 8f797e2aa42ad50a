"""The command of an installed suite: which tests it runs, from a folder that has nothing of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fixtures.config.console import main, pytest_command
from fixtures.core.project import PROJECT


def collected(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What the command collects with these arguments, started in the folder."""
    command = pytest_command(["--collect-only", "-q", *arguments])
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=180, check=False)


@pytest.mark.parametrize(("arguments", "suite"), [((), "federation"), (("-m", "resilience"), "resilience")])
def test_it_runs_the_federation_or_the_suite_that_is_asked_for(
    arguments: tuple[str, ...], suite: str, tmp_path: Path
) -> None:
    found = collected(tmp_path, *arguments)
    assert found.returncode == 0, found.stderr
    assert f"tests/{suite}/test_1_" in found.stdout
    assert "tests/unit/" not in found.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_project_that_has_tests_and_fixtures_of_its_own_is_left_alone(tmp_path: Path) -> None:
    for name in ("tests", "fixtures", "supply"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('not of the suite')\n")
    (tmp_path / "tests" / "test_own.py").write_text("def test_own(): ...\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    found = collected(tmp_path)
    assert found.returncode == 0, found.stderr
    assert "test_own" not in found.stdout


@pytest.mark.parametrize(("command", "said"), [("compare", "no A"), ("collect", "no run from this folder")])
def test_it_compares_runs_and_collects_evidence_too(
    command: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    became: list[list[str]] = []
    monkeypatch.setattr("sys.argv", ["spire-federation", command, *(["A", "B"] if command == "compare" else [])])
    monkeypatch.setattr("os.execv", lambda _, arguments: became.append(arguments))
    main()
    (tmp_path / "fixtures").mkdir()
    (tmp_path / "fixtures" / "__init__.py").write_text("raise ImportError('not of the suite')\n")
    done = subprocess.run(became[0], cwd=tmp_path, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"{command}: {said}")


def test_what_cannot_work_is_refused_with_pytests_own_exit_code(tmp_path: Path) -> None:
    command = pytest_command(["--charts=no-such-folder"])
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "no-such-folder" in done.stderr
    assert not (PROJECT / "no-such-folder").exists()
