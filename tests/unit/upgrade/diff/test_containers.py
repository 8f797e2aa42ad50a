"""What an upgrade changes of containers, and what of that is shown."""

from __future__ import annotations

import pytest

from fixtures.upgrade.diff import difference
from tests.unit.release_examples import Manifest, groups, manifest, only, text, workload

TOKEN = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJzb21lb25lIn0.c2lnbmF0dXJl"  # noqa: S105 - made up


def test_a_new_image_is_listed_with_the_old_one() -> None:
    old, new = workload(), workload(container={"image": "example.com/main:2"})
    assert only(old, new, "images") == ("container main: example.com/main:1 → example.com/main:2",)
    assert only(old, new, "other") == ("the pods are replaced",)
    assert groups(text(old), text(new)) == ["images", "other"], "the image is not reported again as a field"


def test_images_are_found_wherever_pods_are_described() -> None:
    # With names that are no secrets, whatever they are called.
    def cron(image: str) -> Manifest:
        pod = {"containers": [], "initContainers": [{"name": "fetch-token", "image": image}]}
        return manifest("CronJob", api="batch/v1", spec={"jobTemplate": {"spec": {"template": {"spec": pod}}}})

    expected = ("init container fetch-token: example.com/a-secret:1 → example.com/a-secret:2",)
    assert only(cron("example.com/a-secret:1"), cron("example.com/a-secret:2"), "images") == expected
    pod = manifest("Pod", spec={"containers": [{"name": "a", "image": "x:1"}]})
    other = manifest("Pod", spec={"containers": [{"name": "a", "image": "x:2"}]})
    assert only(pod, other, "images") == ("container a: x:1 → x:2",)


def test_the_images_of_a_workload_that_is_added_or_removed_are_listed() -> None:
    added = difference("", text(workload()))
    assert [(change.group, change.how, change.details) for change in added] == [
        ("images", "added", ("container main: (none) → example.com/main:1",)),
        ("other", "added", ()),
    ]
    removed = difference(text(workload()), "")
    assert [(change.group, change.how) for change in removed] == [("images", "removed"), ("other", "removed")]


def test_a_container_that_is_added_is_listed() -> None:
    sidecar = [{"name": "main", "image": "example.com/main:1"}, {"name": "sidecar", "image": "s:1", "args": ["-v"]}]
    new = workload(pod={"containers": sidecar})
    assert only(workload(), new, "images") == ("container sidecar: (none) → s:1",)
    assert only(workload(), new, "configuration") == ("container sidecar: added",)


def test_environment_and_arguments_are_configuration() -> None:
    old = workload(container={"env": [{"name": "LEVEL", "value": "info"}], "args": ["-a", "-b"]})
    new = workload(container={"env": [{"name": "LEVEL", "value": "debug"}], "args": ["-a", "-c"]})
    assert only(old, new, "configuration") == (
        "container main, environment LEVEL: info → debug",
        "container main, args: - -b, + -c",
    )


@pytest.mark.parametrize(
    "name", ["DB_PASSWORD", "API_TOKEN", "TOKEN_FOR_X", "ENCRYPTION_KEY", "KEY_ID", "ClientSecret", "CONNECTION_STRING"]
)
def test_variables_named_like_secrets_are_not_shown_but_their_change_is(name: str) -> None:
    old, new = (workload(container={"env": [{"name": name, "value": value}]}) for value in ("hush-1", "hush-2"))
    assert only(old, new, "configuration") == (
        f"container main, environment {name}: <redacted> → <redacted> (another value)",
    )


def test_where_a_variable_comes_from_is_no_secret() -> None:
    reference = {"secretKeyRef": {"name": "db", "key": "password"}}
    old = workload(container={"env": [{"name": "DB_PASSWORD", "value": "hush"}]})
    new = workload(container={"env": [{"name": "DB_PASSWORD", "valueFrom": reference}]})
    (detail,) = only(old, new, "configuration")
    assert detail.startswith("container main, environment DB_PASSWORD: <redacted> → from ")
    assert '"name": "db"' in detail


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (["--token=hush-1"], ["--token=hush-2"]),
        (["--token", "hush-1"], ["--token", "hush-2"]),
        (["sh", "-c", "export DB_PASSWORD='hush-1 x'\nrun"], ["sh", "-c", "export DB_PASSWORD='hush-2 x'\nrun"]),
        (["sh", "-c", "run --client-secret hush-1"], ["sh", "-c", "run --client-secret hush-2"]),
        (["postgres://user:hush-1@db/x"], ["postgres://user:hush-2@db/x"]),
        ([f"a {TOKEN}hush-1"], [f"a {TOKEN}hush-2"]),
    ],
)
def test_arguments_do_not_give_secrets_away(old: list[str], new: list[str]) -> None:
    (detail,) = only(workload(container={"args": old}), workload(container={"args": new}), "configuration")
    assert "hush" not in detail
    assert detail == "container main, args: another value of what is not shown"
