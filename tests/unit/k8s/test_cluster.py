"""A cluster that one can talk to: with no proxy between, with errors that name it, and with calls that end."""

from __future__ import annotations

import json
import socket
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes.client import ApiException

from fixtures.core.redaction import keep_secret
from fixtures.k8s import pods
from fixtures.k8s.cluster import Cluster, ClusterError, ExecRefusedError, internal_addresses
from fixtures.k8s.exec import ExecutionError
from fixtures.k8s.existing_cluster import ExistingCluster
from fixtures.k8s.server_side_apply import ApplyError
from supply.host import Engine
from tests.unit.api_server import ANSWERS, LOG_LINE, ApiServer, kubeconfig
from tests.unit.kubernetes_objects import model


def cluster(folder: Path, kubectl: str = "#!/bin/sh\n") -> Cluster:
    (folder / "kubectl").write_text(kubectl)
    (folder / "kubectl").chmod(0o755)
    return Cluster("server", kubectl=folder / "kubectl", path=folder, log=folder / "log")


def existing_cluster(folder: Path) -> ExistingCluster:
    return ExistingCluster("server", engine=Engine("false"), kubectl=folder / "kubectl", log=folder / "log")


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("adopted", [False, True])
def test_no_proxy_is_between_this_process_and_a_cluster_on_this_machine(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    api_server: ApiServer,
    closed_port: int,
    variable: str,
    adopted: bool,
) -> None:
    monkeypatch.setenv(variable, f"http://127.0.0.1:{closed_port}")
    made = existing_cluster(tmp_path) if adopted else cluster(tmp_path)
    made.kubeconfig_path.write_text(api_server.kubeconfig())
    assert [node.metadata.name for node in made.core.list_node().items] == ["node"]
    # The WebSocket's library has rules of its own. The answer is the API server's: it knows of no such pod.
    with pytest.raises(ClusterError, match="Handshake status 404"):
        made.execute("demo", "server", "server", "ls")


@pytest.mark.parametrize(
    ("words", "is_policy"),
    [
        # A ValidatingAdmissionPolicy, Kyverno's webhook, RBAC, and a pod that is not there.
        (
            "pods \"it\" is forbidden: ValidatingAdmissionPolicy 'no-exec' with binding 'no-exec' denied request: no",
            True,
        ),
        (
            'admission webhook "validate.kyverno.svc-fail" denied the request: \n\nresource PodExecOptions was blocked',
            True,
        ),
        ('pods "it" is forbidden: User "me" cannot create resource "pods/exec" in API group ""', False),
        ('pods "it" not found', False),
    ],
)
def test_a_policy_that_lets_nobody_run_commands_in_pods_is_told_from_other_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, is_policy: bool
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise ExecutionError(words)

    made = cluster(tmp_path)
    monkeypatch.setattr("fixtures.k8s.cluster.execute", refused)
    monkeypatch.setattr(Cluster, "client", None)
    with pytest.raises(ClusterError) as caught:
        made.execute("demo", "it", "client", "/client")
    assert isinstance(caught.value, ExecRefusedError) is is_policy
    shown = "`exec -n demo it -c client -- /client`"
    how = f"an admission policy refuses {shown}" if is_policy else f"{shown} was not carried out"
    assert str(caught.value) == f"server: {how}: {words}"


def test_a_log_of_one_line_is_read_as_it_is_and_one_that_is_not_there_is_an_error(
    tmp_path: Path, api_server: ApiServer
) -> None:
    # The client library takes it for JSON, and gives back what Python prints of that.
    made = cluster(tmp_path)
    made.kubeconfig_path.write_text(api_server.kubeconfig())
    assert pods.log(made, "theirs", "there", "server") == json.dumps(LOG_LINE)
    with pytest.raises(ApiException) as error:
        pods.log(made, "theirs", "gone", "server")
    assert error.value.status == 404


