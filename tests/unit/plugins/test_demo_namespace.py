"""The demo's namespace, in clusters of one's own: never one that is somebody's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from kubernetes.client.exceptions import ApiException

from fixtures.k8s.cluster import Cluster
from fixtures.k8s.server_side_apply import LABELS
from fixtures.plugins.session import _is_somebody_elses
from fixtures.workloads.demo import somebody_elses

NAMESPACE = {"kind": "Namespace", "metadata": {"name": "demo"}}


@pytest.mark.parametrize(
    ("labels", "applied", "theirs"),
    [
        ({"owner": "somebody"}, [], True),
        (None, [], True),
        (LABELS, [], False),
        ("missing", [], False),
        ({"owner": "somebody"}, [NAMESPACE], False),
    ],
    ids=["labelled", "bare", "of a run that was killed", "none", "of --apply"],
)
def test_a_namespace_of_the_demos_name_is_somebodys_unless_this_suite_made_it(
    labels: Any, applied: list[dict[str, Any]], theirs: bool
) -> None:
    def read(name: str) -> Any:
        assert name == "demo"
        if labels == "missing":
            raise ApiException(status=404)
        return SimpleNamespace(metadata=SimpleNamespace(labels=labels))

    cluster = SimpleNamespace(label="server", core=SimpleNamespace(read_namespace=read))
    settings: Any = SimpleNamespace(objects={"server": applied})
    assert _is_somebody_elses(cast(Cluster, cluster), "demo", settings) is theirs


def test_a_namespace_that_the_user_names_may_have_no_object_of_the_demos_names_that_is_somebodys() -> None:
    def listed(**labels: dict[str, str] | None) -> Any:
        items = [SimpleNamespace(metadata=SimpleNamespace(name=name, labels=of)) for name, of in labels.items()]
        return lambda _: SimpleNamespace(items=items)

    def refused(_: str) -> Any:
        raise ApiException(status=403)

    cluster = SimpleNamespace(
        label="server",
        apps=SimpleNamespace(list_namespaced_deployment=listed(server={"app": "server"}, probe=LABELS, payments=None)),
        core=SimpleNamespace(list_namespaced_service=refused),
        batch=SimpleNamespace(list_namespaced_job=listed(client=None)),
    )
    found = somebody_elses(cast(Cluster, cluster), "payments")
    assert found == ["server has Deployment payments/server", "server has Job payments/client"]
