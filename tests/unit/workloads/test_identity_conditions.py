"""Conditions of what agents and workloads hold: when they are met, and what is seen until then."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from fixtures.core.waiting import Condition, WaitError
from fixtures.spire import api_types
from fixtures.spire.api_types import AttestedAgent, Bundle
from fixtures.spire.server_cli import SpireError
from fixtures.workloads import identity_conditions
from fixtures.workloads.probe import Endpoint, Identity, ProbeError, parse_identity
from tests.unit import own_chart
from tests.unit.kubernetes_objects import KubernetesObjects

Read = Callable[[str], str]
SERVER = "server.example"


@pytest.fixture
def identity(recorded: Read) -> Identity:
    """What the Workload API handed out in a real run."""
    return parse_identity(recorded("fetch.json"))


def probe(identity: Identity, *federates_with: str) -> Any:
    """A probe to which the Workload API hands this out."""
    return SimpleNamespace(
        cluster=SimpleNamespace(label="client"),
        namespace="demo",
        name="probe",
        spire=SimpleNamespace(federates_with=federates_with),
        fetch=lambda audience: identity if audience.startswith("spiffe://") else None,
    )


def seen(condition: Condition[Any]) -> tuple[Any, str]:
    look = condition.look()
    return look.value, look.seen


def test_an_identity_has_the_bundles_of_all_that_its_trust_domain_federates_with(identity: Identity) -> None:
    assert seen(identity_conditions.probe_identity(probe(identity, SERVER)))[0] is identity
    value, words = seen(identity_conditions.probe_identity(probe(identity, SERVER, "third.example")))
    assert (value, words) == (None, "an identity without the bundle of ['third.example']")


def test_a_workload_trusts_exactly_the_authorities_of_a_bundle(identity: Identity) -> None:
    owner: Any = SimpleNamespace(trust_domain=SERVER)
    same = Bundle(identity.x509_authorities[SERVER], identity.jwt_authorities[SERVER], 1, None)

    def value(bundle: Bundle, of: Any = owner) -> Identity | None:
        return identity_conditions.trusted_authorities(probe(identity), of, bundle).look().value

    assert value(same) is identity
    assert value(replace(same, x509_authorities=same.x509_authorities | {"more"})) is None
    assert value(replace(same, jwt_authorities=frozenset())) is None
    assert value(same, SimpleNamespace(trust_domain="third.example")) is None


def test_svids_are_signed_by_the_authority_of_their_kind(identity: Identity) -> None:
    assert identity.x509_authority != identity.jwt_authority

    def value(kind: str, authority: str) -> Identity | None:
        return identity_conditions.svid_signed_by(probe(identity), kind, authority).look().value

    assert value("x509", identity.x509_authority) is value("jwt", identity.jwt_authority) is identity
    assert value("x509", identity.jwt_authority) is value("jwt", identity.x509_authority) is None


def test_an_endpoint_serves_the_keys_that_its_owner_shows(recorded: Read) -> None:
    document = recorded("bundle-show.json")
    shown = api_types.bundle(document)
    owner: Any = SimpleNamespace(trust_domain=SERVER, bundle=lambda: shown)
    answer = Endpoint(f"spiffe://{SERVER}/spire/server", document)
    asked: Any = SimpleNamespace(cluster=SimpleNamespace(label="client"), endpoint=lambda _: answer)
    assert seen(identity_conditions.endpoint_of(asked, owner, "https://x"))[0] is answer
    owner.bundle = lambda: replace(shown, jwt_authorities=frozenset({"another"}))
    value, words = seen(identity_conditions.endpoint_of(asked, owner, "https://x"))
    assert value is None
    assert words.startswith(f"spiffe://{SERVER}/spire/server serves x509-svid ")
    assert words.endswith(f"and {SERVER} shows {owner.bundle()}")


@pytest.mark.parametrize("seen", ["refused", "another name", "other keys", "no answer of its owner"])
def test_an_endpoint_is_unreached_where_nothing_or_another_server_answers_and_not_where_it_serves_other_keys(
    recorded: Read, seen: str
) -> None:
    document = recorded("bundle-show.json")
    shown = api_types.bundle(document)
    owner: Any = SimpleNamespace(trust_domain=SERVER, server_id=f"spiffe://{SERVER}/spire/server")

    def bundle() -> Bundle:
        if seen == "no answer of its owner":
            raise SpireError("server: the server's pod is not there")
        return replace(shown, jwt_authorities=frozenset({"another"}))

    def ask(_: str) -> Endpoint:
        if seen == "refused":
            raise ProbeError("dial tcp: connection refused")
        return Endpoint("" if seen == "another name" else owner.server_id, {} if seen == "another name" else document)

    owner.bundle = bundle
    asked: Any = SimpleNamespace(cluster=SimpleNamespace(label="client"), endpoint=ask)
    with pytest.raises(WaitError) as caught:
        identity_conditions.endpoint_reached(asked, owner, "https://x", 0.05)
    unreached = isinstance(caught.value, identity_conditions.EndpointUnreachedError)
    assert unreached is (seen in ("refused", "another name"))


def test_agents_are_counted_whose_svids_have_not_expired() -> None:
    now = int(time.time())
    listed = [AttestedAgent(f"spiffe://x/{expires}", "k8s_psat", False, now + expires) for expires in (-60, 60)]
    spire: Any = SimpleNamespace(cluster=SimpleNamespace(label="client", is_external=False), agents=lambda: listed)
    assert seen(identity_conditions.agents_attested(spire, 1))[0] == listed
    value, words = seen(identity_conditions.agents_attested(spire, 2))
    assert (value, words.partition(":")[0]) == (None, "1 of 2 have a valid SVID")


def test_agents_have_renewed_their_svids_when_none_has_its_old_one() -> None:
    listed = [AttestedAgent(name, "k8s_psat", False, expires) for name, expires in (("a", 1), ("b", 2))]
    spire: Any = SimpleNamespace(cluster=SimpleNamespace(label="client", is_external=False), agents=lambda: listed)
    assert identity_conditions.agent_svid_expiries(spire) == {"a": 1, "b": 2}
    renewed = identity_conditions.renewed_agent_svids
    assert seen(renewed(spire, {"a": 1, "b": 1})) == (None, "not renewed: ['a']")
    assert seen(renewed(spire, {"a": 0, "c": 2}))[0] is True
    listed.clear()
    assert seen(renewed(spire, {"a": 1}))[0] is None


class WithPublishedBundle(KubernetesObjects):
    """SPIRE whose server shows a recorded bundle, in a cluster with these ConfigMaps."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.shown = api_types.bundle(document)
        self.spire: Any = SimpleNamespace(cluster=self, layout=own_chart.LAYOUT, bundle=lambda: self.shown)

    def publish(self, document: str) -> None:
        place = own_chart.LAYOUT.agent.bundle
        assert place
        self.remove("ConfigMap")
        self.add("ConfigMap", place.name, place.namespace, data={place.key: document})


def test_agents_can_start_with_a_bundle_that_has_all_authorities_of_their_server(recorded: Read) -> None:
    document = recorded("bundle-show.json")
    objects = WithPublishedBundle(document)
    published = identity_conditions.authorities_published(objects.spire)
    objects.publish(document)
    assert seen(published)[0]
    # The server has prepared another since, and has not published it.
    objects.shown = replace(objects.shown, x509_authorities=objects.shown.x509_authorities | {"next"})
    value, words = seen(published)
    assert value is None
    assert "spire-bundle" in words
    assert "next" in words
    objects.publish("")
    lacking = {"spire-system/spire-bundle, key bundle.crt": objects.shown.x509_authorities}
    assert identity_conditions.authorities_not_published(objects.spire) == lacking
    objects.remove("ConfigMap")
    assert identity_conditions.authorities_not_published(objects.spire) == lacking


def test_agents_that_take_their_bundle_from_elsewhere_are_passed_over(recorded: Read) -> None:
    objects = WithPublishedBundle(recorded("bundle-show.json"))
    layout = own_chart.LAYOUT
    objects.spire.layout = replace(layout, agents=(replace(layout.agent, bundle=None),))
    assert identity_conditions.authorities_not_published(objects.spire) == {}
