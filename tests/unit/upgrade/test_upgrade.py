"""An upgrade's account of its traffic, of which nothing recorded is left out; and what it may replace and what not."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from kubernetes import client as k8s
from kubernetes.client.exceptions import ApiException, NotFoundException

from fixtures.core import waiting
from fixtures.core.waiting import Condition, Look
from fixtures.helm.manifests import ObjectKey
from fixtures.helm.release import CRDS_RELEASE, RELEASE, Release
from fixtures.spire.api_types import POD_UID, RegistrationEntry, bundle
from fixtures.spire.installation import Spire
from fixtures.spire.layout import known_to_others
from fixtures.spire.server_cli import SpireError
from fixtures.traffic.generator import CONNECTION_KINDS
from fixtures.traffic.request_log import Request
from fixtures.upgrade import upgrade
from fixtures.upgrade.state import (
    ControllerState,
    PreservedState,
    copies,
    dns_names,
    federates_with,
    hints,
    own_custom_resources,
    pod_ids,
    powers,
    release_ids,
)
from fixtures.upgrade.upgrade import (
    PHASE_MIN_DURATION,
    FederationUpgrade,
    identities_kept,
    images_running,
)
from fixtures.workloads.probe import Identity, parse_identity
from tests import checks
from tests.unit.own_chart import LAYOUT, read_layout
from tests.unit.release_examples import config_map, manifest, text, workload
from tests.upgrade import test_1_upgrade

BEGAN = 1000.0
RATE = 5


class FakeTraffic:
    """Ten seconds of requests of either kind, those of some numbers failed; and until when they were asked for."""

    def __init__(self, *failed: int) -> None:
        self.sent = [
            Request(number, BEGAN + (number - 1) / RATE, 0.0, number not in failed, "tls" * (number in failed), 200, "")
            for number in range(1, 10 * RATE + 1)
        ]
        self.asked: list[float] = []

    def recorded(self, _: str, moment: float) -> Condition[Sequence[Request]]:
        self.asked.append(moment)
        return Condition("requests", lambda: Look(self.sent, ""))


def made(folder: Path, monkeypatch: pytest.MonkeyPatch, *failed: int) -> tuple[FederationUpgrade, FakeTraffic]:
    demo = SimpleNamespace(client=SimpleNamespace(cluster=None), namespace="demo", call=lambda *_, **__: None)
    found = FederationUpgrade(cast(Any, demo), cast(Any, SimpleNamespace(spires={})), {}, folder)
    traffic = FakeTraffic(*failed)
    found.generator = cast(Any, traffic)
    clock = SimpleNamespace(time=lambda: BEGAN)
    monkeypatch.setattr(upgrade, "time", clock)
    found.enter_state("after")
    return found, traffic


def test_what_fails_after_the_shortest_stretch_and_was_recorded_with_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = int((PHASE_MIN_DURATION + 5) * RATE)
    found, traffic = made(tmp_path, monkeypatch, late)
    found.wait_phase_recorded()
    assert traffic.asked == [BEGAN + PHASE_MIN_DURATION] * len(CONNECTION_KINDS)
    assert [(each.phase, each.failed_outside_windows) for each in found.summaries()] == [("after", 1)] * len(
        CONNECTION_KINDS
    )
    assert json.loads((tmp_path / "traffic.json").read_text())[0]["failed"] == 1
    # All of it was there: there was nothing more to wait for.
    assert max(traffic.asked) <= traffic.sent[-1].start


def test_a_phase_that_has_not_ended_is_counted_up_to_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, traffic = made(tmp_path, monkeypatch)
    found.wait_phase_recorded()
    monkeypatch.setattr(upgrade, "time", SimpleNamespace(time=lambda: BEGAN + 6))
    found.enter_state("rolled back")
    now = time.time()
    monkeypatch.setattr(upgrade, "time", SimpleNamespace(time=lambda: now))
    found.summaries()
    assert traffic.asked[-len(CONNECTION_KINDS) :] == [now] * len(CONNECTION_KINDS)


class FakeSpire:
    """SPIRE on one cluster, which keeps what is asked of it; its agents take a while to be ready."""

    layout = LAYOUT

    def __init__(self, said: list[str]) -> None:
        self.said = said
        self.cluster = SimpleNamespace(on_nodes=self._on_nodes)

    def _on_nodes(self, *command: str) -> dict[str, str]:
        self.said.append(command[-1].partition(" || ")[2])
        return {}

    def server(self, *arguments: str) -> str:
        self.said.append(" ".join(arguments[:3]))
        return json.dumps({"prepared_authority": {"authority_id": "next"}})

    def replace_pods(self, older_than: float, _progress: Any) -> None:
        self.said.append(f"older than {older_than:g}")

    def wait_ready(self, _progress: Any, *, renewed: bool) -> None:
        self.said.append(f"renewed={renewed}")


def test_the_next_authorities_of_both_kinds_are_prepared_and_none_is_activated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, _ = made(tmp_path, monkeypatch)
    said: list[str] = []
    found.spires = {"server": cast(Any, FakeSpire(said)), "client": cast(Any, FakeSpire(said))}
    found.prepare_authorities()
    assert sorted(said) == ["localauthority jwt prepare"] * 2 + ["localauthority x509 prepare"] * 2


def test_pods_of_before_are_made_again_in_a_phase_of_their_own_and_a_new_pod_calls_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, _ = made(tmp_path, monkeypatch)
    said: list[str] = []
    called: list[str] = []
    found.spires = {"server": cast(Any, FakeSpire(said))}
    found.demo = cast(Any, SimpleNamespace(call=lambda job, **_: called.append(f"{job} after {said}")))
    found._began["server"] = 5
    found.renew_pods("new pods")
    assert [each.name for each in found.phases(BEGAN)] == ["after", "pods made again", "new pods"]
    found.call_outcome("new pods")
    links = "find /run/spire/agent-sockets -mindepth 1 -maxdepth 1 -type l -delete"
    assert called == [f"client-new-pods after {['older than 5', links, 'renewed=True']}"]


Read = Callable[[str], str]
SERVER_PLACE, AGENT_PLACE = ("spire-server", "spire-server"), ("spire-system", "spire-agent")
TEMPLATES = {
    name: k8s.V1PodTemplateSpec(metadata=k8s.V1ObjectMeta(labels={"of": name}), spec=k8s.V1PodSpec(containers=[]))
    for name in ("old", "new")
}


def state(recorded: Read, **agent: Any) -> PreservedState:
    """A state with the agents' workload as given: `template` (old or new) and `pods`."""
    pods = frozenset(agent.get("pods", ("a",)))
    workloads = {
        SERVER_PLACE: ControllerState(TEMPLATES["old"], frozenset("s")),
        agent.get("place", AGENT_PLACE): ControllerState(
            TEMPLATES[agent.get("template", "old")], pods, agent.get("waits_for_deletion", False)
        ),
    }
    return PreservedState(
        dns_names={},
        hints={},
        federates_with={},
        powers={},
        pod_ids={},
        copies={},
        release_ids=frozenset(),
        bundle=bundle(recorded("bundle-show.json")),
        volumes={},
        claims_outlive=frozenset(),
        is_restricted=True,
        socket_names=frozenset(),
        custom_resources=frozenset(),
        workloads=workloads,
        agent_pods=pods,
    )


