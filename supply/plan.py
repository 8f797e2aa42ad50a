"""Steps that are made once for each content of their inputs.

A step's key is a hash over its own description, the content of its source files and the keys of the steps it needs.
What it makes stands in `<cache>/<step>-<key>/`, moved there when it is complete: an interrupted build leaves nothing
half made, and the next one makes the steps that are missing.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path

from supply.locking import locked

TAIL = 20


class BuildError(RuntimeError):
    """A step failed; the text names the step, its command and the command's last lines."""


@dataclass(frozen=True)
class Place:
    """What a step works with: an empty folder to fill, the folders of the steps it needs, and a log."""

    out: Path
    needs: Mapping[str, Path]
    log: Path

    def run(
        self,
        *command: str | Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: Path | None = None,
    ) -> None:
        """Run a command, its output in the step's log. Raises `BuildError` with the last lines when it fails."""
        words = [str(word) for word in command]
        with self.log.open("ab") as log, Path(stdin or os.devnull).open("rb") as given:
            log.write(f"$ {' '.join(words)}\n".encode())
            log.flush()
            try:
                code = subprocess.run(
                    words, cwd=cwd, env={**os.environ, **(env or {})}, stdin=given, stdout=log, stderr=log, check=False
                ).returncode
            except FileNotFoundError as error:
                raise BuildError(f"`{' '.join(words)}` cannot be started: {error.filename} is not there") from None
        if code:
            lines = self.log.read_text(errors="replace").splitlines()[-TAIL:]
            raise BuildError(
                f"`{' '.join(words)}` ended with {code}; its last lines (all in {self.log}):\n"
                + "\n".join(f"    {line}" for line in lines)
            )


@dataclass(frozen=True)
class Step:
    """One thing to make. `texts` and `sources` (files or folders) are what it depends on besides other steps."""

    name: str
    make: Callable[[Place], None]
    needs: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    sources: tuple[Path, ...] = field(default=())


def _files(source: Path) -> Iterator[Path]:
    if source.is_file():
        yield source
        return
    for path in sorted(source.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path


def _digest(step: Step, keys: Mapping[str, str]) -> str:
    digest = hashlib.sha256()
    for text in (
        step.name,
        inspect.getsource(inspect.getmodule(step.make) or step.make),
        *step.texts,
        *(keys[need] for need in step.needs),
    ):
        digest.update(text.encode() + b"\0")
    for source in step.sources:
        for path in _files(source):
            described = f"{path.relative_to(source.parent)} {path.stat().st_mode & 0o111:o}"
            digest.update(described.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def cache_folder() -> Path:
    """`$SPIRE_FEDERATION_CACHE`, else `spire-federation` under the user's cache folder (XDG base directories)."""
    chosen = os.environ.get("SPIRE_FEDERATION_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spire-federation"


def keys(steps: Sequence[Step]) -> dict[str, str]:
    """Each step's content key, by name."""
    by_name = {step.name: step for step in steps}
    order = TopologicalSorter({step.name: step.needs for step in steps}).static_order()
    found: dict[str, str] = {}
    for name in order:
        found[name] = _digest(by_name[name], found)
    return found


def folders(steps: Sequence[Step], cache: Path) -> dict[str, Path]:
    """Where each step's result stands, or will."""
    return {name: cache / f"{name}-{key}" for name, key in keys(steps).items()}


@contextmanager
def lock(cache: Path, say: Callable[[str], None] | None = None) -> Iterator[None]:
    """Only one build, or other use, of a cache at a time: a second one waits and says so; without `say` it is an error.

    Raises `BuildError`.
    """
    cache.mkdir(parents=True, exist_ok=True)

    def busy(owner: str) -> None:
        if say is None:
            raise BuildError(f"a build ({owner}) is using {cache}: try again when it has ended")
        say(f"supply: another build ({owner}) is using this cache: waiting for it")

    with locked(cache / "lock", f"process {os.getpid()}", busy):
        yield


class Progress:
    """A line when a step starts and one when it ends, with seconds."""

    def __init__(self, total: int, say: Callable[[str], None]) -> None:
        self._total = total
        self._done = 0
        self._say = say

    def started(self, name: str) -> None:
        """A step has been started."""
        self._say(f"supply: {name} …")

    def done(self, name: str, seconds: float) -> None:
        """A step has been made."""
        self._done += 1
        self._say(f"supply: [{self._done}/{self._total}] {name} made in {seconds:.0f} s")


def build(steps: Sequence[Step], cache: Path, say: Callable[[str], None], workers: int = 2) -> dict[str, Path]:
    """Make what is missing and return every step's folder.

    `say` is called, from several threads, with a line about each step that starts or ends. Raises `BuildError`
    for the first step that fails; steps that were under way are finished, and kept.
    """
    places = folders(steps, cache)
    if all(place.is_dir() for place in places.values()):
        return places
    with lock(cache, say), _usual_umask():
        _make_missing(steps, places, cache, workers, say)
    return places


@contextmanager
def _usual_umask() -> Iterator[None]:
    """Have what is made readable for everybody: in images it is read by other users than the one who builds them."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)


def _make_missing(
    steps: Sequence[Step], places: Mapping[str, Path], cache: Path, workers: int, say: Callable[[str], None]
) -> None:
    missing = {step.name: step for step in steps if not places[step.name].is_dir()}
    say(f"supply: {len(missing)} of {len(steps)} steps to make, in {cache}")
    progress = Progress(len(missing), say)
    sorter = TopologicalSorter(
        {name: [need for need in step.needs if need in missing] for name, step in missing.items()}
    )
    sorter.prepare()
    running: dict[Future[float], str] = {}
    with ThreadPoolExecutor(workers) as pool:
        while sorter.is_active():
            for name in sorter.get_ready():
                running[pool.submit(_make, missing[name], places, cache, progress)] = name
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                name = running.pop(future)
                try:
                    progress.done(name, future.result())
                except BaseException as error:
                    for other in running:
                        other.cancel()
                    raise BuildError(f"step {name}: {error}") from error
                sorter.done(name)


def _make(step: Step, places: Mapping[str, Path], cache: Path, progress: Progress) -> float:
    began = time.monotonic()
    progress.started(step.name)
    final = places[step.name]
    part = final.with_name(final.name + ".part")
    if part.exists():
        shutil.rmtree(part)
    part.mkdir(parents=True)
    logs = cache / "logs"
    logs.mkdir(exist_ok=True)
    log = logs / f"{step.name}.log"
    log.write_bytes(b"")
    step.make(Place(out=part, needs={need: places[need] for need in step.needs}, log=log))
    part.rename(final)
    return time.monotonic() - began