@pytest.mark.parametrize(
    ("adopted", "host", "proxied"),
    [(True, "192.0.2.7", True), (True, "api.example", True), (True, "::1", False), (False, "192.0.2.7", False)],
)
def test_a_cluster_elsewhere_keeps_the_proxy_that_leads_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, adopted: bool, host: str, proxied: bool
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "elsewhere.example")
    made = existing_cluster(tmp_path) if adopted else cluster(tmp_path)
    made.kubeconfig_path.write_text(kubeconfig(6443, f"[{host}]" if ":" in host else host))
    configuration = made.client.configuration
    assert configuration.proxy == "http://proxy.example:3128"
    assert configuration.no_proxy.split(",") == ["elsewhere.example", *([] if proxied else [host])]


def test_output_of_programs_is_kept_and_reported_without_secrets(tmp_path: Path) -> None:
    keep_secret("hunter2secret")
    made = cluster(tmp_path, "#!/bin/sh\necho refused: hunter2secret >&2; exit 1\n")
    with pytest.raises(ClusterError, match="ended with 1: refused: <redacted>"):
        made.kubectl("patch", "-p", '{"a": "hunter2secret"}')
    assert (tmp_path / "log").read_text() == '$ kubectl patch -p {"a": "<redacted>"}\nrefused: <redacted>\n'


def test_variables_that_lead_helm_elsewhere_are_not_handed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = (
        "KUBECONTEXT",
        "KUBEAPISERVER",
        "KUBETOKEN",
        "KUBEASUSER",
        "KUBECAFILE",
        "NAMESPACE",
        "DRIVER",
        "DEBUG",
    )
    for name in (*elsewhere, "REPOSITORY_CONFIG", "CACHE_HOME"):
        monkeypatch.setenv(f"HELM_{name}", "x")
    monkeypatch.setenv("KUBECONFIG", "somebody's")
    made = cluster(tmp_path)
    kept = {name for name in made.environment if name.startswith("HELM_")}
    assert kept == {"HELM_REPOSITORY_CONFIG", "HELM_CACHE_HOME"}
    assert made.environment["KUBECONFIG"] == str(made.kubeconfig_path)


def test_an_object_that_the_api_server_rejects_is_reported_with_the_clusters_name_and_kept(
    tmp_path: Path, api_server: ApiServer
) -> None:
    made = cluster(tmp_path)
    made.kubeconfig_path.write_text(api_server.kubeconfig())
    good, bad, hidden = (
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "demo"}}
        for name in ("a", "refused", "forbidden")
    )
    made.apply(good)
    with pytest.raises(ClusterError, match=r"^server: `apply ConfigMap refused` was not carried out: .*not declared"):
        made.apply(good, bad)
    assert (
        (tmp_path / "log")
        .read_text()
        .startswith("$ apply ConfigMap a\n$ apply ConfigMap a\n$ apply ConfigMap refused\n")
    )
    assert (made.unknown_fields(good, "demo"), "dataa" in made.unknown_fields(bad, "demo")) == ("", True)
    with pytest.raises(ClusterError, match=r"^server: ConfigMap forbidden: configmaps is forbidden"):
        made.unknown_fields(hidden, "demo")


# What the API server of Kubernetes 1.36 said in the second after a controller manager's pod had been replaced.
FAILED_WEBHOOK = (
    'Internal error occurred: failed calling webhook "vclusterspiffeid.kb.io": failed to call webhook: Post '
    '"https://spire-controller-manager-webhook.spire-server.svc:443/validate-spire-spiffe-io-v1alpha1-clusterspiffeid'
    '?timeout=10s": {}'
)
UNREACHED = "tls: failed to verify certificate: x509: certificate signed by unknown authority"
ABSENT = 'service "spire-controller-manager-webhook" not found'


