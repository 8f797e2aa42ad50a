"""What an installed suite lacks of its checkout."""

from __future__ import annotations

from pathlib import Path

from tests.tools.installed_files import differences


def test_what_is_missing_changed_or_too_much_is_listed_and_what_stays_out_is_not(tmp_path: Path) -> None:
    checkout, installed = tmp_path / "checkout", tmp_path / "installed"
    for root in (checkout, installed):
        for name in ("supply/node/entrypoint", "tests/checks.py", "tests/tools/runs.py", "conftest.py"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(name)
    for name in ("tests/unit/test_x.py", "tests/__pycache__/checks.pyc", "runs/latest", "README.md"):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("not installed")
    assert list(differences(checkout, installed)) == []
    (checkout / "supply" / ".gitignore").write_text("*")
    (installed / "tests" / "checks.py").write_text("changed")
    (installed / "supply" / "old.py").write_text("of an earlier build")
    (installed / "supply" / "node" / "entrypoint").chmod(0o755)
    assert list(differences(checkout, installed)) == [
        "supply/.gitignore is not installed",
        "supply/node/entrypoint differs",
        "supply/old.py is not of the checkout",
        "tests/checks.py differs",
    ]
