"""How long a build still takes, by how long its steps took before."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import pytest

from supply.time_left import (
    SECONDS_FILE,
    SHORT_STEP,
    in_words,
    keep_seconds,
    seconds_before,
    seconds_left,
    usual_seconds,
)

BEFORE = {"spire": 60.0, "image": 5.0, "etcd": 20.0, "node": 30.0}


@pytest.mark.parametrize(
    ("running", "waiting", "workers", "left"),
    [
        ({}, {"spire": (), "etcd": ()}, 2, 60.0),
        ({}, {"spire": (), "etcd": ()}, 1, 80.0),
        ({"spire": 45.0}, {"image": {"spire"}}, 2, 20.0),
        # While one worker makes what takes long, the other makes the rest, and what needs both comes last.
        ({}, {"spire": (), "etcd": (), "image": {"etcd"}, "node": {"image", "spire"}}, 2, 90.0),
        # Longer than before: it may end at any moment.
        ({"spire": 99.0}, {}, 2, 0.0),
    ],
)
def test_what_is_left_follows_the_steps_needs_and_the_workers(
    running: Mapping[str, float], waiting: Mapping[str, Collection[str]], workers: int, left: float
) -> None:
    assert seconds_left(running, waiting, BEFORE.__getitem__, workers) == left


def test_a_step_takes_what_it_took_before_or_what_was_measured_by_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    usual = usual_seconds(tmp_path)
    assert usual("program-spire-1.15.3") == 590 * 2 / 8
    assert usual("image-gospiffe-client-v0") == SHORT_STEP * 2 / 8
    keep_seconds(tmp_path, "program-spire-1.15.3", 100.0)
    usual = usual_seconds(tmp_path)
    assert (usual("program-spire-1.15.3"), usual("program-spire-1.14.5")) == (100.0, 590 * 2 / 8)


def test_the_seconds_of_each_step_are_kept_the_newest_ones(tmp_path: Path) -> None:
    assert seconds_before(tmp_path) == {}
    for name, seconds in (("etcd", 20.0), ("spire", 61.26), ("etcd", 18.0)):
        keep_seconds(tmp_path, name, seconds)
    assert seconds_before(tmp_path) == {"etcd": 18.0, "spire": 61.3}
    (tmp_path / SECONDS_FILE).write_text("[1")
    assert seconds_before(tmp_path) == {}


@pytest.mark.parametrize(("seconds", "words"), [(0.2, "1 s"), (40.4, "40 s"), (99.0, "99 s"), (290.0, "5 min")])
def test_times_are_rounded(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
