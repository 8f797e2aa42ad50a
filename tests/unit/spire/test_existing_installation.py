"""SPIRE that is installed already, read from a cluster's objects, whatever else is in the cluster."""

from __future__ import annotations

import copy
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from fixtures.k8s.cluster import ClusterError
from fixtures.k8s.server_side_apply import LABELS
from fixtures.spire.existing_installation import ExistingSpire, find_installations, installed_layout
from fixtures.spire.layout import LayoutError
from fixtures.spire.server_cli import SpireError
from tests.unit.spire.layout_examples import (
    AGENT,
    MANAGER,
    SERVER,
    Manifest,
    agent,
    changed,
    config_map,
    container,
    csi_driver,
    identity,
    manifest,
    server,
    service,
    workload,
)

CRDS = ("clusterspiffeids", "clusterstaticentries", "clusterfederatedtrustdomains")


def installation(trust_domain: str, peer: str) -> list[Manifest]:
    """SPIRE of a trust domain, and what else a cluster has: a program with a configuration of its own, a Service."""
    proxy = container("proxy", "--config=/etc/proxy.conf", mounts={"etc": "/etc"})
    return [
        *server(config=changed(SERVER, trust_domain=trust_domain), manager=changed(MANAGER, trustDomain=trust_domain)),
        *agent(config=changed(AGENT, trust_domain=trust_domain)),
        csi_driver(),
        identity("default", federates_with=(peer, "third.example")),
        workload("DaemonSet", "kube-proxy", "kube-system", [proxy], etc={"configMap": {"name": "proxy"}}),
        config_map("proxy", "kube-system", "proxy.conf", "apiVersion: kubeproxy.config.k8s.io/v1alpha1\n"),
        workload("Deployment", "shop", "shop", [container("shop")]),
        service("shop", "shop", "shop", 80, 8080),
    ]


def federated(name: str, trust_domain: str, **labels: str) -> Manifest:
    return manifest(
        "ClusterFederatedTrustDomain",
        name,
        api="spire.spiffe.io/v1alpha1",
        metadata={"labels": labels},
        spec={"trustDomain": trust_domain, "className": "mine"},
    )


