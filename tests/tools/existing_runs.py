"""Runs of `--no-install` on SPIRE that is there already: green, and every object of the clusters is as it was.

Their credentials have no other permissions than those that a run says it needs; with fewer it is refused.
"""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

import yaml

from fixtures.config.cluster_values import CLUSTERS, given_clusters
from fixtures.config.settings import Settings
from fixtures.core.concurrency import map_concurrently
from fixtures.core.waiting import Condition, Look, wait_for
from fixtures.k8s import conditions
from fixtures.k8s.cluster import Cluster, internal_addresses
from fixtures.k8s.connectivity.connectivity import CONNECTIVITIES
from fixtures.k8s.kind.nodes import images_in
from fixtures.k8s.server_side_apply import clean
from fixtures.preflight.existing_clusters.access_review import Permission
from fixtures.preflight.existing_clusters.permissions import needed_then
from fixtures.spire.existing_installation import installed_layout, installed_manifests
from fixtures.spire.federation import federated_trust_domain
from fixtures.spire.layout.custom_resources import FEDERATION_RESOURCE
from fixtures.spire.server_cli import SpireServer
from fixtures.workloads.demo import DEMO_NAMESPACE
from supply import catalogue
from supply.host import Engine
from tests.tools.runs import Run

# Nobody's objects: events, and what controllers renew every few seconds to say that they live.
PASSING = ("events", "events.events.k8s.io", "leases.coordination.k8s.io", "componentstatuses")
EXISTING_PREFIX = "existing-"
ENDPOINT_SERVICE = "bundle-endpoint-by-hand"  # the NodePort Service by which the other cluster reaches the endpoint

RBAC_API = "rbac.authorization.k8s.io/v1"
ACCOUNTS_NAMESPACE = "kube-system"  # where the accounts are
ENOUGH = "with-what-a-run-needs"
READER = "view"  # Kubernetes' own role, and an account that has it

StoredObjects = Mapping[str, Any]


def existing(folder: Path, made: catalogue.Catalogue, engine: Engine, charts: Path | None) -> list[str]:
    """Install SPIRE on two clusters, and look at it by `--no-install`: as it does not federate yet, and as it does.

    Returns what was not as promised, a sentence each.
    """
    (folder / "install").mkdir()
    options = [f"--charts={charts}"] if charts else []
    if not Run(folder / "install", EXISTING_PREFIX, "--keep-clusters", *options).result().green:
        return [f"SPIRE was not installed: see {folder / 'install'}"]
    sites = map_concurrently(lambda name: _site(folder, made, engine, name), CLUSTERS)
    map_concurrently(lambda site: _forget(site, sites), sites)
    map_concurrently(_admit, sites)
    # As kubectl does, the suite takes several files from the environment alone.
    os.environ["KUBECONFIG"] = os.pathsep.join(str(site.credentials) for site in sites)
    wrong = [*_refused(folder, sites), *_look(folder, sites, "make")]
    urls = map_concurrently(_endpoint, sites)
    for site, peer, url in zip(sites, reversed(sites), reversed(urls), strict=True):
        _federate(site, peer, url)
    return wrong + _look(folder, sites, "existing")


@dataclass(frozen=True)
class Site:
    """A cluster with the SPIRE that is there."""

    cluster: Cluster
    engine: Engine
    spire: SpireServer

    @property
    def credentials(self) -> Path:
        """A kubeconfig with a context for each of the accounts."""
        return self.cluster.path / "accounts"

    def context(self, account: str) -> str:
        """The context of an account."""
        return f"{account}-{self.cluster.label}"


def _site(folder: Path, made: catalogue.Catalogue, engine: Engine, name: str) -> Site:
    place = folder / name
    place.mkdir()
    cluster = Cluster(name, kubectl=made.kubectl, path=place, log=place / "commands.log")
    kind_name = f"{EXISTING_PREFIX}{name}"
    cluster.run(made.kind, "export", "kubeconfig", "--name", kind_name, "--kubeconfig", str(cluster.kubeconfig_path))
    layout = installed_layout(installed_manifests(cluster))
    spire = SpireServer(cluster, layout.trust_domain, ())
    spire.layout = layout
    return Site(cluster, engine, spire)


