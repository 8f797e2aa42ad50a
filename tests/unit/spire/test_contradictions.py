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
        ({"config": SERVER}, "nodes-agent attests by k8s_psat, and StatefulSet identity/trust by nothing: see "),
    ],
)
def test_what_contradicts_is_named_with_its_key(changes: dict[str, Any], words: str) -> None:
    (sentence,) = found(**changes)
    assert re.search(words, sentence)
