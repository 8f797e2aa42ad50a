"""OIDC discovery and Tornjak as the diagnosis sees them, asked from a pod of their own cluster.

Recorded: what the hardened chart's provider served, the bundle that its server showed, and the probe's words.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fixtures.diagnosis.finding import Finding
from fixtures.diagnosis.links.web_links import check_web_services
from fixtures.spire.installation import Spire
from fixtures.spire.layout import Layout, Service, Tornjak
from fixtures.workloads.demo import Demo
from fixtures.workloads.probe import Endpoint, ProbeError
from tests.unit.own_chart import LAYOUT

Read = Callable[[str], str]
Check = Callable[..., list[Finding]]
ISSUER = "https://oidc-discovery.server.example"
EXPIRED = (
    "2026/11/26 20:38:26 the endpoint presented what its trust bundle does not verify: x509svid: could not verify leaf "
    "certificate: x509: certificate has expired or is not yet valid: current time 2026-11-26T20:38:26Z is after "
    "2026-11-26T20:37:53Z"
)
REFUSED = '2026/11/26 11:50:00 unable to ask the endpoint: Get "http://x": dial tcp: connect: connection refused'
NOT_FOUND = '2026/11/26 11:50:00 the endpoint answered 404 Not Found: "404 page not found\\n"'
assert LAYOUT.oidc_provider is not None
SECURE = dataclasses.replace(LAYOUT.oidc_provider, tls=True)
BACKEND = Tornjak(
    **{each.name: getattr(LAYOUT.server, each.name) for each in dataclasses.fields(Tornjak) if each.name != "service"},
    service=Service("spire-server", "tornjak", 10000),
)


@pytest.fixture
def check(recorded: Read) -> Check:
    """Runs the look where every document is the recorded one, but those that are given, by the end of their URL."""

    def run(served: dict[str, Any] | None = None, layout: Layout = LAYOUT) -> list[Finding]:
        documents = {
            "openid-configuration": json.loads(recorded("oidc-configuration.json")) | {"issuer": ISSUER},
            "keys": json.loads(recorded("oidc-keys.json")),
            "agents": {"agents": []},
            "entries": {"entries": []},
            **(served or {}),
        }

        def get(address: str, **_: Any) -> Endpoint:
            found = documents[address.rpartition("/")[2]]
            if isinstance(found, str):
                raise ProbeError(found)
            return Endpoint("", found)

        cluster = SimpleNamespace(label="server")
        spire: Any = SimpleNamespace(cluster=cluster, trust_domain="server.example", layout=layout)
        spire.was_installed_by_run = True
        spire.values = {}
        spire.bundle_document = lambda: recorded("oidc-bundle.json")
        spire.agents = spire.entries = list
        probe = SimpleNamespace(cluster=cluster, spire=spire, get=get)
        demo = SimpleNamespace(probes={"server.example": probe})
        return list(check_web_services(cast(Spire, spire), cast(Demo, demo)))

    return run


def with_provider(**fields: Any) -> Layout:
    return dataclasses.replace(LAYOUT, oidc_provider=dataclasses.replace(SECURE, **fields))


def test_what_serves_as_it_should_or_is_not_installed_is_not_broken(check: Check) -> None:
    assert check(layout=with_provider()) == []
    assert check(layout=dataclasses.replace(with_provider(), tornjak_backend=BACKEND)) == []
    (found,) = check(layout=dataclasses.replace(with_provider(), jwt_issuer=""))
    assert "its server's JWT-SVIDs have no issuer" in found.sentence
    assert "global.spire.jwtIssuer" in found.cause
    nothing = {"openid-configuration": REFUSED}
    assert check(nothing, layout=with_provider(service=None)) == []
    assert check(nothing, layout=dataclasses.replace(LAYOUT, oidc_provider=None)) == []


@pytest.mark.parametrize(
    ("served", "words", "cause", "on_its_way"),
    [
        ({"openid-configuration": EXPIRED}, "certificate has expired", "a shorter life than the interval", False),
        ({"keys": REFUSED}, "connection refused", "its Service leads to another port", False),
        ({"keys": NOT_FOUND}, "answered 404", "other names or paths than the issuer's", False),
        ({"keys": {"keys": []}}, "keys [], and its server has", "it asks another server", True),
        (
            {"openid-configuration": {"issuer": "https://elsewhere.example"}},
            "its issuer is https://elsewhere.example, while its server's JWT-SVIDs have",
            "the server's jwt_issuer is not the provider's",
            False,
        ),
        (
            {"openid-configuration": {"issuer": LAYOUT.jwt_issuer, "jwks_uri": "https://elsewhere.example/keys"}},
            "neither it nor the values know: https://elsewhere.example/keys",
            "see spiffe-oidc-discovery-provider.config.jwksUri",
            False,
        ),
    ],
)
def test_a_provider_that_serves_something_else_or_nothing_is_named_with_its_usual_cause(
    check: Check, served: dict[str, Any], words: str, cause: str, on_its_way: bool
) -> None:
    (found,) = check(served, layout=with_provider())
    assert (found.link, found.cluster, found.on_its_way) == ("web services", "server", on_its_way)
    assert found.sentence.startswith("Deployment spire-server/spire-spiffe-oidc-discovery-provider at ")
    assert words in found.sentence
    assert cause in found.cause


def test_a_backend_of_tornjaks_that_lists_what_its_server_has_not_is_named(check: Check) -> None:
    stranger = {"agents": [{"id": {"trust_domain": "server.example", "path": "/spire/agent/x"}}]}
    (found,) = check({"agents": stranger}, layout=dataclasses.replace(with_provider(), tornjak_backend=BACKEND))
    assert "Tornjak: agents ['spiffe://server.example/spire/agent/x']" in found.sentence
    assert found.cause.startswith("Tornjak is connected to another server")
    assert found.on_its_way
