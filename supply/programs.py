"""Programs built with the Go toolchain."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from supply.plan import BuildError, Place, Step
from supply.versions import Program

GO_AT_LEAST = (1, 26)


def go() -> str:
    """The Go toolchain's path. Raises `BuildError` where there is none, or only one that is too old."""
    found = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    wanted = ".".join(map(str, GO_AT_LEAST))
    if not found:
        raise BuildError(f"building the local supply needs Go {wanted} or newer on PATH (https://go.dev/doc/install)")
    said = subprocess.run([found, "env", "GOVERSION"], capture_output=True, text=True, check=True).stdout.strip()
    version = tuple(int(part) for part in said.removeprefix("go").split(".")[:2] if part.isdigit())
    if version < GO_AT_LEAST:
        raise BuildError(f"building the local supply needs Go {wanted} or newer; {found} is {said}")
    return found


def step(program: Program) -> Step:
    """Build one module's programs, statically linked, into the step's folder."""

    def make(place: Place) -> None:
        flags = ["-s", "-w", *(f"-X {entry}" for entry in program.set)]
        if program.cgo:
            flags += ["-linkmode external", "-extldflags -static"]
        command: list[str | Path] = [go(), "build", "-trimpath", "-buildvcs=false", "-ldflags", " ".join(flags)]
        if program.tags:
            command += ["-tags", ",".join(program.tags)]
        place.run(
            *command,
            "-o",
            f"{place.out}/",
            *program.packages,
            cwd=program.folder,
            env={"CGO_ENABLED": "1" if program.cgo else "0", "GOFLAGS": "", "GOWORK": "off"},
        )
        for old, new in program.rename.items():
            (place.out / old).rename(place.out / new)

    described = (
        program.version,
        *program.packages,
        *program.set,
        *program.tags,
        *program.rename.values(),
        *(["cgo"] if program.cgo else []),
    )
    return Step(name=f"program-{program.name}", make=make, texts=described, sources=(program.folder,))
