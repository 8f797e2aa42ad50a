"""When SPIRE was restarting, as the looks at its pods show it; no cluster, and no time that passes."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fixtures.k8s.cluster import Cluster
from fixtures.traffic import restart_windows
from fixtures.traffic.restart_windows import SETTLE_TIME, RestartWatch, Sample, WatchedController, find_windows
from fixtures.traffic.summary import RestartWindow


def ready(*places: tuple[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset(places)


def of_one_node(*uids: str | None, what: str = "client: spire-agent") -> list[Sample]:
    """Looks at one node's agent, every 0.5 s from 100 s on; `` is no ready pod, None an API that does not answer."""
    return [
        Sample(100 + number / 2, what, None if uid is None else ready(("node", uid)) if uid else ready())
        for number, uid in enumerate(uids)
    ]


def test_a_replaced_pod_makes_a_window_from_the_last_look_at_the_old_one() -> None:
    # Looks at 100.0, 100.5 (old), 101.0, 101.5 (none), 102.0 (new).
    assert find_windows(of_one_node("old", "old", "", "", "new", "new")) == [
        RestartWindow(100.5, 102.0 + SETTLE_TIME, "client: spire-agent (node) was replaced")
    ]


def test_a_pod_that_is_replaced_between_two_looks_makes_a_window() -> None:
    assert find_windows(of_one_node("old", "new")) == [
        RestartWindow(100.0, 100.5 + SETTLE_TIME, "client: spire-agent (node) was replaced")
    ]


def test_a_pod_that_was_not_ready_for_a_while_is_not_called_replaced() -> None:
    assert find_windows(of_one_node("old", "", "old")) == [
        RestartWindow(100.0, 101.0 + SETTLE_TIME, "client: spire-agent (node) was not ready")
    ]


def test_nothing_happening_makes_no_window() -> None:
    assert find_windows(of_one_node("old", "old", "old")) == []
    assert find_windows([]) == []


def test_an_api_that_does_not_answer_opens_no_window() -> None:
    assert find_windows(of_one_node("old", None, None, "old")) == []
    assert find_windows(of_one_node(None, None)) == []


def test_an_api_that_does_not_answer_closes_no_window() -> None:
    assert find_windows(of_one_node("old", "", None, None, "", "new")) == [
        RestartWindow(100.0, 102.5 + SETTLE_TIME, "client: spire-agent (node) was replaced")
    ]


def test_a_pod_that_went_while_the_api_was_away_may_have_gone_right_after_the_last_look() -> None:
    assert [(each.began, each.ended) for each in find_windows(of_one_node("old", None, None, "", "new"))] == [
        (100.0, 102.0 + SETTLE_TIME)
    ]


def test_a_part_that_never_was_ready_excuses_nothing() -> None:
    assert find_windows(of_one_node("", "", "first", "first")) == []
    assert find_windows(of_one_node("", "", "")) == []


def test_a_pod_that_does_not_come_back_has_a_window_that_says_so() -> None:
    assert find_windows(of_one_node("old", "old", "", "", None)) == [
        RestartWindow(100.5, 101.5, "client: spire-agent (node) was not ready, up to the last look at it")
    ]


def test_a_pod_that_is_not_wanted_any_more_excuses_nothing_that_fails_later() -> None:
    # As of a StatefulSet that becomes a Deployment, a replica less, or agents that leave a node: none takes its place.
    looks = of_one_node("old", "", "", "", "", "")
    assert find_windows(looks, {"client: spire-agent": [101.2]}) == [
        RestartWindow(100.0, 101.2 + SETTLE_TIME, "client: spire-agent (node) has gone")
    ]
    # What another controller has come to, or this one had before, says nothing of the place.
    for settled in ({"client: spire-server": [101.2]}, {"client: spire-agent": [99.0]}):
        assert [each.ended for each in find_windows(looks, settled)] == [102.5]
    assert [each.ended for each in find_windows(of_one_node("old", "", "new"), {"client: spire-agent": [103.0]})] == [
        101.0 + SETTLE_TIME
    ]


