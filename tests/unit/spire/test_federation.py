"""What federating leaves in clusters that are not the suite's own, and trust domains that federate already."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fixtures.k8s.connectivity.connectivity import BUNDLE_ENDPOINT, Connectivity
from fixtures.k8s.kind.network import KindNetwork
from fixtures.k8s.server_side_apply import LABELS
from fixtures.spire.api_types import Relationship
from fixtures.spire.federation import (
    ExistingFederation,
    Federation,
    federated_trust_domain,
    federation_found,
    why_not_to_federate,
)
from fixtures.spire.layout import ClusterFederatedTrustDomain
from fixtures.spire.layout.custom_resources import FEDERATION_RESOURCE
from fixtures.spire.server_cli import SpireError
from tests.unit.own_chart import CLASS_NAME, LAYOUT

URL = "https://endpoint.two.example"


class Recorder:
    """A cluster that notes what it is asked to do, in order."""

    label = "server"

    def __init__(self) -> None:
        self.done: list[tuple[str, str]] = []

    def record_before(self, manifest: dict[str, Any]) -> None:
        self.done.append(("record", manifest["metadata"]["name"]))

    def kubectl(self, verb: str, resource: str, name: str, *_: str) -> None:
        assert resource == FEDERATION_RESOURCE
        self.done.append((verb, name))

    def apply(self, manifest: dict[str, Any]) -> None:
        self.done.append(("apply", manifest["metadata"]["name"]))


def test_what_there_was_of_a_federation_object_is_recorded_before_it_is_deleted(tmp_path: Path) -> None:
    cluster = Recorder()
    listed = iter([[], [SimpleNamespace(trust_domain="client.example")]])
    peer: Any = SimpleNamespace(
        trust_domain="client.example", server_id="spiffe://client.example/spire/server", bundle_document=lambda: "{}"
    )
    spire: Any = SimpleNamespace(
        layout=LAYOUT,
        trust_domain="server.example",
        federates_with=("client.example",),
        cluster=cluster,
        relationships=lambda: next(listed),
    )
    made = Federation([spire, peer], Connectivity("127.0.0.1"), (8440, 8441), tmp_path)
    made.forwards["client.example"] = SimpleNamespace(url="https://127.0.0.1:8441")  # type: ignore[assignment]
    made.seed_bundle(spire, peer)
    name = federated_trust_domain(peer.trust_domain, "", "", "")["metadata"]["name"]
    assert cluster.done[:2] == [("record", name), ("delete", name)]
    assert cluster.done[-1] == ("apply", name)


class Found:
    """SPIRE that was there before the run; `done` is what was changed of it, `bundle` what it stores of its peer."""

    was_installed_by_run = False

    def __init__(self, trust_domain: str, peer: str, *relationships: Relationship, bundle: str | None = None) -> None:
        self.trust_domain = trust_domain
        self.federates_with = (peer,)
        self.server_id = f"spiffe://{trust_domain}/spire/server"
        self.layout = LAYOUT
        self.cluster: Any = Recorder()
        self.listed = list(relationships)
        self.bundle = bundle
        self.done: list[tuple[str, ...]] = []

    def relationships(self) -> list[Relationship]:
        return self.listed

    def bundle_document(self) -> str:
        return "{}"

    def foreign_bundle_document(self, _: str) -> str:
        if self.bundle is None:
            raise SpireError("bundle not found")
        return self.bundle

    def delete_bundle(self, trust_domain: str) -> None:
        self.done.append(("delete", trust_domain))

    def store_bundle(self, trust_domain: str, document: str) -> None:
        self.done.append(("store", trust_domain, document))


def relationship(trust_domain: str, profile: str = "https_spiffe", url: str = URL) -> Relationship:
    return Relationship(trust_domain, url, profile, f"spiffe://{trust_domain}/spire/server")


def sides(*of_first: Relationship) -> list[Any]:
    return [Found("one.example", "two.example", *of_first), Found("two.example", "one.example")]


def test_a_relationship_is_found_by_the_servers_list_or_by_an_object_that_it_does_not_act_on() -> None:
    assert federation_found(sides()) == []
    assert federation_found(sides(relationship("third.example"))) == []
    assert federation_found(sides(relationship("two.example"))) == ["server lists a relationship with two.example"]
    first, second = sides()
    ignored = ClusterFederatedTrustDomain("mine", "another-class", "two.example", URL, "https_spiffe", "")
    first.layout = replace(LAYOUT, cluster_federated_trust_domains=(ignored,))
    assert federation_found([first, second]) == ["server has the ClusterFederatedTrustDomain mine"]
    # The object of this run would have its name.
    taken = replace(ignored, name="two-example", trust_domain="third.example")
    first.layout = replace(LAYOUT, cluster_federated_trust_domains=(taken,))
    assert federation_found([first, second]) == ["server has the ClusterFederatedTrustDomain two-example"]


@pytest.mark.parametrize(
    ("found", "how", "breaks", "said"),
    [
        ([], "", False, ""),
        ([], "make", True, ""),
        (["a has it"], "", False, ""),
        (["a has it"], "existing", False, ""),
        (["a has it", "b has it"], "make", False, "--federate=make: a has it; b has it, and this run does not change"),
        (["a has it"], "", True, "-m resilience breaks relationships, and these are not of this run: a has it"),
        ([], "existing", True, "-m resilience breaks relationships, and these are not of this run: --federate="),
    ],
)
def test_relationships_that_the_run_did_not_make_are_neither_made_nor_broken(
    found: list[str], how: str, breaks: bool, said: str
) -> None:
    refusal = why_not_to_federate(found, how, breaks=breaks)
    assert refusal.startswith(said)
    assert bool(refusal) is bool(said)


def test_trust_domains_that_federate_already_are_looked_at_by_the_urls_that_they_have(tmp_path: Path) -> None:
    first, second = sides(relationship("two.example"), relationship("third.example"))
    made = ExistingFederation([first, second], Connectivity(""), tmp_path)
    assert made.endpoint_url("two.example") == URL
    assert made.listed(first).look().value == [relationship("two.example")]
    with pytest.raises(SpireError, match=r"no server has a relationship with one\.example"):
        made.endpoint_url("one.example")
    # Its absence is then a finding, though this run has made nothing.
    assert made.has_been_made(second, first)
    first.listed = [relationship("two.example", "https_web")]
    assert made.listed(first).look().value is None


def test_nothing_of_a_federation_that_was_there_is_changed(tmp_path: Path) -> None:
    first, second = sides(relationship("two.example"))
    second.listed = [relationship("one.example")]
    made = ExistingFederation([first, second], Connectivity(""), tmp_path)
    made.open_endpoints()
    made.federate()
    with pytest.raises(SpireError, match="is not this run's"):
        made.seed_bundle(first, second)
    assert made.undo() == []
    assert first.cluster.done == second.cluster.done == first.done == second.done == []


@pytest.mark.parametrize(
    ("bundle", "undone"), [(None, ("delete", "two.example")), ("theirs", ("store", "two.example", "theirs"))]
)
def test_a_federation_that_the_run_made_is_taken_back_with_the_bundle_that_the_server_would_keep(
    tmp_path: Path, bundle: str | None, undone: tuple[str, ...]
) -> None:
    first, second = sides()
    first.bundle = bundle
    made = Federation([first, second], Connectivity("127.0.0.1"), (8440, 8441), tmp_path)
    made._made.add(("one.example", "two.example"))
    made._remember(first, second)
    assert made.undo() == []
    assert first.cluster.done == [("delete", "two-example")]
    assert first.done == [undone]
    assert second.done == []


def test_an_object_of_the_runs_has_the_label_by_which_it_is_found() -> None:
    assert federated_trust_domain("two.example", URL, "{}", CLASS_NAME)["metadata"]["labels"] == LABELS


class Way(Connectivity):
    """Makes forwards that note what is done with them."""

    def forward(
        self,
        what: str,
        cluster: Any,
        namespace: str,
        service: str,
        service_port: int,
        *,
        port: int,
        log: Path,  # noqa: ARG002
    ) -> Any:
        done: list[str] = []
        return SimpleNamespace(
            url=f"https://{self.address}:{port}",
            to=(what, cluster.label, namespace, service, service_port),
            open=lambda: done.append("opened"),
            close=lambda: done.append("closed"),
            done=done,
        )


def test_every_endpoint_is_opened_and_closed_before_it_is_opened_anew(tmp_path: Path) -> None:
    spires: list[Any] = [
        SimpleNamespace(trust_domain=f"{label}.example", layout=LAYOUT, cluster=SimpleNamespace(label=label))
        for label in ("server", "client")
    ]
    made = Federation(spires, Way("port-forward", network=KindNetwork("10.89.0.1")), (8440, 8441), tmp_path)
    made.open_endpoints()
    first: list[Any] = list(made.forwards.values())
    assert [each.done for each in first] == [["opened"], ["opened"]]
    endpoint = LAYOUT.bundle_endpoint.service
    assert first[1].to == (BUNDLE_ENDPOINT, "client", endpoint.namespace, endpoint.name, endpoint.port)
    assert made.endpoint_url("client.example") == "https://10.89.0.1:8441"
    made.open_endpoints()
    assert [each.done for each in first] == [["opened", "closed"], ["opened", "closed"]]


@pytest.mark.parametrize("stored", [True, False])
def test_a_third_party_is_reported_with_what_is_known_of_its_bundle(tmp_path: Path, stored: bool) -> None:
    listed = [Relationship(name, URL, "https_web", "") for name in ("two.example", "third.example")]
    failed = (
        'time="2026-11-24T03:59:07Z" level=error msg="Error updating bundle" error="connection refused" '
        "trust_domain=third.example"
    )
    spire: Any = SimpleNamespace(
        cluster=SimpleNamespace(label="server"),
        trust_domain="one.example",
        federates_with=("two.example",),
        relationships=lambda: listed,
        stores_bundle=lambda _: stored,
        server_log=lambda: failed,
    )
    (sentence,) = Federation([spire], Connectivity(""), (0,), tmp_path).third_parties(spire)
    state = "it has a bundle" if stored else "its bundle was never fetched, and no entry that names it is made"
    assert sentence == (
        f"server also federates with third.example ({URL}, https_web): {state}; "
        "the last attempt failed: connection refused"
    )


def test_what_an_upgrade_renames_is_followed_by_what_the_run_made(tmp_path: Path) -> None:
    first, second = sides()
    first.cluster.label, second.cluster.label = "one", "two"
    made = Federation([first, second], Way("port-forward", network=KindNetwork("10.89.0.1")), (8440, 8441), tmp_path)
    made.open_endpoints()
    before: Any = made.forwards["one.example"]

    # Nothing that others know by its name.
    first.layout = replace(LAYOUT, cluster_name="other")
    made.follow(first, LAYOUT)
    assert before.done == ["opened"]
    assert first.cluster.done == second.cluster.done == []

    # The manager acts on another class: the objects of its own cluster are of that one.
    first.layout = replace(LAYOUT, controller_manager=replace(LAYOUT.controller_manager, class_name="other"))
    made.follow(first, LAYOUT)
    assert first.cluster.done == [("record", "two-example"), ("apply", "two-example")]
    assert second.cluster.done == []
    assert "className: other" in (tmp_path / "federation-one-two-example.yaml").read_text()

    # The endpoint's Service is another one, at the same address of this machine: peers need not know.
    service = replace(LAYOUT.bundle_endpoint.service, namespace="spire", name="other-server")
    first.layout = replace(LAYOUT, bundle_endpoint=replace(LAYOUT.bundle_endpoint, service=service))
    made.follow(first, LAYOUT)
    after: Any = made.forwards["one.example"]
    assert before.done == ["opened", "closed"]
    assert (after.done, after.to[2:4]) == (["opened"], ("spire", "other-server"))
    assert second.cluster.done == []

    # At another address they have to know.
    made.connectivity = Way("port-forward", network=KindNetwork("10.89.0.2"))
    made.follow(first, replace(LAYOUT, bundle_endpoint=LAYOUT.bundle_endpoint))
    assert second.cluster.done == [("record", "one-example"), ("apply", "one-example")]
