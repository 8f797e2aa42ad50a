"""Windows, where neither engines of this suite's kind nor the modules that it imports are."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fixtures.core.project import PROJECT

# As on Windows: its name, and the modules that it lacks.
WINDOWS = "import runpy, sys; sys.platform = 'win32'; sys.modules['fcntl'] = sys.modules['resource'] = None; "


@pytest.mark.parametrize(
    "what",
    [
        "import fixtures.plugins.options",
        "runpy.run_module('supply', run_name='__main__')",
        "import conftest, importlib; list(map(importlib.import_module, conftest.pytest_plugins))",
    ],
)
def test_a_person_on_windows_is_told_of_wsl_in_a_sentence(what: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WINDOWS + what], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("This suite runs on Linux and macOS. On Windows, run it in WSL 2")
    assert len(done.stderr.splitlines()) == 1