@pytest.mark.parametrize(
    ("changed", "after", "said"),
    [
        # From the hardened chart 0.30.0 to 20 commits later: the pods stay, and rightly.
        ((), {}, ""),
        ((), {"pods": ("b",)}, "spire-agent: its pod template did not change, and its pods did"),
        # Scaled, or with a node more or less: values ask for another replica of a server, say.
        ((), {"pods": ("a", "b")}, ""),
        ((), {"pods": ()}, ""),
        ((), {"pods": ("b", "c")}, "spire-agent: its pod template did not change, and its pods did"),
        # By a hook of the chart that starts them again, say.
        ((), {"template": "new", "pods": ("b",)}, ""),
        ((), {"template": "new"}, "spire-agent: its pod template changed, and these pods are the old ones"),
        ((AGENT_PLACE,), {"template": "new", "pods": ("b",)}, ""),
        ((AGENT_PLACE,), {"template": "new"}, "spire-agent: its pod template changed, and these pods are the old ones"),
        ((AGENT_PLACE,), {"template": "new", "pods": ("a", "b")}, "these pods are the old ones"),
        # A default is spelled out now: nothing changes for the API server.
        ((AGENT_PLACE,), {}, ""),
        ((AGENT_PLACE,), {"pods": ("b",)}, "spire-agent: its pod template did not change, and its pods did"),
        # Renamed, or in another namespace: it is another one.
        ((AGENT_PLACE,), {"place": ("spire", "spire-agent"), "pods": ("b",)}, ""),
        ((), {"place": ("spire", "spire-agent"), "pods": ("b",)}, "spire-agent: it is not there any more"),
    ],
)
def test_pods_must_be_replaced_just_where_their_template_changes(
    recorded: Read, changed: tuple[tuple[str, str], ...], after: dict[str, Any], said: str
) -> None:
    if not said:
        checks.only_what_changed_was_replaced(state(recorded), state(recorded, **after), changed)
        return
    if "old ones" in said:
        waiting_for_it = state(recorded, **after, waits_for_deletion=True)
        checks.only_what_changed_was_replaced(state(recorded), waiting_for_it, changed)
    with pytest.raises(AssertionError, match=said):
        checks.only_what_changed_was_replaced(state(recorded), state(recorded, **after), changed)


