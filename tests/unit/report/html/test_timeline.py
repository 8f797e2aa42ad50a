"""The timeline of a run."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from fixtures.report.data.document import read_document
from fixtures.report.html.timeline import timeline
from tests.unit.report.recorded_runs import RECORDED, recorded


@pytest.fixture(params=RECORDED, ids=lambda file: file.stem)
def run(request: pytest.FixtureRequest) -> dict[str, Any]:
    return read_document(request.param)


def test_every_phase_and_test_is_in_it_within_its_width(run: dict[str, Any]) -> None:
    made = timeline(run)
    items = [item for lane in made["lanes"] for item in lane.items]
    assert all(0 <= item.left <= 100 and item.left + (item.width or 0) <= 100.5 for item in items)
    words = " | ".join(item.words for item in items)
    assert all(each["what"] in words for each in run["phases"])
    assert all(each["title"] in words for each in run["tests"])


def test_no_bar_covers_another_of_its_row(run: dict[str, Any]) -> None:
    for lane in timeline(run)["lanes"]:
        if lane.name == "tests" or lane.name.startswith("requests"):
            continue  # one after the other, the shortest of them drawn wider than they are
        bars = sorted((each for each in lane.items if each.width), key=lambda each: each.left)
        for row in {each.row for each in bars}:
            in_row = [each for each in bars if each.row == row]
            for earlier, later in pairwise(in_row):
                assert earlier.left + earlier.width <= later.left + 0.06, (lane.name, earlier, later)


def test_the_table_has_all_of_it_by_time(run: dict[str, Any]) -> None:
    made = timeline(run)
    times = [row.at for row in made["rows"]]
    assert times == sorted(times)
    assert {"phase", "test"} <= {row.kind for row in made["rows"]}


def test_marks_of_the_scale_are_few_and_apart(run: dict[str, Any]) -> None:
    places = [place for place, _ in timeline(run)["ticks"]]
    assert 2 <= len(places) <= 11
    assert all(later - earlier > 5 for earlier, later in pairwise(places))


def test_requests_that_failed_are_marked() -> None:
    run = recorded("resilience")
    assert any(each["failed"] for each in run["traffic"]["bins"])
    marked = [
        item
        for lane in timeline(run)["lanes"]
        if lane.name.startswith("requests")
        for item in lane.items
        if item.look == "failed"
    ]
    assert len(marked) == sum(each["failed"] > 0 for each in run["traffic"]["bins"])
