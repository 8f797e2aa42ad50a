"""How clusters are taken for a run, and what ends it there."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest

from fixtures.diagnosis.testbed import Testbed
from fixtures.k8s.existing_cluster import ExistingCluster
from fixtures.plugins.session import clusters
from fixtures.plugins.session.run import TESTBED
from fixtures.preflight.existing_clusters.access_review import Permission
from tests.unit.plugins.session.refusing_report import RefusedError, Report

EXECUTE = Permission("demo", "pods/exec", "create")

pytest_plugins = ["pytester"]


def test_what_an_interrupted_fixture_has_begun_is_undone(pytester: pytest.Pytester) -> None:
    """As `clusters` does it: pytest itself runs no finalizer of a fixture whose setup was interrupted."""
    pytester.makepyfile(
        """
        import pathlib
        import pytest

        @pytest.fixture(scope="session")
        def clusters(request):
            request.addfinalizer(pathlib.Path("by the fixture").touch)
            request.session.addfinalizer(pathlib.Path("by the session").touch)
            raise KeyboardInterrupt

        def test_ready(clusters): pass
        """
    )
    pytester.runpytest_subprocess()
    assert (pytester.path / "by the session").exists()
    assert not (pytester.path / "by the fixture").exists()


@pytest.mark.parametrize("why", ["it was made with another node image", ""])
def test_it_is_said_why_a_kept_cluster_is_made_again(why: str) -> None:
    said: list[str] = []
    phase = SimpleNamespace(progress=lambda _: None)
    report: Any = SimpleNamespace(phase=lambda *_: nullcontext(phase), say=said.append)
    kept = {"label": "server", "created_here": bool(why), "why_made_again": why}
    cluster: Any = SimpleNamespace(**kept, create=lambda: None, load_archives=lambda _: None)
    nothing: Any = SimpleNamespace(archives=())
    clusters._create(cluster, nothing, cast(Any, SimpleNamespace(archives=list)), report)
    assert said == ([f"server: the kept cluster was made again: {why}"] if why else [])


class There(ExistingCluster):
    """A cluster that exists; `done` is what was done with both, in order."""

    done: ClassVar[list[str]] = []

    def __init__(self, label: str, held: str = "") -> None:
        self.label, self.held = label, held

    def connect(self, *_: object) -> None:
        self.done.append("connect")

    def reserve(self) -> str:
        self.done.append("reserve")
        return self.held


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> list[There]:
    monkeypatch.setattr(There, "done", [])
    return [There("server"), There("client", "client: other runs are not kept away")]


def test_two_contexts_of_one_cluster_end_the_run_once_they_can_be_asked(
    there: list[There], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusters, "_described_clusters", lambda *_: {each.label: each for each in there})
    monkeypatch.setattr(clusters, "same_cluster", lambda given: given if len(There.done) == len(given) else [])
    settings = SimpleNamespace(kubeconfigs=(), contexts={"server": "a", "client": "alias-of-a"})
    config = SimpleNamespace(stash={TESTBED: Testbed()})
    request = SimpleNamespace(session=SimpleNamespace(addfinalizer=lambda _: None))
    fixture = cast(Any, clusters.described_clusters)._get_wrapped_function()
    with pytest.raises(RefusedError, match=r"^--context: a and alias-of-a are the same cluster$"):
        fixture(settings, "supply", [], None, Report(), "folder", config, request)


RESERVED = ["reserve", "reserve", "in the way"]


@pytest.mark.parametrize(
    ("missing", "no_install", "done"),
    [([], False, RESERVED), ([EXECUTE], True, ["in the way"]), ([], True, RESERVED)],
    ids=["installs", "is refused later", "looks"],
)
def test_clusters_are_reserved_by_who_may_use_them_before_what_is_in_the_way_is_looked_for(
    there: list[There],
    monkeypatch: pytest.MonkeyPatch,
    missing: list[Permission],
    no_install: bool,
    done: list[str],
) -> None:
    class EnoughError(Exception):
        pass

    def in_the_way(*_: object) -> None:
        There.done.append("in the way")
        raise EnoughError

    monkeypatch.setattr(clusters, "needed_beforehand", lambda *_: ((), ()))
    monkeypatch.setattr(clusters, "denied_permissions", lambda *_: missing)
    monkeypatch.setattr(clusters, "why_in_the_way", in_the_way)
    report: Any = Report()
    report.phase = lambda *_: nullcontext()
    fixture = cast(Any, clusters.clusters)._get_wrapped_function()
    described, settings = {each.label: each for each in there}, SimpleNamespace(no_install=no_install)
    with pytest.raises(EnoughError):
        fixture(described, {}, settings, "supply", None, report, "folder", "images", "demo")
    assert There.done == done
    assert report.said == ([] if missing else ["client: other runs are not kept away"])
