"""Values: merged, and written for Helm."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fixtures.helm.values import as_json, load, merge, reverted


class TestMerge:
    def test_later_wins_key_by_key_and_lists_are_replaced(self) -> None:
        assert merge({"a": {"b": 1, "c": [1, 2]}}, {"a": {"c": [3]}}, {"d": None}) == {
            "a": {"b": 1, "c": [3]},
            "d": None,
        }

    def test_what_is_merged_is_not_changed(self) -> None:
        first = {"a": {"b": [1]}}
        merge(first, {"a": {"c": 1}})["a"]["b"].append(2)
        assert first == {"a": {"b": [1]}}


def test_what_is_written_for_helm_keeps_its_types() -> None:
    values = {"text": "1e3", "octal": "010", "n": None, "number": 1000000, "list": [1.5, "yes"]}
    assert json.loads(as_json(values)) == values
    assert '"1e3"' in as_json(values)


@pytest.mark.parametrize(
    ("now", "before", "expected"),
    [
        ({"server": {"level": "debug"}}, {"server": {"level": "info"}}, {"server": {"level": "info", "image": "a"}}),
        ({"server": {"level": "debug"}}, {"server": {}}, {"server": {"image": "a"}}),
        ({"server": {"level": "debug"}}, {"server": {"level": "debug"}}, {"server": {"level": "debug", "image": "a"}}),
        ({}, {"agent": {"level": "info"}}, {"server": {"level": "debug", "image": "a"}, "agent": {"level": "info"}}),
        # A null takes the chart's default away.
        ({"off": None}, {}, {"server": {"level": "debug", "image": "a"}}),
        ({}, {"off": None}, {"server": {"level": "debug", "image": "a"}, "off": None}),
        # The chart's own word for it is another, or something else was chosen.
        ({"log": "debug"}, {"log": "info"}, None),
        ({"server": {"image": "b"}}, {"server": {"image": "c"}}, None),
    ],
)
def test_values_are_reverted_where_they_are_as_they_were_given(
    now: dict[str, Any], before: dict[str, Any], expected: dict[str, Any] | None
) -> None:
    values = {"server": {"level": "debug", "image": "a"}, **{key: None for key in now if key == "off"}}
    assert reverted(values, now, before) == expected
    assert values["server"] == {"level": "debug", "image": "a"}


def test_a_values_file_that_is_no_yaml_is_refused_without_its_line_which_may_have_a_secret(tmp_path: Path) -> None:
    path = tmp_path / "values.yaml"
    path.write_text("spire-server:\n  password: hush: hush\n")
    said = "mapping values are not allowed in this context"
    with pytest.raises(ValueError, match=rf"{path} is not YAML: line 2: {said}$"):
        load(path)
