"""What is done side by side ends before anybody goes on."""

from __future__ import annotations

import _thread
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from fixtures.core.concurrency import map_concurrently, run_concurrently


def test_results_are_in_the_order_of_the_items() -> None:
    def work(seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    assert map_concurrently(work, [0.05, 0.0]) == [0.05, 0.0]


def test_calls_are_made_together_and_their_errors_are_raised() -> None:
    met = threading.Barrier(2)

    def call(name: str) -> str:
        met.wait(timeout=10)  # one after another, the first would never end its wait
        return name

    assert run_concurrently(lambda: call("first"), lambda: call("second")) == ["first", "second"]

    def fail() -> str:
        raise ValueError("the second")

    with pytest.raises(ValueError, match="the second"):
        run_concurrently(lambda: "first", fail)


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
