"""A run's time limits."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from fixtures.core.waiting import time_limit
from fixtures.plugins.options import SETTINGS
from fixtures.plugins.session import run


def test_a_runs_time_limits_are_its_own_and_end_with_it() -> None:
    class Config(SimpleNamespace):
        def add_cleanup(self, undo: Callable[[], None]) -> None:
            cleanups.append(undo)

    cleanups: list[Callable[[], None]] = []
    handlers = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        run.pytest_configure(cast(Any, Config(stash={SETTINGS: SimpleNamespace(timeout_scale=2.0)})))
        assert time_limit(30.0) == 60.0
    finally:
        for each, handler in handlers.items():
            signal.signal(each, handler)
        for undo in cleanups:
            undo()
    assert time_limit(30.0) == 30.0
