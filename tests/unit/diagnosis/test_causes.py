"""From recorded words of programs and objects to the link that is broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fixtures.diagnosis import causes
from fixtures.diagnosis.chain import LINKS
from fixtures.spire.api_types import Bundle
from fixtures.spire.installation import refuses_attestation
from fixtures.spire.layout import Reconcile
from tests.unit.own_chart import CLASS_NAME, LAYOUT

MANAGER = LAYOUT.controller_manager

URL = "https://10.89.0.1:10001"
SERVER_ID = "spiffe://server.example/ns/demo/sa/default"
Read = Callable[[str], str]


def failed(text: str, *server_log: str) -> tuple[str, str, str, str]:
    found = causes.failed_call(URL, SERVER_ID, text, server_log)
    assert found[0] in LINKS
    return found


def test_the_tutorials_alternate_audience_breaks_tls(recorded: Read) -> None:
    link, sentence, _, evidence = causes.failed_call(
        URL,
        f"{SERVER_ID}-alternate",
        recorded("job-client-client-fail.log"),
        recorded("demo-server.log").splitlines()[-3:],
    )
    assert link == "TLS"
    assert sentence == f"the server presents {SERVER_ID}, and {SERVER_ID}-alternate is expected of it"
    assert "unexpected ID" in evidence
    assert "bad certificate" in evidence, "both sides' words are shown"


def test_a_wrong_audience_is_named_with_both(recorded: Read) -> None:
    refused = next(line for line in recorded("demo-server.log").splitlines() if "Invalid token" in line)
    link, sentence, _, _ = failed(recorded("job-client-client-wrong-audience.log"), refused)
    assert link == "audience"
    assert sentence == f"the server accepts {SERVER_ID}, and the token is for {SERVER_ID}-alternate"


@pytest.mark.parametrize(
    ("text", "server_log", "link", "words"),
    [
        (
            "401 Invalid token",
            ['Invalid token: jwtsvid: no JWT bundle found for trust domain "client.example"'],
            "JWT",
            "no JWT bundle found",
        ),
        ("401 Invalid token", [], "JWT", "401 Invalid token"),
        (
            (
                "unable to create X509Source: no identity within 3s: rpc error: code = PermissionDenied desc = no "
                "identity issued"
            ),
            [],
            "X.509 SVID",
            "no identity",
        ),
        (
            (
                "unable to create X509Source: no identity within 3s: dial unix /spiffe-workload-api/spire-agent.sock: "
                "connect: no such file or directory"
            ),
            [],
            "CSI socket",
            "not there",
        ),
        (
            "unable to fetch SVID: rpc error: code = Unavailable desc = could not fetch JWT-SVID",
            [],
            "JWT",
            "no JWT-SVID",
        ),
        (
            f'Get "{URL}": x509svid: could not verify leaf certificate: x509: certificate signed by unknown authority',
            [],
            "TLS",
            "certificate signed by unknown authority",
        ),
        (
            f'Get "{URL}": dial tcp 10.89.0.1:10001: connect: connection refused',
            [],
            "server reachable",
            "refuses connections",
        ),
        (f'Get "{URL}": dial tcp 10.89.0.1:10001: i/o timeout', [], "server reachable", "does not answer"),
        (f'Get "{URL}": EOF', [], "server reachable", "closes connections"),
    ],
)  # fmt: skip
def test_a_failed_call_breaks_the_link_that_its_words_are_about(
    text: str, server_log: list[str], link: str, words: str
) -> None:
    found = failed(text, *server_log)
    assert found[0] == link
    assert words in found[1]


@pytest.mark.parametrize(
    ("error", "link"),
    [
        ("unable to fetch X509-SVID: rpc error: code = PermissionDenied desc = no identity issued", "X.509 SVID"),
        (
            (
                'unable to fetch X509-SVID: connection error: desc = "transport: Error while dialing: dial unix '
                '/spiffe-workload-api/spire-agent.sock: connect: connection refused"'
            ),
            "CSI socket",
        ),
        ("unable to fetch JWT-SVID: rpc error: code = Unimplemented desc = JWT-SVIDs are disabled", "JWT"),
    ],
)  # fmt: skip
def test_a_failed_fetch_breaks_the_link_that_its_words_are_about(error: str, link: str) -> None:
    assert causes.failed_fetch(error)[0] == link


def federation_object(**spec: str) -> dict[str, Any]:
    return {"metadata": {"name": "client-example"}, "spec": {"trustDomain": "client.example", **spec}}


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (None, "no ClusterFederatedTrustDomain for it"),
        (federation_object(), "client-example has no class name"),
        (federation_object(className="other"), "client-example has the class name other"),
        (federation_object(className=CLASS_NAME), "though ClusterFederatedTrustDomain client-example is there"),
    ],
)
def test_a_relationship_that_is_not_there_is_put_down_to_its_object(made: Any, words: str) -> None:
    sentence, cause, _ = causes.no_relationship("client.example", made, MANAGER)
    assert words in sentence
    assert cause


def test_what_the_controller_manager_is_configured_not_to_do_is_named() -> None:
    idle = replace(MANAGER, reconcile=Reconcile(False, False, False))
    sentence, cause, _ = causes.no_relationship("client.example", federation_object(className=CLASS_NAME), idle)
    assert sentence.endswith("the controller manager is configured not to reconcile ClusterFederatedTrustDomains")
    assert causes.is_of_configuration(sentence, cause)
    assert "not to reconcile ClusterSPIFFEIDs" in causes.why_no_entry([DEFAULT], ["client.example"], "demo", idle)
    elsewhere = replace(MANAGER, ignore_namespaces=("^demo$",))
    assert "ignores the namespace demo" in causes.why_no_entry([DEFAULT], ["client.example"], "demo", elsewhere)
    narrow = replace(MANAGER, watched_namespaces=("prod",))
    assert "watches only prod, and not" in causes.why_no_entry([DEFAULT], ["client.example"], "demo", narrow)
    filtering = replace(MANAGER, seen_labels=MANAGER.class_labels)
    cause = causes.why_no_entry([DEFAULT], ["client.example"], "demo", filtering)
    assert f"sees only what has the label spire.spiffe.io/class-name={CLASS_NAME}" in cause
    assert "ClusterSPIFFEID default has not: see spire-server.controllerManager.filterByClassName" in cause
    assert causes.is_of_configuration("no entry", cause)


def test_objects_without_a_class_are_acted_on_where_those_are_watched() -> None:
    watching = replace(MANAGER, watch_classless=True)
    sentence, _, _ = causes.no_relationship("client.example", federation_object(), watching)
    assert sentence.endswith("though ClusterFederatedTrustDomain client-example is there")


# As Helm 3 records them.
FAILED_REVISIONS = {
    'Upgrade "spire" failed: cannot patch "spire-server" with kind StatefulSet: StatefulSet.apps "spire-server" is '
    "invalid: spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
    "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are "
    "forbidden": "--cascade=orphan` and upgrade again",
    'Upgrade "spire" failed: cannot patch "spire-agent" with kind DaemonSet: DaemonSet.apps "spire-agent" is invalid: '
    'spec.selector: Invalid value: {"matchLabels":{"app.kubernetes.io/name":"agent"}}: field is immutable': (
        "a selector, a Job's template"
    ),
    'unable to build kubernetes objects from release manifest: resource mapping not found for name: "spire-server" '
    'namespace: "spire-server" from "": no matches for kind "PodMonitor" in version "monitoring.coreos.com/v1" ensure '
    "CRDs are installed first": "install or upgrade the CRDs first",
    # Chart 0.30.0 with another namespace for the server.
    'Upgrade "spire" failed: pre-upgrade hooks failed: warning: Hook pre-upgrade '
    "spire/charts/spire-server/templates/pre-upgrade-hook.yaml failed: 1 error occurred: * namespaces "
    '"identity" not found': "make it first",
    # A ValidatingAdmissionPolicy that asks for a label of every namespace.
    "1 error occurred: * namespaces \"spire-mgmt\" is forbidden: ValidatingAdmissionPolicy 'company-team' with binding "
    "'company-team' denied request: every namespace needs the label team": "give values that satisfy it",
    'clusterroles.rbac.authorization.k8s.io is forbidden: User "a" cannot create resource': "credentials",
    'Upgrade "spire" failed: cannot patch "spire-mgmt-spire-default" with kind ClusterSPIFFEID: admission webhook '
    '"vclusterspiffeid.kb.io" denied the request: time: invalid duration "soon"': "its words name the object",
    "pre-upgrade hooks failed: 1 error occurred: * job spire-hook failed: BackoffLimitExceeded": "a hook's Job failed",
}


@pytest.mark.parametrize(("description", "cause"), FAILED_REVISIONS.items())
def test_a_revision_that_failed_is_given_its_remedy(description: str, cause: str) -> None:
    assert cause in causes.why_release_failed(description)


def test_an_agent_that_reaches_no_kubelet_is_named_for_its_workload_attestor() -> None:
    # Logged by SPIRE 1.15.2 on chart 0.30.0 with `spire-agent.hostNetwork=false`.
    sentence = (
        "DaemonSet spire-system/spire-agent has 0 of 1 ready: container spire-agent of pod spire-agent-nzl26 runs and "
        "is not ready; it logs: Unable to get pod list; will retry after backoff: unable to perform request: Get "
        '"https://127.0.0.1:10250/pods": dial tcp 127.0.0.1:10250: connect: connection refused'
    )
    assert causes.why_unready(sentence) == causes.WHY_UNATTESTED
    assert causes.is_of_configuration(sentence, causes.WHY_UNATTESTED)


HANDSHAKE = 'connection error: desc = "transport: authentication handshake failed: '


# As agents (1.15) log it.
@pytest.mark.parametrize(
    ("refusal", "cause"),
    [
        (f'{HANDSHAKE}unexpected ID "spiffe://server.example/spire-controller-manager-webhook"', "no SPIRE server"),
        (f"{HANDSHAKE}x509svid: could not get leaf SPIFFE ID: certificate contains no URI SAN", "no SPIRE server"),
        (f"{HANDSHAKE}x509bundle: no X.509 bundle found for trust domain: server.example", "trust_domain is not its"),
        (f"{HANDSHAKE}x509: certificate signed by unknown authority", "bundle of another server"),
        ("could not parse trust bundle: open /run/spire/bundle/bundle.crt: no such file", "trustBundleFormat"),
        ('error getting node attestor: could not find node attestor type "k8s_psat"', "has no node attestor"),
        ('nodeattestor(k8s_psat): not configured for cluster "production"', "global.spire.clusterName"),
        ('"spire-system:spire-agent" is not an allowed service account for cluster "server"', "the server's list"),
        ('nodeattestor(k8s_psat): unable to val … User "x" cannot create resource "tokenreviews"', "may not review"),
        ('token audiences ["vault"] is invalid for the target audiences ["spire-server"]', "another audience"),
        ("nodeattestor(k8s_psat): of another kind", "the agent cannot prove who it is"),
    ],
)
def test_why_an_agent_is_refused(refusal: str, cause: str) -> None:
    assert cause in causes.why_refused(f"Failed to retrieve attestation result: {refusal}")


def cluster_spiffe_id(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"className": CLASS_NAME, **spec}}


DEFAULT = cluster_spiffe_id("default", federatesWith=["client.example"], fallback=True)


ELSEWHERE = {"matchLabels": {"kubernetes.io/metadata.name": "spire-server"}}
NOT_HERE = {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["demo"]}]}


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        ([], f"no ClusterSPIFFEID of the class {CLASS_NAME} selects the namespace demo"),
        ([cluster_spiffe_id("default", federatesWith=[])], "no ClusterSPIFFEID federates with client.example"),
        ([DEFAULT, cluster_spiffe_id("second")], "second selects the pod and does not federate"),
        ([DEFAULT, cluster_spiffe_id("second", namespaceSelector=ELSEWHERE)], "no ClusterSPIFFEID selects the pod"),
        ([DEFAULT], "no ClusterSPIFFEID selects the pod, or the controller manager does not run"),
        ([cluster_spiffe_id("default", namespaceSelector=NOT_HERE)], "selects the namespace demo"),
        (
            [cluster_spiffe_id("default", className="other", federatesWith=["client.example"])],
            f"acts only on the class {CLASS_NAME}, and ignores ClusterSPIFFEID default (class other)",
        ),
    ],
)
def test_an_entry_that_does_not_federate_is_put_down_to_the_objects_that_make_it(ids: Any, words: str) -> None:
    assert words in causes.why_no_entry(ids, ["client.example"], "demo", MANAGER)
    assert len(causes.describe_cluster_spiffe_ids(ids).splitlines()) == len(ids)


# What the scheduler (1.34 and later) ends its words with, also for a pod without claims.
PREEMPTION = (
    "no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
)


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        ("container a of b has no image: ErrImagePull", "name or tag is wrong"),
        ("has failed 2 times", "a hook of the chart fails"),
        ("container a of b crashes (exit code 1)", "configuration is refused"),
        (
            "container a of b crashes (exit code 1): failed to configure plugin: error getting kubeconfig: open "
            "/var/run/secrets/kubernetes.io/serviceaccount/token: no such file or directory",
            "no token of its service account",
        ),
        (
            'container a of b crashes (exit code 1): User "x" cannot get resource "validatingwebhookconfigurations"',
            "lacks a right",
        ),
        (
            "container spire-agent of a/b crashes (exit code 1, 1 restarts): Agent crashed: create UDS listener: "
            "listen unix /tmp/spire-agent/public/spire-agent.sock: bind: read-only file system",
            "it may not write there",
        ),
        ("container a of b crashes (exit code 137, 1 restarts): killed for lack of memory", "its memory limit"),
        ("container a of b crashes (exit code 1): the token claim has failed", "configuration is refused"),
        ("StatefulSet a may not create its pods: forbidden", "admission rule"),
        ("its pods cannot be created: exceeded quota", "admission rule"),
        ("pod a waits for its claim b: no event yet", "no provisioner serves the claim"),
        (
            f"pod a is not scheduled: 0/1 nodes are available: 1 Insufficient cpu. {PREEMPTION}",
            "no node can run the pod",
        ),
        (
            "pod a is not scheduled: 0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod "
            "ports.",
            "one of before, where the update surges",
        ),
        ("its node selector, affinity or tolerations leave out 1 of 2 nodes", "leave nodes out"),
        (
            "its pods are of the old revision: the update strategy is OnDelete, so delete them",
            "nobody deletes the old pods",
        ),
        (
            'pod a waits for a volume: MountVolume.SetUp failed for volume "v" : configmap "c" not found',
            "has another name",
        ),
        (
            'pod a waits for a volume: MountVolume.SetUp failed for volume "v" : driver name x not found in the list '
            "of registered CSI drivers",
            "no driver of this name has registered",
        ),
        (
            'pod a waits for a volume: MountVolume.SetUp failed for volume "v" : volume mode "Ephemeral" not supported '
            "by driver csi.spiffe.io (no CSIDriver object)",
            "see its CSIDriver object",
        ),
        ('container a of pod b cannot be started: secret "s" not found', "has another name"),
        (
            "container a of b cannot be started: RunContainerError: runc create failed: unable to start container "
            'process: exec: "/nowhere/spire-server": stat /nowhere/spire-server: no such file or directory',
            "command is not in its image",
        ),
        (
            (
                "container a of pod b runs and is not ready: Readiness probe failed: HTTP probe failed with "
                "statuscode: 500"
            ),
            "another port or path",
        ),
        ("container a of pod b was killed for its liveness probe: Liveness probe failed", "another port or path"),
        ("container a of pod b runs and is not ready; it logs: unable to get kubelet client", "ask the kubelet"),
        ("container a of pod b runs and is not ready; it logs: dial tcp: lookup db: no such host", "does not answer"),
        (
            "container a of pod b runs and is not ready; it logs: x509: certificate signed by unknown authority",
            "bundle of another server",
        ),
        (
            "container a of pod b runs and is not ready; it logs: nodes is forbidden: cannot list resource",
            "lacks a right",
        ),
        ("container a of pod b runs and is not ready; it logs: Rotation has failed", "its own log line says why"),
        ("it was scaled down to nothing", "scaled down to nothing"),
        (
            "container a of pod b has been running for 30 s, and the pod's containers are started once it has ended",
            "an init container waits",
        ),
        ("its controller has made no pod yet", "still starting"),
        ("", "still starting"),
    ],
)  # fmt: skip
def test_a_component_that_is_not_ready_has_a_usual_cause(problem: str, words: str) -> None:
    assert words in causes.why_unready(problem)


RETRIED = "Failed to retrieve attestation result"
RECEIVED = f"{RETRIED}: failed to receive attestation response: rpc error: code"
HANDSHAKE = (
    f"{RETRIED}: could not open attestation stream to SPIRE server: rpc error: code = Unavailable desc = connection "
    "error: desc = "
    '"transport: authentication handshake failed'
)


@pytest.mark.parametrize(
    "error",
    [
        f'{RECEIVED} = InvalidArgument desc = nodeattestor(k8s_psat): not configured for cluster "other"',
        (
            f"Agent crashed: {RECEIVED} = PermissionDenied desc = nodeattestor(k8s_psat): token not authenticated "
            'according to TokenReview API for cluster "a"'
        ),
        f'{RECEIVED} = PermissionDenied desc = "default:default" is not an allowed service account for cluster "a"',
        f"{RECEIVED} = PermissionDenied desc = failed to attest: agent is banned",
        f'{HANDSHAKE}: x509svid: could not verify leaf certificate: x509: certificate signed by unknown authority"',
        f'{HANDSHAKE}: unexpected ID \\"spiffe://other.example/spire/server\\""',
        f'{HANDSHAKE}: unexpected trust domain \\"other.example\\""',
    ],
)
def test_an_agent_that_its_server_refuses_or_that_does_not_trust_its_server_is_refused(error: str) -> None:
    assert refuses_attestation(error)


@pytest.mark.parametrize(
    "error",
    [
        "",
        "Failed to sign: upstream is away",
        # What it says of workloads, which it attests itself.
        "Workload attestation failed: context canceled",
        "Failed to collect all selectors for PID: workloadattestor(k8s): unable to reach the kubelet",
        # The server is not there, is being started or has too much to do.
        (
            f'{RETRIED}: rpc error: code = Unavailable desc = connection error: desc = "transport: Error while '
            'dialing: dial tcp 10.96.0.1:443: connect: connection refused"'
        ),
        f"{RETRIED}: rpc error: code = Unavailable desc = name resolver error: produced zero addresses",
        (
            f"{RETRIED}: create attestation client: failed to dial dns:///spire-server.spire-server:443: context "
            "deadline exceeded"
        ),
        (
            f"{RETRIED}: rpc error: code = Unavailable desc = dns: A record lookup error: lookup spire-server: no "
            "such host"
        ),
        f"{RETRIED}: dial tcp 10.96.0.1:443: i/o timeout",
        # The agent itself is being ended: its container's postStart hook has failed.
        f"{RETRIED}: rpc error: code = Canceled desc = context canceled",
        f'{HANDSHAKE}: EOF"',
        f'{HANDSHAKE}: context deadline exceeded"',
        f'{HANDSHAKE}: read tcp 10.244.0.6:40112->10.96.0.1:443: read: connection reset by peer"',
    ],
)
def test_an_agent_that_does_not_reach_its_server_is_not_refused(error: str) -> None:
    assert not refuses_attestation(error)


def test_bundles_that_differ_are_described_by_what_is_lacking_and_what_is_left() -> None:
    old = Bundle(frozenset({"a" * 64}), frozenset({"key-1"}), 1, 60)
    new = Bundle(frozenset({"b" * 64}), frozenset({"key-1", "key-2"}), 2, 60)
    assert causes.bundle_difference(old, new) == f"it lacks {'b' * 12}, key-2; it still has {'a' * 12}"
    assert causes.bundle_difference(old, old) == ""


SETUP = 'MountVolume.SetUp failed for volume "v" : '
UNREADY = "DaemonSet spire-system/spire-agent has 0 of 1 ready: "
# As the API server, kubelets, kubectl (1.36) and SPIRE (1.15) say it.
OF_CONFIGURATION = (
    f"{UNREADY}pod x waits for a volume: {SETUP}configmap references non-existent config key: bundle.crt",
    f"{UNREADY}pod x waits for a volume: {SETUP}hostPath type check failed: /run/spire/x is not a directory",
    f"{UNREADY}pod x waits for a volume: {SETUP}kubernetes.io/csi: mounter.SetupAt failed to check volume lifecycle "
    'mode: volume mode "Ephemeral" not supported by driver csi.spiffe.io (only supports ["Persistent"])',
    f"x-1 does not start: {SETUP}kubernetes.io/csi: mounter.SetUpAt failed to get CSI client: "
    "driver name csi.spiffe.io not found in the list of registered CSI drivers",
    "it logs: Failed to fetch JWKS: dial unix /spiffe-workload-api/agent.sock: connect: no such file or directory",
    'it logs: pods is forbidden: User "system:serviceaccount:spire-server:spire-server" cannot list resource "pods"',
    'an agent logs: Failed to collect all selectors: workload attestor "k8s" failed: rpc error: code = Internal desc = '
    "workloadattestor(k8s): unexpected status code on pods response: 403 Forbidden (user=x, verb=get, resource=nodes)",
    'an agent logs: Failed to collect all selectors: workload attestor "k8s" failed: rpc error: code = Internal desc = '
    'workloadattestor(k8s): unable to perform request: Get "https://127.0.0.1:10250/pods": dial tcp 127.0.0.1:10250: '
    "connect: connection refused",
    "the suite's forward to spire-server/svc/spire-server does not listen: error: Service spire-server does not have a "
    "service port 8443",
    f"{UNREADY}its node selector, affinity or tolerations leave out all nodes (1)",
    'the endpoint answered 400 Bad Request: "domain \\"oidc-discovery.server.example\\" is not allowed\\n"',
)
OF_TIME = (
    "it logs: Agent crashed: failed to dial dns:///spire-server:443: connection refused",
    "https://10.89.0.1:8441 refuses connections",
    f"{UNREADY}container x of pod x runs and is not ready: Readiness probe failed: HTTP probe failed",
    "an agent logs: workloadattestor(k8s): unable to perform request: net/http: TLS handshake timeout",
    f'{UNREADY}pod x waits for a volume: {SETUP}secret "tls" not found',
    'its pods cannot be created: pods "server-0" is forbidden: exceeded quota: all, requested: cpu=1, used: cpu=2',
    "the Workload API issues no identity",
    "the server stores no bundle of client.example",
)


@pytest.mark.parametrize("sentence", OF_CONFIGURATION)
def test_words_that_no_time_changes_are_of_the_configuration(sentence: str) -> None:
    assert causes.is_of_configuration(sentence, "any")


@pytest.mark.parametrize("sentence", OF_TIME)
def test_words_that_are_said_also_while_another_is_slow_are_not_of_the_configuration(sentence: str) -> None:
    assert not causes.is_of_configuration(sentence, causes.why_unready(sentence))


@pytest.mark.parametrize("class_name", ["dir-spire", None])
def test_another_class_is_of_the_configuration(class_name: str | None) -> None:
    made = {"metadata": {"name": "client"}, "spec": {"className": class_name}}
    sentence, cause, _ = causes.no_relationship("client.example", made, MANAGER)
    assert causes.is_of_configuration(sentence, cause)
    ids = [{"metadata": {"name": "default"}, "spec": {"className": class_name, "federatesWith": ["client.example"]}}]
    assert causes.is_of_configuration("no entry", causes.why_no_entry(ids, ["client.example"], "demo", MANAGER))


def test_an_object_that_is_not_reconciled_yet_is_not_of_the_configuration() -> None:
    made = {"metadata": {"name": "client"}, "spec": {"className": CLASS_NAME}}
    assert not causes.is_of_configuration(*causes.no_relationship("client.example", made, MANAGER)[:2])
    ids = [{"metadata": {"name": "default"}, "spec": {"className": CLASS_NAME, "federatesWith": ["client.example"]}}]
    assert not causes.is_of_configuration("no entry", causes.why_no_entry(ids, ["client.example"], "demo", MANAGER))


def test_a_container_that_crashes_for_want_of_the_workload_apis_socket_is_put_down_to_that() -> None:
    crash = 'container x of a/b crashes (exit code 1, 1 restarts): Error starting spiffe-helper: desc = "transport: '
    crash += 'Error while dialing: dial unix /spiffe-workload-api/spire-agent.sock: connect: no such file or directory"'
    assert causes.why_unready(crash) == causes.CSI_CAUSE
    killed = "container x of a/b crashes (exit code 0): killed for its liveness probe: Liveness probe failed"
    assert "another port or path" in causes.why_unready(killed)
    assert "its last lines say which" in causes.why_unready("container x crashes (exit code 1): unknown flag")


def test_a_template_that_cannot_be_executed_is_why_there_is_no_entry() -> None:
    # As the controller manager (0.7) logs it; long lines lack their middle.
    logged = (
        "the controller manager logs: 2026-11-26T21:29:16.207Z ERROR entry-reconciler Failed to render entry "
        '{"clusterSPIFFEID": "/x", "pod": " … erver-7c5448bc55-rvbmk", "error": "failed to render SPIFFE ID: '
        'invalid SPIFFE ID: expected trust domain \\"server.example\\" but got \\"other.example\\""}'
    )
    said, cause = causes.why_not_reconciled(logged)
    assert said == (
        'failed to render SPIFFE ID: invalid SPIFFE ID: expected trust domain "server.example" but got "other.example"'
    )
    assert "spiffeIDTemplate" in cause
    assert causes.is_of_configuration("pod demo/x has no entry", cause)
    assert causes.why_not_reconciled("the controller manager logs: something else") == ("", "")
    refused = (
        'ERROR entry-reconciler Failed to create entry {"id": "server.1c9a06fe", "parentID": "spiffe://ser …  code = '
        'InvalidArgument desc = failed to convert entry: invalid DNS name: label does not match regex: under_score"}'
    )
    said, cause = causes.why_not_reconciled(refused)
    assert said == "failed to convert entry: invalid DNS name: label does not match regex: under_score"
    assert causes.is_of_configuration("pod demo/x has no entry", cause)
    # As seen with a value of `ttl: 1d`, and with a role that had lost a verb.
    unlisted = (
        'Failed to watch {"type": "*v1alpha1.ClusterSPIFFEID", "error": "failed to list *v1alpha1.ClusterSPIFFEID: '
        'time: unknown unit \\"d\\" in duration \\"1d\\""}'
    )
    said, cause = causes.why_not_reconciled(unlisted)
    assert said == 'ClusterSPIFFEIDs cannot be listed: time: unknown unit "d" in duration "1d"'
    assert "one ClusterSPIFFEID has a value that it cannot read" in cause
    forbidden = unlisted.replace("time: unknown unit", "clusterspiffeids.spire.spiffe.io is forbidden: unknown unit")
    assert "lacks a right" in causes.why_not_reconciled(forbidden)[1]
    lease = (
        'Failed to update lease: "leases.coordination.k8s.io \\"bb21182e.spiffe.io\\" is forbidden: User '
        '\\"system:serviceaccount:spire-server:spire-server\\" cannot update resource \\"leases\\" in API group '
        '\\"coordination.k8s.io\\" in the namespace \\"spire-server\\"" lock="spire-server/bb21182e.spiffe.io"'
    )
    said, cause = causes.why_not_reconciled(lease)
    assert said.startswith('leases.coordination.k8s.io "bb21182e.spiffe.io" is forbidden: User ')
    assert said.endswith('cannot update resource "leases"')
    assert "it is not elected" in cause
    transient = logged.replace("failed to render SPIFFE ID", "node  not found in cache")
    assert causes.why_not_reconciled(transient) == ("", "")
    assert not causes.is_of_configuration(transient, "")


def test_a_controller_manager_of_another_trust_domain_is_named() -> None:
    crash = 'container x crashes (exit code 1): CSR URI SAN is invalid: "spiffe://other.example/x" is not a member of '
    assert "global.spire.trustDomain" in causes.why_unready(f'{crash}trust domain "server.example"')


def test_an_agent_that_cannot_ask_the_kubelet_is_why_a_workload_has_no_identity() -> None:
    for sentence in OF_CONFIGURATION:
        if "agent logs" in sentence:
            assert causes.is_unattested(sentence)
    assert not causes.is_unattested("Failed to collect all selectors: another attestor")


@pytest.mark.parametrize(
    ("rejection", "words"),
    [
        (
            "server: `apply ClusterFederatedTrustDomain client-example` was not carried out: Namespace is required for "
            "spire.spiffe.io/v1alpha1.ClusterFederatedTrustDomain",
            "scope Namespaced",
        ),
        (
            'Internal error occurred: failed calling webhook "vclusterfederatedtrustdomain.kb.io": failed to call '
            "webhook: the server could not find the requested resource",
            "the webhook's path",
        ),
        (
            'Internal error occurred: failed calling webhook "vclusterfederatedtrustdomain.kb.io": failed to call '
            'webhook: Post "https://x.spire-server.svc:443/validate?timeout=10s": service "x" not found',
            "names a Service that is not there",
        ),
        (
            'Internal error occurred: failed calling webhook "vclusterspiffeid.kb.io": failed to call webhook: Post '
            '"https://x.spire-server.svc:443/validate?timeout=10s": tls: failed to verify certificate: x509: '
            "certificate signed by unknown authority",
            "is not of the caBundle",
        ),
        (
            'admission webhook "vclusterfederatedtrustdomain.kb.io" denied the request: trustDomainBundle is not valid',
            "refuses the object",
        ),
        ("the API server has no ClusterFederatedTrustDomain of spire.spiffe.io/v1alpha1", "older than the chart"),
    ],
)
def test_a_custom_resource_that_is_rejected_has_a_usual_cause(rejection: str, words: str) -> None:
    assert words in causes.why_rejected(rejection)
