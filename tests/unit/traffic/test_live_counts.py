"""The counters of the live traffic that somebody watches."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fixtures.core.waiting import Condition, Look, wait_for
from fixtures.k8s.server_side_apply import WORKLOAD_LABEL
from fixtures.traffic.generator import TrafficGenerator
from fixtures.traffic.live_counts import LiveCounts, shown_counts
from tests.unit.traffic.client_log import line


class FakeCore:
    """Stands in for the Kubernetes API: the logs of the traffic's pods, by kind."""

    def __init__(self) -> None:
        self.logs = {"new": "", "kept": ""}
        self.asked: list[dict[str, object]] = []

    def list_namespaced_pod(self, _namespace: str, *, label_selector: str, **_options: object) -> Any:
        name = label_selector.removeprefix(f"{WORKLOAD_LABEL}=")
        return SimpleNamespace(items=[SimpleNamespace(metadata=SimpleNamespace(name=name))])

    def read_namespaced_pod_log(self, name: str, namespace: str, **options: object) -> Any:
        assert (namespace, options.pop("_preload_content"), options.pop("container")) == ("demo", False, None)
        self.asked.append(options)
        return SimpleNamespace(data=self.logs[name.removeprefix("traffic-")].encode())


@pytest.fixture
def core() -> FakeCore:
    return FakeCore()


@pytest.fixture
def counts(core: FakeCore) -> LiveCounts:
    cluster = SimpleNamespace(label="client", core=core, is_external=False)
    return LiveCounts(cast(TrafficGenerator, SimpleNamespace(cluster=cluster, namespace="demo")))


def test_requests_are_counted_once_by_kind_and_so_are_those_that_failed(core: FakeCore, counts: LiveCounts) -> None:
    core.logs["new"] = "starting\n" + line(1) + "\n" + line(2, ok=False) + "\n"
    counts.look()
    # The next look reads again what may have been under way.
    core.logs["new"] = line(2, ok=False) + "\n" + line(3) + "\n" + line(4)[:20]
    core.logs["kept"] = line(1)
    counts.look()
    assert "since_seconds" not in core.asked[0]
    assert core.asked[-1]["since_seconds"] == 4
    counts._thread = cast(Any, "running")
    assert str(counts) == "new: 3 sent, 1 failed; kept: 1 sent, 0 failed"


def test_nobody_looks_before_somebody_watches_and_a_look_that_fails_is_no_matter(
    core: FakeCore, counts: LiveCounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fixtures.traffic.live_counts.LOOK_INTERVAL", 0.01)
    counters: dict[str, Callable[[], str]] = {}
    generator = counts._generator
    with shown_counts(generator, counters):
        assert core.asked == []
        assert counters["live traffic"]() == ""
        wait_for(Condition("looks", lambda: Look(len(core.asked) > 2 or None, "none")), 60.0, interval=0.01)
        core.logs = {"other": ""}  # so that every look fails
        asked = len(core.asked)
        wait_for(Condition("more", lambda: Look(len(core.asked) > asked + 2 or None, "none")), 60.0, interval=0.01)
        core.logs = {"new": "", "kept": line(1)}

        def counted() -> Look[bool]:
            said = counters["live traffic"]()
            return Look(said == "kept: 1 sent, 0 failed" or None, said)

        wait_for(Condition("the counts", counted), 60.0, interval=0.01)
    assert counters == {}
