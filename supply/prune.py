"""What no pin names any more: folders of the cache made from older inputs, their node images, and older downloads."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from supply import catalogue, node, plan, published, versions
from supply.host import Engine
from supply.images import PREFIX

# A step's folder, finished or not, as `supply.plan` names it.
STEP = re.compile(r".+-[0-9a-f]{16}(\.part)?")
NODE_IMAGE = f"{PREFIX}/node"
MIB = 2**20


@dataclass(frozen=True)
class Superseded:
    """A thing that can go: its name, its size in bytes, and what removes it."""

    name: str
    size: int
    remove: Callable[[], object]


def prune(cache: Path, engine: Engine | None, say: Callable[[str], None], *, dry_run: bool = False) -> None:
    """Remove what is superseded, or only list it.

    What an earlier checkout of this project has made is superseded where its pins or sources were others. What a
    program of is running stays, and a node image of which there is a container. Raises `supply.plan.BuildError` while a
    build uses the cache.
    """
    pins = versions.load()
    steps, _, _ = catalogue.steps(pins, catalogue.references(pins))
    wanted = plan.folders([*steps, *catalogue.separate_steps(pins)], cache)
    freed = 0
    with plan.lock(cache):
        found = [*folders(cache, wanted.values()), *downloads(cache, pins)]
        found += node_images(engine, node.reference(pins.kubernetes, wanted["node"])) if engine else []
        for each in found:
            if not dry_run:
                each.remove()
            freed += each.size
            say(f"{'superseded' if dry_run else 'removed'}: {each.name}, {each.size / MIB:.1f} MiB")
    say(f"{len(found)} superseded, {freed / MIB:.1f} MiB" if found else "nothing is superseded")


def folders(cache: Path, wanted: Collection[Path]) -> Iterator[Superseded]:
    """The folders of the cache that are of no wanted step, or unfinished, unless a program in them is running."""
    running = list(_running())
    for path in sorted(cache.iterdir()):
        used = any(program.is_relative_to(path) for program in running)
        if path.is_dir() and STEP.fullmatch(path.name) and path not in wanted and not used:
            yield Superseded(path.name, _size(path), partial(_remove, path))


def downloads(cache: Path, pins: versions.Versions) -> Iterator[Superseded]:
    """The programs in the cache (`tools/<system>/<name>-<version>`) that are of other versions than the pinned ones."""
    pinned = {f"{name}-{version}" for name, version in published.versions_of(pins).items()}
    running = set(_running())
    for path in sorted((cache / "tools").glob("*/*-v[0-9]*")):
        if path.is_file() and path.name not in pinned and path not in running:
            yield Superseded(str(path.relative_to(cache)), path.stat().st_size, path.unlink)


def node_images(engine: Engine, wanted: str) -> Iterator[Superseded]:
    """The engine's node images of this project that are not the wanted one, and of which it has no container."""
    listed = engine.run("images", "--format", "{{.Repository}}:{{.Tag}}").split()
    for reference in sorted({each for each in listed if each.startswith(f"{NODE_IMAGE}:") and each != wanted}):
        if engine.run("ps", "-a", "-q", "--filter", f"ancestor={reference}").strip():
            continue
        size = int(engine.run("image", "inspect", "--format", "{{.Size}}", reference))
        yield Superseded(reference, size, partial(_remove_image, engine, reference))


def _remove(path: Path) -> None:
    """Remove a folder; one that an interruption leaves is of an unfinished step, and never taken for a finished one."""
    part = path.with_name(f"{path.name.removesuffix('.part')}.part")
    path.rename(part)
    shutil.rmtree(part)


def _remove_image(engine: Engine, reference: str) -> None:
    try:
        engine.run("rmi", reference)
    except subprocess.CalledProcessError as error:
        raise plan.BuildError(f"{engine.program} does not remove {reference}: {error.stderr.strip()}") from error


def _running() -> Iterator[Path]:
    """The files of the programs that are running on this machine, as far as they may be seen."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            yield (process / "exe").readlink()
        except OSError:
            continue


def _size(folder: Path) -> int:
    return sum((Path(place) / name).lstat().st_size for place, _, names in os.walk(folder) for name in names)
