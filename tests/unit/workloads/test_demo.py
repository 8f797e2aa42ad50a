"""The demo's manifests and logs as data."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml

from fixtures.core.waiting import UnrecoverableError
from fixtures.k8s import conditions
from fixtures.k8s.server_side_apply import WORKLOAD_LABEL
from fixtures.workloads import demo, manifests
from fixtures.workloads.demo import CLIENT_LINES, NO_BEARER_MESSAGE
from fixtures.workloads.go_spiffe import rejected_audience, unexpected_id
from fixtures.workloads.probe import SUCCESS_LINE
from tests.unit.kubernetes_objects import NOW, KubernetesObjects, stamp

Read = Callable[[str], str]
SERVER_ID = "spiffe://server.example/ns/demo/sa/default"
FILES = sorted(path.name for path in manifests.WORKLOADS.glob("*.yaml"))
# Volumes that pods may have under the pod-security standard `restricted`.
VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}


@pytest.fixture
def manifest() -> dict[str, Any]:
    (found,) = manifests.load_manifests("client.yaml")
    return found


def environment(manifest: dict[str, Any]) -> dict[str, str]:
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    return {item["name"]: item["value"] for item in container["env"]}


def pod_specs(name: str) -> list[dict[str, Any]]:
    return [
        item["spec"]["template"]["spec"]
        for item in manifests.load_manifests(name)
        if "template" in item.get("spec", {})
    ]


def test_the_id_that_the_client_did_not_expect_is_read_from_its_log(recorded: Read) -> None:
    assert unexpected_id(recorded("job-client-client-fail.log")) == SERVER_ID


@pytest.mark.parametrize("log", ["job-client-client.log", "job-client-client-wrong-audience.log", "demo-server.log"])
def test_a_log_without_an_unexpected_id_names_none(recorded: Read, log: str) -> None:
    assert unexpected_id(recorded(log)) is None


def test_the_rejected_audience_is_read_with_the_one_that_was_expected(recorded: Read) -> None:
    rejected = [line for line in recorded("demo-server.log").splitlines() if "Invalid token" in line]
    assert len(rejected) == 3
    for line in rejected:
        assert rejected_audience(line) == ([SERVER_ID], [f"{SERVER_ID}-alternate"])


def test_several_audiences_are_distinguished() -> None:
    line = 'jwtsvid: expected audience in ["spiffe://a/x" "spiffe://b/y"] (audience=["one" "two"])'
    assert rejected_audience(line) == (["spiffe://a/x", "spiffe://b/y"], ["one", "two"])


def test_other_lines_of_the_server_reject_no_audience(recorded: Read) -> None:
    others = [line for line in recorded("demo-server.log").splitlines() if "Invalid token" not in line]
    assert len(others) == 9
    assert [rejected_audience(line) for line in others] == [None] * 9


@pytest.mark.parametrize("log", ["job-client-client.log", "job-client-client-wrong-audience.log"])
def test_the_clients_recorded_log_begins_with_the_tutorials_lines(recorded: Read, log: str) -> None:
    lines = recorded(log).splitlines()
    assert tuple(lines[:-1]) == CLIENT_LINES
    assert lines[-1] == (SUCCESS_LINE if log == "job-client-client.log" else "401 Invalid token")


def test_the_servers_recorded_log_has_the_refusal_of_a_request_without_bearer(recorded: Read) -> None:
    assert any(line.endswith(NO_BEARER_MESSAGE) for line in recorded("demo-server.log").splitlines())


def test_a_changed_workload_has_the_image_and_the_variables_and_nothing_else_changed(manifest: dict[str, Any]) -> None:
    changed = manifests.with_image_and_environment(manifest, "localhost/client:v1", {"AUDIENCE": "a", "BEARER": "none"})
    assert changed["spec"]["template"]["spec"]["containers"][0]["image"] == "localhost/client:v1"
    assert environment(changed) == {**environment(manifest), "AUDIENCE": "a", "BEARER": "none"}
    container = changed["spec"]["template"]["spec"]["containers"][0]
    container |= {key: manifest["spec"]["template"]["spec"]["containers"][0][key] for key in ("image", "env")}
    assert changed == manifest


def test_changing_a_workload_leaves_the_original_as_it_was(manifest: dict[str, Any]) -> None:
    before = copy.deepcopy(manifest)
    changed = manifests.with_image_and_environment(manifest, "i", {"AUDIENCE": None}, arguments=["endpoint"], name="n")
    changed["spec"]["template"]["spec"]["volumes"].clear()
    assert manifest == before


def test_a_variable_set_to_none_is_removed_and_one_that_is_not_there_may_be(manifest: dict[str, Any]) -> None:
    changed = manifests.with_image_and_environment(manifest, "i", {"AUDIENCE": None, "BEARER": None})
    assert "AUDIENCE" in environment(manifest)
    assert environment(changed) == {key: value for key, value in environment(manifest).items() if key != "AUDIENCE"}


def test_a_variable_keeps_one_place_however_often_it_is_set(manifest: dict[str, Any]) -> None:
    changed = manifests.with_image_and_environment(manifest, "i", {"AUDIENCE": "a"})
    names = [item["name"] for item in changed["spec"]["template"]["spec"]["containers"][0]["env"]]
    assert names.count("AUDIENCE") == 1


def test_a_workload_takes_another_name_and_other_arguments_only_when_they_are_given(manifest: dict[str, Any]) -> None:
    plain = manifests.with_image_and_environment(manifest, "i", {})
    assert plain["metadata"]["name"] == manifest["metadata"]["name"]
    assert "args" not in plain["spec"]["template"]["spec"]["containers"][0]
    named = manifests.with_image_and_environment(manifest, "i", {}, arguments=["endpoint"], name="probe")
    assert named["metadata"]["name"] == "probe"
    assert named["spec"]["template"]["spec"]["containers"][0]["args"] == ["endpoint"]


def test_the_server_is_a_deployment_and_the_service_that_selects_its_pods() -> None:
    deployment, service = manifests.load_manifests("server.yaml")
    assert (deployment["kind"], service["kind"]) == ("Deployment", "Service")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    (port,) = service["spec"]["ports"]
    named = {item["name"]: item["containerPort"] for item in pod_specs("server.yaml")[0]["containers"][0]["ports"]}
    assert (port["port"], named[port["targetPort"]]) == (demo.SERVICE_PORT, demo.SERVICE_PORT)


@pytest.mark.parametrize("name", ["client.yaml", "client-fail.yaml"])
def test_a_clients_job_runs_once_so_that_its_failure_is_its_end(name: str) -> None:
    (job,) = manifests.load_manifests(name)
    assert (job["kind"], job["spec"]["backoffLimit"]) == ("Job", 0)
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"


def test_the_failing_client_differs_from_the_client_in_its_name_and_audience_alone() -> None:
    (client,), (failing,) = manifests.load_manifests("client.yaml"), manifests.load_manifests("client-fail.yaml")
    assert environment(failing)["AUDIENCE"] != environment(client)["AUDIENCE"]
    text = yaml.safe_dump(failing).replace("client-fail", "client")
    assert text.replace(environment(failing)["AUDIENCE"], environment(client)["AUDIENCE"]) == yaml.safe_dump(client)


@pytest.mark.parametrize("name", FILES)
def test_every_object_is_a_complete_one_of_the_demos_namespace(name: str) -> None:
    for item in manifests.load_manifests(name):
        assert {"apiVersion", "kind", "metadata", *(() if item["kind"] == "ServiceAccount" else ("spec",))} <= set(item)
        assert item["metadata"]["namespace"] == demo.DEMO_NAMESPACE


@pytest.mark.parametrize("name", FILES)
def test_every_pod_keeps_the_pod_security_standard_restricted(name: str) -> None:
    specs = pod_specs(name)
    assert specs, f"{Path(name)} has no pods"
    for spec in specs:
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        for volume in spec.get("volumes", ()):
            assert set(volume) - {"name"} <= VOLUMES, volume
        for container in [*spec.get("initContainers", ()), *spec["containers"]]:
            context = {**spec.get("securityContext", {}), **container.get("securityContext", {})}
            assert context["runAsNonRoot"] is True
            assert context.get("runAsUser") != 0
            assert context["seccompProfile"]["type"] in ("RuntimeDefault", "Localhost")
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"]["drop"] == ["ALL"]
            assert set(context["capabilities"].get("add", ())) <= {"NET_BIND_SERVICE"}
            assert not context.get("privileged")
            assert not [port for port in container.get("ports", ()) if port.get("hostPort")]


@pytest.mark.parametrize("name", FILES)
def test_every_pod_reaches_the_workload_api_through_the_csi_driver_where_it_looks_for_it(name: str) -> None:
    for spec in pod_specs(name):
        drivers = {item["name"]: item["csi"]["driver"] for item in spec["volumes"] if "csi" in item}
        for container in spec["containers"]:
            variables = {item["name"]: item["value"] for item in container["env"]}
            mounts = {item["mountPath"]: item["name"] for item in container["volumeMounts"]}
            folder = str(Path(variables["SPIFFE_ENDPOINT_SOCKET"].removeprefix("unix://")).parent)
            assert drivers[mounts[folder]] == "csi.spiffe.io"


def test_a_server_whose_image_has_no_path_for_a_probe_is_connected_to_until_it_listens() -> None:
    deployment, _ = manifests.load_manifests("server.yaml")
    (before,) = deployment["spec"]["template"]["spec"]["containers"]
    (after,) = manifests.with_startup_probe(deployment)["spec"]["template"]["spec"]["containers"]
    period = before["readinessProbe"]["periodSeconds"]
    assert after.pop("startupProbe") == {
        "tcpSocket": {"port": "https"},
        "periodSeconds": period,
        "failureThreshold": manifests.STARTUP_ATTEMPTS,
    }
    assert [port["name"] for port in after["ports"]] == ["https"]
    kept = {key: value for key, value in before.items() if key not in ("readinessProbe", "ports")}
    assert {key: value for key, value in after.items() if key != "ports"} == kept


class Kept(KubernetesObjects):
    """A cluster with Deployments of an earlier run: what is done to its Deployments is recorded."""

    path = Path()

    def __init__(self, external: bool, **selectors: dict[str, str]) -> None:
        super().__init__()
        self.is_external = external
        self.done: list[str] = []
        for name, labels in selectors.items():
            spec = {"selector": {"matchLabels": labels}, "template": {}}
            self.add("Deployment", name, "demo", spec=spec)

    @property
    def batch(self) -> Any:
        return SimpleNamespace(delete_collection_namespaced_job=lambda *_, **__: None)

    def kubectl(self, *arguments: str) -> None:
        self.done.append(" ".join(arguments))

    def record_before(self, *_: Any) -> None:
        pass

    def apply(self, *made: dict[str, Any]) -> None:
        self.done += [f"apply {each['metadata']['name']}" for each in made if each["kind"] == "Deployment"]


OLD = {"server": {"app": "server"}, "probe": {"app": "probe"}, "theirs": {"app": "theirs"}}
OWN = {name: {WORKLOAD_LABEL: name} for name in ("server", "probe")}
REPLACED = [f"delete deployment {name} -n demo --cascade=foreground" for name in OWN]
APPLIED = [f"apply {name}" for name in OWN]


@pytest.mark.parametrize(
    ("external", "there", "deleted"),
    [(False, OLD, REPLACED), (False, OWN, []), (False, {}, []), (True, OLD, [])],
    ids=["of an older suite", "of this one", "none", "another's cluster"],
)
def test_deployments_whose_selector_an_older_suite_has_made_give_way_on_the_suites_own_clusters(
    monkeypatch: pytest.MonkeyPatch, external: bool, there: dict[str, dict[str, str]], deleted: list[str]
) -> None:
    cluster = Kept(external, **there)
    spire: Any = SimpleNamespace(cluster=cluster, trust_domain="server.example", was_changed=False)
    of_namespace = SimpleNamespace(manifest=lambda: {"kind": "Namespace", "metadata": {"name": "demo"}})
    _, deployment = manifests.load_manifests("probe.yaml")
    probe: Any = SimpleNamespace(cluster=cluster, spire=spire, in_namespace=of_namespace, objects=lambda: [deployment])
    made = demo.Demo.__new__(demo.Demo)
    made.namespace, made.server = "demo", spire
    made.images = demo.DemoImages("server:v0", "client:v0", "client:v0")
    made.of_server = cast(Any, SimpleNamespace(place=lambda manifest: manifest))
    made._apply(probe)
    assert cluster.done == [*deleted, *APPLIED]
    # One that an earlier run has deleted, and that does not go: nothing can be made in it.
    going = cluster.add("Namespace", "demo", "", metadata={"deletionTimestamp": stamp(NOW)})
    why = "Discovery failed for some groups, 1 failing: unable to retrieve the complete list of server APIs"
    failure = {
        "type": "NamespaceDeletionDiscoveryFailure",
        "status": "True",
        "reason": "DiscoveryFailed",
        "message": why,
    }
    going["status"] = {"phase": "Terminating", "conditions": [failure]}
    monkeypatch.setattr(conditions, "DISCOVERY_MAY_FAIL", 0.0)
    with pytest.raises(UnrecoverableError, match=f"end of namespace demo cannot come .* no namespace .*: {why}"):
        made._apply(probe)
    assert cluster.done == [*deleted, *APPLIED]


@pytest.mark.parametrize("takes_many", [True, False])
def test_many_connections_go_past_a_forward_that_is_not_made_for_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, takes_many: bool
) -> None:
    exposed: list[tuple[Any, ...]] = []

    def node_port(*where: Any) -> Any:
        return SimpleNamespace(url="https://10.89.0.2:30443", expose=lambda: exposed.append(where))

    monkeypatch.setattr(demo, "NodePort", node_port)
    forward = SimpleNamespace(url="https://10.89.0.1:8443", takes_many=takes_many)
    connectivity: Any = SimpleNamespace(forward=lambda *_, **__: forward)
    spires: Any = [SimpleNamespace(cluster=name, trust_domain=f"{name}.example") for name in ("server", "client")]
    made = demo.Demo(spires, cast(Any, SimpleNamespace(probe="client:v0")), connectivity, 8443, tmp_path, "demo")
    assert made.direct_url() == (forward.url if takes_many else "https://10.89.0.2:30443")
    assert exposed == ([] if takes_many else [("server", "demo", f"svc/{demo.SERVICE}", demo.SERVICE_PORT)])
