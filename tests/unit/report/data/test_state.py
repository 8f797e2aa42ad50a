"""What is read of bundles at the end of a run."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fixtures.diagnosis.testbed import Testbed
from fixtures.report.data.facts import Facts
from fixtures.report.data.state import read_state
from fixtures.spire import api_types
from fixtures.spire.cleanup import SpireError

REFRESHED = datetime.fromisoformat("2026-11-24T03:59:07Z").timestamp()  # by the recorded log, for the last time
SEEDED = REFRESHED - 200.0


def a_testbed(document: str, log: str, *, stored: bool = True) -> Testbed:
    """A server that federates with `client.example`: the recorded bundle is its own and, if `stored`, its peer's."""

    def foreign_bundle(trust_domain: str) -> api_types.Bundle:
        if not stored:
            raise SpireError(f"server stores no bundle of {trust_domain}")
        return api_types.bundle(document)

    spire = SimpleNamespace(
        cluster=SimpleNamespace(label="server"),
        trust_domain="server.example",
        bundle=lambda: api_types.bundle(document),
        server_log=lambda: log,
        foreign_bundle=foreign_bundle,
    )
    peer = SimpleNamespace(trust_domain="client.example")
    federation = SimpleNamespace(peers=lambda _: [peer], seeded_at=lambda *_: SEEDED)
    return Testbed([], cast(Any, [spire]), cast(Any, federation))


def test_a_bundle_has_its_fingerprints_and_the_age_since_it_was_taken_from_its_endpoint(
    recorded: Callable[[str], str],
) -> None:
    document = recorded("bundle-show.json")
    found = read_state(Facts(testbed=a_testbed(document, recorded("spire-server.log"))))
    own, foreign = found["bundles"]
    assert (own["trust_domain"], own["is_own"], own["age"]) == ("server.example", True, None)
    assert own["x509_authorities"] == sorted(api_types.bundle(document).x509_authorities)
    assert (foreign["trust_domain"], foreign["is_own"]) == ("client.example", False)
    assert (foreign["seeded"], foreign["refreshed"]) == (SEEDED, REFRESHED)
    assert foreign["age"] == pytest.approx(time.time() - REFRESHED, abs=5)
    assert [line["message"] for line in found["log_lines"]] == ["Bundle refreshed client.example"] * 2


def test_a_bundle_that_was_never_refreshed_is_as_old_as_its_seed(recorded: Callable[[str], str]) -> None:
    found = read_state(Facts(testbed=a_testbed(recorded("bundle-show.json"), "")))
    foreign = found["bundles"][1]
    assert (foreign["seeded"], foreign["refreshed"]) == (SEEDED, None)
    assert foreign["age"] == pytest.approx(time.time() - SEEDED, abs=5)


def test_a_bundle_that_is_not_there_is_left_out(recorded: Callable[[str], str]) -> None:
    found = read_state(Facts(testbed=a_testbed(recorded("bundle-show.json"), "", stored=False)))
    assert [each["trust_domain"] for each in found["bundles"]] == ["server.example"]


def test_of_a_run_that_came_to_no_cluster_there_is_nothing() -> None:
    assert read_state(Facts()) == {"bundles": [], "images": [], "events": [], "log_lines": [], "programs": {}}
