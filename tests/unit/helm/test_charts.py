"""Charts made ready on a copy, the images they pull, and the values that put built images in their place."""

from __future__ import annotations

import shutil
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from semver import Version

from fixtures.artifacts.image_overrides import overrides
from fixtures.helm.charts import (
    ChartError,
    ChartPair,
    default_values,
    find,
    images,
    install_options,
    manifests,
    prepare,
    print_images,
    split_reference,
)
from fixtures.helm.values_check.ignored_keys import ignored_keys
from supply.images import PREFIX

# Stands in for Helm: `template` gives one pod with the image at every image value, merged as Helm merges, or what
# `HELM-FAILS` says; `dependency update` puts the folder beside the chart into its charts/.
HELM = """#!{python}
import pathlib, shutil, sys, yaml

def merge(below, above):
    for key, value in above.items():
        below[key] = merge(below.get(key) or {{}}, value) if isinstance(value, dict) else value
    return below

def references(node):
    for value in node.values():
        if isinstance(value, dict):
            if "repository" in value:
                name = "/".join(filter(None, (value.get("registry"), value["repository"])))
                yield name + ":" + str(value.get("tag") or "0.0.0")
            yield from references(value)

command, chart = sys.argv[1], pathlib.Path(sys.argv[-1 if sys.argv[1] == "dependency" else 3])
if (chart / "HELM-FAILS").exists():
    sys.exit((chart / "HELM-FAILS").read_text())
if command == "dependency":
    for wanted in yaml.safe_load((chart / "Chart.yaml").read_text())["dependencies"]:
        if "repository" in wanted:
            shutil.copytree(chart / wanted["repository"].removeprefix("file://"), chart / "charts" / wanted["name"])
    sys.exit()
values = yaml.safe_load((chart / "values.yaml").read_text())
for found in sorted((chart / "charts").glob("*/values.yaml")):
    values[found.parent.name] = merge(yaml.safe_load(found.read_text()), values.get(found.parent.name) or {{}})
for at, argument in enumerate(sys.argv):
    if argument == "--values":
        merge(values, yaml.safe_load(pathlib.Path(sys.argv[at + 1]).read_text()))
containers = [{{"name": str(n), "image": i}} for n, i in enumerate(references(values))]
pod = {{"kind": "Pod", "spec": {{"containers": containers}}}}
fixed = (chart / "fixed").read_text().split() if (chart / "fixed").exists() else []
pod["spec"]["containers"] += [{{"name": i, "image": i}} for i in fixed]
if "--skip-tests" not in sys.argv:
    pod["spec"]["containers"].append({{"name": "test", "image": "example.com/only-a-test:1"}})
print(yaml.safe_dump(pod))
"""


@pytest.fixture
def helm(tmp_path: Path) -> Path:
    program = tmp_path / "helm"
    program.write_text(HELM.format(python=sys.executable))
    program.chmod(0o755)
    return program


def image(repository: str, tag: str = "", registry: str = "example.com") -> dict[str, str]:
    return {"registry": registry, "repository": repository, "tag": tag, "pullPolicy": "Always"}


