"""Versions as charts, command lines and image tags write them."""

from __future__ import annotations

import pytest
from semver import Version

from fixtures.helm.versions import exact_version, tag_version, unsupported_step


@pytest.mark.parametrize("text", ["3.22.0", "v3.22.0", " v3.22.0\n"])
def test_a_version_is_read_with_or_without_its_letter(text: str) -> None:
    assert exact_version(text) == Version(3, 22)


@pytest.mark.parametrize("text", ["0.30", "0.30.0rc1", "newest", ""])
def test_what_helm_takes_for_a_range_or_for_nothing_is_no_version(text: str) -> None:
    with pytest.raises(ValueError, match="not valid SemVer"):
        exact_version(text)


@pytest.mark.parametrize(
    ("tag", "version"),
    [
        ("1.14.5", Version(1, 14, 5)),
        ("v0.2.3", Version(0, 2, 3)),
        ("1.36", Version(1, 36)),
        ("1.36.1-uclibc", Version(1, 36, 1, "uclibc")),
        ("nightly", None),
        ("", None),
    ],
)
def test_a_tag_has_a_version_where_it_begins_with_numbers(tag: str, version: Version | None) -> None:
    assert tag_version(tag) == version


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ("0.29.0", "0.30.0", None),
        ("0.30.0-rc.1", "0.30.0", None),
        ("0.30.0", "0.30.0-rc.1", "from 0.30.0 to 0.30.0-rc.1 is a downgrade"),
        ("0.28.4", "0.30.0", "from 0.28.4 to 0.30.0 skips a minor version: only one at a time is supported"),
    ],
)
def test_one_minor_version_at_a_time(before: str, after: str, why: str | None) -> None:
    assert unsupported_step(exact_version(before), exact_version(after)) == why
