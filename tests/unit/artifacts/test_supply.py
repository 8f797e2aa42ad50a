"""What a run is made of: each release is rendered once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fixtures.artifacts.supply import Supply, SupplyError
from fixtures.config.cluster_values import ClusterSettings
from fixtures.config.settings import Settings
from fixtures.helm.release import Release
from fixtures.k8s.kind.configuration import NodeSettings
from fixtures.workloads.demo import DemoImages
from tests.unit.artifacts.test_chart_download import calls
from tests.unit.own_chart import CLASS_NAME


def supplied(helm: Path, rendered: dict[str, str]) -> Supply:
    demo = DemoImages("server", "client", "client")
    return Supply("for a test", (), helm, helm, helm, None, (), (), {}, {}, demo, "", rendered)


def test_lifetimes_that_do_not_fit_are_named_once_with_their_clusters_and_releases(
    helm: Path, release: Release, recorded: Callable[[str], str]
) -> None:
    fitting = recorded("own-chart-manifests.yaml")
    unfit = fitting.replace('"refresh_hint": "5m"', '"refresh_hint": "10h"')
    releases = {name: replace(release, values={"cluster": name}) for name in ("server", "client")}
    upgraded = {name: replace(release, values={"upgraded": name}) for name in ("server", "client")}
    rendered = {each.mark: fitting for each in (*releases.values(), *upgraded.values())}
    made = replace(supplied(helm, rendered), releases=releases, upgraded=upgraded)
    assert made.unfit_lifetimes() == []
    rendered[releases["client"].mark] = rendered[upgraded["server"].mark] = unfit
    rendered[upgraded["client"].mark] = fitting.replace('"ca_ttl": "24h"', '"ca_ttl": "5h"')
    polls, svids = made.unfit_lifetimes()
    assert polls.startswith("client, server upgraded: peers poll the bundle every 2h30m ")
    assert svids.startswith("client upgraded: default_x509_svid_ttl is 1h, ")


@pytest.fixture
def release(tmp_path: Path) -> Release:
    chart = tmp_path / "spire"
    chart.mkdir()
    (chart / "Chart.yaml").write_text("name: spire\nversion: 0.30.0\n")
    return Release(chart, chart, {"a": 1})


def test_the_images_of_server_and_agents_are_those_of_the_releases_own_manifests(
    helm: Path, release: Release, recorded: Callable[[str], str]
) -> None:
    made = supplied(helm, {release.mark: recorded("own-chart.yaml")})
    prefix = "localhost/spire-federation"
    expected = {"spire-server": f"{prefix}/spire-server:1.15.3", "spire-agent": f"{prefix}/spire-agent:1.15.3"}
    assert made.expected_images(release) == expected


def test_a_controller_manager_that_passes_over_the_demos_namespace_is_refused(
    helm: Path, release: Release, recorded: Callable[[str], str]
) -> None:
    rendered = recorded("own-chart.yaml")
    made = replace(supplied(helm, {release.mark: rendered}), releases={"server": release})
    made.check_layouts()
    assert rendered.count("^kube-system$") == 1
    made.rendered[release.mark] = rendered.replace("^kube-system$", "^demo$")
    with pytest.raises(SupplyError, match=r"^cluster server: the controller manager ignores the namespace demo: see "):
        made.check_layouts()


def test_a_release_that_gives_the_demos_pods_several_ids_is_refused(
    helm: Path, release: Release, recorded: Callable[[str], str]
) -> None:
    def added(name: str, path: str) -> str:
        return (
            f"---\napiVersion: spire.spiffe.io/v1alpha1\nkind: ClusterSPIFFEID\nmetadata: {{name: {name}}}\n"
            f"spec: {{className: {CLASS_NAME}, spiffeIDTemplate: 'spiffe://{{{{ .TrustDomain }}}}/{path}'}}\n"
        )

    # The chart's own default is a fallback.
    rendered = recorded("own-chart.yaml") + added("first", "app/{{ .PodMeta.Name }}")
    made = replace(supplied(helm, {release.mark: rendered}), releases={"server": release})
    made.check_layouts()
    made.rendered[release.mark] = rendered + added("second", "mesh/{{ .PodMeta.Namespace }}")
    with pytest.raises(
        SupplyError, match=r"^cluster server: pods of namespace demo would have 2 SPIFFE IDs.*first: .*; s"
    ):
        made.check_layouts()
    with pytest.raises(SupplyError, match=r"^cluster server: pods of namespace payments would have 2 SPIFFE IDs"):
        replace(made, demo_namespace="payments").check_layouts()


def test_a_server_without_a_replica_is_refused(helm: Path, release: Release, recorded: Callable[[str], str]) -> None:
    rendered = recorded("own-chart.yaml")
    none = rendered.replace("  replicas: 1\n", "  replicas: 0\n")
    made = replace(supplied(helm, {release.mark: none}), releases={"server": release})
    refusal = r"^cluster server: StatefulSet spire-server/spire-server has no replica: see spire-server\.replicaCount$"
    with pytest.raises(SupplyError, match=refusal):
        made.check_layouts()


def test_what_cannot_work_is_named_once_with_its_clusters(
    helm: Path, release: Release, recorded: Callable[[str], str]
) -> None:
    rendered = recorded("own-chart.yaml")
    releases = {name: replace(release, values={"cluster": name}) for name in ("server", "client")}
    made = replace(
        supplied(helm, {each.mark: rendered for each in releases.values()}),
        releases=releases,
        clusters=tuple(ClusterSettings(name, f"{name}.example", ("client.example",), {}) for name in releases),
    )
    assert made.contradictions() == []
    for each in releases.values():
        made.rendered[each.mark] = rendered.replace("spire-server.spire-server.svc", "other.spire-server.svc")
    (sentence,) = made.contradictions()
    assert sentence == (
        "server, client: DaemonSet spire-system/spire-agent looks for its server at other.spire-server.svc, and no "
        "Service of StatefulSet spire-server/spire-server has this name: see spire-agent.server"
    )


def test_what_clusters_that_kind_makes_lack_is_named_with_the_clusters(
    helm: Path, release: Release, recorded: Callable[[str], str]
) -> None:
    watched = "---\napiVersion: watched.example/v1\nkind: Watched\nmetadata: {name: server}\n"
    claimed = "---\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: a}\nspec: {storageClassName: gp3}\n"
    releases = {name: replace(release, values={"cluster": name}) for name in ("server", "client")}
    rendered = {each.mark: recorded("own-chart.yaml") + watched + claimed for each in releases.values()}
    made = replace(supplied(helm, rendered), releases=releases)

    def lacking(contexts: Mapping[str, str], objects: Mapping[str, Any]) -> list[str]:
        settings = SimpleNamespace(contexts=contexts, objects=objects, nodes=NodeSettings())
        return [each.partition(" ")[0] for each in made.lacking(cast(Settings, settings))]

    assert lacking({}, {}) == ["server,", "server,"]
    gp3 = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "gp3"}}
    assert lacking({}, {"server": (gp3,)}) == ["server,", "client:"]
    assert lacking({"client": "theirs"}, {}) == ["server:", "server:"]
    assert lacking({"server": "ours", "client": "theirs"}, {}) == []
    definition = "kind: CustomResourceDefinition\nspec:\n  group: watched.example\n"
    for folder in (release.spire / "charts" / "watching" / "crds", release.crds / "templates"):
        folder.mkdir(parents=True)
        (folder / "a.yaml").write_text(definition)
        assert lacking({"client": "theirs"}, {}) == ["server:"]
        (folder / "a.yaml").unlink()


def test_keys_are_named_as_the_chart_has_them(helm: Path, release: Release, recorded: Callable[[str], str]) -> None:
    rendered = recorded("own-chart.yaml").replace("spire-system:spire-agent", "spire-system:other")
    server = ClusterSettings("server", "server.example", ("client.example",), {})
    made = replace(supplied(helm, {release.mark: rendered}), releases={"server": release}, clusters=(server,))
    for version, spelling in (("0.30.0", "k8sPSAT"), ("0.17.0", "k8sPsat")):
        (release.spire / "Chart.yaml").write_text(f"name: spire\nversion: {version}\n")
        (sentence,) = made.contradictions()
        assert sentence.endswith(
            f"see spire-agent.serviceAccount and spire-server.nodeAttestor.{spelling}.serviceAccountAllowList"
        )


def test_what_an_identitys_values_say_and_its_object_does_not_is_named(
    helm: Path, release: Release, recorded: Callable[[str], str]
) -> None:
    server = ClusterSettings("server", "server.example", ("client.example",), {})
    identity = {"controllerManager": {"identities": {"clusterSPIFFEIDs": {"default": {"jwtTTL": "2m"}}}}}
    short = replace(release, values={"spire-server": identity})
    known = {short.mark: recorded("own-chart.yaml")}
    made = replace(supplied(helm, known), releases={"server": short}, clusters=(server,))
    (sentence,) = made.contradictions()
    assert sentence.endswith("default.jwtTTL is 2m, and ClusterSPIFFEID spire-mgmt-spire-default has no jwtTtl")


def test_identities_of_which_none_is_for_the_demo_are_named(
    helm: Path, release: Release, recorded: Callable[[str], str]
) -> None:
    rendered = recorded("own-chart.yaml")
    with_nobody = ClusterSettings("server", "server.example", ("other.example",), {})
    made = replace(supplied(helm, {release.mark: rendered}), releases={"server": release}, clusters=(with_nobody,))
    (sentence,) = made.contradictions()
    assert re.match(r"server: no ClusterSPIFFEID of class \S+ federates with other\.example: set spire-", sentence)


def test_a_release_is_rendered_once_and_one_with_other_values_by_itself(helm: Path, release: Release) -> None:
    made = supplied(helm, {})
    assert made.manifests(release) == made.manifests(release)
    assert [found["kind"] for found in made.manifests(release)] == ["StatefulSet", "DaemonSet"]
    assert len(calls(helm)) == 1
    made.manifests(replace(release, values={"a": 2}))
    assert len(calls(helm)) == 2


def test_manifests_that_are_known_already_are_not_rendered_again(helm: Path, release: Release) -> None:
    made = supplied(helm, {release.mark: "kind: Known\n"})
    assert made.manifests(release) == [{"kind": "Known"}]
    assert not (helm.parent / "calls").exists()


def test_what_nodes_pull_are_the_images_of_the_first_releases_and_the_demo_without_those_handed_over(
    helm: Path, release: Release
) -> None:
    pod = "kind: Pod\nspec: {{containers: [{{name: a, image: '{}'}}]}}\n"
    others = replace(release, values={"a": 2}), replace(release, values={"a": 3})
    digest = f"ghcr.io/spiffe/spire-agent:1.15.3@sha256:{64 * '0'}"
    made = replace(
        supplied(helm, {}),
        releases={"server": release, "client": others[0]},
        upgraded={"server": others[1]},
        rendered={
            release.mark: pod.format("ghcr.io/spiffe/spire-server:1.15.3"),
            others[0].mark: pod.format(digest),
            others[1].mark: pod.format("ghcr.io/spiffe/spire-server:1.16.0"),
        },
    )
    assert made.pulled_images() == ["client", "server", "ghcr.io/spiffe/spire-server:1.15.3", digest]
    assert made.pulled_images(["ghcr.io/spiffe/spire-agent:1.15.3", "server"]) == [
        "client",
        "ghcr.io/spiffe/spire-server:1.15.3",
    ]