NO_KEYS = bundle(json.dumps({"keys": []}))
CLAIM = {"spire-data-spire-server-0": "1"}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ({}, {}, ""),
        # For plugins, of another replica, or somebody else's.
        ({}, {"volumes": {**CLAIM, "plugins": "2"}}, ""),
        ({}, {"volumes": {"data": "2"}}, r"is another one: the claims \['spire-.*'\] became \['data'\]"),
        ({}, {"volumes": {"spire-data-spire-server-0": "2"}}, "the datastore is another one"),
        ({"claims_outlive": frozenset({"whenDeleted"})}, {"claims_outlive": frozenset()}, "whenDeleted: Delete"),
        ({"claims_outlive": frozenset()}, {"claims_outlive": frozenset({"whenDeleted"})}, ""),
        ({}, {"bundle": NO_KEYS}, "^x509-svid [^;]+ became x509-svid [^;]+$"),
        # Another StatefulSet's claim, while that of before is nobody's.
        ({}, {"bundle": NO_KEYS, "volumes": {**CLAIM, "data": "2"}}, r"; the claims \[.*\] became \['data', '"),
    ],
)
def test_a_datastore_is_the_same_with_the_claims_of_before_and_its_authorities(
    recorded: Read, old: dict[str, Any], new: dict[str, Any], said: str
) -> None:
    before = replace(state(recorded), volumes=CLAIM, **old)
    found = checks.why_datastore_is_another(before, replace(before, **new), LAYOUT.server)
    assert re.search(said, found) if said else not found


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ({}, ""),
        ({"volumes": {}}, r"server: the claims \['spire-data-spire-server-0'\] became \[\]"),
        ({"custom_resources": ()}, "custom resources that are not of the release were deleted: ClusterSPIFFEID own"),
        ({"entries": []}, r"no entry any more: \['spiffe://server.example/a'\]"),
        ({"given": "spiffe://server.example/other"}, "spiffe://server.example/other instead"),
    ],
)
def test_a_rollback_has_to_leave_users_what_they_had_before_the_upgrade(
    recorded: Read, held: Identity, lost: dict[str, Any], said: str
) -> None:
    entry = RegistrationEntry("1", "spiffe://server.example/a", "agent", ("unix:uid:0",), ())
    before = replace(
        state(recorded),
        volumes=CLAIM,
        custom_resources=frozenset({"ClusterSPIFFEID own"}),
        dns_names=dns_names([entry]),
    )
    listed = lost.get("custom_resources", ({"kind": "ClusterSPIFFEID", "metadata": {"name": "own"}},))
    spire = on_a_cluster(entries=lambda: lost.get("entries", [entry]), custom_resources=lambda _: listed)

    def still_given(identity: Identity) -> Condition[bool]:
        found = lost.get("given", identity.spiffe_id)
        return Condition("an identity", lambda: Look(True if found == identity.spiffe_id else None, f"{found} instead"))

    made: Any = SimpleNamespace(
        spires={"server": spire},
        before={"server": before},
        given={"server": held},
        own={"server": SimpleNamespace(still_given=still_given)},
    )
    after = replace(before, volumes=lost.get("volumes", {**CLAIM, "plugins": "2"}))
    if not said:
        checks.users_have_what_they_had(made, "server", after, 0.05)
        return
    with pytest.raises(AssertionError, match=said):
        checks.users_have_what_they_had(made, "server", after, 0.05)


