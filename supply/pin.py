"""The go.mod files that pin programs, and the go.sum files that pin what they are made of."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from supply.plan import BuildError
from supply.programs import go
from supply.versions import Program, Versions


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
    # The module's own go.sum comes verified with the module, and has lines that a checksum database may not answer for.
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
