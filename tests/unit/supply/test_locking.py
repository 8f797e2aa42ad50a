"""Locks that are the kernel's, and clusters' names that are kept by them."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.core.project import PROJECT
from fixtures.core.waiting import Condition, Look, wait_for
from fixtures.k8s.cluster import ClusterError
from fixtures.k8s.kind import reservation
from fixtures.k8s.kind.reservation import reserved
from supply.locking import UNKNOWN_OWNER, locked

# A run that has the names, and has started a program of its own that outlives it.
RUN = """
import subprocess, sys, time
from pathlib import Path
from fixtures.k8s.kind import reservation
reservation.LOCKS = Path(sys.argv[1])
with reservation.reserved(["server", "client"], Path("/runs/first")):
    started = subprocess.Popen(["sleep", "60"])
    print(started.pid, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(reservation, "LOCKS", tmp_path / "locks")
    return tmp_path / "locks"


@pytest.fixture
def other_run(locks: Path) -> Iterator[subprocess.Popen[str]]:
    """Another run that has the clusters' names, in a process of its own."""
    command = [sys.executable, "-c", RUN, str(locks)]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        started = int(run.stdout.readline())
        yield run
        run.kill()
        os.kill(started, signal.SIGKILL)


def test_a_second_run_of_the_same_names_is_refused_with_the_first_ones_process_and_folder(
    other_run: subprocess.Popen[str],
) -> None:
    with pytest.raises(ClusterError) as caught, reserved(["server"], Path("/runs/second")):
        pass
    assert str(caught.value) == (
        f"another run is using the cluster server (process {other_run.pid}, /runs/first): "
        "wait for its end, or choose other names with --cluster-prefix"
    )


def test_a_run_of_other_names_is_not_refused(other_run: subprocess.Popen[str]) -> None:
    with reserved(["ci-server", "ci-client"], Path("/runs/second")):
        assert other_run.poll() is None


def test_the_names_are_free_again_when_the_run_is_killed_though_a_program_of_its_lives(
    other_run: subprocess.Popen[str],
) -> None:
    other_run.kill()
    other_run.wait()
    with reserved(["server", "client"], Path("/runs/second")):
        pass


def test_the_names_are_free_again_when_the_block_ends(locks: Path) -> None:
    for run in ("first", "second"):
        with reserved(["server", "client"], Path(run)):
            assert (locks / "server").read_text() == f"process {os.getpid()}, {run}\n"


def test_an_owner_whose_block_has_ended_is_not_named_for_the_next_one_that_has_not_yet_written(tmp_path: Path) -> None:
    lock, owners = tmp_path / "lock", list[str]()

    def busy(owner: str) -> None:
        owners.append(owner)
        raise BlockingIOError

    with locked(lock, "the first", busy):
        with pytest.raises(BlockingIOError), locked(lock, "another", busy):
            pass
        # Who was refused has not written, nor taken away what stands there.
        assert lock.read_text() == "the first\n"
    with lock.open() as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError), locked(lock, "another", busy):
            pass
    assert owners == ["the first", UNKNOWN_OWNER]


def test_every_user_of_the_machine_may_use_the_locks(locks: Path) -> None:
    before = os.umask(0o077)
    try:
        with reserved(["server"], Path("first")):
            pass
    finally:
        os.umask(before)
    assert (locks.stat().st_mode & 0o7777, (locks / "server").stat().st_mode & 0o777) == (0o1777, 0o666)


def test_a_lock_that_is_held_is_waited_for_where_waiting_is_allowed(
    other_run: subprocess.Popen[str], locks: Path
) -> None:
    owners: list[str] = []

    def busy(owner: str) -> None:
        owners.append(owner)
        other_run.kill()

    with locked(locks / "server", "me", busy):
        ended = Condition("its end", lambda: Look(None if other_run.poll() is None else True, "it lives"))
        wait_for(ended, 60)
    assert owners == [f"process {other_run.pid}, /runs/first"]