def write_chart(folder: Path, values: dict[str, Any], **described: Any) -> Path:
    folder.mkdir(parents=True)
    (folder / "Chart.yaml").write_text(
        yaml.safe_dump({"apiVersion": "v2", "name": folder.name, "version": "0.9.0", **described})
    )
    (folder / "values.yaml").write_text(yaml.safe_dump(values))
    return folder


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose chart has one dependency inside it and one beside it."""
    charts = tmp_path / "checkout" / "charts"
    dependencies = [
        {"name": "spire-server", "version": "0.1.0"},
        {"name": "extra", "version": "0.1.0", "repository": "file://../extra"},
    ]
    spire = write_chart(
        charts / "spire",
        {"tools": {"shell": {"image": image("busybox", "1.37", "")}}},
        version="0.29.1",
        dependencies=dependencies,
    )
    server = {
        "image": image("spiffe/spire-server", "1.14.1"),
        "manager": {"image": image("spiffe/spire-controller-manager", "0.6.2")},
    }
    write_chart(spire / "charts" / "spire-server", server)
    write_chart(charts / "extra", {"image": {"repository": "example.com/tools/kubectl", "tag": "v1"}})
    write_chart(charts / "spire-crds", {}, version="0.5.0")
    return tmp_path / "checkout"


@pytest.fixture
def pair(checkout: Path, tmp_path: Path, helm: Path) -> ChartPair:
    return prepare(checkout, tmp_path / "copy", helm)


BUILT = [
    f"{PREFIX}/{name}"
    for name in (
        "spire-server:1.14.5",
        "spire-server:1.14.12",
        "spire-server:1.15.3",
        "spire-controller-manager:0.7.0",
        "kubectl:1.36.3",
        "shell:1.36.3",
    )
]


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


class TestPrepare:
    def test_the_copy_is_complete_and_the_checkout_untouched(self, checkout: Path, tmp_path: Path, helm: Path) -> None:
        before = tree(checkout)
        pair = prepare(checkout, tmp_path / "copy", helm)
        assert (pair.version, pair.crds_version) == (Version.parse("0.29.1"), Version.parse("0.5.0"))
        assert (pair.spire / "charts" / "extra" / "Chart.yaml").is_file()
        assert (pair.crds / "Chart.yaml").is_file()
        assert pair.spire.is_relative_to(tmp_path / "copy")
        assert tree(checkout) == before

    def test_the_charts_folder_itself_will_do(self, checkout: Path, tmp_path: Path, helm: Path) -> None:
        assert prepare(checkout / "charts", tmp_path / "copy", helm).version == Version.parse("0.29.1")

    def test_a_complete_chart_needs_no_helm(self, checkout: Path, tmp_path: Path) -> None:
        shutil.copytree(checkout / "charts" / "extra", checkout / "charts" / "spire" / "charts" / "extra")
        prepare(checkout, tmp_path / "copy", tmp_path / "no-such-program")

    def test_packaged_dependencies_become_folders(self, checkout: Path, tmp_path: Path) -> None:
        inside = checkout / "charts" / "spire" / "charts"
        shutil.make_archive(str(inside / "extra-0.1.0"), "gztar", checkout / "charts", "extra")
        (inside / "extra-0.1.0.tar.gz").rename(inside / "extra-0.1.0.tgz")
        pair = prepare(checkout, tmp_path / "copy", tmp_path / "no-such-program")
        assert sorted(path.name for path in (pair.spire / "charts").iterdir()) == ["extra", "spire-server"]

    def test_a_packaged_dependency_of_a_packaged_one_becomes_a_folder_whose_defaults_count(
        self, checkout: Path, tmp_path: Path
    ) -> None:
        extra = checkout / "charts" / "extra"
        write_chart(tmp_path / "inner", {"a": 1, "b": 1}, version="0.2.0")
        (extra / "charts").mkdir()
        for folder, archive in ((tmp_path / "inner", extra / "charts" / "inner-0.2.0.tgz"), (extra, None)):
            to = archive or checkout / "charts" / "spire" / "charts" / "extra-0.1.0.tgz"
            with tarfile.open(to, "w:gz") as tar:
                tar.add(folder, folder.name)
        (extra / "values.yaml").write_text("")
        pair = prepare(checkout, tmp_path / "copy", tmp_path / "no-such-program")
        assert not list(pair.spire.rglob("*.tgz"))
        # Helm takes what is in `charts/` for a dependency, declared or not.
        assert default_values(pair.spire)["extra"]["inner"] == {"a": 1, "b": 1}
        (ignored,) = ignored_keys({"extra": {"inner": {"a": 2, "c": 2}}}, pair.spire)
        assert str(ignored) == "extra.inner.c"

    def test_a_packaged_dependency_that_leads_out_of_its_folder_is_refused(
        self, checkout: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "evil").write_text("")
        packaged = checkout / "charts" / "spire" / "charts" / "extra-0.1.0.tgz"
        with tarfile.open(packaged, "w:gz") as tar:
            tar.add(tmp_path / "evil", "extra/../../outside")
        with pytest.raises(ChartError, match=r"extra-0\.1\.0\.tgz cannot be unpacked: .*"):
            prepare(checkout, tmp_path / "copy", tmp_path / "no-such-program")

    @pytest.mark.parametrize(
        ("lost", "reason"),
        [
            ("spire", r"checkout is no folder of charts: it has neither"),
            ("spire-crds", r"has no spire-crds/Chart\.yaml"),
        ],
    )
    def test_a_folder_without_the_charts_is_refused(
        self, checkout: Path, tmp_path: Path, helm: Path, lost: str, reason: str
    ) -> None:
        shutil.rmtree(checkout / "charts" / lost)
        with pytest.raises(ChartError, match=reason):
            prepare(checkout, tmp_path / "copy", helm)
        assert not (tmp_path / "copy").exists()

    @pytest.mark.parametrize(
        ("described", "reason"),
        [
            ("name: nested\nversion: 1.0.0\n", "holds the chart nested, not spire"),
            ("name: spire\nversion: newest\n", "gives no version: 'newest'"),
            ("- a\n", "describes no chart"),
        ],
    )
    def test_a_chart_that_is_another_is_refused(
        self, checkout: Path, tmp_path: Path, helm: Path, described: str, reason: str
    ) -> None:
        (checkout / "charts" / "spire" / "Chart.yaml").write_text(described)
        with pytest.raises(ChartError, match=reason):
            prepare(checkout, tmp_path / "copy", helm)

    @pytest.mark.parametrize(
        ("spire", "crds"),
        [("0.29.1", "0.4.0"), ("0.29.1", "0.6.0"), ("0.30.0", "0.5.0"), ("0.17.0", "0.4.0"), ("0.31.0", "0.5.0")],
    )
    def test_crds_of_another_time_are_refused(self, checkout: Path, spire: str, crds: str) -> None:
        for name, version in (("spire", spire), ("spire-crds", crds)):
            (checkout / "charts" / name / "Chart.yaml").write_text(f"name: {name}\nversion: {version}\n")
        with pytest.raises(ChartError, match=rf"has spire-crds {crds}, and spire {spire} needs 0\.[3-6]$"):
            find(checkout)

    @pytest.mark.parametrize(
        ("spire", "crds"), [("0.29.1", "0.5.7"), ("0.30.2", "0.6.0"), ("0.31.0", "0.6.0"), ("0.31.0", "0.7.0")]
    )
    def test_crds_that_fit_are_taken(self, checkout: Path, spire: str, crds: str) -> None:
        for name, version in (("spire", spire), ("spire-crds", crds)):
            (checkout / "charts" / name / "Chart.yaml").write_text(f"name: {name}\nversion: {version}\n")
        assert find(checkout) == (checkout / "charts", Version.parse(spire), Version.parse(crds))

    def test_what_helm_says_is_in_the_refusal(self, checkout: Path, tmp_path: Path, helm: Path) -> None:
        (checkout / "charts" / "spire" / "HELM-FAILS").write_text("Error: no repository definition for example.com")
        with pytest.raises(ChartError, match=r"dependency update .* failed: Error: no repository definition"):
            prepare(checkout, tmp_path / "copy", helm)


class TestImages:
    def test_every_kind_of_container_counts_once(self) -> None:
        cron = {
            "kind": "CronJob",
            "spec": {"jobTemplate": {"spec": {"template": {"spec": {"containers": [{"image": "a:1"}]}}}}},
        }
        hook = {
            "kind": "Job",
            "metadata": {"annotations": {"helm.sh/hook": "pre-upgrade"}},
            "spec": {"template": {"spec": {"containers": [{"image": "b:1"}]}}},
        }
        pod = {
            "kind": "Pod",
            "spec": {"initContainers": [{"image": "c:1"}], "containers": [{"image": "a:1"}, {"image": "d@sha256:00"}]},
        }
        crd = {"kind": "CustomResourceDefinition", "spec": {"properties": {"containers": {"image": "not-one"}}}}
        text = {"kind": "ConfigMap", "data": {"pod.yaml": "containers: [{image: not-one}]"}}
        assert images(yaml.safe_dump_all([cron, hook, None, crd, text, pod], sort_keys=False)) == [
            "a:1",
            "b:1",
            "c:1",
            "d@sha256:00",
        ]

    @pytest.mark.parametrize(
        ("reference", "parts"),
        [
            ("busybox:1.37", ("busybox", "1.37")),
            ("example.com:5000/a/b", ("example.com:5000/a/b", "")),
            ("example.com:5000/a/b:v1", ("example.com:5000/a/b", "v1")),
            ("example.com/bash:latest@sha256:00ff", ("example.com/bash", "latest")),
        ],
    )
    def test_a_reference_is_split(self, reference: str, parts: tuple[str, str]) -> None:
        assert split_reference(reference) == parts


class TestOverrides:
    def test_every_image_is_replaced_where_the_chart_sets_it(self, pair: ChartPair, helm: Path) -> None:
        found = overrides(pair, {}, helm, BUILT)
        assert found.unsupplied == []
        assert found.values["tools"]["shell"]["image"] == {
            "registry": "localhost",
            "repository": "spire-federation/shell",
            "tag": "1.36.3",
            "pullPolicy": "IfNotPresent",
        }
        assert found.values["extra"]["image"] == {
            "repository": f"{PREFIX}/kubectl",
            "tag": "1.36.3",
            "pullPolicy": "IfNotPresent",
        }
        assert found.values["spire-server"]["manager"]["image"]["tag"] == "0.7.0"
        assert (
            found.replaced["example.com/spiffe/spire-controller-manager:0.6.2"]
            == f"{PREFIX}/spire-controller-manager:0.7.0"
        )

    def test_the_manifests_are_those_with_the_overriding_values(self, pair: ChartPair, helm: Path) -> None:
        found = overrides(pair, {}, helm, BUILT)
        assert set(images(found.rendered)) == set(found.replaced.values())
        assert [manifest["kind"] for manifest in manifests(found.rendered)] == ["Pod"]

    def test_spire_keeps_the_charts_minor_version(self, pair: ChartPair, helm: Path) -> None:
        assert overrides(pair, {}, helm, BUILT).values["spire-server"]["image"]["tag"] == "1.14.12"

    def test_another_spire_version_can_be_asked_for(self, pair: ChartPair, helm: Path) -> None:
        assert (
            overrides(pair, {}, helm, BUILT, spire_version="1.15.3").values["spire-server"]["image"]["tag"] == "1.15.3"
        )

    @pytest.mark.parametrize(("built", "spire_version"), [(BUILT[2:], ""), (BUILT, "1.13.0")])
    def test_spire_of_another_minor_version_does_not_stand_in(
        self, pair: ChartPair, helm: Path, built: list[str], spire_version: str
    ) -> None:
        found = overrides(pair, {}, helm, built, spire_version=spire_version)
        assert found.unsupplied == ["example.com/spiffe/spire-server:1.14.1"]
        assert "image" not in found.values["spire-server"]

    @pytest.mark.parametrize(
        ("pulled", "taken"),
        [("0.4.1", "0.6.2"), ("0.6.6", "0.6.2"), ("0.7.0", "0.7.0"), ("0.9.0", "0.7.0"), ("latest", "0.7.0")],
    )
    def test_of_other_programs_the_nearest_version_stands_in(
        self, pair: ChartPair, helm: Path, pulled: str, taken: str
    ) -> None:
        values = {"spire-server": {"manager": {"image": {"tag": pulled}}}}
        found = overrides(pair, values, helm, [*BUILT, f"{PREFIX}/spire-controller-manager:0.6.2"])
        assert found.values["spire-server"]["manager"]["image"]["tag"] == taken

    def test_what_is_not_built_is_listed(self, pair: ChartPair, helm: Path) -> None:
        found = overrides(pair, {"tornjak": {"image": image("spiffe/tornjak-backend", "v2.1.0")}}, helm, BUILT)
        assert found.unsupplied == ["example.com/spiffe/tornjak-backend:v2.1.0"]

    def test_an_image_that_no_value_sets_is_listed(self, pair: ChartPair, helm: Path) -> None:
        (pair.spire / "fixed").write_text("example.com/kubectl:v9")
        found = overrides(pair, {}, helm, BUILT)
        assert found.unsupplied == ["example.com/kubectl:v9"]
        assert "example.com/kubectl:v9" not in found.replaced

    @pytest.mark.parametrize(
        ("tag", "name"),
        [
            ("0.8.0", "spiffe-helper"),
            ("0.11.0", "spiffe-helper"),
            ("0.7.1", "spiffe-helper-shim"),
            ("nightly@sha256:00ff", "spiffe-helper-shim"),
        ],
    )
    def test_a_program_with_another_command_line_stands_in_through_its_shim_alone(
        self, pair: ChartPair, helm: Path, tag: str, name: str
    ) -> None:
        values = {"helper": {"image": image("spiffe/spiffe-helper", tag)}}
        helpers = [f"{PREFIX}/spiffe-helper:0.11.0", f"{PREFIX}/spiffe-helper-shim:0.11.0"]
        found = overrides(pair, values, helm, [*BUILT, *helpers])
        assert found.unsupplied == []
        assert found.values["helper"]["image"]["repository"] == f"spire-federation/{name}"
        others = [each for each in helpers if f"/{name}:" not in each]
        without = overrides(pair, values, helm, [*BUILT, *others])
        assert without.unsupplied == [f"example.com/spiffe/spiffe-helper:{tag}"]

    def test_a_shim_is_reported_with_what_it_does(self, pair: ChartPair, helm: Path) -> None:
        values = {"helper": {"image": image("spiffe/spiffe-helper", "nightly")}}
        found = overrides(pair, values, helm, [*BUILT, f"{PREFIX}/spiffe-helper-shim:0.11.0"])
        through = "through a shim that translates its old command line"
        assert f"spiffe-helper 0.11.0 for nightly {through}" in found.other_versions
        pulled, ours = "example.com/spiffe/spiffe-helper:nightly", f"{PREFIX}/spiffe-helper-shim:0.11.0"
        assert f"{pulled} -> {ours} {through}" in found.replacements
        assert f"example.com/spiffe/spire-server:1.14.1 -> {PREFIX}/spire-server:1.14.12" in found.replacements

    def test_what_was_handed_over_is_taken_before_what_was_built(self, pair: ChartPair, helm: Path) -> None:
        values = {"helper": {"image": image("spiffe/spiffe-helper", "nightly@sha256:00ff")}}
        handed = ["example.com/spiffe/spiffe-helper:nightly", "example.com/spiffe/spire-controller-manager:0.6.2"]
        found = overrides(pair, values, helm, BUILT, handed=handed)
        assert found.unsupplied == []
        assert found.values["helper"]["image"] == {
            "registry": "example.com",
            "repository": "spiffe/spiffe-helper",
            "tag": "nightly",
            "pullPolicy": "IfNotPresent",
        }
        assert found.values["spire-server"]["manager"]["image"]["repository"] == "spiffe/spire-controller-manager"

    def test_what_was_handed_over_at_another_version_is_not_what_is_pulled(self, pair: ChartPair, helm: Path) -> None:
        values = {"helper": {"image": image("spiffe/spiffe-helper", "nightly")}}
        found = overrides(pair, values, helm, BUILT, handed=["example.com/spiffe/spiffe-helper:0.11.0"])
        assert found.unsupplied == ["example.com/spiffe/spiffe-helper:nightly"]

    def test_an_image_that_is_replaced_by_another_version_is_reported(self, pair: ChartPair, helm: Path) -> None:
        found = overrides(pair, {}, helm, [*BUILT, f"{PREFIX}/spire-controller-manager:0.6.2"])
        reported = ["busybox 1.36.3 for 1.37", "kubectl 1.36.3 for v1", "spire-server 1.14.12 for 1.14.1"]
        assert sorted(found.other_versions) == reported

    def test_a_chart_that_does_not_render_is_refused_in_helms_words(self, pair: ChartPair, helm: Path) -> None:
        (pair.spire / "HELM-FAILS").write_text("Error: trustDomain must be set")
        with pytest.raises(
            ChartError,
            match=r"^the chart spire 0\.29\.1 does not render with these values: Error: trustDomain must be set$",
        ):
            overrides(pair, {}, helm, BUILT)


def test_the_list_marks_images_that_only_a_test_pulls(
    checkout: Path, helm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = tmp_path / "values.yaml"
    values.write_text("tornjak: {image: {repository: example.com/tornjak, tag: v2}}\n")
    print_images(checkout, [values], helm)
    lines = capsys.readouterr().out.splitlines()
    assert "example.com/tornjak:v2" in lines
    assert "example.com/tools/kubectl:v1" in lines
    assert lines[-1] == "example.com/only-a-test:1  # only by `helm test`"


@pytest.mark.skipif(shutil.which("helm") is None, reason="no helm on PATH")
def test_the_real_helm_completes_a_chart_without_a_network(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    spire = checkout / "charts" / "spire"
    for chart, version in ((spire / "charts" / "spire-server", "0.1.0"), (checkout / "charts" / "extra", "0.1.0")):
        (chart / "Chart.yaml").write_text(yaml.safe_dump({"apiVersion": "v2", "name": chart.name, "version": version}))
    described = yaml.safe_load((spire / "Chart.yaml").read_text())
    described["dependencies"][0]["repository"] = "file://./charts/spire-server"
    (spire / "Chart.yaml").write_text(yaml.safe_dump(described))
    (spire / "templates").mkdir()
    (spire / "templates" / "pod.yaml").write_text(
        'kind: Pod\nspec: {containers: [{image: "{{ .Values.tools.shell.image.repository }}:1"}]}\n'
    )
    helm = Path(str(shutil.which("helm")))
    pair = prepare(checkout, tmp_path / "copy", helm)
    assert sorted(path.name for path in (pair.spire / "charts").iterdir()) == ["extra", "spire-server"]
    assert overrides(pair, {}, helm, []).unsupplied == ["busybox:1"]


@pytest.mark.parametrize(
    ("names", "makes"),
    [
        ({}, "true"),
        ({"server": {"name": "identity"}}, "true"),
        ({"server": {"name": "spire"}, "system": {"name": "spire"}}, "false"),
        ({"server": {"name": "spire-system"}}, "false"),
    ],
)
def test_a_release_makes_its_namespaces_unless_both_are_one(names: dict[str, Any], makes: str) -> None:
    values = {"global": {"spire": {"namespaces": names}}}
    assert install_options(values) == ("--set", f"global.spire.namespaces.create={makes}")