def test_what_is_skipped_on_clusters_of_ones_own_takes_no_more_with_it_than_it_must() -> None:
    # Agents that have not been made to attest again make no links to their socket, and what they give can be asked.
    needed = {
        name: each.kwargs.get("depends", ())
        for name, test in vars(test_1_upgrade).items()
        for each in getattr(test, "pytestmark", ())
        if each.name == "dependency"
    }
    assert [name for name, depends in needed.items() if "new pods" in depends] == [
        "test_workloads_find_the_workload_apis_socket_by_every_name_that_it_had"
    ]


@pytest.fixture
def held(recorded: Read) -> Identity:
    """What a workload holds, its SVID not expired."""
    return replace(parse_identity(recorded("fetch.json")), x509_not_after="2100-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("agents_after", "changed", "said"),
    [
        (("a",), {}, ""),
        (("a",), {"x509_serial": "1"}, ""),
        (("b",), {"x509_serial": "1"}, ""),
        (("b",), {}, "the agent is a new one, and the X.509-SVID is the old one"),
        (("a",), {"x509_not_after": "2020-01-01T00:00:00Z"}, "2020"),
    ],
    ids=["same agent", "same agent, renewed", "new agent", "new agent, old SVID", "expired"],
)
def test_an_svid_must_be_another_one_just_where_the_agent_is(
    recorded: Read,
    held: Identity,
    agents_after: tuple[str, ...],
    changed: dict[str, Any],
    said: str,
) -> None:
    agents = (state(recorded), state(recorded, pods=agents_after))
    if not said:
        checks.svid_is_current(held, replace(held, **changed), agents)
        return
    with pytest.raises(AssertionError, match=said):
        checks.svid_is_current(held, replace(held, **changed), agents)


def test_what_an_upgrade_changed_is_read_from_helms_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = text(workload("DaemonSet"), workload("StatefulSet"))
    now = text(workload("DaemonSet", container={"image": "example.com/main:2"}), workload("StatefulSet"))
    for installed, changed in ((now, {("", "example")}), (before, set())):
        found, _ = made(tmp_path, monkeypatch)
        found._manifests["server"] = before
        found.spires = {"server": cast(Spire, SimpleNamespace(installed_manifests=lambda text=installed: text))}
        assert found.changed("server") == changed


def test_what_moves_from_one_release_to_the_other_is_deleted_before_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = text(
        manifest("CustomResourceDefinition", "clusterstaticentries.spire.spiffe.io", "apiextensions.k8s.io/v1")
    )
    installed = {RELEASE: text(workload("StatefulSet")), CRDS_RELEASE: entries}
    charts = {Path("spire"): f"{installed[RELEASE]}---\n{entries}", Path("spire-crds"): ""}
    environments: list[Any] = []

    def render(_helm: Path, chart: Path, *_: Any, environment: Any, **__: Any) -> str:
        environments.append(environment)
        return charts[chart]

    monkeypatch.setattr(upgrade, "render_upgrade", render)
    found, _ = made(tmp_path, monkeypatch)
    spire = SimpleNamespace(
        cluster=SimpleNamespace(kubernetes_version=lambda: "1.36.3", environment={"KUBECONFIG": "server"}),
        helm_path=Path("helm"),
        installed_manifests=lambda release=RELEASE: installed[release],
    )
    found.spires = {"server": cast(Spire, spire)}
    found.releases = {"server": Release(Path("spire"), Path("spire-crds"), {})}
    found._renames = {"server": []}
    found._preview("server")
    (sentence,) = found.losses["server"]
    assert sentence.startswith(
        "CustomResourceDefinition clusterstaticentries.spire.spiffe.io would be deleted, with every object of its kind"
    )
    assert environments, "what charts look up is on the cluster"
    assert all(each == {"KUBECONFIG": "server"} for each in environments)


