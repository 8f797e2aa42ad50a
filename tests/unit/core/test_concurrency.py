"""What is done side by side ends before anybody goes on."""

from __future__ import annotations

import _thread
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from fixtures.core.concurrency import BackgroundPool, map_concurrently, run_concurrently
from fixtures.core.project import PROJECT
from fixtures.core.waiting import Condition, Look, WaitError, wait_for

AT_ONCE = 20.0  # seconds, at the most, for what ends at once on a busy machine; every wait here lasts longer


def test_results_are_in_the_order_of_the_items() -> None:
    def work(seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    assert map_concurrently(work, [0.05, 0.0]) == [0.05, 0.0]


def test_calls_are_made_together_and_their_errors_are_raised() -> None:
    met = threading.Barrier(2)

    def call(name: str) -> str:
        met.wait(timeout=60)  # one after another, the first would never end its wait
        return name

    assert run_concurrently(lambda: call("first"), lambda: call("second")) == ["first", "second"]

    def fail() -> str:
        raise ValueError("the second")

    with pytest.raises(ValueError, match="the second"):
        run_concurrently(lambda: "first", fail)


def test_no_more_calls_are_under_way_than_the_bound_allows() -> None:
    lock, under_way, most = threading.Lock(), 0, 0
    together = threading.Barrier(3)

    def work(item: int) -> int:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        if item < 3:
            together.wait(60)  # a pause alone does not bring them together where a thread starts late
        time.sleep(0.02)
        with lock:
            under_way -= 1
        return item

    assert map_concurrently(work, range(9), at_once=3) == list(range(9))
    assert most == 3


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Heeds SIGINT, which a shell has what it puts in the background ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interruption_waits_for_what_is_under_way() -> None:
    ended = []
    begun = threading.Barrier(2)

    def work(item: str) -> None:
        begun.wait()
        if item == "first":
            _thread.interrupt_main()
        time.sleep(0.3)
        ended.append(item)

    with pytest.raises(KeyboardInterrupt):
        map_concurrently(work, ["first", "second"])
    assert sorted(ended) == ["first", "second"]


@pytest.mark.usefixtures("interruptible")
def test_an_interruption_that_comes_while_it_waits_is_no_end_of_what_is_under_way() -> None:
    ended = []
    begun = threading.Barrier(2)

    def work(item: str) -> None:
        # By one of them, once both are under way: what a timer interrupts is the test itself where it is late.
        if begun.wait(60) == 0:
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.5)
        ended.append(item)

    with pytest.raises(KeyboardInterrupt):
        map_concurrently(work, ["first", "second"])
    assert sorted(ended) == ["first", "second"]


@pytest.mark.usefixtures("interruptible")
def test_after_an_interruption_no_call_is_begun() -> None:
    begun = []
    both = threading.Barrier(2)

    def work(item: int) -> None:
        begun.append(item)
        if both.wait(60) == 0:  # of one of them: a second signal would end the wait for what is under way
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(WaitError):
            wait_for(never(), 60)

    with pytest.raises(KeyboardInterrupt):
        map_concurrently(work, range(8), at_once=2)
    assert sorted(begun) == [0, 1]


@pytest.mark.usefixtures("interruptible")
def test_calls_that_are_submitted_only_after_an_interruption_are_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []
    submit = ThreadPoolExecutor.submit
    interrupted = threading.Event()

    def submit_the_second_late(pool: ThreadPoolExecutor, *call: Any) -> Any:
        if call[-1] == 1:
            interrupted.wait(60)
        return submit(pool, *call)

    def work(item: int) -> None:
        begun.append(item)
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(WaitError):
            wait_for(never(), 60)
        interrupted.set()

    monkeypatch.setattr(ThreadPoolExecutor, "submit", submit_the_second_late)
    with pytest.raises(KeyboardInterrupt):
        map_concurrently(work, range(3), at_once=1)
    assert begun == [0]


def never() -> Condition[bool]:
    """What does not come."""
    return Condition("what does not come", lambda: Look(None, "nothing"))


@pytest.mark.usefixtures("interruptible")
def test_an_interruption_ends_waits_that_are_under_way_and_those_that_begin_later_in_the_same_work() -> None:
    ended: list[str] = []
    begun = threading.Barrier(2)

    def wait_twice(item: str) -> None:
        if begun.wait(60) == 0:
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(WaitError, match=r"^what does not come is not waited for any more, after "):
            wait_for(never(), 60)
        with pytest.raises(WaitError, match="any more"):
            map_concurrently(lambda _: wait_for(never(), 60), [item])
        ended.append(item)

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        map_concurrently(wait_twice, ["first", "second"])
    assert sorted(ended) == ["first", "second"]
    assert time.monotonic() - began < AT_ONCE
    # What takes a run down waits as ever.
    assert wait_for(Condition("what is there", lambda: Look(True, "")), 1)


TERMINATED = """
import signal, sys
from fixtures.core.concurrency import map_concurrently
from fixtures.core.waiting import Condition, Look, wait_for

def interrupt(*_):
    raise KeyboardInterrupt

signal.signal(signal.SIGTERM, interrupt)
try:
    # From here on, for the signal may come before this thread has gone on.
    print("waiting", flush=True)
    map_concurrently(lambda _: wait_for(Condition("SPIRE", lambda: Look(None, "")), 30), [1, 2])
except KeyboardInterrupt:
    print("summary", flush=True)
"""


def test_a_process_that_is_terminated_while_it_waits_ends_with_its_summary() -> None:
    with subprocess.Popen([sys.executable, "-c", TERMINATED], cwd=PROJECT, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "waiting\n"
        time.sleep(0.3)
        run.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert run.communicate(timeout=60)[0] == "summary\n"
        assert run.returncode == 0
    assert time.monotonic() - began < AT_ONCE


def test_a_pool_that_is_closed_ends_what_it_waits_for_and_keeps_what_has_ended() -> None:
    pool = BackgroundPool(2)
    done, waiting = pool.submit(lambda: 1), pool.submit(wait_for, never(), 60)
    assert done.result() == 1
    began = time.monotonic()
    pool.close()
    with pytest.raises(WaitError, match="any more"):
        waiting.result()
    assert time.monotonic() - began < AT_ONCE
