"""Charts of a few lines, and a Helm that completes and renders them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

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


def write_helm(folder: Path) -> Path:
    """The stand-in for Helm, as a program in a folder."""
    program = folder / "helm"
    program.write_text(HELM.format(python=sys.executable))
    program.chmod(0o755)
    return program


def image(repository: str, tag: str = "", registry: str = "example.com") -> dict[str, str]:
    """An image as a chart's values have it."""
    return {"registry": registry, "repository": repository, "tag": tag, "pullPolicy": "Always"}


def write_chart(folder: Path, values: dict[str, Any], **described: Any) -> Path:
    """A chart in a folder that does not exist yet, which has its name."""
    folder.mkdir(parents=True)
    (folder / "Chart.yaml").write_text(
        yaml.safe_dump({"apiVersion": "v2", "name": folder.name, "version": "0.9.0", **described})
    )
    (folder / "values.yaml").write_text(yaml.safe_dump(values))
    return folder


def write_checkout(folder: Path) -> Path:
    """A checkout whose chart has one dependency inside it and one beside it."""
    charts = folder / "checkout" / "charts"
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
    return folder / "checkout"
