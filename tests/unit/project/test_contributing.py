"""The examples of CONTRIBUTING.md: each is put in place in a copy of the project, and is then found there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.core.project import PROJECT

GUIDE = (PROJECT / "CONTRIBUTING.md").read_text()
PLACE = re.compile(r"# (?P<file>\S+?)(, in (?P<name>\w+))?")
COPIED = ("fixtures", "supply", "tests", "charts-values", "workloads", "conftest.py", "pyproject.toml")
IMPORTS = "from __future__ import annotations\n"


def examples() -> list[tuple[str, str, str]]:
    """Of each Python example its file, the name of what it is added to (or nothing), and its text."""
    found = []
    for block in re.findall(r"^```python\n(.*?)^```$", GUIDE, flags=re.M | re.S):
        place, _, text = block.partition("\n")
        match = PLACE.fullmatch(place)
        assert match, place
        found.append((match["file"], match["name"] or "", text))
    return found


def put_in_place(project: Path, file: str, name: str, text: str) -> None:
    """Add an example to its file: at its end, or as the first of what the name stands for."""
    path = project / file
    before = path.read_text()
    if not name:
        path.write_text(f"{before}\n\n{text}")
        return
    after, count = re.subn(rf"^{name}\b.* = [{{(]\n", lambda found: found[0] + text, before, flags=re.M)
    assert count == 1, f"{file} has no {name}"
    path.write_text(after)


@pytest.fixture
def extended(tmp_path: Path) -> Path:
    """A copy of the project that has all examples."""
    for name in COPIED:
        source = PROJECT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "unit"))
        else:
            shutil.copy(source, tmp_path / name)
    faults = tmp_path / "tests" / "faults.py"
    faults.write_text(faults.read_text().replace(IMPORTS, f"{IMPORTS}\nimport json\n", 1))  # as the guide says
    for example in examples():
        put_in_place(tmp_path, *example)
    return tmp_path


def run(project: Path, *arguments: str) -> str:
    """What Python prints for these arguments in the project. Fails with its errors."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=project, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_command_of_the_guide_finds_its_example(extended: Path) -> None:
    commands = re.findall(r"`tox -e (federation|selftest|resilience) -- -k ([\w-]+)`", GUIDE)
    assert [suite for suite, _ in commands] == ["federation", "selftest", "resilience"]
    suites, chosen = (" or ".join(each) for each in zip(*commands, strict=True))
    found = run(extended, "-m", "pytest", "--collect-only", "-q", "-m", suites, "-k", chosen)
    for suite, name in commands:
        assert re.search(rf"^tests/{suite}/.*{name}", found, flags=re.M), found


def test_the_checks_and_faults_of_the_guide_are_in_the_lists(extended: Path) -> None:
    lines = run(
        extended,
        "-c",
        "from tests import checks, faults, chart_faults as charts; "
        "print(*(each.check for each in faults.FAULTS if 'without-jwt' in each.name), sep='\\n'); "
        "print(*('check ' + name for name in checks.CHECKS), sep='\\n'); "
        "print(*('chart ' + each.name for each in charts.CHART_FAULTS), sep='\\n')",
    ).splitlines()
    assert lines[0] == "keys of both kinds"
    assert "check keys of both kinds" in lines
    assert "chart server-that-asks-for-more-memory-than-there-is" in lines
