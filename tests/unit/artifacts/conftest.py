"""A Helm that pulls and renders charts of a few lines."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

# Writes down how it was called, and pulls a chart of the version that was asked for, or 0.30.0.
HELM = """#!{python}
import pathlib, sys
given = sys.argv[1:]
with open("{folder}/calls", "a") as calls:
    calls.write(" ".join(given) + "\\n")
if given[0] == "template":
    for kind, name in (("StatefulSet", "spire-server"), ("DaemonSet", "spire-agent")):
        container = "{{name: " + name + ", image: x/" + name + ":1}}"
        print("---\\nkind: " + kind + "\\nspec: {{template: {{spec: {{containers: [" + container + "]}}}}}}")
    sys.exit()
if "refused" in " ".join(given):
    sys.exit("level=warning msg=ignored\\nError: response status code 403: denied")
name = given[1].rpartition("/")[2]
version = given[given.index("--version") + 1] if "--version" in given else "0.30.0"
chart = pathlib.Path(given[given.index("--untardir") + 1], name)
chart.mkdir(parents=True)
(chart / "Chart.yaml").write_text("name: " + name + "\\nversion: " + version + "\\n")
"""


@pytest.fixture
def helm(tmp_path: Path) -> Path:
    program = tmp_path / "helm"
    program.write_text(HELM.format(python=sys.executable, folder=tmp_path))
    program.chmod(0o755)
    return program
