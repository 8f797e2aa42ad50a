"""Programs built with the Go toolchain, and the go.mod files that pin them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

from supply.plan import BuildError, Place, Step
from supply.versions import Program, Versions

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


def pin(versions: Versions) -> None:
    """Rewrite the go.mod and go.sum of every published module for `versions.toml`. Raises `BuildError`."""
    for program in versions.programs.values():
        if program.module:
            print(f"pin {program.name} {program.version}", flush=True)
            _pin(program)


def _pin(program: Program) -> None:
    program.folder.mkdir(parents=True, exist_ok=True)
    asked = subprocess.run(
        [go(), "mod", "download", "-json", f"{program.module}@{program.version}"],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    if asked.returncode:
        raise BuildError(f"{program.module} {program.version}: {asked.stdout}{asked.stderr}")
    downloaded = json.loads(asked.stdout)
    language = next(
        line.split()[1] for line in Path(downloaded["GoMod"]).read_text().splitlines() if line.startswith("go ")
    )
    lines = [
        f"module programs/{program.name}",
        "",
        f"go {language}",
        "",
        f"require {program.module} {program.version}",
        "",
    ]
    replaced = {old: f"{old} {version}" for old, version in program.replace.items()}
    if program.staging:
        replaced |= {name: f"{name} {program.staging}" for name in _staging(Path(downloaded["GoMod"]))}
    if replaced:
        lines += ["replace (", *(f"\t{old} => {new}" for old, new in sorted(replaced.items())), ")", ""]
    lines += ["tool (", *(f"\t{package}" for package in program.packages), ")", ""]
    (program.folder / "go.mod").write_text("\n".join(lines))
    # The module's own go.sum comes verified with the module; it also has lines that a checksum database may not answer for.
    own_sums = Path(downloaded["Dir"]) / "go.sum"
    (program.folder / "go.sum").write_text(own_sums.read_text() if own_sums.exists() else "")
    tidied = subprocess.run(
        [go(), "mod", "tidy"],
        cwd=program.folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "GOFLAGS": ""},
    )
    if tidied.returncode:
        raise BuildError(f"go mod tidy for {program.name}: {tidied.stderr[-2000:]}")


def _staging(gomod: Path) -> list[str]:
    """The modules that Kubernetes keeps inside its own tree and publishes one by one."""
    lines = (line.split() for line in gomod.read_text().splitlines())
    return [words[0] for words in lines if len(words) == 3 and words[1] == "=>" and words[2].startswith("./staging/")]
