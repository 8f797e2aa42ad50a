"""What the client's log says of an upgrade, and when a failure in it is excused; no cluster, and no time that passes."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fixtures import manifests, traffic
from fixtures.clusters import Cluster
from fixtures.traffic import (
    SETTLE,
    Phase,
    Request,
    RestartWatch,
    Sample,
    Summary,
    Traffic,
    TrafficError,
    Watched,
    Window,
    deployment,
    requests,
    summarize,
    table,
    to_json,
    windows,
)

# As the client prints it: Go's time.RFC3339Nano drops zeros at the end, and with them the point.
LOG = """\
{"sequence":1,"start":"2026-11-23T10:00:00Z","milliseconds":31.52,"ok":true,"stage":"","status":200,"error":""}
2026/11/23 10:00:00 the Workload API said: rpc error: code = Unavailable desc = connection error
{"sequence":3,"start":"2026-11-23T10:00:00.400012345Z","milliseconds":12.5,"ok":true,"stage":"","status":200,"error":""}
{"sequence":4,"start":"2026-11-23T10:00:00.6Z","milliseconds":0,"ok":false,"stage":"overload","status":0,"error":"32 requests are still under way"}
{"sequence":5,"start":"2026-11-23T10:00:00.800001Z","milliseconds":3.25,"ok":false,"stage":"http","status":401,"error":"Invalid token"}
{"sequence":2,"start":"2026-11-23T10:00:00.200007Z","milliseconds":2000.125,"ok":false,"stage":"svid","status":0,"error":"rpc error: code = DeadlineExceeded desc = context deadline exceeded"}
"""
BEGINNING = 1795428000.0  # 2026-11-23T10:00:00Z
URL, SERVER_ID = "https://10.89.0.1:10001", "spiffe://server.example/ns/demo/sa/default"


def line(sequence: int, **changes: object) -> str:
    """A line of the log; requests begin five times a second."""
    start = f"2026-11-23T10:{(sequence - 1) // 300:02}:{(sequence - 1) // 5 % 60:02}.{(sequence - 1) % 5 * 2}Z"
    found = {
        "sequence": sequence,
        "start": start,
        "milliseconds": 20.0,
        "ok": True,
        "stage": "",
        "status": 200,
        "error": "",
    }
    return json.dumps(found | changes, separators=(",", ":"))


def request(at: float, seconds: float = 0.0, stage: str = "", error: str = "") -> Request:
    return Request(int(at * 5) + 1, at, seconds, not stage, stage, 0 if stage else 200, error)


def ready(*places: tuple[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset(places)


def of_one_node(*uids: str | None, what: str = "client: spire-agent") -> list[Sample]:
    """Looks at an agent on one node, two a second from 100 s on; `` is no ready pod and None an API that does not answer."""
    return [
        Sample(100 + number / 2, what, None if uid is None else ready(("node", uid)) if uid else ready())
        for number, uid in enumerate(uids)
    ]


def test_the_log_is_read_as_the_client_writes_it() -> None:
    found = requests(LOG)
    assert [each.sequence for each in found] == [1, 2, 3, 4, 5], "lines come in the order in which requests end"
    assert found[0] == Request(1, BEGINNING, 0.03152, True, "", 200, "")
    assert found[1].ended == pytest.approx(BEGINNING + 2.200132)
    assert found[2].start == pytest.approx(BEGINNING + 0.400012, abs=1e-6)
    assert found[3] == Request(4, BEGINNING + 0.6, 0.0, False, "overload", 0, "32 requests are still under way")
    assert (found[4].ok, found[4].stage, found[4].status, found[4].error) == (False, "http", 401, "Invalid token")


def test_the_fields_are_those_that_the_client_declares() -> None:
    # Fails when the client renames a field, which Go's tests and these would each take for right.
    source = (manifests.FOLDER / "client" / "traffic.go").read_text()
    declared = re.search(r"type record struct \{(.*?)\n\}", source, re.DOTALL)
    assert declared
    assert set(re.findall(r'json:"(\w+)"', declared[1])) == set(json.loads(line(1)))
    # And when a request may take longer than the log is waited for.
    (manifest,) = manifests.manifests("traffic.yaml")
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    timeouts = [item["value"] for item in container["env"] if item["name"] == "REQUEST_TIMEOUT"]
    assert timeouts == ["2s"]
    assert traffic.UNDER_WAY > 2.0


def test_a_last_line_that_is_cut_off_is_no_request_yet() -> None:
    assert [each.sequence for each in requests(f"{line(1)}\n{line(2)}\n{line(3)[:40]}")] == [1, 2]


def test_a_broken_line_elsewhere_is_an_error() -> None:
    with pytest.raises(ValueError, match="no line of the traffic's log"):
        requests(f"{line(1)}\n{line(2)[:40]}\n{line(3)}\n")


@pytest.mark.parametrize(
    "broken", ['{"sequence":2}', line(2, start=None), line(2, start="yesterday"), line(2, status="x")]
)
def test_json_that_is_no_request_is_an_error(broken: str) -> None:
    with pytest.raises(ValueError, match="no line of the traffic's log"):
        requests(f"{line(1)}\n{broken}\n{line(3)}\n")


def test_a_log_with_a_hole_names_the_first_request_that_is_missing() -> None:
    log = "\n".join(line(number) for number in range(1, 100) if number not in (7, 8, 20))
    with pytest.raises(ValueError, match="request 7 is missing from the log, which goes on with 9 up to 99"):
        requests(log)
    assert len(requests(log, partial=True)) == 96


def test_a_log_without_its_beginning_is_one_with_a_hole() -> None:
    log = "\n".join(line(number) for number in range(50, 100))
    with pytest.raises(ValueError, match="request 1 is missing"):
        requests(log)
    assert requests(log, partial=True)[0].sequence == 50


def test_a_request_that_is_still_under_way_is_no_hole() -> None:
    # The log is read while the pod writes it: 95 has not been answered yet, and its line comes only then.
    log = "\n".join(line(number) for number in range(1, 100) if number != 95)
    assert len(requests(log)) == 98


def test_the_logs_of_two_clients_are_not_taken_for_one() -> None:
    with pytest.raises(ValueError, match="request 2 is there twice"):
        requests("\n".join([line(1), line(2), line(2), line(3)]))


def test_an_empty_log_has_no_requests() -> None:
    assert requests("unable to create X509Source: no identity issued\n") == []


def one(sent: Sequence[Request], phase: Phase, of: Sequence[Window] = ()) -> Summary:
    (found,) = summarize({"kept": sent}, [phase], of)
    return found


def test_requests_are_counted_in_the_phase_in_which_they_began() -> None:
    # The one that began in the first phase fails in the second.
    sent = [request(0), request(9.8, 2.0, "svid", "late"), request(10), request(10.2)]
    first, second = summarize({"kept": sent}, [Phase("old", 0, 10), Phase("new", 10, 20)], [])
    assert (first.sent, first.failed, first.first_error) == (2, 1, "late")
    assert (second.sent, second.failed, second.first_error) == (2, 0, "")


def test_kinds_are_summarised_apart_in_order() -> None:
    found = summarize({"new": [request(1, 0, "tls")], "kept": [request(1)]}, [Phase("a", 0, 5), Phase("b", 5, 9)], [])
    assert [(each.phase, each.kind, each.sent, each.failed) for each in found] == [
        ("a", "new", 1, 1),
        ("a", "kept", 1, 0),
        ("b", "new", 0, 0),
        ("b", "kept", 0, 0),
    ]


@pytest.mark.parametrize(
    ("start", "seconds", "outside"),
    [
        (8.0, 1.9, 1),  # over before the window
        (8.5, 2.0, 0),  # failed in it
        (10.5, 0.1, 0),  # within it
        (11.9, 2.0, 0),  # began in it
        (12.1, 2.0, 1),  # began after it
        (9.0, 5.0, 0),  # around it
    ],
)
def test_a_failure_is_excused_only_where_it_touches_a_window(start: float, seconds: float, outside: int) -> None:
    found = one([request(start, seconds, "svid")], Phase("upgrade", 0, 100), [Window(10, 12, "agent")])
    assert (found.failed, found.failed_outside_windows) == (1, outside)


def test_failures_are_counted_by_stage_and_the_earliest_is_told() -> None:
    sent = [request(3, 0, "tls", "third"), request(1, 2.5, "svid", "first"), request(2, 0, "tls", "second"), request(4)]
    found = one(sent, Phase("upgrade", 0, 10))
    assert found.stages == {"tls": 2, "svid": 1}
    assert found.first_error == "first", "by start, not in the order of the list or of the ends"


def test_the_longest_gap_is_between_answers_and_failures_do_not_end_it() -> None:
    sent = [
        request(0, 0.1),
        request(1, 0.1),
        request(2, 0.1, "tls"),
        request(3, 0.1, "tls"),
        request(4, 0.6),
        request(5, 0.1),
    ]
    # From the end of the second, 1.1, to the end of the fifth, 4.6.
    assert one(sent, Phase("upgrade", 0, 6)).longest_gap_ms == 3500.0


def test_a_gap_counts_whole_in_every_phase_that_it_reaches_into() -> None:
    sent = [request(at) for at in (0, 1, 2, 8, 9, 10)]
    phases = [
        Phase("before", 0, 1.5),
        Phase("old", 1.5, 3),
        Phase("mixed", 3, 7),
        Phase("new", 7, 8.5),
        Phase("after", 8.5, 10),
    ]
    gaps = [each.longest_gap_ms for each in summarize({"kept": sent}, phases, [])]
    assert gaps == [1000.0, 6000.0, 6000.0, 6000.0, 1000.0]


def test_an_answer_out_of_order_ends_a_gap_too() -> None:
    # Sent first, answered last.
    sent = [request(0, 4.0), request(1, 0.5), request(2, 0.5)]
    assert one(sent, Phase("p", 0, 5)).longest_gap_ms == 1500.0


def test_an_outage_that_lasts_to_the_end_is_a_gap() -> None:
    # Without the last failure's end the longest gap would be the second between the only two answers.
    sent = [request(0), request(1), *(request(at, 2.0, "tls") for at in range(2, 30))]
    assert one(sent, Phase("new", 0, 40)).longest_gap_ms == 30000.0


def test_a_client_that_never_got_an_answer_has_one_gap() -> None:
    assert one([request(at, 2.0, "tls") for at in range(10)], Phase("p", 0, 20)).longest_gap_ms == 11000.0


def test_a_phase_without_requests_has_no_gap_rather_than_a_short_one() -> None:
    found = one([request(0), request(1)], Phase("late", 50, 60))
    assert (found.sent, found.longest_gap_ms) == (0, None)
    assert "none sent" in table([found])[1]
    assert one([], Phase("late", 50, 60)).longest_gap_ms is None


def test_the_table_has_straight_columns_and_says_the_first_error() -> None:
    found = [
        Summary("before", "new", 120, 0, 0, 231.4, {}, ""),
        Summary("client cluster", "kept", 1200, 12, 3, 5230.0, {"tls": 2, "svid": 10}, "no\nagent"),
    ]
    heading, first, second, error = table(found)
    end = heading.index("sent") + len("sent")
    assert (first[:end].split()[-1], second[:end].split()[-1]) == ("120", "1200")
    assert second.endswith("svid 10, tls 2")
    assert [cell for cell in second.split("  ") if cell.strip()][3].strip() == "12"
    assert error.strip() == "first error: no agent"


def test_the_summaries_are_json_for_others() -> None:
    found = Summary("late", "kept", 0, 0, 0, None, {"tls": 1}, "x")
    assert json.loads(to_json([found])) == [
        {
            "phase": "late",
            "kind": "kept",
            "sent": 0,
            "failed": 0,
            "failed_outside_windows": 0,
            "longest_gap_ms": None,
            "stages": {"tls": 1},
            "first_error": "x",
        }
    ]


def test_a_replaced_pod_makes_a_window_from_the_last_look_at_the_old_one() -> None:
    # Looks at 100.0, 100.5 (old), 101.0, 101.5 (none), 102.0 (new).
    assert windows(of_one_node("old", "old", "", "", "new", "new")) == [
        Window(100.5, 102.0 + SETTLE, "client: spire-agent (node) was replaced")
    ]


def test_a_pod_that_is_replaced_between_two_looks_makes_a_window() -> None:
    assert windows(of_one_node("old", "new")) == [
        Window(100.0, 100.5 + SETTLE, "client: spire-agent (node) was replaced")
    ]


def test_a_pod_that_was_not_ready_for_a_while_is_not_called_replaced() -> None:
    assert windows(of_one_node("old", "", "old")) == [
        Window(100.0, 101.0 + SETTLE, "client: spire-agent (node) was not ready")
    ]


def test_nothing_happening_makes_no_window() -> None:
    assert windows(of_one_node("old", "old", "old")) == []
    assert windows([]) == []


def test_an_api_that_does_not_answer_opens_no_window() -> None:
    assert windows(of_one_node("old", None, None, "old")) == []
    assert windows(of_one_node(None, None)) == []


def test_an_api_that_does_not_answer_closes_no_window() -> None:
    assert windows(of_one_node("old", "", None, None, "", "new")) == [
        Window(100.0, 102.5 + SETTLE, "client: spire-agent (node) was replaced")
    ]


def test_a_pod_that_went_while_the_api_was_away_may_have_gone_right_after_the_last_look() -> None:
    assert [(each.began, each.ended) for each in windows(of_one_node("old", None, None, "", "new"))] == [
        (100.0, 102.0 + SETTLE)
    ]


def test_a_part_that_never_was_ready_excuses_nothing() -> None:
    assert windows(of_one_node("", "", "first", "first")) == []
    assert windows(of_one_node("", "", "")) == []


def test_a_pod_that_does_not_come_back_has_a_window_that_says_so() -> None:
    assert windows(of_one_node("old", "old", "", "", None)) == [
        Window(100.5, 101.5, "client: spire-agent (node) was not ready, up to the last look at it")
    ]


def test_two_restarts_are_two_windows() -> None:
    found = windows(of_one_node("a", "", "b", "b", "b", "c"))
    assert [each.began for each in found] == [100.0, 102.0]


def test_the_nodes_of_an_agent_and_the_parts_of_spire_are_told_apart() -> None:
    # One node's agent is replaced while the other's stays: the other's does not stand in for it.
    both, left = ready(("a", "a1"), ("b", "b1")), ready(("b", "b1"))
    agents = [
        Sample(at, "agent", state) for at, state in ((0, both), (1, left), (2, left), (3, left | ready(("a", "a2"))))
    ]
    others = [Sample(at, "driver", ready(("a", "d"))) for at in range(4)]
    # In any order: each cluster is watched by a thread of its own.
    assert windows(reversed([*others, *agents])) == [Window(0, 3 + SETTLE, "agent (a) was replaced")]


def test_a_new_pod_that_is_ready_before_the_old_one_goes_closes_the_window() -> None:
    # As a Deployment that surges does; waiting for two ready pods again would leave the window open for ever.
    states = [ready(("d", "old")), ready(("d", "old"), ("d", "new")), ready(("d", "new")), ready(("d", "new"))]
    assert [
        (each.began, each.ended) for each in windows([Sample(at, "x", state) for at, state in enumerate(states)])
    ] == [(1, 2 + SETTLE)]


def pod(
    owner: tuple[str, str],
    uid: str,
    *,
    name: str = "pod",
    node: str = "node-1",
    is_ready: bool = True,
    deleted: bool = False,
    restarts: int = 0,
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
        status=SimpleNamespace(
            conditions=[SimpleNamespace(type="Ready", status="True" if is_ready else "False")],
            init_container_statuses=None,
            container_statuses=[SimpleNamespace(name="client", restart_count=restarts, state=None)],
        ),
    )


class FakeCore:
    """Stands in for the Kubernetes API: pods that a test sets, a log, and an error when there is one to raise."""

    def __init__(self) -> None:
        self.pods: list[Any] = []
        self.log = b""
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

    def read_namespaced_pod_log(self, _name: str, _namespace: str, **options: object) -> Any:
        assert options == {"_preload_content": False} or "tail_lines" in options, "a log of one line would be mangled"
        return SimpleNamespace(data=self.log) if "_preload_content" in options else self.log.decode()

    def await_looks(self, number: int) -> None:
        with self.looked:
            assert self.looked.wait_for(lambda: self.looks >= number, timeout=10), f"{self.looks} looks"


class FakeCluster:
    """Stands in for a cluster; its kubectl prints what a test sets and remembers its commands."""

    def __init__(self, label: str = "client") -> None:
        self.label = label
        self.core = FakeCore()
        self.printed = ""
        self.commands: list[tuple[str, ...]] = []

    def kubectl(self, *arguments: str, **_options: object) -> str:
        self.commands.append(arguments)
        return self.printed


AGENT = ("DaemonSet", "spire-agent")


def watched(cluster: FakeCluster, name: str = "spire-agent") -> Watched:
    return Watched(cast(Cluster, cluster), "spire-system", name)


def test_a_pods_place_is_what_its_successor_takes_over() -> None:
    cluster = FakeCluster()
    found = [
        pod(AGENT, "1", node="node-7"),
        pod(("StatefulSet", "spire-server"), "2", name="spire-server-0"),
        pod(("ReplicaSet", "spire-server-5d8f7"), "3"),
    ]
    assert watched(cluster).ready(found) == ready(("node-7", "1"))
    assert watched(cluster, "spire-server").ready(found) == ready(("spire-server-0", "2"), ("the Deployment", "3"))


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
    monkeypatch.setattr(traffic, "INTERVAL", 0.001)
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
    assert window.why == "client: spire-agent (node-1) was replaced", (
        "the last look is taken when the watch is told to end"
    )
    assert None in [sample.ready for sample in watch.samples]
    looks = core.looks
    assert not any(thread.name == "restarts of client" for thread in threading.enumerate())
    assert core.looks == looks


def test_clusters_are_watched_each_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    # A cluster whose API hangs must not blind the watch of the other.
    monkeypatch.setattr(traffic, "INTERVAL", 0.001)
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


def test_each_kind_has_a_deployment_whose_selector_is_its_own() -> None:
    new, kept = (deployment(kind, "probe:1", URL, SERVER_ID, "demo") for kind in ("new", "kept"))
    for kind, made in (("new", new), ("kept", kept)):
        labels = {"app": f"traffic-{kind}"}
        assert made["metadata"]["name"] == f"traffic-{kind}"
        assert made["metadata"]["labels"] == labels
        assert made["spec"]["selector"]["matchLabels"] == labels
        assert made["spec"]["template"]["metadata"]["labels"] == labels
        (container,) = made["spec"]["template"]["spec"]["containers"]
        variables = {item["name"]: item["value"] for item in container["env"]}
        assert (container["image"], container["args"]) == ("probe:1", ["traffic"])
        assert variables["CONNECTIONS"] == kind
        assert variables["REQUEST_RATE"] == "5"
        assert (variables["SERVER_URL"], variables["AUDIENCE"], variables["EXPECTED_SERVER_ID"]) == (
            URL,
            SERVER_ID,
            SERVER_ID,
        )


def running(folder: Path) -> tuple[Traffic, FakeCluster]:
    cluster = FakeCluster()
    demo = SimpleNamespace(
        client=SimpleNamespace(cluster=cluster), folder=folder, server_id=SERVER_ID, url=URL, namespace="demo"
    )
    cluster.core.pods = [pod(("ReplicaSet", "traffic-kept-5d8f7"), "born", name="traffic-kept-5d8f7-x")]
    return Traffic(cast(Any, demo)), cluster


def test_a_log_of_a_single_line_is_read_and_kept(tmp_path: Path) -> None:
    made, cluster = running(tmp_path)
    cluster.core.log = f"{line(1)}\n".encode()
    assert [each.sequence for each in made.requests("kept")] == [1]
    assert (tmp_path / "traffic-kept.log").read_text() == f"{line(1)}\n"
    first = made.answered("kept").look().value
    assert first is not None
    assert first.sequence == 1


def test_a_client_that_only_fails_has_not_been_answered(tmp_path: Path) -> None:
    made, cluster = running(tmp_path)
    cluster.core.log = line(1, ok=False, stage="svid", error="no identity issued").encode()
    look = made.answered("kept").look()
    assert look.value is None
    assert "no identity issued" in look.seen


def test_a_restarted_or_replaced_client_is_not_believed(tmp_path: Path) -> None:
    # Its log would begin anew, without the failures before.
    made, cluster = running(tmp_path)
    cluster.core.log = line(1).encode()
    owner = ("ReplicaSet", "traffic-kept-5d8f7")
    made._born["kept"] = "born"
    cluster.core.pods = [pod(owner, "born", restarts=1)]
    with pytest.raises(TrafficError, match="restarted"):
        made.requests("kept")
    cluster.core.pods = [pod(owner, "another")]
    with pytest.raises(TrafficError, match="another pod"):
        made.requests("kept")
    cluster.core.pods = []
    with pytest.raises(TrafficError, match="0 pods instead of one"):
        made.requests("kept")


def test_a_moment_is_recorded_only_once_all_that_began_before_it_have_ended(tmp_path: Path) -> None:
    made, cluster = running(tmp_path)
    moment = BEGINNING + 1.0
    # 4 is under way, though 5, 6 and 7 have been answered.
    cluster.core.log = "\n".join(line(number) for number in (1, 2, 3, 5, 6, 7)).encode()
    assert made.recorded("kept", moment).look().value is None
    cluster.core.log = "\n".join(line(number) for number in (1, 2, 3, 5, 6, 7, 4)).encode()
    assert len(made.recorded("kept", moment).look().value or ()) == 7
    assert made.recorded("kept", moment + 1).look().value is None


def test_what_a_pod_holds_now_is_fetched_in_the_pod(tmp_path: Path) -> None:
    made, cluster = running(tmp_path)
    cluster.printed = 'Unable to use a TTY\n{"spiffe_id":"spiffe://client.example/ns/demo/sa/default"}\n'
    assert made.fetch("kept") == {"spiffe_id": "spiffe://client.example/ns/demo/sa/default"}
    (command,) = cluster.commands
    assert command[:4] == ("exec", "-n", "demo", "traffic-kept-5d8f7-x")
    assert command[-2:] == ("/client", "fetch")


def test_both_deployments_are_deleted_in_the_end(tmp_path: Path) -> None:
    made, cluster = running(tmp_path)
    made.stop()
    (command,) = cluster.commands
    assert command[0] == "delete"
    assert {"traffic-new", "traffic-kept", "--ignore-not-found"} <= set(command)
