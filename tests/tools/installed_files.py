"""What an installed suite lacks of its checkout, and whether it takes names that are others'; `tox -e wheel` asks.

Started by its path, not as a module: then nothing of the checkout is found but by this file's own place.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "spire_federation_suite"
INSTALLED = ("charts-values", "fixtures", "supply", "tests", "workloads", "conftest.py", "pyproject.toml")
LEFT_OUT = ("__pycache__", "unit")
OTHERS = ("fixtures", "supply", "tests", "conftest")


def files(root: Path) -> dict[str, tuple[bytes, bool]]:
    """Of each file that is to be installed its content, and whether it can be executed."""
    found = [
        path for name in INSTALLED for path in ([root / name] if (root / name).is_file() else (root / name).rglob("*"))
    ]
    return {
        str(path.relative_to(root)): (path.read_bytes(), bool(path.stat().st_mode & 0o111))
        for path in found
        if path.is_file() and not set(path.relative_to(root).parts) & set(LEFT_OUT)
    }


def differences(checkout: Path, installed: Path) -> Iterator[str]:
    """A line for each file that only one of the two has, or that is not the same in both."""
    ours, theirs = files(checkout), files(installed)
    for name in sorted(ours.keys() | theirs.keys()):
        if ours.get(name) != theirs.get(name):
            what = (
                "is not installed"
                if name not in theirs
                else "is not of the checkout"
                if name not in ours
                else "differs"
            )
            yield f"{name} {what}"


def main() -> int:
    """Print what is wrong with the suite that this Python has; returns the exit code."""
    checkout = Path(__file__).resolve().parent.parent.parent
    spec = importlib.util.find_spec(PACKAGE)
    places = list(spec.submodule_search_locations or ()) if spec else []
    wrong = [
        f"{name} can be imported: it is another project's name" for name in OTHERS if importlib.util.find_spec(name)
    ]
    if [Path(place).resolve() == checkout for place in places] != [False]:
        wrong.append(f"{PACKAGE} is not installed: {places}")
    else:
        wrong += differences(checkout, Path(places[0]))
    print(*wrong, sep="\n", end="\n" if wrong else "")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