class Live:
    """A cluster with these objects, as `kubectl get -o json` prints them."""

    kubectl_path = Path("kubectl")

    def __init__(self, label: str, objects: Sequence[Manifest], crds: Sequence[str] = CRDS) -> None:
        self.label = label
        self.objects = [self._as_served(each) for each in objects]
        self.crds = crds
        self.asked: list[tuple[str, ...]] = []

    @staticmethod
    def _as_served(found: Manifest) -> Manifest:
        served = copy.deepcopy(found)
        if served["kind"] in ("StatefulSet", "Deployment"):
            served["spec"].setdefault("replicas", 1)
        served["metadata"] |= {"uid": "1", "resourceVersion": "2", "creationTimestamp": "2026-11-24T21:36:50Z"}
        return served

    def kubectl(self, *arguments: str) -> str:
        self.asked.append(arguments)
        verb, kinds = arguments[0], arguments[1]
        assert verb == "get", "nothing is changed"
        if kinds == "configmap":
            name, namespace = arguments[2], arguments[4]
            found = [
                each
                for each in self.objects
                if (each["kind"], each["metadata"]["name"], each["metadata"].get("namespace"))
                == ("ConfigMap", name, namespace)
            ]
            return json.dumps(found[0]) if found else ""
        wanted = {each.partition(".")[0].removesuffix("s") for each in kinds.split(",")}
        items = [each for each in self.objects if each["kind"].lower() in wanted]
        return json.dumps({"kind": "List", "items": items})

    def attempt(self, _program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        if arguments[1].partition(".")[0] not in self.crds:
            said = f'error: the server doesn\'t have a resource type "{arguments[1].partition(".")[0]}"\n'
            return subprocess.CompletedProcess(arguments, 1, "", said)
        return subprocess.CompletedProcess(arguments, 0, self.kubectl(*arguments), "")


def found(*clusters: Live) -> list[ExistingSpire]:
    return find_installations(cast(Any, list(clusters)), "demo-1a2b", Path("helm"), Path("run"))


def pair(*of_server: Manifest, **crds: Sequence[str]) -> tuple[Live, Live]:
    return (
        Live("server", [*installation("one.example", "two.example"), *of_server], **crds),
        Live("client", installation("two.example", "one.example")),
    )


def test_an_installation_is_read_from_the_objects_of_its_cluster() -> None:
    clusters = pair()
    server_side, client_side = found(*clusters)
    assert (server_side.trust_domain, server_side.federates_with) == ("one.example", ("two.example",))
    assert (client_side.trust_domain, client_side.federates_with) == ("two.example", ("one.example",))
    assert server_side.layout.controller_manager.class_name == "mine"
    assert server_side.layout.bundle_endpoint.service.host == "trust.identity.svc"
    asked = [each[1] for each in clusters[0].asked]
    assert not any("secret" in each for each in asked), "Secrets are nobody's business"


def test_workloads_and_namespaces_are_spires_alone_whatever_else_the_cluster_has() -> None:
    layout = installed_layout(installation("one.example", "two.example"))
    assert [str(each) for each in layout.workloads] == [
        "StatefulSet identity/trust",
        "DaemonSet nodes/nodes-agent",
        "DaemonSet nodes/nodes-csi",
    ]
    assert layout.namespaces == ("identity", "nodes")


def test_nothing_that_installs_is_run_on_spire_that_was_there() -> None:
    spire, _ = found(*pair())
    assert not spire.was_installed_by_run
    for change in (lambda: spire.rollback(1), spire.installed_manifests):
        with pytest.raises(SpireError, match="server: SPIRE was there before this run"):
            change()
    with pytest.raises(SpireError, match="server: SPIRE is not removed"):
        spire.uninstall()


def test_a_kind_of_custom_resource_that_the_cluster_does_not_know_is_none_of_that_kind() -> None:
    spire, _ = found(*pair(crds=CRDS[::2]))
    assert spire.layout.cluster_static_entries == ()


def test_a_refusal_of_the_api_server_is_no_empty_list() -> None:
    server_side, client_side = pair()

    def refused(*_: Any) -> Any:
        raise ClusterError("server: `kubectl get` ended with 1: clusterspiffeids is forbidden")

    server_side.attempt = lambda *asked: subprocess.CompletedProcess(asked, 1, "", "forbidden")  # type: ignore[method-assign]
    listing = server_side.kubectl
    server_side.kubectl = lambda *asked: (refused if "spiffe.io" in asked[1] else listing)(*asked)  # type: ignore[method-assign]
    with pytest.raises(ClusterError, match="forbidden"):
        found(server_side, client_side)


@pytest.mark.parametrize(
    ("objects", "sentence"),
    [
        ([], "cluster server: no spire-server is installed: "),
        (
            installation("one.example", "third.example"),
            "cluster server: no ClusterSPIFFEID of class 'mine' federates with two.example: ",
        ),
        (
            [
                *installation("one.example", "two.example"),
                identity(
                    "companys-own",
                    federates_with=("two.example",),
                    spiffeIDTemplate="spiffe://one.example/app/{{.PodMeta.Name}}",
                ),
            ],
            "cluster server: pods of namespace .* would have 2 SPIFFE IDs.*default: .*; companys-own: ",
        ),
        (installation("two.example", "one.example"), "clusters server and client have the same trust domain"),
        (
            [*installation("one.example", "two.example"), federated("two-example", "two.example", **LABELS)],
            "cluster server: two-example was left by a run of this suite .*: `kubectl delete "
            "namespaces,deployments,jobs,services,serviceaccounts,clusterfederatedtrustdomains.spire.spiffe.io -A -l "
            "app.kubernetes.io/managed-by=spire-federation-suite` deletes all",
        ),
    ],
)
def test_what_cannot_be_tested_is_refused_in_a_sentence_with_its_cluster(
    objects: list[Manifest], sentence: str
) -> None:
    with pytest.raises(LayoutError, match=sentence) as caught:
        found(Live("server", objects), pair()[1])
    assert "\n" not in str(caught.value)


def test_lifetimes_that_do_not_fit_are_named_with_their_cluster() -> None:
    config = copy.deepcopy(SERVER)
    config["server"] |= {"ca_ttl": "1h", "default_x509_svid_ttl": "10h"}
    unfit = [*server(config=config), *agent(), csi_driver(), identity("default")]
    spire, other = found(Live("server", unfit), pair()[1])
    assert spire.unfit_lifetimes
    assert all(each.startswith("server: ") for each in spire.unfit_lifetimes)
    assert other.unfit_lifetimes == []
