"""A cluster with SPIRE, as the links of the diagnosis ask it, and words of its agents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

from fixtures.k8s.cluster import ClusterError
from fixtures.k8s.rollouts import held_back
from fixtures.spire import api_types
from fixtures.spire.installation import Spire
from fixtures.spire.layout import Workload
from tests.unit import own_chart
from tests.unit.kubernetes_objects import (
    NOW,
    KubernetesObjects,
    container,
    controller,
    node,
    pod,
    running,
)
from tests.unit.own_chart import AGENT, CSI_DRIVER, SERVER, SERVER_NAMESPACE, SYSTEM_NAMESPACE

Read = Callable[[str], str]


AGENT_POD = f"{AGENT}-x7k2p"
AGENT_ID = "spiffe://server.example/spire/agent/k8s_psat/server/uid"
REFUSED = (
    'time="2026-11-23T09:59:55Z" level=warning msg="Failed to retrieve attestation result" error="failed to receive '
    "attestation "
    'response: rpc error: code = InvalidArgument desc = nodeattestor(k8s_psat): not configured for cluster \\"other\\""'
)
REFUSAL = (
    "Failed to retrieve attestation result: failed to receive attestation response: rpc error: code = "
    "InvalidArgument desc = "
    'nodeattestor(k8s_psat): not configured for cluster "other"'
)
RUNS = container(AGENT, running=running(NOW - 20), ready=False)


class Objects(KubernetesObjects):
    """A cluster with SPIRE, whose controllers may be unready; its server lists agents or does not answer (None)."""

    def __init__(self, recorded: Read) -> None:
        super().__init__()
        (agent,) = api_types.agents(recorded("agent-list.json"))
        self.attested = replace(agent, expires=int(NOW) + 3600)
        self.agents: list[api_types.AttestedAgent] | None = [self.attested]
        self.status, self.failed, self.server_log = "deployed", "", ""
        self.installed_by_run, self.revision = True, 1
        self.values: dict[str, object] = {}
        self.bundle = api_types.bundle(recorded("bundle-show.json"))

    def with_spire(self, *, server: int = 1, agents: int = 1, drivers: int = 1, nodes: int = 1) -> Spire:
        for number in range(nodes):
            node(self, f"node-{number}")
        counts = {"readyReplicas": server, "updatedReplicas": 1}
        controller(self, "StatefulSet", SERVER, status=counts)
        for name, ready in ((AGENT, agents), (CSI_DRIVER, drivers)):
            wanted = {"desiredNumberScheduled": nodes, "updatedNumberScheduled": nodes}
            controller(self, "DaemonSet", name, SYSTEM_NAMESPACE, status={"numberReady": ready, **wanted})
        return self.spire

    def of_agent(self, *statuses: dict[str, Any]) -> None:
        """The agent's pod, with these containers."""
        pod(self, *statuses, name=AGENT_POD, namespace=SYSTEM_NAMESPACE, owner=("DaemonSet", AGENT))

    def of_oidc_provider(self, *statuses: dict[str, Any], **fields: Any) -> Any:
        """The pod of an OIDC discovery provider `oidc`, with these containers, beside a SPIRE that is ready."""
        self.with_spire()
        controller(self, "Deployment", "oidc")
        return pod(self, *statuses, name="oidc-1-x", owner=("ReplicaSet", "oidc-1"), **fields)

    def of_server(self, since: float = NOW - 600) -> None:
        """The server's pod, whose container runs since then (Unix seconds)."""
        pod(self, container(SERVER, running=running(since)))

    def _workloads(self) -> tuple[Workload, ...]:
        """The release's, as far as they are there; and the Deployments that a test has added."""
        of_release = [each for each in own_chart.LAYOUT.workloads if each.kind != "Deployment"]
        added = [item["metadata"]["name"] for kind, item in self.objects if kind == "Deployment"]
        deployments = [Workload("Deployment", SERVER_NAMESPACE, name, {}, {}, ()) for name in added]
        return (*of_release, *deployments)

    @property
    def spire(self) -> Spire:
        def agents() -> list[api_types.AttestedAgent]:
            if self.agents is None:
                raise ClusterError("server: no such pod")
            return self.agents

        found = SimpleNamespace(
            cluster=self,
            entries=list,
            was_installed_by_run=self.installed_by_run,
            may_be_older=lambda item: bool(not self.installed_by_run and held_back(self.cluster, item)),
            values=self.values,
            revision=self.revision,
            agents=agents,
            failed_revision=lambda: self.failed,
            release_status=self.status,
            server_log=lambda: self.server_log,
            bundle=lambda: self.bundle,
            layout=replace(own_chart.LAYOUT, workloads=self._workloads()),
            namespaces=lambda: own_chart.LAYOUT.namespaces,
            trust_domain="server.example",
            federates_with=("client.example",),
        )
        found.agent_pods = lambda: Spire.agent_pods(cast(Spire, found))
        found.custom_resources = lambda plural: Spire.custom_resources(cast(Spire, found), plural)
        found.refusals = lambda since: Spire.refusals(cast(Spire, found), since)
        return cast(Spire, found)


def sentences(found: Any) -> list[str]:
    return [finding.sentence for finding in found]
