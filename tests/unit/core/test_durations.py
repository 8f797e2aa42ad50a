"""Durations as Go's package `time` documents them (https://pkg.go.dev/time#ParseDuration)."""

from __future__ import annotations

import pytest

from fixtures.core.durations import DAY, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        # The documentation's own.
        ("300ms", 0.3),
        ("-1.5h", -5400.0),
        ("2h45m", 9900.0),
        ("10h", 36000.0),
        ("1h10m10s", 4210.0),
        ("1µs", 1e-6),
        # A sign, a fraction without its integer part or without digits, every unit, and no unit at all for zero.
        ("+5m", 300.0),
        (".5h", 1800.0),
        ("2.s", 2.0),
        ("1h1m1s1ms1us1µs1μs1ns", 3661.001003001),
        ("0", 0.0),
        ("-0", 0.0),
        ("0s", 0.0),
        ("1.9ns", 1e-9),
        ("2562047h47m16.854775807s", 9223372036.854775807),
    ],
)
def test_a_duration_is_read_as_go_reads_it(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(
    "text",
    ["", "+", "24", "1d", "h", ".h", ".", "1h 30m", " 1h", "1h\n", "5M", "1h30", "1h.s", "--1h", "٣h", "00", "1e3s"],
)
def test_what_go_does_not_read_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a duration of Go's, such as 24h or 1h30m$"):
        parse_duration(text)


def test_a_duration_that_overflows_64_bits_of_nanoseconds_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^'2562047h47m16.854775808s' is longer than Go's durations"):
        parse_duration("2562047h47m16.854775808s")
    assert parse_duration("-2562047h47m16.854775808s") < 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(DAY, "24h"), (9600.0, "2h40m"), (3601.0, "1h1s"), (90.0, "1m30s"), (1.5, "1.5s"), (0.5, "500ms"), (0.0, "0s")],
)
def test_a_duration_is_shown_as_go_writes_it(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