def test_pods_that_stay_with_a_configuration_of_before_are_named_for_now_and_for_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, _ = made(tmp_path, monkeypatch)
    reader = workload(pod={"volumes": [{"name": "configuration", "configMap": {"name": "settings"}}]})
    found._manifests["server"] = text(config_map(level="info"), reader)
    now = text(config_map(level="debug"), reader)
    found.spires = {"server": cast(Spire, SimpleNamespace(installed_manifests=lambda: now, cluster=None))}
    found._would_be_unread[ObjectKey("StatefulSet", "one", "spire-server", "apps")] = ["ConfigMap one/x"]
    made_at = {"example": [BEGAN - 100], "spire-server": [BEGAN - 50, BEGAN + 5]}
    asked: list[tuple[str, str, str]] = []

    def pods_of(_: Any, *place: str) -> list[Any]:
        asked.append(cast(tuple[str, str, str], place))
        times = [datetime.fromtimestamp(each, UTC) for each in made_at[place[2]]]
        ending = {BEGAN - 200: datetime.fromtimestamp(BEGAN + 30, UTC)}
        return [
            SimpleNamespace(
                metadata=SimpleNamespace(creation_timestamp=each, deletion_timestamp=ending.get(int(each.timestamp())))
            )
            for each in times
        ]

    monkeypatch.setattr(upgrade, "controller_pods", pods_of)
    found._began["server"] = BEGAN
    assert found.unread_configuration("server") == [
        "Deployment example goes on with what ConfigMap settings had before: its pods stay",
        "StatefulSet one/spire-server would go on with what ConfigMap one/x has now if other values changed that: its "
        "pods would stay",
    ]
    assert sorted(asked) == [("Deployment", "spire-mgmt", "example"), ("StatefulSet", "one", "spire-server")]
    # Something else has started them again, and will.
    made_at["spire-server"] = [BEGAN + 5]
    assert [each.partition(" ")[0] for each in found.unread_configuration("server")] == ["Deployment"]
    # The one of before may have long to end.
    made_at["example"] = [BEGAN - 200, BEGAN + 1]
    assert found.unread_configuration("server") == []


RENAMED = replace(LAYOUT, controller_manager=replace(LAYOUT.controller_manager, class_name="other"))


class RolledBack:
    """Stands in for SPIRE on a cluster whose Helm refuses the first rollback, which makes a revision all the same."""

    cluster = SimpleNamespace(label="server")
    layout = LAYOUT

    def __init__(self) -> None:
        self.revision = 4
        self.asked: list[int] = []

    def upgrade(self, *_: Any) -> None:
        self.revision += 1
        self.layout = RENAMED

    def rollback(self, revision: int, _: Any) -> None:
        self.asked.append(revision)
        self.revision += 1
        if len(self.asked) == 1:
            raise SpireError("the webhook does not answer")
        self.layout = LAYOUT

    def wait_ready(self, _: Any, *, keep_agents: bool) -> None:
        assert keep_agents
        assert waiting._asked_when_stalled == [], "the revision that was refused would end this wait"


def test_a_rollback_goes_to_the_revision_before_the_upgrade_whatever_was_made_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, _ = made(tmp_path, monkeypatch)
    spire = RolledBack()
    found.spires = {"server": cast(Spire, spire)}
    found.releases = {"server": cast(Any, None)}
    followed: list[tuple[Any, Any]] = []
    found.federated = cast(Any, SimpleNamespace(follow=lambda now, old: followed.append((now.layout, old))))
    renamed: list[Any] = []
    found.own = {"server": cast(Any, SimpleNamespace(follow=lambda old: renamed.append((spire.layout, old))))}
    settled: list[tuple[str, int]] = []
    found._watch = cast(Any, SimpleNamespace(settle=lambda name: settled.append((name, spire.revision))))
    found.upgrade("server", "after")
    with waiting.ask_when_stalled(lambda: "Helm's release spire has failed"):
        found.rollback("server")
    assert spire.asked == [4, 4]
    assert found.refused == {"server": "the webhook does not answer"}
    # What the run made beside SPIRE has to have the new names, and then the old ones again.
    assert followed == [(RENAMED, LAYOUT), (LAYOUT, RENAMED)]
    assert renamed == followed
    assert settled == [("server", 5), ("server", 7)], "what either has taken away has gone by then"


def test_what_is_left_in_clusters_that_are_not_the_suites_own_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Silent:
        cluster = SimpleNamespace(is_external=True)

        @property
        def revision(self) -> int:
            raise ApiException(status=500)

    def spire(*, is_external: bool) -> Any:
        cluster = SimpleNamespace(is_external=is_external)
        return SimpleNamespace(cluster=cluster, revision=3, release_status="failed")

    found, _ = made(tmp_path, monkeypatch)
    found.spires = {"server": spire(is_external=True), "client": spire(is_external=True)}
    found._revisions["server"] = 2
    # As after Ctrl-C: the client's was not begun with.
    assert found.left_behind() == [
        "server: the release spire is left at revision 3 (failed), and was at 2 before the upgrade"
    ]
    found.spires["server"] = cast(Any, Silent())
    assert found.left_behind()[0].startswith("server: the release spire is left as it may be, for its cluster does not")
    found.spires["server"] = spire(is_external=False)
    assert found.left_behind() == []


