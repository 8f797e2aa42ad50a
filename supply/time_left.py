"""How long a build still takes: by how long its steps took before, or else by how long they were measured to take."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

SECONDS_FILE = Path("logs", "seconds.json")  # in the cache: how long each step took when it was made last, by its name
WORKERS = 2  # steps that are made side by side
# Seconds on a machine with two cores, two steps side by side (a full build: 1,242 s); others take less than
# `SHORT_STEP`. By the beginning of the step's name.
MEASURED_CORES = 2
MEASURED_SECONDS = {
    "program-spire-controller-manager": 97,
    "program-spire-": 590,
    "program-kubernetes": 489,
    "program-coredns": 172,
    "program-helm": 107,
    "program-local-path-provisioner": 95,
    "program-containerd": 94,
    "debian-base": 63,
    "program-etcd": 38,
    "program-spiffe-helper": 21,
    "node": 20,
    "program-controller-gen": 19,
    "debian-node": 12,
}
SHORT_STEP = 3


def measured_seconds(step: str) -> int:
    """How long a step took on the machine with `MEASURED_CORES`."""
    return next((seconds for start, seconds in MEASURED_SECONDS.items() if step.startswith(start)), SHORT_STEP)


def seconds_before(cache: Path) -> dict[str, float]:
    """How long steps took in earlier builds, in seconds, by their names; nothing where none is kept."""
    try:
        found = json.loads((cache / SECONDS_FILE).read_text())
        return {str(name): float(seconds) for name, seconds in found.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def keep_seconds(cache: Path, name: str, seconds: float) -> None:
    """Keep how long a step took."""
    path = cache / SECONDS_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**seconds_before(cache), name: round(seconds, 1)}, indent=1, sort_keys=True) + "\n")


def usual_seconds(cache: Path) -> Callable[[str], float]:
    """Says how long a step takes here, in seconds: as in the build before, else as measured, by the cores."""
    before = seconds_before(cache)
    pace = MEASURED_CORES / (os.cpu_count() or 1)
    return lambda name: before.get(name, pace * measured_seconds(name))


def seconds_left(
    running: Mapping[str, float],
    waiting: Mapping[str, Collection[str]],
    usual: Callable[[str], float],
    workers: int = WORKERS,
) -> float:
    """Seconds until all steps are made, by so many at once, where each takes what is `usual`.

    `running` steps have taken so many seconds by now; `waiting` steps need those named, as far as they are not made. A
    step that takes longer than is usual is taken to end now.
    """
    now = 0.0
    ends = {name: max(0.0, usual(name) - taken) for name, taken in running.items()}
    needs = {name: set(each) for name, each in waiting.items()}
    while ends or needs:
        for name in [name for name, each in needs.items() if not each][: max(0, workers - len(ends))]:
            del needs[name]
            ends[name] = now + usual(name)
        if not ends:
            break  # what is left needs what nobody makes
        name = min(ends, key=ends.__getitem__)
        now = max(now, ends.pop(name))
        for each in needs.values():
            each.discard(name)
    return now


def in_words(seconds: float) -> str:
    """About how long that is: `40 s` or `5 min`."""
    return f"{max(1, round(seconds))} s" if seconds < 100 else f"{round(seconds / 60)} min"
