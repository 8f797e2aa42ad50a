"""Values: merging, and `--set`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fixtures.helm.values import load, merge, set_argument


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


class TestSetArgument:
    @pytest.mark.parametrize(
        ("argument", "meaning"),
        [
            ("a.b.c=text", {"a": {"b": {"c": "text"}}}),
            ("a=1,b=true,c=null,d=01,e=1.5", {"a": 1, "b": True, "c": None, "d": "01", "e": "1.5"}),
            ("a={x,2}", {"a": ["x", 2]}),
            ("a={}", {"a": []}),
            ("a={},b=1", {"a": [], "b": 1}),
            (r"a\.b.c=v\,w", {"a.b": {"c": "v,w"}}),
            ("a=b=c", {"a": "b=c"}),
            ("a=", {"a": ""}),
            ("a.b=1,a.c=2", {"a": {"b": 1, "c": 2}}),
        ],
    )
    def test_it_means_what_helm_means(self, argument: str, meaning: dict[str, Any]) -> None:
        assert set_argument(argument) == meaning

    @pytest.mark.parametrize("argument", ["a", "=1", "a..b=1", "a[0]=1", "a=1,b", "a.password=hush,hush", "a[0]=hush"])
    def test_anything_else_is_refused_without_the_value_which_may_be_a_secret(self, argument: str) -> None:
        with pytest.raises(ValueError, match=r"--set .* is not of the form") as caught:
            set_argument(argument)
        assert "hush" not in str(caught.value)


def test_a_values_file_that_is_no_yaml_is_refused_without_its_line_which_may_have_a_secret(tmp_path: Path) -> None:
    path = tmp_path / "values.yaml"
    path.write_text("spire-server:\n  password: hush: hush\n")
    with pytest.raises(ValueError, match=rf"{path} is not YAML: line 2: mapping values are not allowed here$"):
        load(path)