def test_a_pod_that_goes_right_after_its_controller_had_all_is_not_one_that_is_not_wanted() -> None:
    looks = of_one_node("old", "", "", "", "new")
    assert find_windows(looks, {"client: spire-agent": [100.2]}) == [
        RestartWindow(100.0, 102.0 + SETTLE_TIME, "client: spire-agent (node) was replaced")
    ]


def test_two_restarts_are_two_windows() -> None:
    found = find_windows(of_one_node("a", "", "b", "b", "b", "c"))
    assert [each.began for each in found] == [100.0, 102.0]


def test_the_nodes_of_an_agent_and_the_components_of_spire_are_distinguished() -> None:
    # One node's agent is replaced while the other's stays: the other's does not stand in for it.
    both, left = ready(("a", "a1"), ("b", "b1")), ready(("b", "b1"))
    agents = [
        Sample(at, "agent", state) for at, state in ((0, both), (1, left), (2, left), (3, left | ready(("a", "a2"))))
    ]
    others = [Sample(at, "driver", ready(("a", "d"))) for at in range(4)]
    # In any order: each cluster is watched by a thread of its own.
    assert find_windows(reversed([*others, *agents])) == [RestartWindow(0, 3 + SETTLE_TIME, "agent (a) was replaced")]


def test_a_new_pod_that_is_ready_before_the_old_one_goes_closes_the_window() -> None:
    # As a Deployment that surges does; waiting for two ready pods again would never close the window.
    states = [ready(("d", "old")), ready(("d", "old"), ("d", "new")), ready(("d", "new")), ready(("d", "new"))]
    assert [
        (each.began, each.ended) for each in find_windows([Sample(at, "x", state) for at, state in enumerate(states)])
    ] == [(1, 2 + SETTLE_TIME)]


def pod(
    owner: tuple[str, str],
    uid: str,
    *,
    name: str = "pod",
    node: str = "node-1",
    is_ready: bool = True,
    deleted: bool = False,
) -> Any:
    kind, owner_name = owner
    return SimpleNamespace(
        metadata=SimpleNamespace(
            name=name,
            uid=uid,
            deletion_timestamp="2026-11-23T10:00:00Z" if deleted else None,
            owner_references=[SimpleNamespace(kind=kind, name=owner_name)],
        ),
        spec=SimpleNamespace(node_name=node),
        status=SimpleNamespace(conditions=[SimpleNamespace(type="Ready", status="True" if is_ready else "False")]),
    )


class FakeCore:
    """Stands in for the Kubernetes API: pods that a test sets, and an error when there is one to raise."""

    def __init__(self) -> None:
        self.pods: list[Any] = []
        self.error: Exception | None = None
        self.looks = 0
        self.looked = threading.Condition()

    def list_namespaced_pod(self, _namespace: str, **_options: object) -> Any:
        with self.looked:
            self.looks += 1
            self.looked.notify_all()
        if self.error:
            raise self.error
        return SimpleNamespace(items=list(self.pods))

    def await_looks(self, number: int) -> None:
        with self.looked:
            assert self.looked.wait_for(lambda: self.looks >= number, timeout=10), f"{self.looks} looks"


class FakeCluster:
    """Stands in for a cluster."""

    def __init__(self, label: str = "client") -> None:
        self.label = label
        self.core = FakeCore()


AGENT = ("DaemonSet", "spire-agent")


def watched(cluster: FakeCluster, name: str = "spire-agent") -> WatchedController:
    return WatchedController(cast(Cluster, cluster), (("spire-system", name),))


def test_a_pods_place_is_what_its_successor_takes_over() -> None:
    cluster = FakeCluster()
    found = [
        pod(AGENT, "1", node="node-7"),
        pod(("StatefulSet", "spire-server"), "2", name="spire-server-0"),
        pod(("ReplicaSet", "spire-server-5d8f7"), "3"),
    ]
    assert watched(cluster).ready(found) == ready(("node-7", "1"))
    assert watched(cluster, "spire-server").ready(found) == ready(("spire-server-0", "2"), ("the Deployment", "3"))


