"""Whether the suite itself can be relied on: `tox -e reliability`, or `python -m tests.reliability kills|repeat`.

`kills` ends runs at ten points by SIGINT, SIGTERM and SIGKILL in turn, and looks after each for what is left on the machine;
every run begins on what the one before it left. `repeat` runs the federation many times on kept clusters. Both exit with 1
where something was not as promised.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from fixtures.settings import CLUSTERS, PROJECT
from fixtures.waiting import Condition, Look, WaitError, wait_for
from supply import catalogue, host

PREFIX = "reliability-"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
# What a run has just printed when it is ended; the whole of it is some 70 s on two cores.
POINTS = (
    "supply",
    "seconds 2",
    "seconds 8",
    "Kind cluster",
    "seconds 20",
    "seconds 30",
    "SPIRE",
    "federation",
    "demo server",
    "client Job",
)
ENGINES_OWN = "/usr/lib/podman/"  # its name service is started with the first container, and inherits what that had
ENDING = 120.0  # seconds that a run may take to end once it is told to
KILLED = 15.0  # seconds in which the programs of a run that was killed must have ended
RUNNING = 600.0


@dataclass(frozen=True)
class Left:
    """What of this tool's runs is on the machine: containers, volumes, networks, and programs that talk to its clusters."""

    containers: frozenset[str]
    volumes: frozenset[str]
    networks: frozenset[str]
    programs: frozenset[str]

    @classmethod
    def now(cls, engine: host.Engine) -> Left:
        """Look. Raises `CalledProcessError`."""
        names = engine.run("ps", "-a", "--filter", "label=io.x-k8s.kind.cluster", "--format", "{{.Names}}").split()
        return cls(
            frozenset(name for name in names if name.startswith(PREFIX)),
            frozenset(engine.run("volume", "ls", "-q").split()),
            frozenset(engine.run("network", "ls", "--format", "{{.Name}}").split()),
            frozenset(_programs()),
        )


def _programs() -> Iterator[str]:
    """Programs whose KUBECONFIG is one of this tool's clusters, and Kind's own at work on them; not the engine's, which stay."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes().split(b"\0")
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        kubeconfig = next((each for each in environment if each.startswith(b"KUBECONFIG=")), b"")
        if f"/{PREFIX}".encode() in kubeconfig and command and not command.startswith(ENGINES_OWN):
            yield f"{process.name} {command[:120]}"


class Run:
    """A run of the suite in the background, its output in a file."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.log = folder / "output.log"
        command = [sys.executable, "-m", "pytest", "-c", str(PROJECT / "pyproject.toml"), "-m", "federation"]
        command += ["--supply=local", f"--cluster-prefix={PREFIX}", f"--run-folder={folder}", *options]
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                command, cwd=PROJECT, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )
        self._began = time.monotonic()

    def reached(self, point: str) -> Condition[bool]:
        """The run has come to a point: it has ended a phase of this name, or has been running for so many seconds."""

        def look() -> Look[bool]:
            kind, _, number = point.partition(" ")
            if kind == "seconds":
                there = time.monotonic() - self._began >= float(number)
            else:
                there = any("✓" in line and point in line for line in self.log.read_text().splitlines())
            return Look(True if there or self.has_ended else None, self.last_line)

        return Condition(f"a run at the point {point!r}", look)

    def send(self, sent: signal.Signals) -> float:
        """Send a signal and wait for the end; the value is the seconds that it took. Raises `WaitError`."""
        began = time.monotonic()
        self._process.send_signal(sent)
        self.wait(ENDING)
        return time.monotonic() - began

    def wait(self, timeout: float = RUNNING) -> int:
        """Wait for the end, and return the exit code. Raises `WaitError`."""
        ended = Condition(
            "the end of a run", lambda: Look(None if self._process.poll() is None else True, self.last_line)
        )
        wait_for(ended, timeout)
        return int(self._process.returncode)

    @property
    def has_ended(self) -> bool:
        """Whether it runs no more."""
        return self._process.poll() is not None

    @property
    def last_line(self) -> str:
        """The last line printed so far."""
        return (self.log.read_text().strip().splitlines() or [""])[-1]


