"""A run of the suite as a program of its own, as a person starts it: what it printed, and what its folder has."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fixtures.core.project import PROJECT
from fixtures.core.subprocesses import end_with_parent
from fixtures.core.tables import columns
from fixtures.core.waiting import Condition, Look, WaitError, wait_for
from tests.tools.machine_load import Slowed

FAILED_CHECK = "✗ "  # at a line's beginning, where the end of a red run lists them
VERDICTS = ("RED:", "REFUSED:", "GREEN:", "ABORTED:")
RUN_END_TIMEOUT = 120.0  # seconds that a run may take to end after a signal
RUN_TIMEOUT = 1200.0
INTERRUPTED = 2  # pytest's exit code
PYTEST = (sys.executable, "-m", "pytest", "-c", str(PROJECT / "pyproject.toml"))


class Run:
    """A run of `-m federation`, or another `suite`, in the background, on clusters whose names begin with `prefix`.

    `folder`, which exists, gets its output and all that it leaves. By default it is of the local supply. `environment`
    has the variables that differ from this process's.
    """

    def __init__(
        self,
        folder: Path,
        prefix: str,
        *options: str,
        suite: str = "federation",
        slowed: Slowed | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.log = folder / "output.log"
        slowed = slowed or Slowed()
        command = [*PYTEST, "-m", suite, "--supply=local", f"--cluster-prefix={prefix}", f"--run-folder={folder}"]
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                end_with_parent(slowed.command([*command, *options])),
                cwd=PROJECT,
                env={**os.environ, **slowed.environment, **(environment or {})},
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
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
        self.wait(RUN_END_TIMEOUT)
        return time.monotonic() - began

    def wait(self, timeout: float = RUN_TIMEOUT) -> int:
        """Wait for the end, and return the exit code. Raises `WaitError`."""
        ended = Condition(
            "the end of a run", lambda: Look(None if self._process.poll() is None else True, self.last_line)
        )
        wait_for(ended, timeout)
        return int(self._process.returncode)

    def result(self, timeout: float = RUN_TIMEOUT) -> Result:
        """Wait for the end, and return what came of the run; one that has not ended after `timeout` seconds is red."""
        try:
            code = self.wait(timeout)
        except WaitError:
            self.send(signal.SIGTERM)
            code = self.wait() or INTERRUPTED
        except KeyboardInterrupt:
            self.send(signal.SIGTERM)
            raise
        return Result(self.folder, code, time.monotonic() - self._began)

    @property
    def has_ended(self) -> bool:
        """Whether it runs no more."""
        return self._process.poll() is not None

    @property
    def last_line(self) -> str:
        """The last line printed so far."""
        return (self.log.read_text().strip().splitlines() or [""])[-1]


@dataclass(frozen=True)
class Result:
    """What came of a run: its exit code, and seconds from its command to its verdict."""

    folder: Path
    code: int
    seconds: float

    @property
    def green(self) -> bool:
        """Whether it was green."""
        return self.code == 0

    @property
    def verdict(self) -> str:
        """The verdict line with what follows it; of a red run the first failed check and the broken link too."""
        lines = (self.folder / "output.log").read_text(errors="replace").splitlines()
        starts = [number for number, line in enumerate(lines) if line.startswith(VERDICTS)]
        if not starts:
            return f"no verdict; last line: {next((line for line in reversed(lines) if line.strip()), '')}"
        last = lines[starts[-1] :]
        failed = [number for number, line in enumerate(lines) if line.startswith(FAILED_CHECK)]
        last += [line for number in failed[:1] for line in lines[number : number + 2]]
        last += [line for line in self.diagnosis[:1] if line not in last]
        return " | ".join(line.strip() for line in last if line.strip() and line.strip() != str(self.folder))

    @property
    def diagnosis(self) -> list[str]:
        """The diagnosis, line by line; nothing where the run made none."""
        file = self.folder / "diagnosis.txt"
        return file.read_text().splitlines() if file.is_file() else []

    @property
    def failures(self) -> str:
        """What the failed checks say with their tracebacks, in one line; empty where none failed."""
        file = self.folder / "failures.txt"
        return " ".join(file.read_text().split()) if file.is_file() else ""

    @property
    def phases(self) -> dict[str, Any]:
        """What the run's `phases.json` has; nothing where it was ended before its summary."""
        file = self.folder / "phases.json"
        return dict(json.loads(file.read_text())) if file.is_file() else {}


def seconds_table(rows: Sequence[tuple[str, Sequence[Result]]]) -> list[str]:
    """How many runs there were of each kind, how many were green and red, and their median and longest seconds."""
    cells = [("runs", "count", "green", "red", "median", "longest")]
    for kind, results in rows:
        green = sum(result.green for result in results)
        seconds = [result.seconds for result in results] or [0.0]
        counts = (str(len(results)), str(green), str(len(results) - green))
        cells.append((kind, *counts, f"{statistics.median(seconds):.1f} s", f"{max(seconds):.1f} s"))
    return columns(cells, numbers=range(1, 6))