def _admit(site: Site) -> None:
    """Make an account that may only read, and one that has exactly what a run needs; their contexts."""
    cluster, layout = site.cluster, site.spire.layout
    blank = cast("dict[str, Any]", dict.fromkeys(each.name for each in fields(Settings)))
    given = {"clusters": given_clusters([], []), "no_install": True, "keep_clusters": "", "federate": "", "objects": {}}
    settings = Settings(**{**blank, **given})
    needed = set[Permission]()
    for way in CONNECTIVITIES:
        needed |= needed_then(settings, cluster.label, DEMO_NAMESPACE, layout, way)
    # The demo's namespace gets its name from each run: so they are for all of them.
    rules = [each.rule for each in sorted(needed)]
    role = {"apiVersion": RBAC_API, "kind": "ClusterRole", "metadata": {"name": ENOUGH}, "rules": rules}
    cluster.apply(role)
    found = yaml.safe_load(cluster.kubeconfig_path.read_text())
    (context,) = (each["context"] for each in found["contexts"])
    found |= {"contexts": [], "users": [], "current-context": ""}
    for account, its_role in ((ENOUGH, ENOUGH), (READER, READER)):
        place = {"name": account, "namespace": ACCOUNTS_NAMESPACE}
        bound = {
            "roleRef": {"apiGroup": RBAC_API.partition("/")[0], "kind": "ClusterRole", "name": its_role},
            "subjects": [{"kind": "ServiceAccount", **place}],
        }
        cluster.apply(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": place},
            {"apiVersion": RBAC_API, "kind": "ClusterRoleBinding", "metadata": {"name": f"run-{account}"}, **bound},
        )
        token = cluster.kubectl("create", "token", account, "-n", ACCOUNTS_NAMESPACE).strip()
        name = site.context(account)
        found["users"].append({"name": name, "user": {"token": token}})
        found["contexts"].append({"name": name, "context": {**context, "user": name}})
    site.credentials.touch(0o600)
    site.credentials.write_text(yaml.safe_dump(found))


def _refused(folder: Path, sites: Sequence[Site]) -> list[str]:
    """Run with credentials that may only read: what they may not do is named for both, and nothing is made."""
    place = folder / "refused"
    place.mkdir()
    before = map_concurrently(_objects, sites)
    result = Run(place, EXISTING_PREFIX, "--no-install", *_contexts(sites, READER)).result()
    after = map_concurrently(_objects, sites)
    print(f"refused : {result.seconds:6.1f} s  {result.verdict}", flush=True)
    labels = [site.cluster.label for site in sites]
    wrong = [] if says_what_lacks(result.verdict, labels) else [f"refused: {result.verdict}; see {place}"]
    for site, old, new in zip(sites, before, after, strict=True):
        wrong += [f"refused: {site.cluster.label}: {each}" for each in differences(old, new)]
    return wrong


def says_what_lacks(verdict: str, labels: Sequence[str]) -> bool:
    """Whether a run was refused for what it may not do, on each of these clusters."""
    return verdict.startswith("REFUSED:") and all(
        re.search(rf"\bon {label} [^|]*\bcreate and get pods/exec in demo-", verdict) for label in labels
    )


def _contexts(sites: Sequence[Site], account: str) -> list[str]:
    return [f"--context={site.cluster.label}={site.context(account)}" for site in sites]


def _forget(site: Site, sites: Sequence[Site]) -> None:
    """Remove what the run that installed SPIRE has made besides: the demo, and the federation with its bundles."""
    site.cluster.kubectl("delete", "namespace", DEMO_NAMESPACE)
    site.cluster.kubectl("delete", FEDERATION_RESOURCE, "--all")
    for other in sites:
        if other is not site:
            site.spire.delete_bundle(other.spire.trust_domain)


