"""An upgrade's account of its traffic: nothing of what has been recorded is left out of it."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fixtures import upgrading
from fixtures.request_log import Request
from fixtures.traffic import KINDS
from fixtures.upgrading import STRETCH, Upgrading
from fixtures.waiting import Condition, Look

BEGAN = 1000.0
RATE = 5


class FakeTraffic:
    """Ten seconds of requests of either kind, those of some numbers failed; and until when they were asked for."""

    def __init__(self, *failed: int) -> None:
        self.sent = [
            Request(number, BEGAN + (number - 1) / RATE, 0.0, number not in failed, "tls" * (number in failed), 200, "")
            for number in range(1, 10 * RATE + 1)
        ]
        self.asked: list[float] = []

    def recorded(self, _: str, moment: float) -> Condition[Sequence[Request]]:
        self.asked.append(moment)
        return Condition("requests", lambda: Look(self.sent, ""))


def made(folder: Path, monkeypatch: pytest.MonkeyPatch, *failed: int) -> tuple[Upgrading, FakeTraffic]:
    demo = SimpleNamespace(client=SimpleNamespace(cluster=None), namespace="demo", call=lambda *_, **__: None)
    found = Upgrading(cast(Any, demo), cast(Any, SimpleNamespace(spires={})), {}, folder)
    traffic = FakeTraffic(*failed)
    found.traffic = cast(Any, traffic)
    clock = SimpleNamespace(time=lambda: BEGAN)
    monkeypatch.setattr(upgrading, "time", clock)
    found.reach("after")
    return found, traffic


def test_what_fails_after_the_shortest_stretch_and_was_recorded_with_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = int((STRETCH + 5) * RATE)
    found, traffic = made(tmp_path, monkeypatch, late)
    found.stretch()
    assert traffic.asked == [BEGAN + STRETCH] * len(KINDS)
    assert [(each.phase, each.failed_outside_windows) for each in found.summaries()] == [("after", 1)] * len(KINDS)
    assert json.loads((tmp_path / "traffic.json").read_text())[0]["failed"] == 1
    # All of it was there: there was nothing more to wait for.
    assert max(traffic.asked) <= traffic.sent[-1].start


def test_a_phase_that_had_no_stretch_yet_is_accounted_for_up_to_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, traffic = made(tmp_path, monkeypatch)
    found.stretch()
    monkeypatch.setattr(upgrading, "time", SimpleNamespace(time=lambda: BEGAN + 6))
    found.reach("rolled back")
    now = time.time()
    monkeypatch.setattr(upgrading, "time", SimpleNamespace(time=lambda: now))
    found.summaries()
    assert traffic.asked[-len(KINDS) :] == [now] * len(KINDS)
