"""How long a build still takes, by how long its steps took before."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from statistics import median

SECONDS_FILE = Path("logs", "seconds.json")  # in the cache: how long each step took when it was made last, by its name


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


def seconds_left(
    running: Mapping[str, float],
    waiting: Mapping[str, Collection[str]],
    before: Mapping[str, float],
    workers: int,
) -> float | None:
    """Seconds until all steps are made, by so many at once; None where no earlier build says.

    `running` steps have taken so many seconds by now; `waiting` steps need those named, as far as they are not made.
    A step that was not made before is taken to be a usual one, and one that takes longer than before to end now.
    """
    if not before:
        return None
    usual = median(before.values())
    now = 0.0
    ends = {name: max(0.0, before.get(name, usual) - taken) for name, taken in running.items()}
    needs = {name: set(each) for name, each in waiting.items()}
    while ends or needs:
        for name in [name for name, each in needs.items() if not each][: max(0, workers - len(ends))]:
            del needs[name]
            ends[name] = now + before.get(name, usual)
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
