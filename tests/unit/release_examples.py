"""Manifests small enough to see at a glance what changes between them."""

from __future__ import annotations

from typing import Any

import yaml

from fixtures.upgrade.diff import difference

Manifest = dict[str, Any]


def text(*manifests: Manifest) -> str:
    return yaml.safe_dump_all(manifests)


def manifest(kind: str, name: str = "example", api: str = "v1", **fields: Any) -> Manifest:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name} | fields.pop("metadata", {}), **fields}


def config_map(**data: str) -> Manifest:
    return manifest(
        "ConfigMap", "settings", data={name.replace("_conf", ".conf"): value for name, value in data.items()}
    )


def workload(kind: str = "Deployment", *, container: Manifest | None = None, pod: Manifest | None = None) -> Manifest:
    containers = [{"name": "main", "image": "example.com/main:1", **(container or {})}]
    template = {"metadata": {"labels": {"app": "example"}}, "spec": {"containers": containers, **(pod or {})}}
    return manifest(kind, api="apps/v1", spec={"replicas": 1, "template": template})


def hook(when: str = "pre-upgrade", image: str = "h:1", **container: Any) -> Manifest:
    made = manifest("Job", "hook", "batch/v1", metadata={"annotations": {"helm.sh/hook": when}})
    containers = [{"name": "run", "image": image, **container}]
    return made | {"spec": {"template": {"spec": {"containers": containers}}}}


def only(old: Manifest, new: Manifest, group: str) -> tuple[str, ...]:
    """The details of the one change in a group."""
    (found,) = [change for change in difference(text(old), text(new)) if change.group == group]
    return found.details


def groups(old: str, new: str) -> list[str]:
    return [change.group for change in difference(old, new)]
