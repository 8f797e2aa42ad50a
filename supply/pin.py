"""What pins programs: the go.mod and go.sum of those that are built, and the SHA-256 of those that are downloaded."""

from __future__ import annotations

import json
import os
import re
import subprocess
import urllib.request
from collections.abc import Callable, Mapping
from http.client import HTTPException
from pathlib import Path

from supply import published
from supply.plan import BuildError
from supply.programs import go
from supply.versions import Program, Versions

ANSWER_TIMEOUT = 30.0  # seconds for a server to answer


def pin_modules(versions: Versions, say: Callable[[str], None]) -> None:
    """Rewrite the go.mod and go.sum of every published module for `versions.toml`. Raises `BuildError`."""
    for program in versions.programs.values():
        if program.module:
            say(f"pin {program.name} {program.version}")
            _pin_module(program)


def pin_downloads(
    versions: Versions, say: Callable[[str], None], environment: Mapping[str, str], path: Path = published.DIGESTS
) -> None:
    """Rewrite what is pinned of published programs (`published.DIGESTS`) for `versions.toml`.

    Of what is not pinned yet, the checksum that its project publishes beside it is read, from where the environment has
    the programs downloaded from. Raises `BuildError`, and leaves the file as it is then.
    """
    pinned, found = published.digests(path), {}
    for system, machine in published.PLATFORMS:
        for program in published.programs(versions, system, machine).values():
            digest = pinned.get(program.pinned_as)
            if not digest:
                say(f"pin {program.pinned_as}")
                digest = _published_digest(program, environment)
            found[program.pinned_as] = digest
    path.write_text("".join(f"{digest}  {name}\n" for name, digest in sorted(found.items())))


def _published_digest(program: published.PublishedProgram, environment: Mapping[str, str]) -> str:
    base, _, _ = published.base(program.name, environment).partition("#")
    url = f"{base.rstrip('/')}/{program.checksum}"
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_TIMEOUT) as answer:  # noqa: S310
            digest = answer.read().decode(errors="replace").partition(" ")[0].strip()
    except (OSError, HTTPException) as error:
        raise BuildError(f"the checksum of {program.name} cannot be read from {url}: {error}") from error
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise BuildError(f"{url} does not begin with a SHA-256: {digest[:80]!r}")
    return str(digest)


def _pin_module(program: Program) -> None:
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
