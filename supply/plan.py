"""Steps that are made once for each content of their inputs.

A step's key is a hash over its own description, the code that makes it, the content of its source files and the keys of
the steps it needs.
What it makes stands in `<cache>/<step>-<key>/`, moved there when it is complete: an interrupted build leaves nothing
half made, and the next one makes the steps that are missing.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path

from supply.locking import locked
from supply.source_code import normalized
from supply.time_left import WORKERS, in_words, keep_seconds, seconds_left, usual_seconds

TAIL_LINES = 20


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
            lines = self.log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
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
        # Tests are no part of what is built.
        if path.is_file() and "__pycache__" not in path.parts and not path.name.endswith("_test.go"):
            yield path


def _digest(step: Step, keys: Mapping[str, str]) -> str:
    digest = hashlib.sha256()
    for text in (
        step.name,
        normalized(inspect.getsource(inspect.getmodule(step.make) or step.make)),
        *step.texts,
        *(keys[need] for need in step.needs),
    ):
        digest.update(text.encode() + b"\0")
    for source in step.sources:
        for path in _files(source):
            described = f"{path.relative_to(source.parent)} {path.stat().st_mode & 0o111:o}"
            content = normalized(path.read_text()).encode() if path.suffix == ".py" else path.read_bytes()
            digest.update(described.encode() + b"\0" + hashlib.sha256(content).digest())
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


def missing_needs(steps: Sequence[Step], places: Mapping[str, Path]) -> dict[str, list[str]]:
    """The steps that are to be made, by name, each with those of them that it needs; `places` are of `folders`."""
    missing = {step.name for step in steps if not places[step.name].is_dir()}
    return {step.name: [need for need in step.needs if need in missing] for step in steps if step.name in missing}


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


class BuildProgress:
    """A line when a step starts and one when it ends, with seconds; and, at any time, how far the build is.

    `missing` are the steps to make, with those that each needs of them.
    """

    def __init__(
        self, missing: Mapping[str, Sequence[str]], cache: Path, workers: int, say: Callable[[str], None]
    ) -> None:
        self._waiting = {name: set(needs) for name, needs in missing.items()}
        self._total = len(missing)
        self._cache = cache
        self._usual = usual_seconds(cache)
        self._workers = workers
        self._say = say
        self._running: dict[str, float] = {}  # since when, by the monotonic clock
        self._lock = threading.Lock()

    def started(self, name: str) -> None:
        """A step has been started."""
        with self._lock:
            self._waiting.pop(name, None)
            self._running[name] = time.monotonic()
        self._say(f"supply: {name} … (about {in_words(self._usual(name))})")

    def done(self, name: str, seconds: float) -> None:
        """A step has been made."""
        with self._lock:
            self._running.pop(name, None)
            for needs in self._waiting.values():
                needs.discard(name)
            keep_seconds(self._cache, name, seconds)
        self._say(f"supply: [{self._done}/{self._total}] {name} made in {seconds:.0f} s{self._left()}")

    def __str__(self) -> str:
        with self._lock:
            taken = {name: time.monotonic() - began for name, began in self._running.items()}
        steps = [f"{name} {seconds:.0f} of {in_words(self._usual(name))}" for name, seconds in taken.items()]
        return f"[{self._done}/{self._total}]{self._left()}  {', '.join(steps)}".rstrip()

    @property
    def _done(self) -> int:
        return self._total - len(self._waiting) - len(self._running)

    def _left(self) -> str:
        with self._lock:
            taken = {name: time.monotonic() - began for name, began in self._running.items()}
            left = seconds_left(taken, self._waiting, self._usual, self._workers)
        return f", about {in_words(left)} left" if left else ""


_under_way: list[BuildProgress] = []


def under_way() -> str:
    """How far the build of this process is, in a line: steps, time left by earlier builds, and what is being made.

    Empty where none is under way.
    """
    return str(_under_way[-1]) if _under_way else ""


def build(steps: Sequence[Step], cache: Path, say: Callable[[str], None], workers: int = WORKERS) -> dict[str, Path]:
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
    needs = missing_needs(steps, places)
    missing = {step.name: step for step in steps if step.name in needs}
    say(f"supply: {len(missing)} of {len(steps)} steps to make, in {cache}")
    progress = BuildProgress(needs, cache, workers, say)
    sorter = TopologicalSorter(needs)
    sorter.prepare()
    running: dict[Future[float], str] = {}
    with _shown(progress), ThreadPoolExecutor(workers) as pool:
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


@contextmanager
def _shown(progress: BuildProgress) -> Iterator[None]:
    _under_way.append(progress)
    try:
        yield
    finally:
        _under_way.remove(progress)


def _make(step: Step, places: Mapping[str, Path], cache: Path, progress: BuildProgress) -> float:
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
