"""Callers and servers that are not who they should be, or have no identity: each refused, and for its own reason."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from fixtures.core.waiting import Condition, Look, WaitError, wait_for
from fixtures.k8s.server_side_apply import WORKLOAD_LABEL
from fixtures.plugins.resilience import NEW_PROBES_NAMESPACE, ProbeFactory
from fixtures.resilience.disruptions import store_bundle
from fixtures.resilience.environment import Environment
from fixtures.resilience.jwt_signing import SigningKey, add_authority
from fixtures.resilience.objects import apply_object
from fixtures.spire.logs import agent_log_line
from fixtures.workloads.demo import Demo
from fixtures.workloads.go_spiffe import NO_IDENTITY_ISSUED, unexpected_id
from fixtures.workloads.identity_conditions import PROBE_AUDIENCE, probe_identity
from fixtures.workloads.jobs import newest_pod_log
from fixtures.workloads.observed_call import REFUSED_IN_TLS, let_in, observe_call
from fixtures.workloads.probe import Answer, ProbeError
from tests.checks import RECHECK_TIMEOUT
from tests.faults import default_cluster_spiffe_id

OTHER_AUDIENCE = "spiffe://server.example/ns/demo/sa/other"
SHORT_TOKEN_LIFETIME = 5.0  # seconds that a token lives
# Seconds past its expiry for which go-spiffe still accepts a token, as clocks differ (go-jose's leeway), and some.
EXPIRY_LEEWAY = 60.0 + 20.0


@dataclass(frozen=True)
class Fading:
    """A token of a short life, and whether it was let in while it lived."""

    # Kept out of what a failed assertion shows.
    token: str = field(repr=False)
    accepted: bool


@pytest.fixture(scope="module", autouse=True)
def fading(environment: Environment) -> Fading:
    """Minted before the other tests, so that it has expired when they are through."""
    token = environment.client.mint_jwt(environment.demo.client_id, environment.demo.server_id, SHORT_TOKEN_LIFETIME)
    try:
        wait_for(let_in(environment.demo, bearer=token), SHORT_TOKEN_LIFETIME)
    except WaitError:
        return Fading(token, accepted=False)
    return Fading(token, accepted=True)


@pytest.fixture(scope="module")
def key(environment: Environment) -> Iterator[SigningKey]:
    """A key of the run's own, which the server's cluster takes for one of the client's trust domain."""
    made = SigningKey("of-the-run")
    with ExitStack() as undo:
        document = add_authority(environment.client.bundle_document(), made)
        store_bundle(undo, environment, environment.server, environment.client, document)
        wait_for(_trusts(environment, made), RECHECK_TIMEOUT)
        yield made


def _trusts(environment: Environment, key: SigningKey) -> Condition[bool]:
    probe, name = environment.demo.probes[environment.server.trust_domain], environment.client.trust_domain

    def look() -> Look[bool]:
        held = probe.fetch(PROBE_AUDIENCE).jwt_authorities[name]
        return Look(key.key_id in held or None, f"{sorted(held)}")

    return Condition(f"the key {key.key_id} among the JWT authorities of {name}", look)


def refused(environment: Environment, client_says: str, server_says: str) -> Condition[bool]:
    """The client's call is refused, for reasons seen on both sides."""

    def look() -> Look[bool]:
        call = observe_call(environment.demo)
        logged = "\n".join(call.server_log())
        seen = not call.succeeded and client_says in call.text and server_says in logged
        return Look(seen or None, f"{call.text}\n{logged}")

    return Condition(f"a refusal with {client_says!r} at the client and {server_says!r} at the server", look)


def test_a_server_of_another_trust_domain_than_expected_is_refused(environment: Environment) -> None:
    demo = environment.demo
    wait_for(let_in(demo), RECHECK_TIMEOUT)
    wrong = observe_call(demo, server_id=demo.server_id.replace(demo.server.trust_domain, "elsewhere.example"))
    assert not wrong.succeeded, wrong.text
    assert unexpected_id(wrong.text) == demo.server_id, wrong.text
    wrong.server_log_line(*REFUSED_IN_TLS)


def test_a_client_whose_entry_federates_with_nobody_cannot_verify_the_server(
    environment: Environment, undo: ExitStack
) -> None:
    wait_for(let_in(environment.demo), RECHECK_TIMEOUT)
    default_cluster_spiffe_id(environment.client).change(undo, {"spec": {"federatesWith": None}})
    words = f'no X.509 bundle for trust domain "{environment.server.trust_domain}"'
    wait_for(refused(environment, words, "bad certificate"), RECHECK_TIMEOUT)