RENAMED_BY_VALUES = replace(RENAMED, jwt_issuer="https://issuer.example")


def test_what_the_charts_rename_by_themselves_and_what_the_values_do_are_apart() -> None:
    values = {"global": {"spire": {"clusterName": "north"}}}
    listed = SimpleNamespace(items=[SimpleNamespace(metadata=SimpleNamespace(name="apps"))])
    cluster = SimpleNamespace(core=SimpleNamespace(list_namespace=lambda: listed))
    read: list[Release] = []

    def read_layout(release: Release) -> Any:
        read.append(release)
        return RENAMED

    # Whatever each chart's words and images make of them: these differ with the version alone.
    installed = SimpleNamespace(
        layout=LAYOUT, values={"tag": "1"}, given_values=values, cluster=cluster, read_layout=read_layout
    )
    spires = {"server": installed, "client": installed}
    other = {"global": {"spire": {"clusterName": "north", "jwtIssuer": "https://issuer.example"}}}
    releases = {
        "server": Release(Path("new"), Path("crds"), {"tag": "2", **values}, values),
        "client": Release(Path("new"), Path("crds"), {"tag": "2", **other}, other),
    }
    layouts = {"server": RENAMED, "client": RENAMED_BY_VALUES}
    by_chart, by_values = upgrade.renamed(cast(Any, spires), layouts, releases)
    class_name, issuer = known_to_others(LAYOUT, RENAMED_BY_VALUES)
    assert by_chart == {"server": [class_name], "client": [class_name]}
    assert by_values == {"server": [], "client": [issuer]}
    assert read == [replace(releases["client"], values={"tag": "2", **values}, given=values)]
    assert upgrade.renamed(cast(Any, spires), dict.fromkeys(spires, LAYOUT), releases) == (
        {"server": [], "client": []},
        {"server": [], "client": []},
    )
    passed_over = replace(LAYOUT, controller_manager=replace(LAYOUT.controller_manager, ignore_namespaces=("apps",)))
    by_chart, _ = upgrade.renamed(cast(Any, spires), dict.fromkeys(spires, passed_over), releases)
    assert by_chart["server"] == known_to_others(LAYOUT, passed_over, ["apps"]) != []


@pytest.mark.parametrize("values", [{"own words": True}, {"jwtIssuer": "https://issuer.example"}])
def test_a_chart_that_cannot_do_with_the_values_of_before_renames_what_other_values_ask_for(
    values: dict[str, Any],
) -> None:
    def read_layout(_: Release) -> Any:
        raise ValueError("the chart does not render with these values: jwtIssuer must be set")

    cluster = SimpleNamespace(core=SimpleNamespace(list_namespace=lambda: SimpleNamespace(items=[])))
    spire = SimpleNamespace(layout=LAYOUT, given_values={}, cluster=cluster, read_layout=read_layout)
    release = Release(Path("new"), Path("crds"), values, {"jwtIssuer": "https://issuer.example"})
    by_chart, by_values = upgrade.renamed(
        {"server": cast(Spire, spire)}, {"server": RENAMED_BY_VALUES}, {"server": release}
    )
    assert by_chart["server"] == []
    assert by_values["server"] == known_to_others(LAYOUT, RENAMED_BY_VALUES)


def test_what_several_entries_of_one_id_or_one_pod_have_counts_together() -> None:
    entry = RegistrationEntry("1", "spiffe://server.example/a", "agent", (f"{POD_UID}u",), (), ("one",), "first")
    second = replace(entry, id="2", dns_names=("two",), hint="second")
    other = replace(entry, id="3", spiffe_id="spiffe://server.example/b", dns_names=(), hint="")
    entries = [entry, second, other]
    assert dns_names(entries) == {entry.spiffe_id: {"one", "two"}, other.spiffe_id: frozenset()}
    assert hints(entries) == {entry.spiffe_id: {"first", "second"}}
    assert pod_ids(entries) == {"u": {entry.spiffe_id, other.spiffe_id}}
    assert copies([entry, second, other]) == {
        (entry.spiffe_id, (f"{POD_UID}u",)): 2,
        (other.spiffe_id, (f"{POD_UID}u",)): 1,
    }
    assert release_ids(entries, [entry, other]) == {other.spiffe_id}, "others have the first one too"


