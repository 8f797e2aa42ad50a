"""OIDC discovery, asked from another cluster: which names are asked, and whose issuer and keys are accepted.

Recorded: what the hardened chart's provider served, and the bundle that its server showed.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fixtures.core.waiting import WaitError
from fixtures.k8s.connectivity.connectivity import Connectivity
from fixtures.spire.federation import Federation
from fixtures.spire.layout import Layout, OIDCProvider
from fixtures.workloads.demo import Demo
from fixtures.workloads.probe import Endpoint
from fixtures.workloads.web_services import oidc_provider
from fixtures.workloads.web_services.oidc_provider import is_issuer, url
from tests import checks
from tests.unit.own_chart import LAYOUT

Read = Callable[[str], str]
ISSUER = "https://oidc-discovery.server.example"
SPIFFE_ID = "spiffe://server.example/ns/spire-server/sa/spire-spiffe-oidc-discovery-provider"
CACHE = "https://cdn.example/keys"
PROXIED = "https://login.example"
PLACE = "10.89.0.1:40000"
assert LAYOUT.oidc_provider is not None
PLAIN: OIDCProvider = LAYOUT.oidc_provider
SECURE = dataclasses.replace(PLAIN, tls=True)


@pytest.mark.parametrize(
    ("provider", "issuer", "asked"),
    [
        (SECURE, ISSUER, "https://oidc-discovery.server.example/keys"),
        (PLAIN, ISSUER, "http://oidc-discovery.server.example/keys"),
        (PLAIN, "oidc-discovery.server.example", "http://oidc-discovery.server.example/keys"),
        (dataclasses.replace(SECURE, path="/one/"), f"{ISSUER}/one", "https://oidc-discovery.server.example/one/keys"),
        (dataclasses.replace(SECURE, domains=("a.example", ISSUER[8:])), ISSUER, f"{ISSUER}/keys"),
        # A verifier knows no other name, whether the provider answers to it or not.
        (dataclasses.replace(SECURE, domains=("a.example", "b.example")), ISSUER, f"{ISSUER}/keys"),
        (dataclasses.replace(SECURE, domains=("a.example",)), "", "https://a.example/keys"),
    ],
)
def test_a_provider_is_asked_by_the_issuers_name_and_where_there_is_none_by_its_own(
    provider: OIDCProvider, issuer: str, asked: str
) -> None:
    assert url(provider, issuer, "keys") == asked


@pytest.mark.parametrize(
    ("found", "wanted", "provider", "is_so"),
    [
        (ISSUER, ISSUER, SECURE, True),
        (ISSUER, ISSUER, PLAIN, True),
        (f"{ISSUER}/one", ISSUER, SECURE, False),
        ("https://oidc-discovery.client.example", ISSUER, SECURE, False),
        ("https://oidc-discovery.client.example", ISSUER, PLAIN, False),
        # A proxy ends TLS before it.
        (ISSUER.replace("https", "http"), ISSUER, PLAIN, True),
        (ISSUER.replace("https", "http"), ISSUER, SECURE, False),
        # Old charts' issuer is a name.
        (ISSUER, "oidc-discovery.server.example", SECURE, True),
    ],
)
def test_an_issuer_is_the_servers(found: str, wanted: str, provider: OIDCProvider, *, is_so: bool) -> None:
    assert is_issuer(found, wanted, provider) is is_so


class Served:
    """Stands in for the probe of the client's cluster: what the provider serves, by path; remembers what was asked."""

    def __init__(self, documents: dict[str, Any], spiffe_id: str, dns_names: tuple[str, ...]) -> None:
        self.cluster = SimpleNamespace(label="client")
        self.documents = documents
        self.spiffe_id = spiffe_id
        self.dns_names = frozenset(dns_names)
        self.asked: list[tuple[str, str, str]] = []

    def get(self, address: str, *, connect_to: str, bundle: str) -> Endpoint:
        self.asked.append((address, connect_to, bundle))
        return Endpoint(self.spiffe_id, self.documents[address.rpartition("/")[2]], self.dns_names)


class Server:
    """Stands in for SPIRE of the server's trust domain."""

    def __init__(self, document: str, layout: Layout) -> None:
        self.cluster = SimpleNamespace(label="server")
        self.trust_domain = "server.example"
        self.was_installed_by_run = True
        self.layout = layout
        self.document = document
        self.values: dict[str, Any] = {}

    def bundle_document(self) -> str:
        return self.document


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch, recorded: Read) -> Callable[..., Served]:
    """Runs the check against the recorded documents, changed, and returns what was asked."""

    @contextmanager
    def forwarded(*_: Any) -> Iterator[str]:
        yield PLACE

    def run(
        issuer: str = ISSUER,
        kid: str = "",
        spiffe_id: str = SPIFFE_ID,
        provider: OIDCProvider | None = SECURE,
        way: str = "node-port",
        jwks_uri: str = f"{ISSUER}/keys",
        jwt_issuer: str = LAYOUT.jwt_issuer,
        was_installed_by_run: bool = True,
        dns_names: tuple[str, ...] = (ISSUER[8:],),
        values: Mapping[str, Any] | None = None,
    ) -> Served:
        given = {"issuer": issuer, "jwks_uri": jwks_uri}
        configuration = json.loads(recorded("oidc-configuration.json")) | given
        keys = json.loads(recorded("oidc-keys.json"))
        keys["keys"] += [{**keys["keys"][0], "kid": kid}] if kid else []
        documents = {"openid-configuration": configuration, jwks_uri.rpartition("/")[2]: keys}
        served = Served(documents, spiffe_id, dns_names)
        layout = dataclasses.replace(LAYOUT, oidc_provider=provider, jwt_issuer=jwt_issuer)
        server = Server(recorded("oidc-bundle.json"), layout)
        server.was_installed_by_run = was_installed_by_run
        server.values = dict(values or {})
        client = SimpleNamespace(trust_domain="client.example")
        federation = SimpleNamespace(pairs=[(client, server)], connectivity=Connectivity(way), folder=Path())
        asking = server.trust_domain if way == "given" else client.trust_domain
        demo = SimpleNamespace(probes={asking: served})
        checks.oidc_discovery_is_its_servers(cast(Federation, federation), cast(Demo, demo), timeout=0.05)
        return served

    monkeypatch.setattr(oidc_provider, "forwarded", forwarded)
    return run


