"""What is said of clusters that a run of `--no-install` has not left as they were."""

from __future__ import annotations

from typing import Any

from tests.tools.existing_runs import _key, _lasting, differences, says_what_lacks


def config_map(name: str, uid: str = "1", **fields: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "a", "uid": uid, "resourceVersion": fields.pop("version", "7")}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, **fields}


def listing(*manifests: dict[str, Any]) -> dict[str, Any]:
    return {" ".join(_key(each)): _lasting(each) for each in manifests}


def test_objects_that_are_left_gone_changed_or_made_again_are_named() -> None:
    before = listing(
        config_map("gone"), config_map("changed", data={"a": "1"}), config_map("again"), config_map("same")
    )
    after = listing(
        config_map("left"), config_map("changed", data={"a": "2"}), config_map("again", uid="2"), config_map("same")
    )
    assert differences(before, after) == [
        "ConfigMap a left is left",
        "ConfigMap a gone is gone",
        "ConfigMap a again is not as it was",
        "ConfigMap a changed is not as it was",
    ]


def test_what_controllers_write_of_an_objects_state_is_no_difference() -> None:
    before = listing(config_map("it", version="7", status={"phase": "Active"}))
    assert differences(before, listing(config_map("it", version="8", status={"phase": "Ready"}))) == []


# Of a run whose credentials had Kubernetes' own role `view`.
REFUSED = (
    "REFUSED: the credentials of --context may not do what this run needs: on server create, delete, get, list and "
    "patch clusterfederatedtrustdomains.spire.spiffe.io; list clusterspiffeids.spire.spiffe.io, "
    "clusterstaticentries.spire.spiffe.io and nodes; create, delete and patch namespaces; create and patch "
    "deployments.apps, serviceaccounts and services in demo-f2fb2559; create and get pods/exec in demo-f2fb2559; "
    "on client create jobs.batch in demo-f2fb2559; create and get pods/exec in demo-f2fb2559 | === 148 deselected in "
    "1.43s ==="
)


def test_a_refusal_is_to_name_what_each_cluster_lacks() -> None:
    assert says_what_lacks(REFUSED, ["server", "client"])
    assert not says_what_lacks(REFUSED.partition("; on client")[0], ["server", "client"])
    assert not says_what_lacks(REFUSED.replace("REFUSED:", "RED:"), ["server", "client"])