def on_a_cluster(**answers: Any) -> Spire:
    return cast(
        Spire, SimpleNamespace(cluster=SimpleNamespace(label="server", **answers.pop("cluster", {})), **answers)
    )


def test_the_images_that_run_are_those_of_every_pod() -> None:
    expected = {"spire-server": "a:2", "spire-agent": "b:2"}
    for images, value in (
        ({"spire-server": {"a:2"}, "spire-agent": {"b:2"}, "tornjak": {"c:1"}}, True),
        ({"spire-server": {"a:2"}, "spire-agent": {"b:1", "b:2"}}, None),
        ({"spire-server": {"a:2"}}, None),
    ):
        spire = on_a_cluster(images=lambda images=images: images, kept_containers=set)
        condition = images_running(spire, expected)
        assert condition.look().value is value
    assert condition.look().seen == "others run: {'spire-agent': []}"
    # Of those whose pods somebody else deletes, old ones serve on.
    of_before = {"spire-server": {"a:2"}, "spire-agent": {"b:1"}}
    kept = on_a_cluster(images=lambda: of_before, kept_containers=lambda: {"spire-agent"})
    assert images_running(kept, expected).look().value is True


def test_the_images_of_pods_that_are_being_deleted_do_not_count(tmp_path: Path) -> None:
    def pod(image: str, deleted: str | None = None) -> Any:
        containers = [SimpleNamespace(name="spire-agent", image=image)]
        return SimpleNamespace(
            metadata=SimpleNamespace(deletion_timestamp=deleted), spec=SimpleNamespace(containers=containers)
        )

    agents = [pod("b:1", "2026-11-24T21:36:50Z"), pod("b:2"), pod("b:3")]
    listed: dict[str, list[Any]] = {"spire-mgmt": [], "spire-server": [], "spire-system": agents}
    core = SimpleNamespace(list_namespaced_pod=lambda namespace, **_: SimpleNamespace(items=listed[namespace]))
    cluster = cast(Any, SimpleNamespace(label="client", core=core, is_external=False))
    spire = Spire(cluster, tmp_path, "client.example", (), tmp_path, read_layout)
    spire.layout = LAYOUT
    assert spire.images() == {"spire-agent": {"b:2", "b:3"}}


