"""The images that rendered charts pull."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from fixtures.helm.charts.images import listed_images, rendered_images, split_reference


def test_every_kind_of_container_counts_once() -> None:
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
    assert rendered_images(yaml.safe_dump_all([cron, hook, None, crd, text, pod], sort_keys=False)) == [
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
def test_a_reference_is_split(reference: str, parts: tuple[str, str]) -> None:
    assert split_reference(reference) == parts


def test_the_list_marks_images_that_only_a_test_pulls(checkout: Path, helm: Path, tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text("tornjak: {image: {repository: example.com/tornjak, tag: v2}}\n")
    lines = listed_images(checkout, [values], helm)
    assert "example.com/tornjak:v2" in lines
    assert "example.com/tools/kubectl:v1" in lines
    assert lines[-1] == "example.com/only-a-test:1  # only by `helm test`"