def test_a_server_whose_entry_federates_with_nobody_cannot_verify_the_client(
    environment: Environment, undo: ExitStack
) -> None:
    wait_for(let_in(environment.demo), RECHECK_TIMEOUT)
    default_cluster_spiffe_id(environment.server).change(undo, {"spec": {"federatesWith": None}})
    words = f'no bundle found for trust domain "{environment.client.trust_domain}"'
    wait_for(refused(environment, "401 Invalid token", words), RECHECK_TIMEOUT)


@pytest.mark.usefixtures("undo")
def test_a_second_cluster_spiffe_id_takes_the_federation_away(
    environment: Environment, probe_factory: ProbeFactory
) -> None:
    caller = probe_factory(environment.client)
    wait_for(probe_identity(caller), RECHECK_TIMEOUT)
    wait_for(let_in(environment.demo, caller=caller), RECHECK_TIMEOUT)
    first = default_cluster_spiffe_id(environment.client)
    second = {
        "apiVersion": "spire.spiffe.io/v1alpha1",
        "kind": "ClusterSPIFFEID",
        "metadata": {"name": "second", "labels": environment.client.layout.controller_manager.class_labels},
        "spec": {
            "className": environment.client.layout.controller_manager.class_name,
            "spiffeIDTemplate": first.read()["spec"]["spiffeIDTemplate"],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NEW_PROBES_NAMESPACE}},
        },
    }
    with ExitStack() as beside:
        # So it is in the charts from 0.24 on: the default one counts only where no other does.
        first.change(beside, {"spec": {"fallback": True}})
        apply_object(beside, environment.client.cluster, second)

        words = f'no X.509 bundle for trust domain "{environment.server.trust_domain}"'

        def look() -> Look[bool]:
            call = observe_call(environment.demo, caller=caller)
            return Look(True if not call.succeeded and words in call.text else None, call.text)

        wait_for(Condition(f"a refusal of the newcomer, {words}", look), RECHECK_TIMEOUT)
        # A pod that the second one does not select still federates.
        wait_for(let_in(environment.demo), RECHECK_TIMEOUT)
    wait_for(probe_identity(caller), RECHECK_TIMEOUT)
    wait_for(let_in(environment.demo, caller=caller), RECHECK_TIMEOUT)


def _left_out(environment: Environment, undo: ExitStack, side: str) -> None:
    """Have the ClusterSPIFFEID of a cluster select every namespace but the newcomers'."""
    spire = environment.client if side == "client" else environment.server
    target = default_cluster_spiffe_id(spire)
    others = {"key": "kubernetes.io/metadata.name", "operator": "NotIn"}
    excluded = [*spire.namespaces(), NEW_PROBES_NAMESPACE]
    target.change(undo, {"spec": {"namespaceSelector": {"matchExpressions": [{**others, "values": excluded}]}}})


@pytest.mark.usefixtures("undo")
def test_a_client_outside_the_mesh_has_no_identity_to_call_with(
    environment: Environment, probe_factory: ProbeFactory
) -> None:
    with ExitStack() as outside:
        _left_out(environment, outside, "client")
        caller, control = probe_factory(environment.client), probe_factory(environment.server)
        # A pod of the same age has its identity by then, on the side where the namespace is selected.
        wait_for(probe_identity(control), RECHECK_TIMEOUT)
        asked = time.time()
        with pytest.raises(ProbeError, match=NO_IDENTITY_ISSUED):
            caller.fetch(PROBE_AUDIENCE)
        call = observe_call(environment.demo, caller=caller)
        assert not call.succeeded, call.text
        assert "unable to create X509Source: no identity within 3s" in call.text, call.text
        assert "no identity issued" in call.text.lower(), call.text
        wait_for(agent_log_line(environment.client, "No identity issued", since=asked), RECHECK_TIMEOUT)
        assert not [line for line in call.server_log() if caller.spiffe_id in line], "the server never met it"
    wait_for(probe_identity(caller), RECHECK_TIMEOUT)
    inside = wait_for(let_in(environment.demo, caller=caller), RECHECK_TIMEOUT)
    inside.server_log_line(f"Request received from {caller.spiffe_id}")  # the log has live traffic too


