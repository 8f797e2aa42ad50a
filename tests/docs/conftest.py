"""A reader of the documents, who types their commands."""

from __future__ import annotations

import configparser
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures.artifacts.supply import Supply
from fixtures.config.cluster_values import CLUSTERS
from fixtures.config.settings import Settings
from fixtures.core.concurrency import map_concurrently
from fixtures.core.project import PROJECT
from fixtures.core.subprocesses import end_with_parent, run_program
from fixtures.report.red_run.one_screen import SCREEN_COLUMNS

DOCUMENTED_COMMAND_TIMEOUT = 600.0  # seconds
DELETE_TIMEOUT = 120.0


@dataclass(frozen=True)
class Ended:
    """A command that has ended: its exit code, and what it printed."""

    code: int
    output: str

    @property
    def lines(self) -> list[str]:
        """What it printed, without empty lines."""
        return [line.rstrip() for line in self.output.splitlines() if line.strip()]


@dataclass(frozen=True)
class Reader:
    """Types commands of the documents in this checkout, with this Python for what `tox` would run them with.

    `prefix` is that of the clusters, `folder` gets a folder of each run, and `charts` is a checkout of the hardened
    charts, where there is one.
    """

    prefix: str
    folder: Path
    charts: Path | None = None

    def types(self, page: str, command: str, *further: str, **instead: str) -> Ended:
        """Type a command that stands in a document, with what its words stand for (`instead`), and options of runs.

        Raises `AssertionError` where the document does not have it, and `TimeoutExpired` where it does not end.
        """
        assert command in " ".join((PROJECT / page).read_text().split()), f"{page} has no `{command}`"
        for name, value in instead.items():
            assert name in command, f"{name} is no word of `{command}`"
            command = command.replace(name, value)
        words = shlex.split(command)
        if words[0] == "tox":
            words = [*tox_command(words[1:]), f"--cluster-prefix={self.prefix}", *further]
        program, *arguments = words
        assert program in ("python", "pytest"), f"`{command}` is no command of the suite's"
        module = ["-m", "pytest"] if program == "pytest" else []
        done = subprocess.run(
            end_with_parent([sys.executable, *module, *arguments]),
            cwd=PROJECT,
            env={**os.environ, "COLUMNS": str(SCREEN_COLUMNS)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DOCUMENTED_COMMAND_TIMEOUT,
            check=False,
        )
        return Ended(done.returncode, done.stdout)

    def runs(self, name: str, page: str, command: str, *further: str) -> Ended:
        """Type a command of a run, whose folder has this name."""
        return self.types(page, command, f"--run-folder={self.folder / name}", *further)


def tox_command(arguments: Sequence[str]) -> list[str]:
    """What `tox -e ENVIRONMENT -- ARGUMENTS` runs in its environment, as `tox.ini` has it."""
    settings = configparser.ConfigParser(interpolation=None)
    settings.read(PROJECT / "tox.ini")
    (environment,) = arguments[1:2]
    handed = shlex.join(arguments[3:])
    command = settings[f"testenv:{environment}"]["commands"].replace("{tox_root}", str(PROJECT))
    return shlex.split(command.replace("{posargs}", handed))


@pytest.fixture(scope="session")
def reader(settings: Settings, supply: Supply, run_folder: Path) -> Iterator[Reader]:
    """A reader with clusters of their own, of which none is left."""
    if not (PROJECT / "docs").is_dir():
        pytest.skip("the documents are in a checkout alone")
    own = Reader(f"{settings.prefix}docs-", run_folder, settings.source.charts)
    yield own
    map_concurrently(lambda name: _delete(supply.kind, f"{own.prefix}{name}"), CLUSTERS)


def _delete(kind: Path, name: str) -> None:
    done = run_program(kind, "delete", "cluster", "--name", name, environment=os.environ, timeout=DELETE_TIMEOUT)
    assert not done.returncode, done.stderr
