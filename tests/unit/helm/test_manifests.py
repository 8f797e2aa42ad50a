"""Manifests of a release: how they are had from Helm, and what objects are in them."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path
from typing import cast

import pytest

from fixtures.helm.manifests import (
    MANIFESTS_TEMPLATE,
    ManifestError,
    ObjectKey,
    documents,
    objects,
    render_upgrade,
    without_crds_folders,
)
from fixtures.spire.installation import Spire
from fixtures.upgrade.diff import difference
from tests.unit.release_examples import manifest, text


def test_objects_are_known_by_group_kind_namespace_and_name() -> None:
    found = objects(
        text(
            manifest("Role", "a", "rbac.authorization.k8s.io/v1", metadata={"namespace": "x"}),
            manifest("Role", "a", "rbac.authorization.k8s.io/v1", metadata={"namespace": "y"}),
            manifest("Service", "a"),
            manifest("Service", "a", "serving.example/v1"),
        )
        + "---\n# Source: a template that rendered to nothing\n",
        "spire-mgmt",
    )
    assert set(found) == {
        ObjectKey("Role", "x", "a", "rbac.authorization.k8s.io"),
        ObjectKey("Role", "y", "a", "rbac.authorization.k8s.io"),
        ObjectKey("Service", "", "a"),
        ObjectKey("Service", "", "a", "serving.example"),
    }


def test_the_releases_namespace_may_be_said_or_not() -> None:
    said = manifest("Service", metadata={"namespace": "spire-mgmt"})
    assert difference(text(manifest("Service")), text(said)) == []
    assert len(difference(text(manifest("Service")), text(said), namespace="elsewhere")) == 2


def test_lists_are_taken_apart() -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": [manifest("Service", "a"), manifest("Service", "b")]}
    assert difference(text(listed), text(manifest("Service", "b"), manifest("Service", "a"))) == []


def test_objects_of_one_name_are_all_looked_at() -> None:
    # Helm runs hooks one after another, and lets them have the same name.
    hooks = [
        manifest("ConfigMap", metadata={"annotations": {"helm.sh/hook": when}})
        for when in ("pre-upgrade", "post-upgrade")
    ]
    assert len(objects(text(*hooks), "spire-mgmt")) == 2


@pytest.mark.parametrize(
    "broken",
    ["a: [", "just words", "apiVersion: v1\nkind: Service\n", "- 1\n", "apiVersion: v1\nkind: Service\nmetadata: x\n"],
)
def test_what_is_no_manifest_is_refused_in_one_sentence(broken: str) -> None:
    with pytest.raises(ManifestError) as caught:
        objects(broken, "spire-mgmt")
    assert "\n" not in str(caught.value)


@pytest.fixture
def helm(tmp_path: Path) -> Path:
    """Stands in for Helm: prints its arguments, or fails where the values file says so."""
    program = tmp_path / "helm"
    program.write_text(
        f"#!{sys.executable}\n"
        "import os, sys\n"
        "given = sys.stdin.read()\n"
        "if 'fail' in given:\n"
        "    sys.exit('Error: values do not meet the schema\\n  - password: hush')\n"
        "print('\\n'.join(sys.argv[1:]))\n"
        "print(given, os.environ.get('KUBECONFIG'))\n"
    )
    program.chmod(0o755)
    return program


def test_a_chart_is_rendered_as_the_upgrade_that_it_will_be(helm: Path, tmp_path: Path) -> None:
    place = ("1.36.3", "spire-mgmt", "--set", "x=1")
    *given, values, kubeconfig = render_upgrade(
        helm, tmp_path / "chart", {"a": "hush"}, *place, environment={"KUBECONFIG": "server"}
    ).splitlines()
    assert (values, kubeconfig) == ('{"a": "hush"}', " server")
    # What a chart looks up is there, and it leaves that out for it.
    assert "--dry-run=server" in given
    assert "hush" not in " ".join(given)
    assert given[:3] == ["template", "spire", str(tmp_path / "chart")]
    assert {"--include-crds", "--is-upgrade", "--skip-tests"} <= set(given)
    assert "--no-hooks" not in given
    pairs = dict(pairwise(given))
    assert (pairs["--kube-version"], pairs["--values"], pairs["--namespace"], pairs["--set"]) == (
        "1.36.3",
        "-",
        "spire-mgmt",
        "x=1",
    )


def test_a_chart_that_does_not_render_is_reported_in_helms_words_without_secrets(helm: Path, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="does not render: Error: values do not meet the schema") as caught:
        render_upgrade(helm, tmp_path / "chart", {"fail": True}, "1.36.3", "spire-mgmt", environment={})
    assert "hush" not in str(caught.value)


# As Helm 3.22 prints a chart that has such folders; the objects are shortened.
WITH_CRDS_FOLDERS = """\
---
# Source: c/crds/x.yaml
a: 1
---
a: 2

---
# Source: c/charts/d/crds/z.yaml
a: 3
---
a: 4

---
# Source: c/templates/crds/y.yaml
a: 5
---
# Source: c/charts/crds/templates/y.yaml
a: 6
"""


def test_what_helm_takes_from_crds_folders_is_left_out() -> None:
    assert documents(WITH_CRDS_FOLDERS) == [{"a": number} for number in range(1, 7)]
    assert documents(without_crds_folders(WITH_CRDS_FOLDERS)) == [{"a": 5}, {"a": 6}]
    assert without_crds_folders("---\na: 7\n") == "---\na: 7\n"


class FakeSpire:
    """Prints a release as `helm get all` does by the template."""

    def helm(self, *arguments: str) -> str:
        assert arguments == ("get", "all", "-n", "spire-mgmt", "spire", "--template", MANIFESTS_TEMPLATE)
        service = "---\n# Source: spire/templates/service.yaml\napiVersion: v1\nkind: Service\nmetadata:\n  name: a"
        job = "# Source: spire/templates/job.yaml\napiVersion: batch/v1\nkind: Job\nmetadata:\n  name: a"
        return f'{service}\n---\n{job}\n  annotations:\n    "helm.sh/hook": pre-upgrade'


def test_what_is_installed_includes_the_hooks() -> None:
    found = objects(Spire.installed_manifests(cast(Spire, FakeSpire())), "spire-mgmt")
    assert {key.kind for key in found} == {"Service", "Job"}