def test_a_server_outside_the_mesh_never_serves(
    environment: Environment, undo: ExitStack, probe_factory: ProbeFactory
) -> None:
    server = environment.server.cluster
    outsider = Demo(
        [environment.server, environment.client],
        environment.demo.images,
        environment.federation.connectivity,
        0,
        environment.folder,
        NEW_PROBES_NAMESPACE,
    )
    server.apply(outsider.of_server.manifest())
    undo.callback(
        server.kubectl, "delete", "deployment,service", "-n", NEW_PROBES_NAMESPACE, "--all", "--cascade=foreground"
    )
    with ExitStack() as outside:
        _left_out(environment, outside, "server")
        outsider.apply_server()

        def look() -> Look[str]:
            lines = newest_pod_log(server, NEW_PROBES_NAMESPACE, f"{WORKLOAD_LABEL}=server")
            return Look(next((line for line in lines if "no identity issued" in line.lower()), None), "\n".join(lines))

        # A pod of the same age has its identity by then, on the side where the namespace is selected.
        wait_for(probe_identity(probe_factory(environment.client)), RECHECK_TIMEOUT)
        wait_for(Condition("the server outside the mesh without an identity", look), RECHECK_TIMEOUT)
        probe, url = environment.demo.probes[environment.client.trust_domain], outsider.direct_url()
        call = probe.call(url, outsider.server_id)
        assert not call.succeeded, call.text
        assert "connection refused" in call.text, call.text
    outsider.wait_server(RECHECK_TIMEOUT)

    def serves() -> Look[Answer]:
        # The pod is ready a second before kube-proxy, which gathers changes for so long, leads to it.
        call = probe.call(url, outsider.server_id)
        return Look(call if call.succeeded else None, call.text)

    wait_for(Condition("an answer of the server, now inside the mesh", serves), RECHECK_TIMEOUT)


@dataclass(frozen=True)
class Forged:
    """What is wrong with a JWT, and what the server's log says of it. `expires` is in seconds from now, or None."""

    reason: str
    expires: float | None = 300.0
    audience: str = ""
    key_id: str = ""
    right_key: bool = True


FORGED = {
    "expired": Forged("token has expired", expires=-120.0),
    "without exp": Forged("token missing exp claim", expires=None),
    "wrongly signed": Forged("unable to get claims from token", right_key=False),
    "of an unknown key": Forged("no JWT authority", key_id="of-nobody", right_key=False),
    "for another audience": Forged("expected audience in", audience=OTHER_AUDIENCE),
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=[name.replace(" ", "-") for name in FORGED])
def test_a_jwt_is_refused(environment: Environment, key: SigningKey, forged: Forged) -> None:
    demo, now = environment.demo, int(time.time())
    good = key.sign(sub=demo.client_id, aud=[demo.server_id], exp=now + 300, iat=now)
    # The server may learn of the key a moment after the probe has.
    wait_for(let_in(demo, bearer=good), RECHECK_TIMEOUT)
    signer = key if forged.right_key else SigningKey(forged.key_id or key.key_id)
    expires = None if forged.expires is None else now + int(forged.expires)
    bad = signer.sign(sub=demo.client_id, aud=[forged.audience or demo.server_id], exp=expires, iat=now)
    call = observe_call(demo, bearer=bad)
    assert not call.succeeded, call.text
    assert call.text.rstrip().endswith("401 Invalid token"), call.text
    assert forged.reason in call.server_log_line("Invalid token")


def test_a_jwt_svid_is_no_use_at_another_audience(environment: Environment) -> None:
    demo = environment.demo
    right, other = (
        environment.client.mint_jwt(demo.client_id, audience, 300) for audience in (demo.server_id, OTHER_AUDIENCE)
    )
    wait_for(let_in(demo, bearer=right), RECHECK_TIMEOUT)
    replayed = observe_call(demo, bearer=other)
    assert not replayed.succeeded, replayed.text
    assert replayed.text.rstrip().endswith("401 Invalid token"), replayed.text
    assert OTHER_AUDIENCE in replayed.server_log_line("Invalid token", "expected audience in")


def test_a_jwt_svid_is_refused_once_it_has_expired(environment: Environment, fading: Fading) -> None:
    assert fading.accepted, "it must have been let in while it lived"

    def look() -> Look[str]:
        call = observe_call(environment.demo, bearer=fading.token)
        return Look(None if call.succeeded else call.server_log_line("Invalid token"), "still let in")

    line = wait_for(
        Condition("a refusal of the expired JWT-SVID", look), SHORT_TOKEN_LIFETIME + EXPIRY_LEEWAY, interval=2.0
    )
    assert "token has expired" in line, line
