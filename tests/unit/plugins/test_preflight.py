"""`--preflight`, as a person types it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.core.project import PROJECT


def preflight(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The real project's, in a working folder of its own, on a machine without any program and with an empty cache."""
    environment = {
        **{key: value for key, value in os.environ.items() if key in ("LANG", "LC_ALL", "VIRTUAL_ENV")},
        "HOME": str(folder),
        "SPIRE_FEDERATION_CACHE": str(folder / "cache"),
        "PATH": str(folder),
        "HTTPS_PROXY": "http://127.0.0.1:1",
        "PYTHONDONTWRITEBYTECODE": "1",
        **variables,
    }
    command = [sys.executable, "-m", "pytest", *([] if variables else ["--preflight"]), str(PROJECT / "tests")]
    return subprocess.run(
        [*command, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=180, check=False
    )


@pytest.mark.parametrize("supply", ["published", "local", "auto"])
def test_a_machine_that_has_nothing_has_a_line_for_each_problem(tmp_path: Path, supply: str) -> None:
    done = preflight(tmp_path, f"--supply={supply}")
    assert done.returncode == 1, done.stderr
    problems = [line for line in done.stdout.splitlines() if line.startswith("problem")]
    assert any("no container engine answers" in line for line in problems)
    assert any("no apt-get" in line for line in problems) == (supply != "published")
    assert done.stdout.splitlines()[-1].startswith(f"{len(problems)} problems, ")
    left = {path.name for path in tmp_path.iterdir()}
    assert left <= {".config"}, "it is to start nothing, and to leave nothing (but for Go's own settings)"


@pytest.mark.parametrize(
    ("options", "looked_at"),
    [((), True), (("--connectivity=node-port",), False), (("--connectivity=load-balancer",), False)],
    ids=["auto", "node-port", "load-balancer"],
)
def test_ports_are_looked_at_where_a_run_takes_some(tmp_path: Path, options: tuple[str, ...], looked_at: bool) -> None:
    done = preflight(tmp_path, "--supply=published", *options)
    assert done.returncode == 1, done.stderr
    assert any(line.split()[1] == "ports" for line in done.stdout.splitlines()) == looked_at


def test_a_command_line_that_is_refused_ends_as_in_a_run(tmp_path: Path) -> None:
    done = preflight(tmp_path, "--charts=/none", f"--run-folder={tmp_path / 'run'}")
    assert not (tmp_path / "run").exists(), "it is no run"
    assert (done.returncode, done.stdout) == (pytest.ExitCode.USAGE_ERROR, "")
    assert done.stderr.startswith("ERROR: --charts: /none is no folder of charts")


def test_options_of_the_environment_count_too(tmp_path: Path) -> None:
    given = {"SPIRE_FEDERATION_PREFLIGHT": "true", "SPIRE_FEDERATION_SUPPLY": "published"}
    done = preflight(tmp_path, "-m", "federation", **given)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "no container engine answers" in done.stdout
    assert "no apt-get" not in done.stdout
