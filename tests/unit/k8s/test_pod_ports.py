"""What pods answer at their ports, asked through the API server: what is certain, and what says nothing."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
from kubernetes.client.exceptions import ApiException

from fixtures.k8s.cluster import Cluster
from fixtures.k8s.pod_ports import liveness_probes_pass, silent_ports
from tests.unit.kubernetes_objects import NAMESPACE, KubernetesObjects, container, pod, running, waits

OWNER = ("StatefulSet", NAMESPACE, "spire-server")
PORTS = [{"name": "healthz", "containerPort": 8080}, {"name": "prom", "containerPort": 9988}]
PROBE = {"httpGet": {"path": "/live", "port": "healthz"}, "periodSeconds": 60, "failureThreshold": 2}


def status(message: str, code: int) -> ApiException:
    """An answer of the API server's own, as Kubernetes 1.36 gives it."""
    found = ApiException(status=code)
    found.body = json.dumps({"kind": "Status", "apiVersion": "v1", "message": message, "code": code})
    return found


def answer(body: str, code: int) -> ApiException:
    found = ApiException(status=code)
    found.body = body
    return found


REFUSED = status("error trying to reach service: dial tcp 10.244.0.6:8080: connect: connection refused", 503)
NO_ANSWER = status("error trying to reach service: dial tcp 10.244.0.6:8080: i/o timeout", 503)
FORBIDDEN = status('pods "spire-server-0" is forbidden: cannot get resource "pods/proxy"', 403)


class Proxied:
    """A cluster whose API server leads to its pods: what each port answers; keeps what was asked."""

    is_external = False

    label = "server"

    def __init__(self, objects: KubernetesObjects, answers: dict[str, int | ApiException]) -> None:
        self._objects, self._answers = objects, answers
        self.asked: list[str] = []

    @property
    def core(self) -> Any:
        def ask(name: str, namespace: str, path: str, *, _preload_content: bool) -> Any:
            self.asked.append(f"{namespace}/{name}/{path}")
            found = self._answers[name.rpartition(":")[2]]
            if isinstance(found, ApiException):
                raise found
            return SimpleNamespace(status=found)

        listed = self._objects.core.list_namespaced_pod
        return SimpleNamespace(list_namespaced_pod=listed, connect_get_namespaced_pod_proxy_with_path=ask)

    @property
    def cluster(self) -> Cluster:
        return cast(Cluster, self)


@pytest.fixture
def objects() -> KubernetesObjects:
    return KubernetesObjects()


def failing(objects: KubernetesObjects, probe: dict[str, Any], **answers: int | ApiException) -> tuple[str, list[str]]:
    """What is said of a pod with this liveness probe where its ports answer so, and what was asked."""
    pod(objects, container(running=running()), probes={"livenessProbe": probe, "ports": PORTS})
    made = Proxied(objects, {name.removeprefix("p"): each for name, each in answers.items()})
    look = liveness_probes_pass(made.cluster, *OWNER).look()
    assert look.value is (None if look.seen else True)
    return look.seen, made.asked


@pytest.mark.parametrize(
    ("got", "said"),
    [
        (200, ""),
        (399, ""),
        (answer("404 page not found", 404), "answers 404"),
        (answer(json.dumps({"kind": "of its own"}), 500), "answers 500"),
        (REFUSED, "nothing listens there"),
        # A network policy may keep the API server from what the kubelet reaches, and an account may not ask.
        (NO_ANSWER, ""),
        (FORBIDDEN, ""),
    ],
)
def test_only_what_is_certain_fails_a_liveness_probe(
    objects: KubernetesObjects, got: int | ApiException, said: str
) -> None:
    found, asked = failing(objects, PROBE, p8080=got)
    assert asked == [f"{NAMESPACE}/http:spire-server-0:8080/live"]
    where = "the liveness probe of container main of pod spire-server-0 (port healthz, /live) fails"
    assert found == (f"{where}: {said}; the kubelet kills it after 120 s of that" if said else "")


@pytest.mark.parametrize(
    ("probe", "asked", "fails"),
    [
        ({"httpGet": {"port": 8443, "scheme": "HTTPS"}}, "https:spire-server-0:8443/", True),
        ({"tcpSocket": {"port": 8443}}, "http:spire-server-0:8443/", True),
        ({"grpc": {"port": 8443}}, "http:spire-server-0:8443/", True),
        ({"httpGet": {"port": "another"}}, "", True),
        ({"httpGet": {"port": 8443, "host": "127.0.0.1"}}, "", False),
        ({"httpGet": {"port": 8443, "path": "/live?deep=1"}}, "", False),
        ({"httpGet": {"port": 8443, "httpHeaders": [{"name": "Host", "value": "a"}]}}, "", False),
        ({"exec": {"command": ["/opt/spire/bin/spire-server", "healthcheck"]}}, "", False),
    ],
)
def test_probes_are_asked_as_the_kubelet_asks_them_or_not_at_all(
    objects: KubernetesObjects, probe: dict[str, Any], asked: str, fails: bool
) -> None:
    said, found = failing(objects, probe, p8443=REFUSED)
    assert found == ([f"{NAMESPACE}/{asked}"] if asked else [])
    assert bool(said) is fails
    # The defaults of Kubernetes: every 10 s, three times.
    assert "after 30 s" in said or not fails


def test_what_answers_no_http_at_a_port_of_tcp_is_alive(objects: KubernetesObjects) -> None:
    assert failing(objects, {"tcpSocket": {"port": 8080}}, p8080=answer("not found", 404))[0] == ""


def test_a_container_that_does_not_run_and_another_controllers_pods_are_not_asked(objects: KubernetesObjects) -> None:
    probes = {"livenessProbe": PROBE, "ports": PORTS}
    pod(objects, container(running=running()), name="a-1", owner=("ReplicaSet", "a"), probes=probes)
    pod(objects, container(waiting=waits("CrashLoopBackOff")), probes=probes, phase="Running")
    made = Proxied(objects, {})
    assert liveness_probes_pass(made.cluster, *OWNER).look().value
    assert made.asked == []


def test_ports_at_which_nothing_listens_are_named(objects: KubernetesObjects) -> None:
    ports = [*PORTS, {"containerPort": 53, "protocol": "UDP"}, {"containerPort": 8443}]
    pod(objects, container(running=running()), probes={"ports": ports})
    made = Proxied(objects, {"8080": answer("404 page not found", 404), "9988": REFUSED, "8443": NO_ANSWER})
    assert silent_ports(made.cluster, *OWNER) == [
        "port 9988 (prom), which container main of pod spire-server-0 declares: nothing listens there, "
        "for other pods at least"
    ]
    assert len(made.asked) == 3


def test_ports_of_a_pod_that_is_not_ready_say_nothing(objects: KubernetesObjects) -> None:
    pod(objects, container(running=running(), ready=False), probes={"ports": PORTS})
    made = Proxied(objects, {})
    assert silent_ports(made.cluster, *OWNER) == []
