"""Images pulled by a node through a faulty registry: the pod starts, or the suite names the registry and its words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fixtures.config.settings import Settings
from fixtures.core.waiting import Condition, Look, WaitError, wait_for
from fixtures.k8s.failures.unrecoverable import unrecoverable
from fixtures.k8s.kind.cluster import KindCluster
from fixtures.k8s.kind.configuration import NodeSettings
from fixtures.k8s.kind.images.registries import parse_mirror
from fixtures.k8s.pods import is_ready, pods
from fixtures.report.run import Report
from supply import catalogue, plan, versions
from tests.published.conftest import CLUSTER_PREFIX, Published
from tests.stand_ins import faulty_registry
from tests.stand_ins.faulty_registry import Authority, Behaviour, FaultyRegistry
from tests.stand_ins.web_server import serving

NAMESPACE = "default"
IMAGE = "registry.k8s.io/pause:stand-in"  # of some MB
POD_PULL_TIMEOUT = 150.0  # seconds


@dataclass(frozen=True)
class RegistryFault:
    """How a registry behaves, and what is to come of a pull: `said` is a pattern of its words, empty where it succeeds.

    `trusted` says of a registry that speaks TLS whether the nodes know its CA; None is one over HTTP.
    """

    name: str
    behaviour: Behaviour | None = None
    said: str = ""
    bytes_per_second: float | None = None
    trusted: bool | None = None

    def __str__(self) -> str:
        return self.name


REGISTRY_FAULTS = (
    RegistryFault("unavailable-twice", faulty_registry.unavailable(2)),
    RegistryFault("with-tokens", faulty_registry.with_tokens),
    RegistryFault("slow", bytes_per_second=200_000),
    RegistryFault("private-ca", trusted=True),
    RegistryFault("away-for-good", faulty_registry.unavailable(10**9), said=r"503 Service Unavailable"),
    RegistryFault("rate-limited", faulty_registry.rate_limited, said=r"429 Too Many Requests"),
    RegistryFault("denied", faulty_registry.denied, said=r"denied|403 Forbidden"),
    RegistryFault("unknown-ca", trusted=False, said=r"x509: certificate signed by unknown authority"),
)


@pytest.fixture(scope="module")
def registries(published: Published, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[RegistryFault, str]]:
    """A registry for each fault, at its URL; all have the image."""
    places = plan.folders(catalogue.steps(versions.load())[0], plan.cache_folder())
    published.registry.fill({IMAGE: places[catalogue.KUBERNETES] / "pause.tar"})
    with ExitStack() as undo:
        found = {}
        for fault in REGISTRY_FAULTS:
            authority = None
            if fault.trusted is not None:
                authority = published.authority if fault.trusted else Authority(tmp_path_factory.mktemp("unknown-ca"))
            server = FaultyRegistry(
                published.network.gateway,
                published.registry.url,
                fault.behaviour,
                bytes_per_second=fault.bytes_per_second,
                authority=authority,
            )
            undo.enter_context(serving(server))
            found[fault] = server.url
        yield found


@pytest.fixture(scope="module")
def cluster(
    published: Published,
    registries: Mapping[RegistryFault, str],
    settings: Settings,
    report: Report,
    run_folder: Path,
    monkeypatch_module: pytest.MonkeyPatch,
) -> Iterator[KindCluster]:
    """A cluster whose node pulls through all of them, with a pod for each."""
    for name, value in published.network.environment.items():
        monkeypatch_module.setenv(name, value)
    made = KindCluster(
        "faulty",
        f"{settings.prefix}{CLUSTER_PREFIX}",
        image=published.made.node_image,
        kind=published.made.kind,
        kubectl=published.made.kubectl,
        log=run_folder / "commands-faulty.log",
        given=NodeSettings(
            mirrors=tuple(
                parse_mirror("--mirror", f"{fault}.example={url}/v2/registry.k8s.io")
                for fault, url in registries.items()
            ),
            ca=published.authority.certificate,
        ),
    )
    try:
        with report.phase("Kind cluster", made.label):
            made.create()
        made.apply(*(_pod(fault) for fault in registries))
        yield made
    finally:
        made.delete_if_owned()


@pytest.fixture(scope="module")
def monkeypatch_module() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.mark.parametrize("fault", REGISTRY_FAULTS, ids=str)
def test_a_pod_starts_or_the_registry_and_its_words_are_named(
    fault: RegistryFault, cluster: KindCluster, registries: Mapping[RegistryFault, str]
) -> None:
    if not fault.said:
        wait_for(_started(cluster, fault), POD_PULL_TIMEOUT, fails_if=lambda: _broken(cluster, fault))
        return
    with pytest.raises(WaitError, match=fault.said) as caught:
        wait_for(_started(cluster, fault), POD_PULL_TIMEOUT, fails_if=lambda: _broken(cluster, fault))
    assert registries[fault] in str(caught.value)


def _broken(cluster: KindCluster, fault: RegistryFault) -> str | None:
    return unrecoverable(cluster, (NAMESPACE,), prefix=fault.name)


def _started(cluster: KindCluster, fault: RegistryFault) -> Condition[bool]:
    def look() -> Look[bool]:
        ready = [is_ready(pod) for pod in pods(cluster, NAMESPACE, f"app={fault}")]
        return Look(True if ready == [True] else None, f"{sum(ready)} of {len(ready)} pods are ready")

    return Condition(f"the pod {fault}", look)


def _pod(fault: RegistryFault) -> dict[str, Any]:
    image = IMAGE.replace("registry.k8s.io", f"{fault}.example")
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": fault.name, "namespace": NAMESPACE, "labels": {"app": fault.name}},
        "spec": {"containers": [{"name": "pause", "image": image}], "terminationGracePeriodSeconds": 0},
    }
