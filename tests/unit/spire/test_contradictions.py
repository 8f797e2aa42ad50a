"""What cannot work of a release, by what its own parts say of each other."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest

from fixtures.spire.layout import contradictions, read
from tests.unit.spire.layout_examples import AGENT, MANAGER, NAMESPACE, SERVER, agent, changed, csi_driver, server

FITTING: dict[str, Any] = copy.deepcopy(SERVER)
FITTING["plugins"]["NodeAttestor"] = [{"k8s_psat": {}}]


def found(config: Any = FITTING, manager: Any = MANAGER, of_agent: Any = AGENT) -> list[str]:
    manifests = [*server(config=config, manager=manager), *agent(config=of_agent), csi_driver()]
    return contradictions(read(manifests, NAMESPACE))


def _reconciling(kind: str) -> dict[str, Any]:
    return {"manager": changed(MANAGER, reconcile={kind: True})}


def publishing(namespace: str) -> dict[str, Any]:
    """A server's configuration that publishes its bundle in a namespace."""
    config = copy.deepcopy(FITTING)
    config["plugins"]["Notifier"] = [{"k8sbundle": {"plugin_data": {"namespace": namespace}}}]
    return config


def test_parts_that_fit_each_other_do_not_contradict() -> None:
    assert found() == []


@pytest.mark.parametrize("address", ["", "10.0.0.1", "spire.corp.example", "trust.elsewhere.svc", "trust.identity.svc"])
def test_an_address_may_be_one_that_the_release_does_not_show(address: str) -> None:
    assert found(of_agent=changed(AGENT, server_address=address)) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"config": changed(FITTING, disable_jwt_svids=True)}, r"signs no JWT-SVIDs, .* spire-server\.jwtSVIDSupport"),
        (_reconciling("clusterFederatedTrustDomains"), "^no workload gets an identity, "),
        (_reconciling("clusterSPIFFEIDs"), r"^nothing federates, .*: see spire-server\.controllerManager\.reconcile$"),
        ({"of_agent": changed(AGENT, server_address="other.identity")}, r"looks for its server at other\.identity, "),
        (
            {"config": publishing("identity")},
            "starts with the bundle in ConfigMap nodes/spire-bundle, key bundle.crt, and StatefulSet identity/trust "
            "publishes it in ConfigMap identity/spire-bundle, key bundle.crt",
        ),
        ({"config": SERVER}, "nodes-agent attests by k8s_psat, and StatefulSet identity/trust by nothing: see "),
    ],
)
def test_what_contradicts_is_named_with_its_key(changes: dict[str, Any], words: str) -> None:
    (sentence,) = found(**changes)
    assert re.search(words, sentence)


DATA = "/run/spire/data"
SQLITE = {"database_type": "sqlite3", "connection_string": f"file:{DATA}/datastore.sqlite3?_journal_mode=WAL"}


def lost(
    datastore: Any,
    keys: Any,
    volumes: Any = (),
    claims: Any = (),
    mounts: Any = (("data", DATA),),
    *,
    upstream: bool = False,
) -> list[str]:
    """What is said of a server that stores there, with these volumes and claims, and mounts of theirs.

    `keys` are a file, or all of the block of a KeyManager.
    """
    config = copy.deepcopy(FITTING)
    config["plugins"]["DataStore"] = [{"sql": {"plugin_data": datastore}}]
    if upstream:
        config["plugins"]["UpstreamAuthority"] = [{"disk": {"plugin_data": {}}}]
    on_disk = {"disk": {"plugin_data": {"keys_path": keys}}}
    config["plugins"]["KeyManager"] = [on_disk if isinstance(keys, str) else keys]
    manifests = [*server(config=config), *agent(), csi_driver()]
    (stateful_set,) = (each for each in manifests if each["kind"] == "StatefulSet")
    stateful_set["spec"]["volumeClaimTemplates"] = [{"metadata": {"name": name}} for name in claims]
    pod = stateful_set["spec"]["template"]["spec"]
    pod["volumes"] = [*pod["volumes"], *volumes]
    for container in pod["containers"]:
        container.setdefault("volumeMounts", []).extend({"name": name, "mountPath": path} for name, path in mounts)
    return contradictions(read(manifests, NAMESPACE))


@pytest.mark.parametrize(
    "where",
    [
        {"claims": ["data"]},
        {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "spire"}}]},
        {"volumes": [{"name": "data", "hostPath": {"path": "/var/lib/spire"}}]},
    ],
    ids=["claim of the StatefulSet", "claim", "host"],
)
def test_what_is_in_a_volume_that_outlives_the_pod_is_not_lost(where: dict[str, Any]) -> None:
    assert lost(SQLITE, f"{DATA}/keys.json", **where) == []
    (found,) = lost(SQLITE, "/tmp/keys.json", **where)  # noqa: S108
    assert "loses its keys /tmp/keys.json with its pod" in found
    assert found.endswith("see spire-server.keyManager")


def test_with_an_upstream_authority_the_x509_authority_is_not_lost() -> None:
    (of_datastore,) = lost(SQLITE, f"{DATA}/keys.json", upstream=True, volumes=[{"name": "data", "emptyDir": {}}])
    assert "neither entries that were made by hand nor the bundles that peers have moved on to" in of_datastore
    (of_keys,) = lost(SQLITE, {"memory": {"plugin_data": {}}}, upstream=True, claims=["data"])
    assert "the next one signs JWT-SVIDs with new keys, which peers refuse" in of_keys


def test_a_datastore_in_memory_is_lost_with_the_pod() -> None:
    (found,) = lost({"database_type": "sqlite3", "connection_string": ":memory:"}, "/tmp/keys.json")  # noqa: S108
    assert "loses its datastore :memory: with its pod" in found


def test_keys_in_memory_are_lost_with_the_pod() -> None:
    (found,) = lost(SQLITE, {"memory": {"plugin_data": {}}}, claims=["data"])
    assert "keeps its datastore, and loses its keys in memory with its pod" in found


@pytest.mark.parametrize(
    "where",
    [
        {"volumes": [{"name": "data", "emptyDir": {}}]},
        {"volumes": [{"name": "data"}]},
        {"mounts": ()},
        {"claims": ["data", "other"], "mounts": (("data", "/run/spire"), ("tmp", DATA)), "volumes": [{"name": "tmp"}]},
    ],
    ids=["emptyDir", "volume without a source", "no volume", "an emptyDir below the claim"],
)
def test_a_datastore_that_goes_with_the_pod_is_named(where: dict[str, Any]) -> None:
    (found,) = lost(SQLITE, f"{DATA}/keys.json", **where)
    assert f"loses its datastore {DATA}/datastore.sqlite3 with its pod" in found
    assert found.endswith("see spire-server.dataStore and spire-server.persistence")


def test_another_database_is_not_in_the_pod() -> None:
    postgres = {"database_type": "postgres", "connection_string": "dbname=spire host=db"}
    assert lost(postgres, f"{DATA}/keys.json", claims=["data"]) == []
