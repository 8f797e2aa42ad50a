"""What pods take of a release's layout: labels, the CSI driver's name, the socket, and the SPIFFE ID."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fixtures.k8s.cluster import ClusterError
from fixtures.k8s.server_side_apply import LABELS, WORKLOAD_LABEL
from fixtures.k8s.workload_settings import WorkloadSettings
from fixtures.spire.api_types import RegistrationEntry
from fixtures.spire.installation import Spire
from fixtures.spire.layout import Layout, read
from fixtures.spire.server_cli import SpireError
from fixtures.workloads.manifests import load_manifests
from fixtures.workloads.workload_namespace import (
    JOB_LABEL,
    SOCKET_VARIABLE,
    WorkloadNamespace,
    namespace_manifest,
    why_namespace_refused,
)
from tests.unit.kubernetes_objects import KubernetesObjects, node
from tests.unit.own_chart import LAYOUT
from tests.unit.spire.layout_examples import NAMESPACE, identity, release

MARKED = {"spiffe.io/spire-managed-identity": "true"}
POD_NAME = "spiffe://{{ .TrustDomain }}/pod/{{ .PodMeta.Name }}"


def of(
    layout: Layout,
    *entries: RegistrationEntry,
    federates_with: tuple[str, ...] = ("two.example",),
    assigns_users: bool = False,
    given: WorkloadSettings = WorkloadSettings(),  # noqa: B008 - it is frozen
    nodes: Sequence[Any] = (),
) -> WorkloadNamespace:
    pods = [
        SimpleNamespace(metadata=SimpleNamespace(name=f"pod-{uid}", uid=uid, creation_timestamp=created))
        for created, uid in enumerate(("a0", "a1"))
    ]
    of_job = f"{WORKLOAD_LABEL}=client,{JOB_LABEL}=first"

    def listed(_: str, *, label_selector: str = "", **__: Any) -> Any:
        return SimpleNamespace(items=pods[:1] if label_selector == of_job else pods)

    core = SimpleNamespace(list_namespaced_pod=listed)
    fields = {"is_external": False, "assigns_users": assigns_users, "workload_settings": given}
    cluster = SimpleNamespace(label="server", core=core, list_nodes=lambda: list(nodes), **fields)
    spire: Any = SimpleNamespace(cluster=cluster, layout=layout, federates_with=federates_with)
    spire.entries = lambda: list(entries)
    return WorkloadNamespace(cast(Spire, spire), "demo")


def layout(*identities: dict[str, Any]) -> Layout:
    return read(release(*identities), NAMESPACE)


def test_with_the_charts_own_selectors_nothing_is_added() -> None:
    namespace = of(LAYOUT, federates_with=("client.example",))
    assert namespace.manifest()["metadata"] == {"name": "demo", "labels": LABELS}
    for manifest in load_manifests("server.yaml"):
        metadata = {**manifest["metadata"], "labels": {**manifest["metadata"].get("labels", {}), **LABELS}}
        assert namespace.place(manifest) == {**manifest, "metadata": metadata}
    assert namespace.spiffe_id("server") == "spiffe://server.example/ns/demo/sa/default"
    assert namespace.spiffe_id("probe", "probe") == "spiffe://server.example/ns/demo/sa/probe"


WORKLOADS = ("client.yaml", "client-fail.yaml", "probe.yaml", "server.yaml", "traffic.yaml")


@pytest.mark.parametrize("name", WORKLOADS)
def test_pods_have_a_fixed_user_where_the_cluster_assigns_none(name: str) -> None:
    workload = next(each for each in load_manifests(name) if "template" in each.get("spec", {}))
    fixed, assigned = (
        of(LAYOUT, federates_with=("client.example",), assigns_users=each).place(workload)["spec"]["template"]["spec"]
        for each in (False, True)
    )
    assert (fixed["securityContext"]["runAsUser"], fixed["securityContext"]["runAsGroup"]) == (65532, 65532)
    others = {key: value for key, value in fixed["securityContext"].items() if not key.startswith("runAs")}
    assert assigned["securityContext"] == {**others, "runAsNonRoot": True}


@pytest.mark.parametrize("name", WORKLOADS)
def test_namespace_and_pods_have_what_is_given_of_them(name: str) -> None:
    dedicated = {"key": "dedicated", "operator": "Exists"}
    given = WorkloadSettings({"team": "mesh"}, {"pool": "spire"}, (dedicated,))
    namespace = of(LAYOUT, federates_with=("client.example",), given=given)
    assert namespace.manifest()["metadata"]["labels"] == {"team": "mesh", **LABELS}
    workload = next(each for each in load_manifests(name) if "template" in each.get("spec", {}))
    placed = namespace.place(workload)["spec"]["template"]["spec"]
    assert (placed["nodeSelector"], placed["tolerations"]) == ({"pool": "spire"}, [dedicated])


SPIRES = {"pool": "spire"}  # the label of the nodes that SPIRE's agents and CSI driver are for
IN_POOL = replace(
    LAYOUT,
    agents=tuple(replace(each, node_selector=SPIRES) for each in LAYOUT.agents),
    csi_driver=replace(LAYOUT.csi_driver, node_selector=SPIRES),
)
NO_PODS = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}


def required_nodes(namespace: WorkloadNamespace, name: str) -> list[str]:
    """The nodes on which alone the pods of a manifest may run, as the API server has such an affinity; none for all."""
    workload = next(each for each in load_manifests(name) if "template" in each.get("spec", {}))
    spec = namespace.place(workload)["spec"]["template"]["spec"]
    if "affinity" not in spec:
        return []
    terms = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    # A requirement on a field takes one value alone.
    for ((field,),) in (tuple(term.values()) for term in terms):
        assert (field["key"], field["operator"], len(field["values"])) == ("metadata.name", "In", 1)
    return [term["matchFields"][0]["values"][0] for term in terms]


@pytest.mark.parametrize("name", WORKLOADS)
def test_pods_are_put_beside_an_agent_and_the_driver_where_these_are_not_on_every_node(name: str) -> None:
    objects = KubernetesObjects()
    nodes = [node(objects, each, labels=SPIRES) for each in ("b", "c")]
    nodes = [node(objects, "a"), *nodes, node(objects, "control-plane", NO_PODS, labels=SPIRES)]
    of_all = of(IN_POOL, federates_with=("client.example",), nodes=nodes)
    assert required_nodes(of_all, name) == ["b", "c"]
    # An agent without the driver is not enough, nor the driver without an agent.
    for half in (replace(LAYOUT, agents=IN_POOL.agents), replace(LAYOUT, csi_driver=IN_POOL.csi_driver)):
        assert required_nodes(of(half, federates_with=("client.example",), nodes=nodes), name) == ["b", "c"]


def test_pods_are_left_to_the_scheduler_where_every_node_that_takes_them_has_both_or_none_has() -> None:
    objects = KubernetesObjects()
    both, plain = node(objects, "b", labels=SPIRES), node(objects, "a", labels={"pool": "demo"})
    chosen = WorkloadSettings(node_selector=SPIRES)
    cases = [
        (IN_POOL, [both], WorkloadSettings()),
        (LAYOUT, [both, plain, node(objects, "control-plane", NO_PODS)], WorkloadSettings()),
        (IN_POOL, [both, plain], chosen),
        (IN_POOL, [plain], WorkloadSettings()),
        # One may be added for them.
        (IN_POOL, [both, plain], WorkloadSettings(node_selector={"pool": "new"})),
    ]
    for found, nodes, given in cases:
        namespace = of(found, federates_with=("client.example",), given=given, nodes=nodes)
        assert required_nodes(namespace, "client.yaml") == []


def test_what_an_identity_asks_for_that_users_workloads_may_lack_is_said() -> None:
    assert of(LAYOUT, federates_with=("client.example",)).opt_in == ""
    asked = identity("chosen", federatesWith=["two.example"], podSelector={"matchLabels": MARKED})
    words = "server: identities are for pods with spiffe.io/spire-managed-identity=true alone"
    assert of(layout(asked)).opt_in == words
    both = identity(
        "chosen",
        federatesWith=["two.example"],
        podSelector={"matchLabels": MARKED},
        namespaceSelector={"matchLabels": {"team": "mesh"}},
    )
    assert of(layout(both)).opt_in == words.replace("pods", "namespaces with team=mesh and pods")


@pytest.mark.parametrize("name", WORKLOADS)
def test_pods_fit_where_resources_are_asked_for_and_have_no_sidecar(name: str) -> None:
    workload = next(each for each in load_manifests(name) if "template" in each.get("spec", {}))
    template = workload["spec"]["template"]
    (container,) = template["spec"]["containers"]
    assert set(container["resources"]["requests"]) == set(container["resources"]["limits"]) == {"cpu", "memory"}
    assert template["metadata"]["labels"]["sidecar.istio.io/inject"] == "false"
    assert template["metadata"]["annotations"] == {"linkerd.io/inject": "disabled"}


def test_pods_take_the_labels_the_driver_and_the_socket_of_the_layout() -> None:
    namespace = of(layout(identity("marked", podSelector={"matchLabels": MARKED})))
    deployment, _ = load_manifests("server.yaml")
    placed = namespace.place(deployment)
    template = placed["spec"]["template"]
    assert template["metadata"]["labels"] == {**MARKED, WORKLOAD_LABEL: "server", "sidecar.istio.io/inject": "false"}
    assert placed["spec"]["selector"]["matchLabels"] == {WORKLOAD_LABEL: "server"}
    assert [volume["csi"]["driver"] for volume in template["spec"]["volumes"]] == ["one.csi.example"]
    sockets = [each["value"] for each in template["spec"]["containers"][0]["env"] if each["name"] == SOCKET_VARIABLE]
    assert sockets == ["unix:///spiffe-workload-api/workload.sock"]
    assert namespace.manifest()["metadata"]["labels"] == LABELS


def test_the_namespace_takes_the_labels_that_a_namespace_selector_asks_for() -> None:
    namespace = of(layout(identity("marked", namespaceSelector={"matchLabels": MARKED})))
    assert namespace.manifest()["metadata"] == {"name": "demo", "labels": {**LABELS, **MARKED}}
    (job,) = load_manifests("client.yaml")
    placed = namespace.place(job)
    assert placed["spec"]["template"]["metadata"]["labels"] == job["spec"]["template"]["metadata"]["labels"]


def test_where_no_entry_would_federate_nothing_is_added_and_the_diagnosis_is_left_to_say_why() -> None:
    namespace = of(layout(identity("other", class_name="another", podSelector={"matchLabels": MARKED})))
    assert namespace.manifest()["metadata"] == {"name": "demo", "labels": LABELS}


def test_an_id_that_only_an_entry_has_is_taken_from_it() -> None:
    by_name = layout(replace_template(identity("named"), POD_NAME))
    entry = RegistrationEntry("1", "spiffe://one.example/pod/server-5", "", ("k8s:pod-uid:a1",), ())
    assert of(by_name, entry).spiffe_id("server") == "spiffe://one.example/pod/server-5"
    other = replace(entry, selectors=("k8s:pod-uid:b2",))
    with pytest.raises(SpireError, match=f"no pod demo/{WORKLOAD_LABEL}=server has an entry"):
        of(by_name, other).spiffe_id("server")
    with pytest.raises(SpireError, match="pod demo/pod-a1 has 2 SPIFFE IDs"):
        of(by_name, entry, replace(entry, spiffe_id="spiffe://one.example/another")).spiffe_id("server")


def test_where_each_pod_has_an_id_of_its_own_it_is_that_of_the_newest_or_of_a_job() -> None:
    by_name = layout(replace_template(identity("named"), POD_NAME))
    newest = RegistrationEntry("1", "spiffe://one.example/pod/client-2", "", ("k8s:pod-uid:a1",), ())
    oldest = RegistrationEntry("2", "spiffe://one.example/pod/client-1", "", ("k8s:pod-uid:a0",), ())
    namespace = of(by_name, oldest, newest)
    assert namespace.spiffe_id("client") == newest.spiffe_id
    assert namespace.spiffe_id("client", job="first") == oldest.spiffe_id
    # The newest may have none any more.
    assert of(by_name, oldest).spiffe_id("client") == oldest.spiffe_id


def replace_template(found: dict[str, Any], template: str) -> dict[str, Any]:
    found["spec"]["spiffeIDTemplate"] = template
    return found


OWNERLESS = (
    "namespaces \"demo\" is forbidden: ValidatingAdmissionPolicy 'namespaces-have-owners' with binding "
    "'namespaces-have-owners' denied request: every namespace needs the label owner"
)
FROZEN = 'admission webhook "freeze.example" denied the request: nothing new until Monday'
NO_DRY_RUN = 'admission webhook "audit.example" does not support dry run'


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("", ""),
        (OWNERLESS, f"{OWNERLESS}; give --namespace-label=LABEL=VALUE"),
        (FROZEN, FROZEN),
        # Nothing is known of these: the run will see.
        (NO_DRY_RUN, ""),
        ('failed calling webhook "audit.example": connect: connection refused', ""),
    ],
)
def test_a_namespace_that_a_policy_refuses_is_known_before_it_is_made(answer: str, expected: str) -> None:
    asked: list[Any] = []

    def apply(manifest: Any, *, dry_run: bool) -> None:
        asked.append((manifest["metadata"], dry_run))
        if answer:
            raise ClusterError(f"server: `apply Namespace demo (dry run)` was not carried out: {answer}")

    given = WorkloadSettings(namespace_labels={"cost": "7"})
    cluster: Any = SimpleNamespace(label="server", apply=apply, workload_settings=given, is_external=False)
    found = layout(identity("own", namespaceSelector={"matchLabels": MARKED}))
    said = why_namespace_refused(cluster, found, "demo", ["two.example"])
    assert said == (f"server: an admission policy refuses the namespace demo: {expected}" if expected else "")
    assert asked == [({"name": "demo", "labels": {"cost": "7", **LABELS, **MARKED}}, True)]
    # What is missing for an identity is another question.
    assert why_namespace_refused(cluster, found, "demo", ["never.example"]) == said
    assert asked[1:] == [({"name": "demo", "labels": {"cost": "7", **LABELS}}, True)]


@pytest.mark.parametrize(
    ("there", "made", "marked"),
    [
        (None, False, True),
        ({"owner": "somebody"}, False, False),
        ({"owner": "somebody"}, True, True),
        (LABELS, False, True),
    ],
    ids=["not there", "somebody's", "of --apply", "of a run that was killed"],
)
def test_a_namespace_of_somebodys_does_not_get_the_mark_by_which_the_suites_objects_are_deleted(
    there: dict[str, str] | None, made: bool, marked: bool
) -> None:
    cluster: Any = SimpleNamespace(
        is_external=True,
        workload_settings=WorkloadSettings(),
        was_made_by_run=lambda _: made,
        read=lambda _: None if there is None else {"metadata": {"name": "demo", "labels": there}},
    )
    found = namespace_manifest(cluster, "demo", {"spiffe": "on"})["metadata"]["labels"]
    assert found == ({**LABELS, "spiffe": "on"} if marked else {"spiffe": "on"})
