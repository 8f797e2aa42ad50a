"""What a run must be allowed to do on somebody's cluster: which permissions it asks about, and what it says of them."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from fixtures.k8s.cluster import Cluster, ClusterError
from fixtures.preflight.check import Level
from fixtures.preflight.existing_clusters import access_review, permissions
from fixtures.preflight.existing_clusters.access_review import (
    ESCALATION,
    Permission,
    denied_permissions,
    permissions_in_words,
)
from fixtures.preflight.existing_clusters.permissions import (
    needed_beforehand,
    needed_then,
    of_connectivity,
    of_layout,
    of_release,
    of_suite,
    permission_checks,
    reached_services,
    resource_of,
)
from fixtures.preflight.existing_clusters.refusals import why_denied
from tests.unit.api_server import ApiServer, kubeconfig
from tests.unit.own_chart import LAYOUT, SERVER_NAMESPACE, SYSTEM_NAMESPACE

assert LAYOUT.oidc_provider is not None
assert LAYOUT.oidc_provider.service is not None
OIDC = LAYOUT.oidc_provider.service
LIST_NODES = Permission("", "nodes", "list")
EXEC = Permission("demo", "pods/exec", "create")
RUN_JOB = Permission("demo", "jobs.batch", "create")
READ_SECRETS = Permission("", "secrets", "get")


def settings(**given: Any) -> Any:
    default = {"no_install": False, "keep_clusters": "", "federate": "", "objects": {}, "contexts": {}}
    default["demo_namespace"] = ""
    clusters = [SimpleNamespace(name="server"), SimpleNamespace(name="client")]
    return SimpleNamespace(**{**default, "clusters": clusters, **given})


@pytest.fixture
def cluster(tmp_path: Path, api_server: ApiServer) -> Cluster:
    made = Cluster("server", kubectl=tmp_path, path=tmp_path, log=tmp_path / "log")
    made.kubeconfig_path.write_text(api_server.kubeconfig())
    return made


def test_who_may_do_everything_is_asked_one_question(cluster: Cluster, api_server: ApiServer) -> None:
    assert denied_permissions(cluster, [LIST_NODES, EXEC]) == []
    (asked,) = api_server.reviewed
    assert {name: asked[name] for name in ("verb", "group", "resource")} == dict.fromkeys(
        ("verb", "group", "resource"), "*"
    )


def test_what_is_not_allowed_is_found_by_its_group_subresource_and_namespace(
    cluster: Cluster, api_server: ApiServer
) -> None:
    api_server.allowed = lambda asked: asked["resource"] == "nodes"
    assert denied_permissions(cluster, [LIST_NODES, EXEC, RUN_JOB]) == [RUN_JOB, EXEC]
    asked = {each["resource"]: each for each in api_server.reviewed}
    assert asked["pods"] == {"namespace": "demo", "verb": "create", "group": "", "resource": "pods"} | {
        "subresource": "exec"
    }
    assert (asked["jobs"]["group"], asked["jobs"]["subresource"]) == ("batch", "")
    assert len(api_server.reviewed) == 4


@pytest.mark.parametrize(
    ("verbs", "missing"), [((), [READ_SECRETS]), (("escalate",), [READ_SECRETS]), (("escalate", "bind"), [])]
)
def test_what_roles_grant_must_be_held_unless_roles_may_be_escalated(
    cluster: Cluster, api_server: ApiServer, verbs: tuple[str, ...], missing: list[Permission]
) -> None:
    api_server.allowed = lambda asked: asked["resource"] == "nodes" or asked["verb"] in verbs
    assert denied_permissions(cluster, [LIST_NODES], [READ_SECRETS]) == missing
    assert not ESCALATION & set(denied_permissions(cluster, [LIST_NODES], [READ_SECRETS]))


def test_an_api_server_that_does_not_answer_is_named(cluster: Cluster) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    cluster.kubeconfig_path.write_text(kubeconfig(port))
    with pytest.raises(ClusterError, match=r"^server: its API server does not answer: "):
        denied_permissions(cluster, [LIST_NODES])


def test_a_permission_is_a_rule_of_a_role_too() -> None:
    assert [EXEC.rule, RUN_JOB.rule] == [
        {"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create"]},
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create"]},
    ]


def test_permissions_are_said_together_where_they_are_alike() -> None:
    found = access_review.permissions(("list", "get"), ["pods", "services"], "demo") | {LIST_NODES, EXEC}
    assert permissions_in_words(found) == "list nodes; get and list pods and services in demo; create pods/exec in demo"


def test_all_that_is_denied_on_any_cluster_is_one_sentence() -> None:
    clusters: Any = [SimpleNamespace(label="server"), SimpleNamespace(label="client")]
    assert why_denied(clusters, [[], []]) == ""
    assert why_denied(clusters, [[LIST_NODES], [EXEC]]) == (
        "the credentials of --context may not do what this run needs: on server list nodes; "
        "on client create pods/exec in demo"
    )


@pytest.mark.parametrize(
    ("kind", "version", "resource"),
    [
        ("Namespace", "v1", "namespaces"),
        ("NetworkPolicy", "networking.k8s.io/v1", "networkpolicies.networking.k8s.io"),
        ("Ingress", "networking.k8s.io/v1", "ingresses.networking.k8s.io"),
        ("CSIDriver", "storage.k8s.io/v1", "csidrivers.storage.k8s.io"),
        (
            "SecurityContextConstraints",
            "security.openshift.io/v1",
            "securitycontextconstraints.security.openshift.io",
        ),
    ],
)
def test_an_objects_resource_is_the_one_that_kubernetes_guesses(kind: str, version: str, resource: str) -> None:
    assert resource_of({"apiVersion": version, "kind": kind}) == resource


def test_a_release_needs_what_helm_makes_of_it_and_what_its_roles_grant(recorded: Callable[[str], str]) -> None:
    needed, granted = of_release(list(yaml.safe_load_all(recorded("own-chart.yaml"))))
    assert Permission(SYSTEM_NAMESPACE, "daemonsets.apps", "create") in needed
    assert Permission("", "customresourcedefinitions.apiextensions.k8s.io", "create") in needed
    assert Permission("spire-mgmt", "secrets", "update") in needed
    # The server attests agents by TokenReviews.
    assert Permission("", "tokenreviews.authentication.k8s.io", "create") in granted - needed


def test_a_run_of_the_upgrade_needs_what_both_releases_do() -> None:
    metadata = {"name": "a", "namespace": "b"}
    made = {
        "old": [{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata}],
        "new": [{"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata}],
    }
    supply: Any = SimpleNamespace(
        releases={"server": "old"}, upgraded={"server": "new"}, manifests=made.get, layout=lambda _: LAYOUT
    )
    needed, granted = needed_beforehand(settings(), supply, "server", "demo")
    both = {Permission("b", "deployments.apps", "create"), Permission("b", "poddisruptionbudgets.policy", "create")}
    assert both <= needed
    assert not granted


@pytest.mark.parametrize(
    ("hook", "is_made"), [("pre-install, pre-upgrade", True), ("pre-delete", False), ("test", False)]
)
def test_hooks_that_an_installation_runs_need_a_job_and_its_end(hook: str, is_made: bool) -> None:
    metadata = {"name": "a", "namespace": "b", "annotations": {"helm.sh/hook": hook}}
    needed, _ = of_release([{"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata}])
    verbs = {each.verb for each in needed if each.resource == "jobs.batch"}
    assert verbs == ({"get", "create", "patch", "list", "watch", "delete"} if is_made else set())


def test_each_cluster_needs_what_is_done_there() -> None:
    server, client = (of_suite(settings(), name, "demo") for name in ("server", "client"))
    assert RUN_JOB in client - server
    assert Permission("demo", "services", "create") in server - client
    assert {LIST_NODES, EXEC, Permission("", "namespaces", "delete")} <= server & client


def test_pods_of_the_demo_are_deleted_where_the_run_may_change_a_release() -> None:
    delete = Permission("demo", "pods", "deletecollection")
    assert delete in of_suite(settings(), "server", "demo")
    assert delete not in of_suite(settings(no_install=True, federate="existing"), "server", "demo")


def test_an_installation_that_is_there_is_read_and_needs_no_permission_to_install() -> None:
    found = of_suite(settings(no_install=True, federate="existing"), "server", "demo-a1")
    assert Permission("", "statefulsets.apps", "list") in found
    assert not any(each.resource.startswith(("secrets", "customresourcedefinitions")) for each in found)
    federation = {each.verb for each in found if each.resource.startswith("clusterfederatedtrustdomains")}
    assert federation == {"list"}
    # What the server's Services lead to is looked at where this run has installed them.
    slices = Permission(SERVER_NAMESPACE, "endpointslices.discovery.k8s.io", "list")
    assert {Permission(SERVER_NAMESPACE, "pods", "delete"), slices} <= of_layout(LAYOUT, installs=True)
    assert slices not in of_layout(LAYOUT, installs=False)
    assert not any(each.verb == "delete" for each in of_layout(LAYOUT, installs=False))


def test_once_spire_is_found_all_that_is_missing_is_asked_about_together() -> None:
    given = settings(no_install=True, federate="existing")
    found = needed_then(given, "client", "demo", LAYOUT, "node-port")
    assert of_suite(given, "client", "demo") <= found
    assert Permission(SERVER_NAMESPACE, "pods/exec", "create") in found


def test_what_is_given_by_apply_is_made_and_removed() -> None:
    given = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pull", "namespace": "demo"}}
    server, client = (of_suite(settings(objects={"server": (given,)}), name, "demo") for name in ("server", "client"))
    assert {each.verb for each in server - client if each.resource == "secrets"} == {"get", "create", "patch", "delete"}


@pytest.mark.parametrize(
    ("way", "cluster", "federate", "needed"),
    [
        ("port-forward", "server", "", {("demo", "pods/portforward"), (SERVER_NAMESPACE, "pods/portforward")}),
        ("port-forward", "client", "", {(SERVER_NAMESPACE, "pods/portforward")}),
        ("port-forward", "client", "existing", set()),
        ("node-port", "server", "existing", {("demo", "services")}),
        ("node-port", "client", "", {(SERVER_NAMESPACE, "services")}),
        ("given", "server", "", set()),
    ],
)
def test_what_makes_endpoints_reachable_is_needed_where_it_is_done(
    way: str, cluster: str, federate: str, needed: set[tuple[str, str]]
) -> None:
    layout = replace(LAYOUT, oidc_provider=None)
    found = needed_then(settings(federate=federate), cluster, "demo", layout, way)
    # Asked from the other cluster wherever there is one.
    assert needed_then(settings(federate="existing"), "client", "demo", LAYOUT, way) == of_connectivity(
        way, SERVER_NAMESPACE
    )
    assert {(each.namespace, each.resource) for each in found if each.verb == "create"} == needed


@pytest.mark.parametrize(
    ("cluster", "federate", "with_provider", "names"),
    [
        ("server", "", False, ["server-service", LAYOUT.bundle_endpoint.service.name]),
        ("client", "", False, [LAYOUT.bundle_endpoint.service.name]),
        ("server", "existing", False, ["server-service"]),
        ("client", "existing", True, [OIDC.name]),
    ],
)
def test_the_services_that_are_made_reachable_are_those_that_the_run_exposes(
    cluster: str, federate: str, with_provider: bool, names: list[str]
) -> None:
    layout = LAYOUT if with_provider else replace(LAYOUT, oidc_provider=None)
    found = reached_services(settings(federate=federate), cluster, "demo", layout)
    assert [name for _, name, _ in found] == names
    endpoint = LAYOUT.bundle_endpoint.service
    known = [("demo", "server-service", 8443), *((each.namespace, each.name, each.port) for each in (endpoint, OIDC))]
    assert set(found) <= set(known)


def test_a_preflight_looks_at_the_permissions_of_each_context(tmp_path: Path, api_server: ApiServer) -> None:
    (tmp_path / "first").write_text(yaml.safe_dump({"clusters": [], "contexts": [], "users": []}))
    (tmp_path / "second").write_text(api_server.kubeconfig())
    given = settings(contexts={"client": "a"}, kubeconfigs=(tmp_path / "first", tmp_path / "second"))
    (check,) = permission_checks(given)
    assert (check.level, check.what) == (Level.OK, "permissions")
    api_server.allowed = lambda asked: asked["resource"] == "jobs"
    (check,) = permission_checks(given)
    assert check.level is Level.PROBLEM
    assert check.words.startswith("on client the context a may not ")
    assert "list nodes" in check.words
    assert "jobs" not in check.words
    assert permissions.permission_checks(settings()) == []
