"""The pods that send, and when what they say is believed; no cluster."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fixtures.k8s.server_side_apply import WORKLOAD_LABEL
from fixtures.traffic.generator import TrafficError, TrafficGenerator, deployment
from fixtures.workloads.probe import parse_identity
from tests.unit.traffic.client_log import BEGINNING, line

URL, SERVER_ID = "https://10.89.0.1:10001", "spiffe://server.example/ns/demo/sa/default"


def pod(uid: str, *, restarts: int = 0) -> Any:
    return SimpleNamespace(
        metadata=SimpleNamespace(name="traffic-kept-5d8f7-x", uid=uid),
        spec=SimpleNamespace(init_containers=None, containers=[SimpleNamespace(name="client")]),
        status=SimpleNamespace(
            init_container_statuses=None,
            container_statuses=[SimpleNamespace(name="client", restart_count=restarts, state=None)],
        ),
    )


class FakeCore:
    """Stands in for the Kubernetes API: pods that a test sets, and a log."""

    def __init__(self) -> None:
        self.pods: list[Any] = []
        self.log = b""

    def list_namespaced_pod(self, _namespace: str, **_options: object) -> Any:
        return SimpleNamespace(items=list(self.pods))

    def read_namespaced_pod_log(self, _name: str, _namespace: str, **options: object) -> Any:
        assert options["_preload_content"] is False, "a log of one line would be mangled"
        return SimpleNamespace(data=self.log)


class FakeCluster:
    """Stands in for a cluster; what is run on it prints what a test sets, and is remembered."""

    is_external = False

    def __init__(self) -> None:
        self.label = "client"
        self.core = FakeCore()
        self.deployments = ["server", "traffic-kept", "traffic-new"]
        self.apps = SimpleNamespace(list_namespaced_deployment=self._list)
        self.printed = ""
        self.commands: list[tuple[str, ...]] = []

    def _list(self, namespace: str) -> Any:
        assert namespace == "demo"
        return SimpleNamespace(
            items=[SimpleNamespace(metadata=SimpleNamespace(name=name)) for name in self.deployments]
        )

    def kubectl(self, *arguments: str, **_options: object) -> str:
        self.commands.append(arguments)
        return self.printed

    def execute(self, *asked: str) -> Any:
        self.commands.append(asked)
        return SimpleNamespace(stdout=self.printed)


def test_each_kind_has_a_deployment_whose_selector_is_its_own() -> None:
    new, kept = (deployment(kind, "probe:1", URL, SERVER_ID) for kind in ("new", "kept"))
    for kind, made in (("new", new), ("kept", kept)):
        labels = {WORKLOAD_LABEL: f"traffic-{kind}"}
        assert made["metadata"]["name"] == f"traffic-{kind}"
        assert made["metadata"]["labels"] == labels
        assert made["spec"]["selector"]["matchLabels"] == labels
        assert made["spec"]["template"]["metadata"]["labels"].items() >= labels.items()
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


def running(folder: Path) -> tuple[TrafficGenerator, FakeCluster]:
    cluster = FakeCluster()
    demo = SimpleNamespace(
        client=SimpleNamespace(cluster=cluster), folder=folder, server_id=SERVER_ID, url=URL, namespace="demo"
    )
    cluster.core.pods = [pod("born")]
    return TrafficGenerator(cast(Any, demo)), cluster


def test_what_is_deployed_is_recorded_first_so_that_it_is_removed_from_a_namespace_that_stays(tmp_path: Path) -> None:
    generator, cluster = running(tmp_path)
    done: list[tuple[str, ...]] = []

    def noted(what: str) -> Any:
        return lambda *made: done.append((what, *(each["metadata"]["name"] for each in made)))

    there: Any = cluster
    there.record_before, there.apply = noted("recorded"), noted("applied")
    demo: Any = generator.demo
    demo.images, demo.direct_url = SimpleNamespace(probe="probe:1"), lambda: URL
    demo.of_client = SimpleNamespace(place=lambda manifest: manifest)
    generator.deploy()
    assert done == [("recorded", "traffic-new", "traffic-kept"), ("applied", "traffic-new", "traffic-kept")]


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


def test_the_log_of_a_restarted_or_replaced_client_is_an_error(tmp_path: Path) -> None:
    # Its log would begin again, without the failures before.
    made, cluster = running(tmp_path)
    cluster.core.log = line(1).encode()
    made._born["kept"] = "born"
    cluster.core.pods = [pod("born", restarts=1)]
    with pytest.raises(TrafficError, match="restarted"):
        made.requests("kept")
    cluster.core.pods = [pod("another")]
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
    # 8 is under way: what came after it says nothing of it.
    cluster.core.log = "\n".join(line(number) for number in (1, 2, 3, 4, 5, 6, 7, 9)).encode()
    assert [each.sequence for each in made.recorded("kept", moment).look().value or ()] == [1, 2, 3, 4, 5, 6, 7]


def test_what_a_pod_holds_now_is_fetched_in_the_pod(tmp_path: Path, recorded: Callable[[str], str]) -> None:
    made, cluster = running(tmp_path)
    cluster.printed = f"Unable to use a TTY\n{recorded('fetch.json')}"
    assert made.fetch("kept") == parse_identity(recorded("fetch.json"))
    (command,) = cluster.commands
    assert command == ("demo", "traffic-kept-5d8f7-x", "client", "/client", "fetch")


def test_a_pod_still_holds_what_it_had_once_it_is_given_the_same_ids_and_authorities(
    tmp_path: Path, recorded: Callable[[str], str]
) -> None:
    made, cluster = running(tmp_path)
    cluster.printed = recorded("fetch.json")
    before = made.fetch("kept")
    said = json.loads(recorded("fetch.json"))
    without_peer = {**said, "trust_domains": ["client.example"]}
    fewer_keys = {**said, "jwt_authorities": {**said["jwt_authorities"], "server.example": []}}
    other_id = {**said, "spiffe_id": "spiffe://client.example/ns/demo/sa/other"}
    for missing in (without_peer, fewer_keys, other_id):
        cluster.printed = json.dumps(missing)
        assert made.still_holds("kept", before).look().value is None
        assert str(before) in made.still_holds("kept", before).look().seen
    cluster.printed = json.dumps({**said, "x509_serial": "1", "x509_not_after": "2026-11-25T22:33:51Z"})
    now = made.still_holds("kept", before).look().value
    assert now is not None
    assert now.x509_serial == "1"


@pytest.mark.parametrize(("age", "met"), [(0, True), (104, True), (106, False), (200, False), (400, False)])
def test_jwt_svids_outlast_what_ends_before_half_of_their_lifetime_is_over(
    tmp_path: Path, recorded: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, age: float, met: bool
) -> None:
    made, cluster = running(tmp_path)
    cluster.printed = recorded("fetch.json")
    # Of 5 minutes: the agent renews it after 150 s.
    issued = made.fetch("new").jwt_renewal - 150
    monkeypatch.setattr(time, "time", lambda: issued + age)
    look = made.jwt_svids_outlast(45).look()
    assert look.value is (True if met else None)
    assert f"new: renewed in {150 - age} s" in look.seen


def test_both_deployments_are_deleted_in_the_end(tmp_path: Path) -> None:
    made, cluster = running(tmp_path)
    made.stop()
    (command,) = cluster.commands
    assert command[0] == "delete"
    assert {"traffic-new", "traffic-kept", "--ignore-not-found"} <= set(command)
    assert "server" not in command


def test_where_there_are_none_nothing_is_deleted(tmp_path: Path) -> None:
    made, cluster = running(tmp_path)
    cluster.deployments = ["server"]
    made.stop()
    assert not cluster.commands
