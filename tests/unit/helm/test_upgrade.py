"""Helm under way, with a program in its place: what it is given, and what is kept of what it prints."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from fixtures.core.redaction import keep_secret
from fixtures.core.waiting import Condition, Look, time_limits_scaled, wait_for
from fixtures.helm.upgrade import HELM_TIMEOUT, HelmUpgrade, HelmUpgradeError

SECRET = "hunter2secret"  # noqa: S105 - made up
# Notes what it is given, prints all of it, and ends with the code that the values name.
HELM = """#!{python}
import json, sys, time, yaml
given = sys.stdin.read()
print("Error: values don't meet the schema:", given, flush=True)
open("{folder}/given", "w").write(json.dumps([sys.argv[1:], given]))
values = yaml.safe_load(given)
time.sleep(values.get("seconds", 0))
sys.exit(values["code"])
"""


@pytest.fixture
def helm(tmp_path: Path) -> Path:
    keep_secret(SECRET)
    program = tmp_path / "helm"
    program.write_text(HELM.format(python=sys.executable, folder=tmp_path))
    program.chmod(0o755)
    return program


def upgrade(helm: Path, **values: Any) -> HelmUpgrade:
    cluster: Any = SimpleNamespace(label="server", environment=dict(os.environ))
    return HelmUpgrade(cluster, helm, ["-n", "spire-mgmt", "spire", "chart"], values, helm.parent / "helm-server.log")


def test_the_values_reach_helm_as_they_are_and_stand_in_no_file_nor_among_its_arguments(helm: Path) -> None:
    with upgrade(helm, code=0, password=SECRET) as running:
        running.wait()
    arguments, given = json.loads((helm.parent / "given").read_text())
    assert yaml.safe_load(given) == {"code": 0, "password": SECRET}
    assert arguments[-6:] == ["--values", "-", "-n", "spire-mgmt", "spire", "chart"]
    assert SECRET not in " ".join(arguments)
    assert {path.name for path in helm.parent.iterdir()} == {"helm", "given", "helm-server.log"}


def test_helm_waits_as_long_for_hooks_as_it_is_waited_for(helm: Path) -> None:
    with time_limits_scaled(2.5), upgrade(helm, code=0) as running:
        running.wait()
    arguments, _ = json.loads((helm.parent / "given").read_text())
    assert arguments[arguments.index("--timeout") + 1] == f"{2.5 * HELM_TIMEOUT:.0f}s"


def test_what_helm_prints_is_kept_without_secrets_one_upgrade_after_another(helm: Path) -> None:
    for code in (0, 1):
        with upgrade(helm, code=code, password=SECRET) as running:
            if code:
                with pytest.raises(
                    HelmUpgradeError, match="server: helm upgrade ended with 1: Error: values"
                ) as caught:
                    running.wait()
                assert SECRET not in str(caught.value)
            else:
                running.wait()
        shown = 'values don\'t meet the schema: {"code": 1, "password": "<redacted>"}'
        assert running.error == (shown if code else "")
    log = (helm.parent / "helm-server.log").read_text()
    assert log.count("Error: values don't meet the schema: ") == 2
    assert SECRET not in log


def test_what_helm_printed_is_kept_when_it_is_not_waited_for(helm: Path) -> None:
    started = Condition("its start", lambda: Look((helm.parent / "given").exists() or None, "no"))
    with upgrade(helm, code=0, seconds=60) as running:
        wait_for(started, 20.0)
        assert running.failed() is None
    assert running.error == ""
    assert "Error: values" in (helm.parent / "helm-server.log").read_text()
