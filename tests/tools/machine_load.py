"""A machine that is slower than it could be: another program keeps a core busy, or a quota limits the cores."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from fixtures.core.subprocesses import end_with_parent
from fixtures.preflight.machine import CGROUPS
from supply.host import CGROUP2, Engine

GROUP_PREFIX = "spire-federation-reliability-"  # of a cgroup's name, which ends with the process that made it
QUOTA_PERIOD = 100_000  # microseconds over which a quota is counted
SPINNING = "import os, sys\nos.sched_setaffinity(0, {int(sys.argv[1])})\nwhile True:\n    pass"
SPINNER_EXIT_TIMEOUT = 5.0  # seconds
# What takes the engine's place on PATH: nodes that are created begin in the group.
ENGINE = """#!/bin/sh
if [ "$1" = run ]; then
    shift
    exec {program} run --cgroup-parent={parent} "$@"
fi
exec {program} "$@"
"""


class LoadError(RuntimeError):
    """The machine cannot be slowed down; the text says why."""


@dataclass(frozen=True)
class Slowed:
    """How a program is started at a lower speed: `command` wraps its command line, `environment` goes to its own."""

    processes: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    def command(self, command: Sequence[str]) -> list[str]:
        """The command line that runs a program, and all that it starts, at the lower speed."""
        if self.processes is None:
            return list(command)
        return ["/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"', str(self.processes), *command]


@contextmanager
def busy_core() -> Iterator[int]:
    """Keep one core of this machine busy by another program; the value is its number."""
    core = min(os.sched_getaffinity(0))
    spinning = subprocess.Popen(end_with_parent([sys.executable, "-c", SPINNING, str(core)]), stdin=subprocess.DEVNULL)
    try:
        yield core
    finally:
        spinning.kill()
        spinning.wait(SPINNER_EXIT_TIMEOUT)


@contextmanager
def cores_allowed(cores: float, engine: Engine) -> Iterator[Slowed]:
    """Give a run's programs and the nodes that it creates together no more than so many cores, by a cgroup's quota.

    It needs root and an engine whose cgroup manager is cgroupfs. See the kernel's documentation, "CFS Bandwidth
    Control" (cgroup v1) and `cpu.max` (v2). Raises `LoadError`.
    """
    manager = _cgroup_manager(engine)
    if os.geteuid() != 0 or manager != "cgroupfs":
        raise LoadError(f"a quota needs root, and an engine with the cgroup manager cgroupfs (it is {manager})")
    root = CGROUPS if CGROUP2.exists() else CGROUPS / "cpu"
    name = f"{GROUP_PREFIX}{os.getpid()}"
    group = root / name
    for left in _left_groups(root):
        _remove(root, left)
    with ExitStack() as undo:
        undo.callback(_remove, root, name)
        group.mkdir(exist_ok=True)
        if CGROUP2.exists():
            (root / "cgroup.subtree_control").write_text("+cpu")
        _set_quota(group, cores)
        for part in ("run", "nodes"):
            (group / part).mkdir(exist_ok=True)
        programs = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="slowed-")))
        wrapper = programs / engine.program
        program = shlex.quote(shutil.which(engine.program) or engine.program)
        wrapper.write_text(ENGINE.format(program=program, parent=f"/{name}/nodes"))
        wrapper.chmod(0o755)
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        yield Slowed(group / "run" / "cgroup.procs", {"PATH": path})


def _cgroup_manager(engine: Engine) -> str:
    key = "{{.Host.CgroupManager}}" if engine.program == "podman" else "{{.CgroupDriver}}"
    try:
        return engine.run("info", "--format", key).strip()
    except subprocess.SubprocessError as error:
        raise LoadError(f"{engine.program} does not describe itself: {error}") from error


def _set_quota(group: Path, cores: float | None) -> None:
    """Set a group's quota, or lift it."""
    if (group / "cpu.max").exists():
        (group / "cpu.max").write_text(f"{'max' if cores is None else round(cores * QUOTA_PERIOD)} {QUOTA_PERIOD}")
    else:
        (group / "cpu.cfs_period_us").write_text(str(QUOTA_PERIOD))
        (group / "cpu.cfs_quota_us").write_text(str(-1 if cores is None else round(cores * QUOTA_PERIOD)))


def _left_groups(root: Path) -> list[str]:
    """The names of the groups that processes have left which were killed."""
    names = (path.name for path in root.glob(f"{GROUP_PREFIX}*"))
    return [name for name in names if not Path("/proc", name.removeprefix(GROUP_PREFIX)).exists()]


def _remove(root: Path, name: str) -> None:
    """Lift the quota, and remove the group in every hierarchy; where a node is left in it, it stays without a quota."""
    if (root / name).is_dir():
        _set_quota(root / name, None)
    run = root / name / "run" / "cgroup.procs"
    # The engine's name service lives in the group of the program that started the first container.
    for process in run.read_text().split() if run.is_file() else ():
        with suppress(OSError):
            (root / "cgroup.procs").write_text(process)
    for group in (CGROUPS / name, *CGROUPS.glob(f"*/{name}")):
        for folder, _, _ in os.walk(group, topdown=False):
            with suppress(OSError):
                Path(folder).rmdir()
