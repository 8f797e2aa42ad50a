"""What an earlier run left in a cluster: removed from the suite's own cluster, only named in somebody else's."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fixtures.core.waiting import WaitError
from fixtures.helm.release import CHARTS_AND_VALUES_LABEL, Release, Revision, revision_label
from fixtures.spire import cleanup
from fixtures.spire.cleanup import made_namespaces, why_not_upgradable
from fixtures.spire.installation import Spire
from fixtures.spire.server_cli import SpireError
from tests.unit.own_chart import LAYOUT, read_layout


class Cluster:
    """A cluster whose Helm answers from a list of releases, and whose namespaces are those given.

    `history` is of the release spire, by its revisions' statuses; its newest is what the list says.
    """

    label = "server"

    def __init__(
        self,
        *releases: dict[str, str],
        adopted: bool = False,
        namespaces: tuple[Any, ...] = (),
        history: tuple[str, ...] = (),
        mark: str = "",
    ) -> None:
        self.releases = list(releases)
        self.is_external = adopted
        self.uninstalled: list[str] = []
        self.rolled_back_to: list[str] = []
        self.history = history
        self.of_charts = ["0.30.0"] * len(history)  # the versions of its revisions' charts
        self.mark = mark
        self.forced: list[str] = []
        self.there: dict[str, Any] = {}
        self.core = SimpleNamespace(
            list_namespace=lambda: SimpleNamespace(items=namespaces),
            list_namespaced_secret=self._secrets,
            delete_collection_namespaced_pod=self._force,
        )

    def read(self, manifest: dict[str, Any]) -> dict[str, Any] | None:
        return self.there.get(manifest["metadata"]["name"])

    def _force(self, namespace: str, *, grace_period_seconds: int) -> None:
        assert grace_period_seconds == 0
        self.forced.append(namespace)

    def _secrets(self, namespace: str, *, label_selector: str) -> SimpleNamespace:
        assert (namespace, label_selector) == ("spire-mgmt", "owner=helm")
        stored = [("spire", n, status) for n, status in enumerate(self.history[:-1], 1)]
        stored += [(found["name"], len(self.history) or 1, found["status"]) for found in self.releases]
        # In the order of their names, in which revision 10 comes before revision 2.
        labels = [{"name": name, "version": str(n), "status": status} for name, n, status in stored]
        for each in labels if self.mark else ():
            each[CHARTS_AND_VALUES_LABEL] = self.mark
        labels.sort(key=lambda each: (each["name"], each["version"]))
        return SimpleNamespace(items=[SimpleNamespace(metadata=SimpleNamespace(labels=each)) for each in labels])

    def run(self, _program: Path, *arguments: str, timeout: float) -> str:
        assert timeout > 0
        match arguments:
            case ("list", "--all", *_):
                return json.dumps([found for found in self.releases if found["name"] not in self.uninstalled])
            case ("uninstall", "-n", "spire-mgmt", name, "--ignore-not-found", "--no-hooks"):
                self.uninstalled.append(name)
                return ""
            case ("history", "-n", "spire-mgmt", *_):
                of = zip(self.history, self.of_charts, strict=True)
                found = [{"status": status, "chart": f"spire-{version}"} for status, version in of]
                return json.dumps([{"revision": n, **each} for n, each in enumerate(found, 1)])
            case ("rollback", "-n", "spire-mgmt", "spire", revision, "--no-hooks"):
                self.rolled_back_to.append(revision)
                return ""
            case ("get", "values", *_):
                return "null"
        raise AssertionError(arguments)


def on(cluster: Cluster, folder: Path) -> Spire:
    made = Spire(cluster, folder / "helm", "server.example", (), folder, read_layout)  # type: ignore[arg-type]
    made.layout = LAYOUT
    return made


def chart(folder: Path, version: str, tag: str | None = None) -> Release:
    (folder / version).mkdir()
    (folder / version / "Chart.yaml").write_text(f"name: spire\nversion: {version}\n")
    return Release(folder / version, folder, {"spire-server": {"image": {"tag": tag}}} if tag else {})


def namespace(name: str, *conditions: tuple[str, str], phase: str = "Terminating") -> Any:
    described = [SimpleNamespace(type=kind, status="True", message=message) for kind, message in conditions]
    return SimpleNamespace(
        metadata=SimpleNamespace(name=name), status=SimpleNamespace(phase=phase, conditions=described or None)
    )


@pytest.mark.parametrize(("adopted", "mark", "refused"), [(True, "", True), (True, "a1.1", False), (False, "", False)])
def test_a_release_of_somebody_elses_is_not_changed(tmp_path: Path, adopted: bool, mark: str, refused: bool) -> None:
    release = {"name": "spire", "status": "deployed", "chart": "spire-0.29.0"}
    cluster = Cluster(release, adopted=adopted, history=("superseded", "deployed"), mark=mark)
    wanted = chart(tmp_path, "0.30.0")
    found = on(cluster, tmp_path).why_in_the_way(wanted, ())
    said = (
        "server has a release spire in spire-mgmt (revision 2, deployed) that this suite did not install, and would "
        "change: --no-install tests it as it is"
    )
    assert found == (said if refused else "")
    assert not on(Cluster(adopted=True), tmp_path).why_in_the_way(wanted, ())


@pytest.mark.parametrize(
    ("chart_name", "status", "said"),
    [
        ("spire-0.29.0", "deployed", ""),
        ("spire-0.29.0", "failed", ""),
        ("spire-0.31.0", "deployed", "server has spire-0.31.0 installed: from 0.31.0 to 0.30.0 is a downgrade"),
        ("spire-0.29.0", "pending-upgrade", "server: the release spire in spire-mgmt is pending-upgrade, from an "),
        ("spire-0.30.0", "failed first", "server: the release spire in spire-mgmt is failed, from an earlier run of "),
    ],
)
def test_a_release_that_this_one_cannot_follow_is_said_before_anything_is_changed(
    tmp_path: Path, chart_name: str, status: str, said: str
) -> None:
    status, _, is_first = status.partition(" ")
    release = {"name": "spire", "status": status, "chart": chart_name}
    history = (status,) if is_first else ("deployed", status)
    cluster = Cluster(release, adopted=True, history=history, mark=f"a1.{len(history)}")
    found = on(cluster, tmp_path).why_in_the_way(chart(tmp_path, "0.30.0"), ())
    assert found.startswith(said)
    assert bool(found) is bool(said)
    assert (cluster.uninstalled, cluster.rolled_back_to) == ([], [])


@pytest.mark.parametrize(
    ("charts", "remedy"),
    [
        # A second run of an upgrade that was green, and of one that Helm refused.
        (("0.30.0", "0.31.0"), "first `helm rollback -n spire-mgmt spire 1`, or uninstall it"),
        (("0.29.0", "0.30.0", "0.31.0"), "first `helm rollback -n spire-mgmt spire 2`, or uninstall it"),
        (("0.31.0", "0.31.0"), "uninstall it first"),
    ],
)
@pytest.mark.parametrize("status", ["deployed", "failed"])
def test_what_makes_room_for_an_older_release_is_said_with_it(
    tmp_path: Path, charts: tuple[str, ...], remedy: str, status: str
) -> None:
    history = ("superseded",) * (len(charts) - 1)
    cluster = Cluster(
        {"name": "spire", "status": status, "chart": "spire-0.31.0"},
        adopted=True,
        history=(*history, status),
        mark=f"a1.{len(charts)}",
    )
    cluster.of_charts = list(charts)
    found = on(cluster, tmp_path).why_in_the_way(chart(tmp_path, "0.30.0"), ())
    assert found == f"server has spire-0.31.0 installed: from 0.31.0 to 0.30.0 is a downgrade: {remedy}"


DRIVER = {"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": "csi.spiffe.io"}}
HOOK = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRole",
    "metadata": {"name": "spire-hook", "annotations": {"helm.sh/hook": "post-install"}},
}


def owned(name: str, release: str, namespace: str) -> dict[str, Any]:
    annotations = {"meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": namespace}
    return {"metadata": {"name": name, "annotations": annotations}}


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ({}, ""),
        ({"csi.spiffe.io": owned("csi.spiffe.io", "spire", "spire-mgmt")}, ""),
        (
            {"csi.spiffe.io": owned("csi.spiffe.io", "spire-other", "spire-mgmt")},
            "the CSIDriver csi.spiffe.io of the release spire-other in spire-mgmt,",
        ),
        (
            {"clusterspiffeids.spire.spiffe.io": owned("clusterspiffeids", "spire-crds", "spire-server")},
            "the CustomResourceDefinition clusterspiffeids.spire.spiffe.io of the release spire-crds in spire-server,",
        ),
        (
            {"clusterspiffeids.spire.spiffe.io": {"metadata": {"name": "clusterspiffeids.spire.spiffe.io"}}},
            "the CustomResourceDefinition clusterspiffeids.spire.spiffe.io that no release of Helm's has,",
        ),
        ({"spire-hook": {"metadata": {"name": "spire-hook"}}}, ""),
    ],
    ids=["none", "its own", "another name", "another namespace", "no release", "a hook's"],
)
def test_spire_of_another_release_is_not_changed(tmp_path: Path, there: dict[str, Any], said: str) -> None:
    cluster = Cluster(adopted=True)
    cluster.there = there
    found = on(cluster, tmp_path).why_in_the_way(chart(tmp_path, "0.30.0"), (DRIVER, HOOK))
    end = " that this suite did not install, and would change: --no-install tests it as it is"
    assert found == (f"server has {said}{end}" if said else "")


def test_crds_that_helm_leaves_as_they_are_are_nobodys(tmp_path: Path) -> None:
    cluster = Cluster(adopted=True)
    cluster.there = {"clusterspiffeids.spire.spiffe.io": {"metadata": {"name": "clusterspiffeids.spire.spiffe.io"}}}
    wanted = chart(tmp_path, "0.30.0")
    assert on(cluster, tmp_path).why_in_the_way(wanted, ())
    (wanted.crds / "crds").mkdir()
    assert not on(cluster, tmp_path).why_in_the_way(wanted, ())


@pytest.mark.parametrize("status", cleanup.BROKEN_STATUSES)
def test_a_release_that_broke_before_it_was_ever_deployed_is_removed_before_anything_is_installed(
    tmp_path: Path, status: str
) -> None:
    cluster = Cluster({"name": "spire", "status": status}, {"name": "spire-crds", "status": "deployed"})
    said: list[str] = []
    on(cluster, tmp_path)._leftovers.repair_broken_releases(said.append)
    assert cluster.uninstalled == ["spire"]
    assert said[0] == f"removing release spire ({status})"


@pytest.mark.parametrize("status", ["failed", "pending-upgrade", "pending-rollback"])
def test_a_release_that_was_deployed_before_it_broke_keeps_what_it_stores(tmp_path: Path, status: str) -> None:
    cluster = Cluster({"name": "spire", "status": status}, history=("superseded", "deployed", status))
    on(cluster, tmp_path)._leftovers.repair_broken_releases(lambda _: None)
    assert cluster.uninstalled == []
    assert cluster.rolled_back_to == ["2"]


def test_a_failed_upgrade_in_an_existing_cluster_is_left_to_the_next_upgrade(tmp_path: Path) -> None:
    cluster = Cluster({"name": "spire", "status": "failed"}, history=("deployed", "failed"), adopted=True)
    on(cluster, tmp_path)._leftovers.repair_broken_releases(lambda _: None)
    assert (cluster.uninstalled, cluster.rolled_back_to) == ([], [])


@pytest.mark.parametrize("status", cleanup.BROKEN_STATUSES)
def test_a_broken_release_in_an_existing_cluster_is_reported_and_stays(tmp_path: Path, status: str) -> None:
    cluster = Cluster({"name": "spire", "status": status}, adopted=True)
    with pytest.raises(SpireError, match=rf"^server: the release spire in spire-mgmt is {status}, from an earlier run"):
        on(cluster, tmp_path)._leftovers.repair_broken_releases(lambda _: None)
    assert cluster.uninstalled == []


def test_a_namespace_that_does_not_go_is_named_with_what_holds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanup, "NAMESPACE_DELETION_TIMEOUT", 0.05)
    held = namespace("spire-server", ("NamespaceFinalizersRemaining", "example.com/hold in 1 resource instances"))
    cluster = Cluster(namespaces=(held, namespace("spire-system", phase="Active"), namespace("elsewhere")))
    with pytest.raises(WaitError, match=r"terminating: spire-server \(example\.com/hold in 1 resource instances\)"):
        on(cluster, tmp_path)._leftovers.repair_broken_releases(lambda _: None)
    assert cluster.forced == ["spire-server"]


def test_a_namespace_that_cannot_go_since_discovery_fails_is_named_with_that_before_all_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanup, "NAMESPACE_DELETION_TIMEOUT", 0.05)
    for kind in ("NamespaceDeletionDiscoveryFailure", "NamespaceDeletionGroupVersionParsingFailure"):
        remaining = ("NamespaceContentRemaining", "Some resources are remaining: pods. has 1 resource instances")
        held = namespace(
            "spire-server", remaining, (kind, "custom.metrics.k8s.io/v1beta1: stale GroupVersion discovery")
        )
        with pytest.raises(WaitError, match=r"spire-server \(custom\.metrics\.k8s\.io/v1beta1: stale"):
            on(Cluster(namespaces=(held,)), tmp_path)._leftovers.repair_broken_releases(lambda _: None)


def test_pods_in_an_existing_cluster_are_waited_for_and_never_deleted_by_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanup, "NAMESPACE_DELETION_TIMEOUT", 0.05)
    cluster = Cluster(namespaces=(namespace("spire-server"),), adopted=True)
    with pytest.raises(WaitError, match=r"terminating: spire-server \(no reason given\)"):
        on(cluster, tmp_path)._leftovers.repair_broken_releases(lambda _: None)
    assert cluster.forced == []


@pytest.mark.parametrize(
    ("installed", "wanted", "why"),
    [
        ("spire-0.30.0", "0.29.0", "from 0.30.0 to 0.29.0 is a downgrade"),
        ("spire-0.28.0", "0.30.0", "from 0.28.0 to 0.30.0 skips a minor version"),
        ("spire-0.1.0", "0.30.0", "skips a minor version"),
        ("spire-0.30.0", "0.1.0", "is a downgrade"),
    ],
)
def test_a_release_that_cannot_be_upgraded_is_removed_and_in_an_existing_cluster_reported(
    tmp_path: Path, installed: str, wanted: str, why: str
) -> None:
    release = chart(tmp_path, wanted)
    found = {"name": "spire", "status": "deployed", "chart": installed}
    ours, theirs = Cluster(found), Cluster(found, adopted=True)
    on(ours, tmp_path)._leftovers.remove_incompatible_release(release, lambda _: None)
    assert ours.uninstalled == ["spire"]
    with pytest.raises(SpireError, match=rf"^server has {installed} installed: .*{why}"):
        on(theirs, tmp_path)._leftovers.remove_incompatible_release(release, lambda _: None)
    assert theirs.uninstalled == []


@pytest.mark.parametrize(("installed", "wanted"), [("0.29.0", "0.29.0"), ("0.29.0", "0.30.0"), ("0.28.0", "0.28.5")])
def test_a_release_that_can_be_followed_stays(tmp_path: Path, installed: str, wanted: str) -> None:
    cluster = Cluster({"name": "spire", "status": "deployed", "chart": f"spire-{installed}"}, adopted=True)
    on(cluster, tmp_path)._leftovers.remove_incompatible_release(chart(tmp_path, wanted), lambda _: None)
    assert cluster.uninstalled == []


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ("1.15.3", "1.14.5", "from 1.15.3 to 1.14.5 is a downgrade"),
        ("1.8.7", "1.14.5", "from 1.8.7 to 1.14.5 skips a minor version: only one at a time is supported"),
        ("1.14.5", "1.15.3", None),
        ("1.14.5", "nightly", None),
        (None, "1.15.3", None),
    ],
)
def test_spire_goes_neither_back_nor_leaps_within_one_chart(
    tmp_path: Path, before: str | None, after: str, why: str | None
) -> None:
    values = {"spire-server": {"image": {"tag": before}}} if before else {}
    assert why_not_upgradable("spire-0.1.0", values, chart(tmp_path, "0.1.0", after)) == why


@pytest.mark.parametrize(
    ("installed", "why"),
    [
        ({"global": {"spire": {"trustDomain": "one.test"}}}, None),
        ({"global": {"spire": {"trustDomain": "two.test"}}}, "its trust domain is two.test, and is to be one.test"),
        (
            {"global": {"spire": {"trustDomain": "one.test"}}, "spire-server": {"persistence": {"type": "emptyDir"}}},
            "its storage is emptyDir, and is to be pvc",
        ),
    ],
)
def test_a_datastore_stays_where_it_is_and_what_it_is_of(
    tmp_path: Path, installed: dict[str, Any], why: str | None
) -> None:
    wanted = chart(tmp_path, "0.1.0")
    release = Release(wanted.spire, wanted.crds, {"global": {"spire": {"trustDomain": "one.test"}}})
    assert why_not_upgradable("spire-0.1.0", installed, release) == why


@pytest.mark.parametrize(
    ("place", "ready", "external", "is_silenced"),
    [
        ("spire-server", (), False, True),
        ("spire-server", (False,), False, True),
        ("spire-server", (False, True), False, False),
        ("elsewhere", (), False, False),
        ("spire-server", (), True, False),
    ],
    ids=["no end", "none ready", "served", "another's", "another's cluster"],
)
def test_a_webhook_that_nothing_answers_is_silenced_before_it_refuses_what_mends_it(
    tmp_path: Path, place: str, ready: tuple[bool, ...], external: bool, is_silenced: bool
) -> None:
    patched: list[tuple[str, Any]] = []

    def slices(namespace: str, label_selector: str) -> SimpleNamespace:
        assert (namespace, label_selector) == (place, "kubernetes.io/service-name=webhook")
        ends = [SimpleNamespace(conditions=SimpleNamespace(ready=each)) for each in ready]
        return SimpleNamespace(items=[SimpleNamespace(endpoints=ends or None)])

    service = SimpleNamespace(namespace=place, name="webhook")
    by_service, by_url = (
        SimpleNamespace(name="a.kb.io", client_config=SimpleNamespace(service=each)) for each in (service, None)
    )
    found = [
        SimpleNamespace(metadata=SimpleNamespace(name=name), webhooks=hooks)
        for name, hooks in (("spire", [by_service]), ("policy", [by_url]), ("none", None))
    ]
    cluster = Cluster(adopted=external)
    cluster.admission = SimpleNamespace(  # type: ignore[attr-defined]
        list_validating_webhook_configuration=lambda: SimpleNamespace(items=found),
        patch_validating_webhook_configuration=lambda *made: patched.append(made),
    )
    cluster.discovery = SimpleNamespace(list_namespaced_endpoint_slice=slices)  # type: ignore[attr-defined]
    said: list[str] = []
    on(cluster, tmp_path)._leftovers.silence_dead_webhooks(said.append)
    silent = ("spire", {"webhooks": [{"name": "a.kb.io", "failurePolicy": "Ignore"}]})
    assert patched == ([silent] if is_silenced else [])
    assert said == (["webhook spire may fail: nothing answers it"] if is_silenced else [])


def test_helm_is_not_asked_where_it_has_stored_nothing(tmp_path: Path) -> None:
    cluster = Cluster()
    cluster.run = None  # type: ignore[assignment,method-assign]
    spire = on(cluster, tmp_path)
    spire._leftovers.repair_broken_releases(lambda _: None)
    spire._leftovers.remove_incompatible_release(chart(tmp_path, "0.30.0"), lambda _: None)
    assert not spire._leftovers.has_broken_release()


def test_the_newest_revision_counts_and_not_the_one_that_is_listed_last(tmp_path: Path) -> None:
    history = (*["superseded"] * 8, "deployed", "failed")
    cluster = Cluster({"name": "spire", "status": "failed"}, history=history)
    assert on(cluster, tmp_path)._leftovers.revisions() == {"spire": Revision(10, "failed", "")}
    assert on(cluster, tmp_path).revision == 10
    assert on(Cluster(), tmp_path).revision == 0


@pytest.mark.parametrize(
    ("number", "status", "label", "is_it"),
    [
        ("3", "deployed", revision_label("abc", 3), True),
        ("3", "pending-upgrade", revision_label("abc", 3), False),
        ("3", "deployed", revision_label("abd", 3), False),
        # Helm hands labels on: this revision was made by somebody else, from whatever values.
        ("4", "deployed", revision_label("abc", 3), False),
        ("3", "deployed", "changed", False),
        ("3", "deployed", "", False),
    ],
)
def test_a_revision_is_of_the_charts_and_values_that_this_suite_made_it_from(
    number: str, status: str, label: str, is_it: bool
) -> None:
    assert Revision.of({"version": number, "status": status, CHARTS_AND_VALUES_LABEL: label}).is_of("abc") is is_it


def test_namespaces_that_a_cluster_has_of_itself_are_no_releases() -> None:
    def daemon_set(namespace: str) -> dict[str, Any]:
        return {"kind": "DaemonSet", "metadata": {"namespace": namespace}, "spec": {"template": {"spec": {"x": 1}}}}

    own = [daemon_set(name) for name in ("default", "kube-system", "openshift-ingress", "spire-system")]
    made = {"kind": "Namespace", "metadata": {"name": "defaults"}}
    assert made_namespaces([*own, made]) == ["defaults", "spire-mgmt", "spire-system"]
