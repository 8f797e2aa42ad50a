"""`versions.toml` as data."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent
SPIRE = "spire-"


@dataclass(frozen=True)
class Program:
    """Programs built together from one Go module.

    `folder` holds the go.mod that pins the module (or, for the project's own programs, the source itself).
    """

    name: str
    folder: Path
    packages: tuple[str, ...]
    module: str = ""
    version: str = ""
    set: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    rename: dict[str, str] = field(default_factory=dict)
    replace: dict[str, str] = field(default_factory=dict)
    staging: str = ""
    cgo: bool = False


@dataclass(frozen=True)
class Versions:
    """All pins. `spire` are the SPIRE versions that can be built, the default first."""

    suite: str
    base_packages: tuple[str, ...]
    node_packages: tuple[str, ...]
    kubernetes: str
    programs: dict[str, Program]

    @property
    def spire(self) -> tuple[str, ...]:
        return tuple(name.removeprefix(SPIRE) for name, program in self.programs.items() if program.module.endswith("/spire"))


def _published(name: str, entry: dict[str, Any]) -> Program:
    module = entry["module"]
    packages = tuple(module if package == "." else f"{module}/{package}" for package in entry["packages"])
    return Program(
        name=name,
        folder=HERE / "modules" / name,
        packages=packages,
        module=module,
        version=entry["version"],
        set=tuple(entry.get("set", ())),
        tags=tuple(entry.get("tags", ())),
        rename=dict(entry.get("rename", {})),
        replace=dict(entry.get("replace", {})),
        staging=entry.get("staging", ""),
        cgo=bool(entry.get("cgo", False)),
    )


def _own(name: str, folder: Path) -> Program:
    return Program(name=name, folder=folder, packages=(".",), rename={folder.name: name})


def load(path: Path = HERE / "versions.toml") -> Versions:
    """Read the pins. Raises `KeyError` or `tomllib.TOMLDecodeError` for a file that is not one."""
    data = tomllib.loads(path.read_text())
    programs = {name: _published(name, entry) for name, entry in data["programs"].items()}
    for name in ("pause", "csi-node-driver-registrar"):
        programs[name] = _own(name, HERE / "modules" / name)
    for name in ("server", "client"):
        programs[f"demo-{name}"] = _own(f"demo-{name}", PROJECT / "workloads" / name)
    return Versions(
        suite=data["debian"]["suite"],
        base_packages=tuple(data["debian"]["base"]),
        node_packages=tuple(data["debian"]["node"]),
        kubernetes=data["kubernetes"]["version"],
        programs=programs,
    )
