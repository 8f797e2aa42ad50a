"""`versions.toml` as data."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent
SPIRE = "spire-"


@dataclass(frozen=True)
class Program:
    """Programs built together from one Go module.

    `folder` holds the go.mod that pins the module (or, for the project's own programs, the source itself). `images`
    maps a program to the entrypoint of the image of its name. What is `on_request` is built only for runs that need it.
    A program that is the `shim_of` another starts that one, and their image holds both.
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
    images: dict[str, str] = field(default_factory=dict)
    debian: bool = False
    user: str = ""
    on_request: bool = False
    shim_of: str = ""

    @property
    def tag(self) -> str:
        """The tag of its images."""
        return self.version.removeprefix("v") if self.module else self.version


@dataclass(frozen=True)
class Versions:
    """All pins. `spire` are the SPIRE versions that can be built, the default first.

    `kubernetes` is the version that is built, and `node_image` the published image of Kind's that belongs to its pin.
    """

    suite: str
    base_packages: tuple[str, ...]
    node_packages: tuple[str, ...]
    kubernetes: str
    node_image: str
    programs: dict[str, Program]

    @property
    def spire(self) -> tuple[str, ...]:
        """The SPIRE versions that can be built, the default first."""
        return tuple(
            name.removeprefix(SPIRE) for name, program in self.programs.items() if program.module.endswith("/spire")
        )


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
        images=dict(entry.get("images", {})),
        debian=bool(entry.get("debian", False)),
        on_request=bool(entry.get("on_request", False)),
    )


def _own(name: str, folder: Path, tag: str = "", user: str = "") -> Program:
    images = {name: f"/{folder.name}"} if tag else {}
    renamed = {folder.name: name} if folder.name != name else {}
    return Program(name, folder, packages=(".",), rename=renamed, version=tag, images=images, user=user)


def _shim(program: Program) -> Program:
    """The project's own program that translates an older command line for `program`; its image has that one's tag."""
    name = f"{program.name}-shim"
    own = _own(name, HERE / "modules" / name, tag=program.tag)
    return replace(own, on_request=True, shim_of=program.name)


def load(path: Path = HERE / "versions.toml") -> Versions:
    """Read the pins. Raises `KeyError` or `tomllib.TOMLDecodeError` for a file that is not one."""
    data = tomllib.loads(path.read_text())
    programs = {name: _published(name, entry) for name, entry in data["programs"].items()}
    registrar = "csi-node-driver-registrar"
    own = [_own("pause", HERE / "modules" / "pause"), _own(registrar, HERE / "modules" / registrar, tag="0.1.0")]
    # the demo's images, as the tutorial calls them
    own += [
        _own(f"gospiffe-{name}", PROJECT / "workloads" / name, tag="v0", user="65532") for name in ("server", "client")
    ]
    own += [_shim(programs["spiffe-helper"])]
    programs |= {program.name: program for program in own}
    return Versions(
        suite=data["debian"]["suite"],
        base_packages=tuple(data["debian"]["base"]),
        node_packages=tuple(data["debian"]["node"]),
        kubernetes=data["kubernetes"]["version"],
        node_image=data["kubernetes"]["node_image"],
        programs=programs,
    )