def _endpoint(site: Site) -> str:
    """The URL of a bundle endpoint that the other cluster reaches without this suite, as a person would make one."""
    layout = site.spire.layout
    spec = {
        "type": "NodePort",
        "selector": dict(layout.server.selector),
        "ports": [{"port": layout.bundle_endpoint.port, "targetPort": layout.bundle_endpoint.port}],
    }
    place = {"name": ENDPOINT_SERVICE, "namespace": layout.server.namespace}
    site.cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": place, "spec": spec})
    port = site.cluster.core.read_namespaced_service(**place).spec.ports[0].node_port
    address = internal_addresses(site.cluster.core.list_node().items[0])[0]

    def connect() -> Look[bool]:
        socket.create_connection((address, port), timeout=1.0).close()
        return Look(True, "")

    # A server that is refused tries again only minutes later.
    wait_for(Condition(f"{site.cluster.label}: a connection to {address}:{port}", connect), 30.0)
    return f"https://{address}:{port}"


def _federate(site: Site, peer: Site, url: str) -> None:
    """Have a site federate with a peer by an object of one's own."""
    class_name = site.spire.layout.controller_manager.class_name
    manifest = federated_trust_domain(peer.spire.trust_domain, url, peer.spire.bundle_document(), class_name)
    del manifest["metadata"]["labels"]
    site.cluster.apply(manifest)


def _look(folder: Path, sites: Sequence[Site], how: str) -> list[str]:
    """Run the federation with `--no-install`, what it does about relationships left to itself."""
    place = folder / how
    place.mkdir()
    map_concurrently(_settled, sites)
    before = map_concurrently(_objects, sites)
    result = Run(place, EXISTING_PREFIX, "--no-install", *_contexts(sites, ENOUGH)).result()
    after = map_concurrently(_objects, sites)
    print(f"{how:<8}: {result.seconds:6.1f} s  {result.verdict}", flush=True)
    wrong = [] if result.green else [f"{how}: {result.verdict}; see {place}"]
    for site, old, new in zip(sites, before, after, strict=True):
        wrong += [f"{how}: {site.cluster.label}: {each}" for each in differences(old, new)]
    return wrong


def _settled(site: Site) -> None:
    """Wait until nothing of SPIRE's is being changed any more."""
    for each in site.spire.layout.workloads:
        wait_for(conditions.controller_ready(site.cluster, each.kind, each.namespace, each.name), 60.0)


def _objects(site: Site) -> StoredObjects:
    """Every object of a cluster, by kind, namespace and name, as a person has made it: without status.

    The images in its nodes are among them.
    """
    cluster = site.cluster
    resources = cluster.kubectl("api-resources", "--verbs=list", "-o", "name").split()
    wanted = ",".join(each for each in resources if each not in PASSING)
    found = json.loads(cluster.kubectl("get", wanted, "--all-namespaces", "-o", "json", timeout=120.0))["items"]
    images: dict[str, Any] = {
        f"image {image} of node {node.metadata.name}": {}
        for node in cluster.core.list_node().items
        for image in images_in(site.engine, node.metadata.name)
    }
    return {**{" ".join(_key(each)): _lasting(each) for each in found}, **images}


def _key(manifest: Mapping[str, Any]) -> Iterator[str]:
    metadata = manifest["metadata"]
    yield manifest["kind"]
    if metadata.get("namespace"):
        yield metadata["namespace"]
    yield metadata["name"]


def _lasting(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    """An object without what changes by itself, and with its UID: one that was made again is another one."""
    return {**clean(manifest), "uid": manifest["metadata"].get("uid")}


def differences(before: StoredObjects, after: StoredObjects) -> list[str]:
    """What is not as it was, a sentence for each object."""
    return [
        *(f"{key} is left" for key in sorted(after.keys() - before.keys())),
        *(f"{key} is gone" for key in sorted(before.keys() - after.keys())),
        *(f"{key} is not as it was" for key in sorted(before.keys() & after.keys()) if before[key] != after[key]),
    ]