def kills(engine: host.Engine, folder: Path) -> list[str]:
    """End runs at every point; returns what was not as promised, a sentence each."""
    before, wrong = Left.now(engine), []
    for number, (point, sent) in enumerate(zip(POINTS, cycle(SIGNALS), strict=False)):
        place = folder / f"{number}-{point.replace(' ', '-')}-{sent.name}"
        place.mkdir()
        run = Run(place)
        wait_for(run.reached(point), RUNNING)
        by_itself = run.has_ended
        seconds = run.send(sent)
        told = _look_after(engine, before, sent)
        told += [f"it had ended by itself: {run.last_line}"] if by_itself else []
        wrong += [f"{sent.name} at {point}: {each}" for each in told]
        print(
            f"{sent.name:<8} at {point:<14} ended after {seconds:5.1f} s  {'; '.join(told) or 'nothing left'}",
            flush=True,
        )
    place = folder / "afterwards"
    place.mkdir()
    last = Run(place)
    code = last.wait()
    print(f"a run after all that: {last.last_line if code else 'green'}", flush=True)
    wrong += [f"the run afterwards ended with {code}"] if code else []
    left = Left.now(engine)
    wrong += [
        f"left in the end: {each}"
        for each in sorted((left.containers | left.volumes | left.networks | left.programs) - _all(before))
    ]
    return wrong


def _look_after(engine: host.Engine, before: Left, sent: signal.Signals) -> list[str]:
    """What a run left that it should not have: programs never, and clusters only when it could not do anything any more."""

    def look() -> Look[bool]:
        programs = sorted(_programs())
        return Look(None if programs else True, "; ".join(programs))

    gone = Condition("no program of a run that has ended", look)
    wrong = []
    try:
        wait_for(gone, KILLED)
    except WaitError as error:
        wrong.append(str(error))
    left = Left.now(engine)
    if sent is not signal.SIGKILL:
        wrong += [f"left: {each}" for each in sorted((left.containers | left.volumes) - _all(before))]
    wrong += [f"left: network {each}" for each in sorted(left.networks - before.networks - {"kind"})]
    return wrong


def _all(left: Left) -> frozenset[str]:
    return left.containers | left.volumes | left.networks | left.programs | {"kind"}


def repeat(folder: Path, times: int) -> list[str]:
    """Run the federation many times on kept clusters; returns the runs that were not green."""
    wrong = []
    for number in range(1, times + 1):
        place = folder / f"run-{number}"
        place.mkdir()
        began = time.monotonic()
        run = Run(place, *(["--keep-clusters"] if number < times else []))
        code = run.wait()
        verdict = "green" if code == 0 else f"RED ({code}): see {run.log}"
        print(f"run {number:>3} of {times}: {verdict} after {time.monotonic() - began:.1f} s", flush=True)
        wrong += [f"run {number}: {verdict}"] if code else []
    return wrong


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the two, print a line for each run, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=__doc__)
    parser.add_argument("what", choices=("kills", "repeat"))
    parser.add_argument("--times", type=int, default=20, help="with repeat: how many runs (default 20)")
    parser.add_argument("--folder", type=Path, help="where the runs' folders go (default: a new one under /tmp)")
    given = parser.parse_args(arguments)
    folder = (given.folder or Path(tempfile.mkdtemp(prefix="reliability-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    made, engine = catalogue.make(), host.ensure_engine()
    os.environ.update(engine.environment)
    made.load_node_image(engine)
    wrong = kills(engine, folder) if given.what == "kills" else repeat(folder, given.times)
    for name in CLUSTERS:
        subprocess.run([made.kind, "delete", "cluster", "--name", f"{PREFIX}{name}"], check=False, capture_output=True)
    for each in wrong:
        print(each)
    print(f"{'as promised' if not wrong else f'{len(wrong)} broken promises'}; everything is in {folder}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
