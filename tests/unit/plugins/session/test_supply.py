"""What a run says of its releases before anything is started."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from fixtures.plugins.session import supply
from tests.unit.plugins.session.refusing_report import Report


def test_what_clusters_of_kinds_lack_is_a_warning_and_no_finding_about_the_release() -> None:
    settings, report = SimpleNamespace(), Report()
    given = SimpleNamespace(
        unfit_lifetimes=lambda: ["a"],
        check_layouts=lambda: None,
        contradictions=lambda: ["b"],
        lacking=lambda asked: ["c"] if asked is settings else [],
    )
    fixture = cast(Any, supply.unfit_lifetimes)._get_wrapped_function()
    assert fixture(settings, given, report) == ["a", "b"]
    assert report.said == [f"warning: {each}" for each in ("a", "b", "c")]