def test_entries_must_all_be_there_again_and_none_twice(tmp_path: Path, recorded: Read) -> None:
    printed = recorded("entry-show.json")
    cluster = SimpleNamespace(label="server", execute=lambda *_, **__: SimpleNamespace(stdout=printed))
    spire = Spire(cast(Any, cluster), tmp_path, "server.example", (), tmp_path, read_layout)
    spire.layout = LAYOUT
    entries = spire.entries()
    before = replace(
        state(recorded),
        dns_names=dns_names(entries),
        pod_ids=pod_ids(entries),
        federates_with=federates_with(entries),
        powers=powers(entries),
    )
    assert identities_kept(spire, before).look().value == ""

    def seen(state: PreservedState) -> str:
        found = identities_kept(spire, state).look()
        assert found.value is None
        return found.seen

    lost = "spiffe://server.example/ns/demo/sa/lost"
    assert seen(replace(before, dns_names={**before.dns_names, lost: frozenset()})) == f"no entry any more: ['{lost}']"
    # What the release has no more, such as OIDC discovery that was switched off, needs none.
    of_release = replace(before, dns_names={**before.dns_names, lost: frozenset()}, release_ids=frozenset({lost}))
    assert identities_kept(spire, of_release).look().value == ""
    there = "spiffe://server.example/ns/demo/sa/default"
    named = {**before.dns_names, there: frozenset({"server.demo"})}
    assert seen(replace(before, dns_names=named)) == f"no DNS names any more: {{'{there}': ['server.demo']}}"
    hinted = replace(before, hints={there: frozenset({"default"}), lost: frozenset({"of one that is gone"})})
    assert seen(hinted) == f"no hint any more: {{'{there}': ['default']}}"
    uid = next(each for each, ids in before.pod_ids.items() if there in ids)
    of_its_own = {uid: frozenset({"spiffe://server.example/own"})}
    assert seen(replace(before, pod_ids=of_its_own)) == f"pods that have other SPIFFE IDs too: {{'{uid}': ['{there}']}}"
    # Whoever gives other identities knows of it.
    by_values = identities_kept(spire, hinted, values_differ=True).look()
    assert by_values == Look(f"no hint any more: {{'{there}': ['default']}}", "")
    assert identities_kept(spire, before, values_differ=True).look().value == ""
    # Users' own entries are none of theirs.
    own = {**before.dns_names, "spiffe://server.example/own-identity/by-hand": frozenset[str]()}
    assert identities_kept(spire, replace(before, dns_names=own), values_differ=True).look().value is None
    listed = json.loads(printed)
    listed["entries"].append({**listed["entries"][0], "id": "another"})
    printed = json.dumps(listed)
    assert identities_kept(spire, before, values_differ=True).look().value is None
    assert seen(before).startswith("entries that are there twice: [('spiffe://server.example/ns/demo/sa/default'")
    # As before, such as of one workload on two nodes.
    assert identities_kept(spire, replace(before, copies=copies(spire.entries()))).look().value == ""
    listed["entries"].append({**listed["entries"][0], "id": "a third"})
    both, printed = copies(spire.entries()), json.dumps(listed)
    assert seen(replace(before, copies=both)).startswith("entries that are there twice")
    listed["entries"].pop()
    listed["entries"] = [{**each, "admin": True, "hint": "of its own"} for each in listed["entries"][:-1]]
    printed = json.dumps(listed)
    able = before.powers
    assert seen(before).startswith(f"may do more now: {{'{there}': ['admin']")
    unasked = identities_kept(spire, before, values_differ=True).look()
    assert unasked.seen.startswith(f"may do more now: {{'{there}': ['admin']")
    vars(spire)["values"] = {"identities": {"default": {"admin": True}}}
    asked = identities_kept(spire, before, values_differ=True).look().value
    assert asked
    assert asked.startswith(f"may do more, as asked: {{'{there}': ['admin']")
    # As it was before; and a hint may come.
    assert identities_kept(spire, replace(before, powers=powers(spire.entries()))).look().value == ""
    listed["entries"] = [{**each, "admin": False, "downstream": True} for each in listed["entries"]]
    printed = json.dumps(listed)
    assert seen(replace(before, powers=able)).startswith(f"may do more now: {{'{there}': ['downstream']")
    listed["entries"] = [{**each, "downstream": False, "federates_with": []} for each in listed["entries"]]
    printed = json.dumps(listed)
    assert seen(before).startswith(f"no longer federates with: {{'{there}': ['client.example']")
    assert identities_kept(spire, replace(before, federates_with={})).look().value == ""


def test_custom_resources_that_are_not_of_the_release_are_known_by_kind_and_name() -> None:
    def custom_resources(plural: str) -> list[dict[str, Any]]:
        if plural == "clusterstaticentries":
            raise NotFoundException(status=404)
        of_release = {"name": "default", "annotations": {"meta.helm.sh/release-name": "spire"}}
        of_another = {"name": "app", "annotations": {"meta.helm.sh/release-name": "app"}}
        return [{"kind": plural, "metadata": each} for each in (of_release, of_another, {"name": "own"})]

    spire = on_a_cluster(custom_resources=custom_resources)
    kinds = ("clusterspiffeids", "clusterfederatedtrustdomains")
    assert own_custom_resources(spire) == {f"{kind} {name}" for kind in kinds for name in ("own", "app")}


@pytest.mark.parametrize(
    ("pod", "container", "init", "owns"),
    [
        ({"run_as_user": 1000, "fs_group": 1000}, None, None, True),
        ({"run_as_user": 1000}, None, None, False),
        # The chart's own: an init container that gives the volume to the server.
        ({"run_as_user": 1000}, None, {"run_as_user": 0}, True),
        (None, {"run_as_user": 1000}, None, False),
        # Whatever the image says, which is root by default.
        (None, None, None, True),
    ],
)
def test_pods_that_are_not_root_own_their_volumes_by_fs_group_or_by_an_init_container(
    pod: dict[str, int] | None, container: dict[str, int] | None, init: dict[str, int] | None, *, owns: bool
) -> None:
    def one(name: str, given: dict[str, int] | None) -> k8s.V1Container:
        return k8s.V1Container(name=name, security_context=k8s.V1SecurityContext(**given) if given else None)

    spec = k8s.V1PodSpec(
        containers=[one("spire-server", container)],
        init_containers=[one("chown", init)] if init else None,
        security_context=k8s.V1PodSecurityContext(**pod) if pod else None,
    )
    assert ControllerState(k8s.V1PodTemplateSpec(spec=spec), frozenset()).owns_its_volumes is owns
