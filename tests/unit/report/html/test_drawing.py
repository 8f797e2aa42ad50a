"""The drawing of the trust domains."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from fixtures.report.html.drawing import drawings
from tests.unit.report.recorded_runs import recorded


def three() -> dict[str, Any]:
    """A run of three trust domains, of which one federates with both others, and a fourth with none."""
    federates = {"a": ["b", "c"], "b": ["a"], "c": ["a"], "d": ["elsewhere"]}
    return {
        "trust_domains": [
            {"name": name, "cluster": name, "federates_with": peers} for name, peers in federates.items()
        ],
        "links": [
            {"link": "bundle present", "cluster": "a", "trust_domain": "a", "peer": peer, "state": state}
            for peer, state in (("b", "holds"), ("c", "broken"))
        ],
    }


def test_each_pair_has_a_drawing_and_each_that_is_alone() -> None:
    made = drawings(three())
    assert [each["title"] for each in made] == ["a and b", "a and c", "d"]
    assert [[arrow["state"] for arrow in each["forms"][0]["arrows"]] for each in made] == [["holds"], ["broken"], []]


def test_boxes_and_arrows_lie_within_the_drawing_and_no_box_on_another() -> None:
    for run in (recorded("green"), three()):
        for form in (form for each in drawings(run) for form in each["forms"]):
            for box in form["boxes"]:
                assert 0 <= box["x"] < box["x"] + box["width"] <= form["width"]
                assert 0 <= box["y"] < box["y"] + box["height"] <= form["height"]
                assert all(box["y"] < row["y"] < box["y"] + box["height"] for row in box["rows"])
            for one, other in combinations(form["boxes"], 2):
                beside = one["x"] + one["width"] <= other["x"] or one["y"] + one["height"] <= other["y"]
                assert beside, form["form"]
            for arrow in form["arrows"]:
                assert all(0 <= arrow[name] <= form["height"] for name in ("y", "y1", "y2") if name in arrow)


def test_an_arrow_goes_from_the_side_that_asks() -> None:
    (drawing,) = drawings(recorded("green"))
    wide = drawing["forms"][0]
    left = {box["name"]: box["x"] for box in wide["boxes"]}
    to_the_right = [each for each in wide["arrows"] if each["x2"] > each["x1"]]
    asked_by_the_left = [
        each for each in recorded("green")["links"] if each["peer"] and left[each["trust_domain"]] < left[each["peer"]]
    ]
    assert len(to_the_right) == len(asked_by_the_left) > 0


def test_of_a_run_that_came_to_no_cluster_there_is_none() -> None:
    assert drawings({"trust_domains": [], "links": []}) == []
