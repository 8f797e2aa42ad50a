"""Lines of equal columns."""

from __future__ import annotations

from fixtures.core.tables import columns


def test_cells_stand_below_each_other_words_to_the_left_and_numbers_to_the_right() -> None:
    assert columns([("phase", "s"), ("Kind cluster", "20.0"), ("SPIRE", "131.0")], numbers=[1]) == [
        "phase             s",
        "Kind cluster   20.0",
        "SPIRE         131.0",
    ]


def test_a_row_may_end_early_and_no_line_ends_in_spaces() -> None:
    assert columns([("a", "b", "c"), ("all",), ("", "long", "")]) == ["a    b     c", "all", "     long"]


def test_a_table_of_no_rows_has_no_lines() -> None:
    assert columns([]) == []
