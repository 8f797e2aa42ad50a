"""A busy core and a processor quota: what they cost, and that nothing of them is left."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.core.waiting import Condition, Look, wait_for
from fixtures.preflight.machine import CGROUPS
from supply.host import CGROUP2, Engine
from tests.tools import machine_load
from tests.tools.machine_load import LoadError, Slowed, busy_core, cores_allowed

CPU = CGROUPS if CGROUP2.exists() else CGROUPS / "cpu"
MAY_LIMIT = os.geteuid() == 0 and os.access(CPU, os.W_OK) and (CGROUP2.exists() or CPU.is_dir())
LARGEST_PROCESS = int(Path("/proc/sys/kernel/pid_max").read_text())
SPENDING = "import time\nend = time.process_time() + 0.05\nwhile time.process_time() < end: pass"


def engine(folder: Path, manager: str) -> Engine:
    """An engine that says which cgroup manager it has, and else what it was asked for."""
    program = folder / "podman"
    program.write_text(f'#!/bin/sh\ntest "$1" = info && echo {manager} || echo "$@"\n')
    program.chmod(0o755)
    return Engine("podman", {"PATH": f"{folder}:{os.environ['PATH']}"})


def children() -> set[int]:
    return {int(each) for each in Path("/proc/thread-self/children").read_text().split()}


def test_a_core_is_busy_for_as_long_as_it_is_asked_for() -> None:
    before = children()
    with busy_core() as core:
        (spinning,) = children() - before

        def look() -> Look[bool]:
            spent = sum(map(int, Path(f"/proc/{spinning}/stat").read_text().rpartition(")")[2].split()[11:13]))
            pinned = os.sched_getaffinity(spinning) == {core}
            return Look(
                True if pinned and spent > 5 else None, f"pinned: {pinned}, {spent} hundredths of a second spent"
            )

        wait_for(Condition("a core that is busy", look), 60)
    # Of others some may have gone meanwhile: those that have ended are there until somebody asks for them.
    assert spinning not in children()


@pytest.mark.skipif(not MAY_LIMIT, reason="a quota needs root, and cgroups that it may write to")
def test_what_runs_under_a_quota_gets_no_more_and_nothing_is_left_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = engine(tmp_path, "cgroupfs")
    group = CPU / f"{machine_load.GROUP_PREFIX}{os.getpid()}"
    left, others = (CPU / f"{machine_load.GROUP_PREFIX}{process}" for process in (LARGEST_PROCESS + 1, os.getppid()))
    for each in (left, others):
        each.mkdir(exist_ok=True)
    monkeypatch.setenv("PATH", found.environment["PATH"])
    with cores_allowed(0.05, found) as slowed:
        subprocess.run(slowed.command([sys.executable, "-c", SPENDING]), check=True)
        # On a machine that is busy anyway, a program's own processor time says nothing of a quota.
        counted = dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())
        assert int(counted["nr_throttled"]) > 0
        environment = {**os.environ, **slowed.environment}
        for asked, wanted in (
            (
                ("run", "--name", "node", "image"),
                f"run --cgroup-parent=/{group.name}/nodes --name node image",
            ),
            (("ps", "-a"), "ps -a"),
        ):
            said = subprocess.run(["podman", *asked], env=environment, capture_output=True, text=True, check=True)
            assert said.stdout.strip() == wanted
    assert not group.exists()
    assert not left.exists(), "what a process left that was killed is removed"
    others.rmdir()  # which is there: that of another process that runs is not touched


def test_an_engine_that_leaves_cgroups_to_systemd_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"cgroupfs \(it is systemd"), cores_allowed(1, engine(tmp_path, "systemd")):
        pass
    assert not (CPU / f"{machine_load.GROUP_PREFIX}{os.getpid()}").exists()


def test_what_is_not_slowed_is_started_as_it_is() -> None:
    assert Slowed().command(["pytest", "-q"]) == ["pytest", "-q"]