@pytest.mark.parametrize(
    ("answers", "dry_run", "error", "asked"),
    [
        ([FAILED_WEBHOOK.format(UNREACHED), ""], False, "", 2),
        ([FAILED_WEBHOOK.format(UNREACHED), "it is of another trust domain"], False, "of another trust domain", 2),
        ([FAILED_WEBHOOK.format(ABSENT), ""], False, "not found", 1),
        ([FAILED_WEBHOOK.format(UNREACHED), ""], True, "unknown authority", 1),
        ([FAILED_WEBHOOK.format(UNREACHED)] * 99, False, "unknown authority", None),
    ],
    ids=["reached later", "refused by it later", "absent", "dry run", "never reached"],
)
def test_a_webhook_that_the_api_server_does_not_reach_for_now_is_waited_for(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answers: list[str],
    dry_run: bool,
    error: str,
    asked: int | None,
) -> None:
    monkeypatch.setattr("fixtures.k8s.cluster.WEBHOOK_TIMEOUT", 0.6 if asked is None else 30.0)
    made, left = cluster(tmp_path), iter(answers)

    def answer(_manifest: dict[str, Any], **_options: bool) -> None:
        if said := next(left):
            raise ApplyError(said)

    vars(made)["_applier"] = SimpleNamespace(apply=answer)
    manifest = {"apiVersion": "spire.spiffe.io/v1alpha1", "kind": "ClusterSPIFFEID", "metadata": {"name": "own"}}
    with pytest.raises(ClusterError, match=error) if error else nullcontext():
        made.apply(manifest, dry_run=dry_run)
    unasked = len(list(left))
    assert asked is None or len(answers) - unasked == asked


def test_a_request_to_a_cluster_without_a_kubeconfig_fails_with_its_error(tmp_path: Path) -> None:
    made = cluster(tmp_path)
    manifest: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "demo"}}
    with pytest.raises(ClusterError, match=r"^server: `apply ConfigMap a` was not carried out: "):
        made.apply(manifest)
    with pytest.raises(ClusterError, match=r"^server: ConfigMap a: "):
        made.unknown_fields(manifest, "demo")


def test_the_wait_for_a_frozen_api_server_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fixtures.k8s.access.api_client.API_TIMEOUT", 0.2)
    with socket.socket() as frozen:  # accepts connections, and says nothing
        frozen.bind(("127.0.0.1", 0))
        frozen.listen()
        made = cluster(tmp_path)
        made.kubeconfig_path = tmp_path / "kubeconfig"
        made.kubeconfig_path.write_text(kubeconfig(frozen.getsockname()[1]))
        core = made.core  # whose modules take seconds to be imported on a busy machine
        began = time.monotonic()
        with pytest.raises(Exception, match="timed out"):
            core.list_node()
        assert time.monotonic() - began < 60


@pytest.mark.parametrize(
    ("addresses", "found"),
    [
        ([("InternalIP", "10.89.0.2"), ("Hostname", "t-server-control-plane")], ["10.89.0.2"]),
        ([("ExternalIP", "192.0.2.7"), ("InternalIP", "10.0.0.1"), ("InternalIP", "fc00::1")], ["10.0.0.1", "fc00::1"]),
        ([], []),
    ],
)
def test_a_nodes_addresses_in_its_network_are_those_of_each_ip_family(
    addresses: list[tuple[str, str]], found: list[str]
) -> None:
    status = {"addresses": [{"type": kind, "address": address} for kind, address in addresses]}
    assert internal_addresses(model("Node", {"metadata": {"name": "node"}, "status": status})) == found


@pytest.mark.parametrize(
    ("groups", "assigns"), [((), False), (("apps",), False), (("apps", "security.openshift.io"), True)]
)
def test_openshift_is_known_by_what_its_api_server_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_server: ApiServer, groups: tuple[str, ...], assigns: bool
) -> None:
    versions = {"preferredVersion": {"groupVersion": "a/v1", "version": "v1"}, "versions": []}
    served = {"kind": "APIGroupList", "groups": [{"name": each, **versions} for each in groups]}
    monkeypatch.setitem(ANSWERS, "/apis/", served)
    made = cluster(tmp_path)
    made.kubeconfig_path.write_text(api_server.kubeconfig())
    assert made.assigns_users is assigns