def test_what_an_upgrade_renames_takes_over_the_same_places() -> None:
    places = (("spire-server", "spire-server"), ("spire", "root-server"))
    server = WatchedController(cast(Cluster, FakeCluster()), places)
    old = pod(("StatefulSet", "spire-server"), "1", name="spire-server-0")
    new = pod(("StatefulSet", "root-server"), "2", name="root-server-0")
    looks = [server.ready([old]), server.ready([]), server.ready([new])]
    windows = find_windows([Sample(float(at), str(server), each) for at, each in enumerate(looks)])
    assert windows == [RestartWindow(0, 2 + SETTLE_TIME, "client: spire-server (spire-server-0) was replaced")]


def test_pods_of_others_are_not_taken_for_the_controllers() -> None:
    # A hook's Job, another DaemonSet and a Deployment whose names begin alike.
    found = [
        pod(("Job", "spire-agent"), "1"),
        pod(("DaemonSet", "spire-agent-upstream"), "2"),
        pod(("ReplicaSet", "spire-agent-helper-5d8f7"), "3"),
    ]
    assert watched(FakeCluster()).ready(found) == ready()


def test_a_pod_that_is_being_deleted_is_not_ready_whatever_its_status_says() -> None:
    found = [pod(AGENT, "old", deleted=True), pod(AGENT, "starting", is_ready=False)]
    assert watched(FakeCluster()).ready(found) == ready()


def test_a_watch_sees_a_replacement_and_an_api_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restart_windows, "WATCH_INTERVAL", 0.001)
    cluster = FakeCluster()
    core = cluster.core
    core.pods = [pod(AGENT, "old")]
    watch = RestartWatch([watched(cluster)])
    with watch:
        assert watch.samples[0].ready == ready(("node-1", "old")), "known before anything can change"
        core.error = ConnectionError("refused")
        core.await_looks(core.looks + 2)
        assert watch.windows() == []
        core.error, core.pods = None, []
        core.await_looks(core.looks + 2)
        core.pods = [pod(AGENT, "new")]
    (window,) = watch.windows()
    assert window.why == "client: spire-agent (node-1) was replaced", "the last look is taken when the watch ends"
    assert None in [sample.ready for sample in watch.samples]
    looks = core.looks
    assert not any(thread.name == "restarts of client" for thread in threading.enumerate())
    assert core.looks == looks


def test_what_has_gone_for_good_is_known_once_its_cluster_has_settled() -> None:
    here, elsewhere = FakeCluster("server"), FakeCluster("client")
    here.core.pods = elsewhere.core.pods = [pod(AGENT, "old")]
    watch = RestartWatch([watched(here), watched(elsewhere)])
    watch.start()
    here.core.pods = elsewhere.core.pods = []
    here.core.await_looks(here.core.looks + 2)
    elsewhere.core.await_looks(elsewhere.core.looks + 2)
    watch.settle("server")
    watch.stop()
    assert sorted(each.why for each in watch.windows()) == [
        "client: spire-agent (node-1) was not ready, up to the last look at it",
        "server: spire-agent (node-1) has gone",
    ]


def test_clusters_are_watched_each_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    # A cluster whose API hangs must not blind the watch of the other.
    monkeypatch.setattr(restart_windows, "WATCH_INTERVAL", 0.001)
    hangs, answers = FakeCluster("server"), FakeCluster("client")
    watch = RestartWatch([watched(hangs), watched(answers)])
    watch.start()
    released = threading.Event()
    monkeypatch.setattr(hangs.core, "list_namespaced_pod", lambda *_, **__: released.wait(10) and None)
    try:
        answers.core.await_looks(answers.core.looks + 10)
    finally:
        released.set()
        watch.stop()