def test_issuer_and_keys_of_the_server_are_accepted_and_the_certificate_is_verified_by_its_bundle(
    check: Callable[..., Served], recorded: Read
) -> None:
    name = "https://oidc-discovery.server.example"
    asked = [f"{name}/.well-known/openid-configuration", f"{name}/keys"]
    assert check().asked == [(each, PLACE, recorded("oidc-bundle.json")) for each in asked]


def test_a_certificate_that_is_no_svid_and_plain_http_are_accepted(check: Callable[..., Served]) -> None:
    assert check(spiffe_id="").asked
    assert check(spiffe_id="", provider=PLAIN).asked[0][0].startswith("http://")


def test_where_addresses_are_given_a_provider_is_asked_from_its_own_side(check: Callable[..., Served]) -> None:
    assert check(way="given").asked == check().asked


def test_where_addresses_are_given_a_provider_is_at_its_service(tmp_path: Path) -> None:
    owner: Any = SimpleNamespace(cluster=SimpleNamespace(label="server"), layout=LAYOUT)
    service = PLAIN.service
    assert service
    with oidc_provider.forwarded(owner, Connectivity("given"), tmp_path) as place:
        assert place == f"{service.name}.{service.namespace}.svc:{service.port}"


def test_what_is_not_installed_or_has_no_service_is_not_asked(check: Callable[..., Served]) -> None:
    assert not check(provider=None).asked
    assert not check(provider=dataclasses.replace(SECURE, service=None)).asked


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"issuer": "https://oidc-discovery.example.org"}, "server: .*example.org"),
        ({"spiffe_id": "spiffe://client.example/ns/a/sa/b"}, "server: .*client.example"),
        ({"dns_names": ()}, "its certificate is not for oidc-discovery.server.example: its names are none"),
        ({"dns_names": ("a", "b")}, "is not for oidc-discovery.server.example: its names are a, b"),
        # Behind a proxy it may be asked by other names; of none it can be asked by nobody.
        ({"jwt_issuer": PROXIED, "issuer": PROXIED, "dns_names": ()}, "its certificate is not for login.example"),
        ({"jwks_uri": CACHE}, f"verifiers for its keys to a host .*: {CACHE}"),
        (
            {"provider": dataclasses.replace(SECURE, unrenewed_certificate="/certs/tls.crt")},
            "nothing in its pod renews its certificate /certs/tls.crt: after",
        ),
    ],
)
def test_what_verifiers_would_not_accept_now_or_tomorrow_is_red(
    check: Callable[..., Served], changed: dict[str, Any], said: str
) -> None:
    with pytest.raises(AssertionError, match=said):
        check(**changed)


def test_another_trust_domains_certificate_is_red_of_somebody_elses_installation_too(
    check: Callable[..., Served],
) -> None:
    with pytest.raises(AssertionError, match=r"client\.example"):
        check(spiffe_id="spiffe://client.example/ns/a/sa/b", was_installed_by_run=False)
    assert check(dns_names=(), was_installed_by_run=False).asked


def test_keys_that_the_server_does_not_have_are_red(check: Callable[..., Served]) -> None:
    with pytest.raises(WaitError, match=r"client: server.example's keys from its OIDC .*'foreign'.*its server has"):
        check(kid="foreign")


def test_the_keys_are_asked_for_where_verifiers_are_sent_to(check: Callable[..., Served]) -> None:
    assert [each[0] for each in check(jwks_uri=f"{ISSUER}/v2/jwks").asked][-1] == f"{ISSUER}/v2/jwks"
    # Keys that somebody else serves, such as a cache, are not in reach of the provider's Service.
    values = {"spiffe-oidc-discovery-provider": {"config": {"jwksUri": CACHE}}}
    assert [each[0] for each in check(jwks_uri=CACHE, values=values).asked][-1] == f"{ISSUER}/keys"
    assert check(jwks_uri=CACHE, was_installed_by_run=False).asked
    assert check(jwks_uri=f"http://{PLAIN.domains[0]}/keys").asked


def test_jwt_svids_without_an_issuer_are_red_but_for_somebody_elses_installation(check: Callable[..., Served]) -> None:
    domain = LAYOUT.oidc_provider.domains[0] if LAYOUT.oidc_provider else ""
    with pytest.raises(AssertionError, match="server: OIDC discovery provider: its server's JWT-SVIDs have no issuer"):
        check(jwt_issuer="")
    assert check(jwt_issuer="", was_installed_by_run=False).asked[0][0].startswith(f"https://{domain}/")


def test_a_proxy_may_ask_by_another_name_than_the_issuers(check: Callable[..., Served]) -> None:
    assert check(jwt_issuer=PROXIED, issuer=PROXIED, dns_names=(ISSUER[8:],)).asked
