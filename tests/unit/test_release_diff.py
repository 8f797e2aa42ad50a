"""What an upgrade would change, from manifests small enough to see it at a glance."""

from __future__ import annotations

import base64
import json
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from fixtures.release_diff import (
    GROUPS,
    Change,
    Key,
    ReleaseError,
    counts,
    difference,
    headline,
    installed,
    objects,
    render,
    rendered,
)
from fixtures.spire import Spire

Manifest = dict[str, Any]
TOKEN = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJzb21lb25lIn0.c2lnbmF0dXJl"  # noqa: S105 - made up
PRIVATE_KEY = "-----BEGIN PRIVATE KEY-----\nbm90IGEga2V5\nYXQgYWxs\n-----END PRIVATE KEY-----\n"


def text(*manifests: Manifest) -> str:
    return yaml.safe_dump_all(manifests)


def thing(kind: str, name: str = "thing", api: str = "v1", **fields: Any) -> Manifest:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name} | fields.pop("metadata", {}), **fields}


def config_map(**data: str) -> Manifest:
    return thing("ConfigMap", "settings", data={name.replace("_conf", ".conf"): value for name, value in data.items()})


def workload(kind: str = "Deployment", *, container: Manifest | None = None, pod: Manifest | None = None) -> Manifest:
    containers = [{"name": "main", "image": "example.com/main:1", **(container or {})}]
    template = {"metadata": {"labels": {"app": "thing"}}, "spec": {"containers": containers, **(pod or {})}}
    return thing(kind, api="apps/v1", spec={"replicas": 1, "template": template})


def only(old: Manifest, new: Manifest, group: str) -> tuple[str, ...]:
    """The details of the one change in a group."""
    (found,) = [change for change in difference(text(old), text(new)) if change.group == group]
    return found.details


def groups(old: str, new: str) -> list[str]:
    return [change.group for change in difference(old, new)]


def test_objects_are_known_by_group_kind_namespace_and_name() -> None:
    found = objects(
        text(
            thing("Role", "a", "rbac.authorization.k8s.io/v1", metadata={"namespace": "x"}),
            thing("Role", "a", "rbac.authorization.k8s.io/v1", metadata={"namespace": "y"}),
            thing("Service", "a"),
            thing("Service", "a", "serving.example/v1"),
        )
        + "---\n# Source: a template that rendered to nothing\n"
    )
    assert set(found) == {
        Key("Role", "x", "a", "rbac.authorization.k8s.io"),
        Key("Role", "y", "a", "rbac.authorization.k8s.io"),
        Key("Service", "", "a"),
        Key("Service", "", "a", "serving.example"),
    }


def test_the_releases_namespace_may_be_said_or_not() -> None:
    said = thing("Service", metadata={"namespace": "spire-mgmt"})
    assert difference(text(thing("Service")), text(said)) == []
    assert len(difference(text(thing("Service")), text(said), namespace="elsewhere")) == 2


def test_lists_are_taken_apart() -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": [thing("Service", "a"), thing("Service", "b")]}
    assert difference(text(listed), text(thing("Service", "b"), thing("Service", "a"))) == []


def test_objects_of_one_name_are_all_looked_at() -> None:
    # Helm runs hooks one after another, and lets them have the same name.
    hooks = [
        thing("ConfigMap", metadata={"annotations": {"helm.sh/hook": when}}) for when in ("pre-upgrade", "post-upgrade")
    ]
    assert len(objects(text(*hooks))) == 2


@pytest.mark.parametrize(
    "broken",
    ["a: [", "just words", "apiVersion: v1\nkind: Service\n", "- 1\n", "apiVersion: v1\nkind: Service\nmetadata: x\n"],
)
def test_what_is_no_manifest_is_refused_in_one_sentence(broken: str) -> None:
    with pytest.raises(ReleaseError) as caught:
        objects(broken)
    assert "\n" not in str(caught.value)


def test_nothing_changes_between_equal_manifests_in_another_order() -> None:
    one, other = workload(), config_map(a_conf="x")
    assert difference(text(one, other), text(other, one)) == []


def test_a_new_image_is_told_with_the_old_one() -> None:
    old, new = workload(), workload(container={"image": "example.com/main:2"})
    assert only(old, new, "images") == ("container main: example.com/main:1 → example.com/main:2",)
    assert only(old, new, "other") == ("the pods are replaced",)
    assert groups(text(old), text(new)) == ["images", "other"], "the image is not told again as a field"


def test_images_are_found_wherever_pods_are_described() -> None:
    # With names that are no secrets, whatever they are called.
    def cron(image: str) -> Manifest:
        pod = {"containers": [], "initContainers": [{"name": "fetch-token", "image": image}]}
        return thing("CronJob", api="batch/v1", spec={"jobTemplate": {"spec": {"template": {"spec": pod}}}})

    expected = ("init container fetch-token: example.com/a-secret:1 → example.com/a-secret:2",)
    assert only(cron("example.com/a-secret:1"), cron("example.com/a-secret:2"), "images") == expected
    pod = thing("Pod", spec={"containers": [{"name": "a", "image": "x:1"}]})
    other = thing("Pod", spec={"containers": [{"name": "a", "image": "x:2"}]})
    assert only(pod, other, "images") == ("container a: x:1 → x:2",)


def test_the_images_of_a_workload_that_comes_or_goes_are_told() -> None:
    added = difference("", text(workload()))
    assert [(change.group, change.how, change.details) for change in added] == [
        ("images", "added", ("container main: (none) → example.com/main:1",)),
        ("other", "added", ()),
    ]
    removed = difference(text(workload()), "")
    assert [(change.group, change.how) for change in removed] == [("images", "removed"), ("other", "removed")]


def test_a_container_that_comes_is_told() -> None:
    sidecar = [{"name": "main", "image": "example.com/main:1"}, {"name": "sidecar", "image": "s:1", "args": ["-v"]}]
    new = workload(pod={"containers": sidecar})
    assert only(workload(), new, "images") == ("container sidecar: (none) → s:1",)
    assert only(workload(), new, "configuration") == ("container sidecar: added",)


def test_json_and_yaml_in_a_config_map_are_compared_by_keys() -> None:
    old = config_map(
        server_conf=json.dumps({"server": {"trust_domain": "a.example", "ca_key_type": "rsa-2048", "old": 1}})
    )
    new = config_map(
        server_conf="# now YAML\nserver:\n  ca_key_type: ec-p256\n  trust_domain: a.example\n  jwt:\n    disabled: true\n"
    )
    # The type of a key is none, though its name has the word.
    assert only(old, new, "configuration") == (
        "server.conf.server.ca_key_type: rsa-2048 → ec-p256",
        "server.conf.server.jwt.disabled: (none) → true",
        "server.conf.server.old: 1 → (none)",
    )


def test_another_layout_of_the_same_settings_changes_nothing() -> None:
    old = config_map(server_conf='{"a": {"b": [1, 2]}, "c": null}')
    new = config_map(server_conf="c: null\na:\n  # a remark\n  b: [1, 2]\n")
    assert difference(text(old), text(new)) == []


def test_a_value_of_another_type_is_another_value() -> None:
    assert only(config_map(a_conf="x: 1"), config_map(a_conf="x: true"), "configuration") == ("a.conf.x: 1 → true",)


def test_lists_tell_what_came_and_went_and_named_items_are_told_by_name() -> None:
    old = config_map(
        a_conf=json.dumps({"names": ["a", "b"], "plugins": [{"name": "k8s", "x": 1}, {"name": "disk", "x": 1}]})
    )
    new = config_map(
        a_conf=json.dumps({"names": ["b", "c"], "plugins": [{"name": "disk", "x": 2}, {"name": "k8s", "x": 1}]})
    )
    assert only(old, new, "configuration") == ("a.conf.names: - a, + c", "a.conf.plugins[disk].x: 1 → 2")


def test_other_text_is_compared_by_lines() -> None:
    old = 'server {\n  trust_domain = "a"\n  log_level = "INFO"\n}\n'
    detail = only(config_map(server_conf=old), config_map(server_conf=old.replace("INFO", "DEBUG")), "configuration")
    assert len(detail) == 1, "one key, however many lines"
    assert detail[0].startswith("server.conf:\n")
    assert '-  log_level = "INFO"' in detail[0].splitlines()
    assert '+  log_level = "DEBUG"' in detail[0].splitlines()


def test_short_text_is_told_in_a_line() -> None:
    assert only(config_map(level="info"), config_map(level="debug"), "configuration") == ("level: info → debug",)


def test_keys_that_come_and_go_are_told() -> None:
    old, new = config_map(gone="x: 1\ny: 2\n"), config_map(come="x: 1\ny: 2\n")
    assert only(old, new, "configuration") == ("come: added", "gone: removed")


def test_spires_own_custom_resources_are_configuration() -> None:
    old = thing("ClusterSPIFFEID", api="spire.spiffe.io/v1alpha1", spec={"federatesWith": ["a.example"]})
    new = thing(
        "ClusterSPIFFEID", api="spire.spiffe.io/v1alpha1", spec={"federatesWith": ["a.example"], "fallback": True}
    )
    assert only(old, new, "configuration") == ("spec.fallback: (none) → true",)


def test_environment_and_arguments_are_configuration() -> None:
    old = workload(container={"env": [{"name": "LEVEL", "value": "info"}], "args": ["-a", "-b"]})
    new = workload(container={"env": [{"name": "LEVEL", "value": "debug"}], "args": ["-a", "-c"]})
    assert only(old, new, "configuration") == (
        "container main, environment LEVEL: info → debug",
        "container main, args: - -b, + -c",
    )


def test_chart_and_version_labels_and_checksums_are_noise() -> None:
    def labelled(version: str) -> Manifest:
        noise = {
            "labels": {"app": "thing", "helm.sh/chart": f"thing-{version}", "app.kubernetes.io/version": version},
            "annotations": {"checksum/config": version},
        }
        return thing("Service", metadata=noise, spec={"ports": [{"name": "a", "port": 1}]})

    assert difference(text(labelled("1")), text(labelled("2"))) == []
    with_port = labelled("2") | {"spec": {"ports": [{"name": "a", "port": 2}]}}
    assert only(labelled("1"), with_port, "other") == ("spec.ports[a].port: 1 → 2",)


def test_other_labels_are_no_noise() -> None:
    old, new = (thing("Service", metadata={"labels": {"app": name}}) for name in ("a", "b"))
    assert only(old, new, "other") == ("metadata.labels.app: a → b",)


def test_noise_that_replaces_pods_is_told_as_that() -> None:
    old, new = workload("DaemonSet"), workload("DaemonSet")
    new["spec"]["template"]["metadata"]["annotations"] = {"checksum/config": "abc"}
    assert only(old, new, "other") == ("the pods are replaced",)
    assert groups(text(old), text(new)) == ["other"]


def test_a_label_in_a_claim_template_is_no_noise() -> None:
    # The API server refuses any change there: the upgrade would fail.
    def stateful(version: str) -> Manifest:
        made = workload("StatefulSet")
        made["spec"]["volumeClaimTemplates"] = [{"metadata": {"name": "data", "labels": {"helm.sh/chart": version}}}]
        return made

    (detail,) = only(stateful("1"), stateful("2"), "other")
    assert detail.endswith("helm.sh/chart: 1 → 2")


def test_permissions_are_told_by_what_they_allow() -> None:
    def role(*rules: Manifest) -> Manifest:
        return thing("ClusterRole", api="rbac.authorization.k8s.io/v1", rules=list(rules))

    old = role({"apiGroups": [""], "resources": ["pods", "nodes"], "verbs": ["get", "list"]})
    # The same, written apart.
    same = role(
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list", "get"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
    )
    assert difference(text(old), text(same)) == []
    new = role(
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "watch"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": ["one"], "verbs": ["patch"]},
    )
    assert only(old, new, "rbac") == (
        "now patch on apps/deployments one",
        "no longer get, list on nodes",
        "no longer list on pods",
        "now watch on pods",
    )


def test_bindings_tell_for_whom() -> None:
    def binding(name: str) -> Manifest:
        subject = {"kind": "ServiceAccount", "namespace": "spire-system", "name": name}
        return thing("RoleBinding", api="rbac.authorization.k8s.io/v1", subjects=[subject], roleRef={"name": "role"})

    assert only(binding("a"), binding("b"), "rbac") == (
        "no longer for ServiceAccount spire-system/a",
        "now for ServiceAccount spire-system/b",
    )


def hook(when: str = "pre-upgrade", image: str = "h:1", **container: Any) -> Manifest:
    made = thing("Job", "hook", "batch/v1", metadata={"annotations": {"helm.sh/hook": when}})
    containers = [{"name": "run", "image": image, **container}]
    return made | {"spec": {"template": {"spec": {"containers": containers}}}}


def test_hooks_are_a_group_of_their_own_and_their_images_are_images() -> None:
    added = difference("", text(hook()))
    assert [(change.group, change.how) for change in added] == [("images", "added"), ("hooks", "added")]
    old, new = hook(args=["a"]), hook(when="pre-upgrade,pre-rollback", image="h:2", args=["b"])
    assert only(old, new, "images") == ("container run: h:1 → h:2",)
    assert only(old, new, "hooks") == (
        "container run, args: - a, + b",
        "metadata.annotations.helm.sh/hook: pre-upgrade → pre-upgrade,pre-rollback",
    )


def test_permissions_of_a_hook_are_the_hooks() -> None:
    role = thing("Role", api="rbac.authorization.k8s.io/v1", metadata={"annotations": {"helm.sh/hook": "pre-upgrade"}})
    assert groups("", text(role)) == ["hooks"]


def test_what_only_helm_test_runs_is_no_part_of_an_upgrade() -> None:
    # `helm get hooks` prints it, `helm template --skip-tests` does not.
    assert difference(text(hook("test"), hook("test-success,test-failure")), "") == []
    assert groups(text(hook("test,pre-upgrade")), "") == ["images", "hooks"]


def test_custom_resource_definitions_are_told_without_their_prose() -> None:
    def definition(version: str, prose: str, *, served: bool) -> Manifest:
        schema = {"openAPIV3Schema": {"properties": {"spec": {"type": "object", "description": prose}}}}
        versions = [{"name": version, "served": served, "schema": schema}]
        return thing("CustomResourceDefinition", api="apiextensions.k8s.io/v1", spec={"versions": versions})

    old = definition("v1alpha1", "what it was", served=True)
    assert difference(text(old), text(definition("v1alpha1", "what it is", served=True))) == []
    assert only(old, definition("v1alpha1", "what it is", served=False), "custom resource definitions") == (
        "spec.versions[v1alpha1].served: true → false",
    )


def test_an_api_version_that_changes_is_told() -> None:
    old, new = (thing("HorizontalPodAutoscaler", api=f"autoscaling/{version}") for version in ("v1", "v2"))
    assert only(old, new, "other") == ("apiVersion: autoscaling/v1 → autoscaling/v2",)


def secret(**fields: Any) -> Manifest:
    return thing("Secret", "credentials", **fields)


def encoded(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def test_no_value_of_a_secret_is_shown() -> None:
    old = secret(data={"user": encoded("alice-of-old"), "gone": encoded("was-here")})
    new = secret(
        data={"user": encoded("bob-the-new")},
        stringData={"come": "is-here"},
        metadata={"annotations": {"note": "hush-hush"}},
    )
    assert only(old, new, "configuration") == (
        "come: added",
        "gone: removed",
        "user: <redacted> → <redacted> (another value)",
        "metadata.annotations.note: (none) → <redacted>",
    )
    shown = render(difference(text(old), text(new)))
    for value in ("alice-of-old", "bob-the-new", "was-here", "is-here", "hush-hush"):
        assert value not in shown
        assert encoded(value) not in shown


def test_a_secret_written_another_way_is_the_same() -> None:
    assert difference(text(secret(data={"user": encoded("alice")})), text(secret(stringData={"user": "alice"}))) == []


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


@pytest.mark.parametrize(
    "settings",
    [
        {"datastore": {"connection_string": "dbname=x password={}"}},
        {"datastore": {"dsn": "user=x password={} host=db"}},
        {"datastore": {"options": "user=x password={} host=db"}},
        {"upstream": {"vault": {"token": "{}"}}},
        {"auth": {"passwords": {"alice": "{}"}}},
        {"apiKeys": ["{}", "b"]},
        {"url": "https://user:{}@example.com/"},
    ],
)
@pytest.mark.parametrize("form", ["json", "hcl"])
def test_configuration_does_not_give_secrets_away(settings: Manifest, form: str) -> None:
    def written(value: str) -> str:
        plain = json.dumps(settings, indent=1).replace("{}", value)
        # Not YAML any more: as lines.
        return plain if form == "json" else f"settings = {plain}\n"

    found = difference(text(config_map(a_conf=written("hush-1"))), text(config_map(a_conf=written("hush-2"))))
    assert "hush" not in render(found)
    assert counts(found)["configuration"] == 1, "that something changed is told"


@pytest.mark.parametrize(
    "written",
    [
        "token = <<EOF\nhush-{}\nEOF\nx = 1\n}}",
        "a {{\n  token: |\n    hush-{}\n}}",
        "secret {{\n  x = {{ y = hush-{} }}\n}}\nx = 1",
    ],
)
def test_text_of_several_lines_does_not_give_secrets_away(written: str) -> None:
    # The brackets make each of them no YAML.
    old, new = (config_map(a_conf=f"conf {{\n{written.format(number)}\n}}\n") for number in (1, 2))
    (detail,) = only(old, new, "configuration")
    assert detail.startswith("a.conf: another value of what is not shown")


def test_settings_that_come_into_an_empty_mapping_are_told_once() -> None:
    old, new = (
        config_map(a_conf='{"jwt": {}, "x": []}'),
        config_map(a_conf='{"jwt": {"off": 1}, "x": [{"name": "a", "b": 2}]}'),
    )
    expected = ("a.conf.jwt.off: (none) → 1", "a.conf.x[a].b: (none) → 2")
    assert only(old, new, "configuration") == expected
    assert only(new, old, "configuration") == ("a.conf.jwt.off: 1 → (none)", "a.conf.x[a].b: 2 → (none)")


def test_a_private_key_is_not_shown_by_its_lines() -> None:
    # Compared by lines, its middle would stand there without the words that tell what it is.
    old, new = (f"key {{\n{PRIVATE_KEY.replace('YXQg', part)}}}\n" for part in ("YXQg", "QVQg"))
    (detail,) = only(config_map(a_conf=old), config_map(a_conf=new), "configuration")
    assert "YXQg" not in detail
    assert "QVQg" not in detail
    assert detail.startswith("a.conf: another value of what is not shown")


def test_a_token_anywhere_is_not_shown() -> None:
    old, new = (thing("Service", metadata={"annotations": {"note": f"x{number} {TOKEN}"}}) for number in (1, 2))
    assert only(old, new, "other") == ("metadata.annotations.note: x1 <removed> → x2 <removed>",)


def test_fields_of_kubernetes_own_are_shown_whatever_their_names() -> None:
    def mounting(name: str) -> Manifest:
        return workload(pod={"volumes": [{"name": "token", "secret": {"secretName": name}}]})

    details = only(mounting("one"), mounting("two"), "other")
    assert details[0] == "spec.template.spec.volumes[token].secret.secretName: one → two"


def test_long_values_are_cut_with_a_hash_that_tells_them_apart() -> None:
    old, new = (thing("Service", spec={"x": "y" * 1000 + end}) for end in "ab")
    (detail,) = only(old, new, "other")
    before, after = detail.removeprefix("spec.x: ").split(" → ")
    assert len(detail) < 900
    assert before != after


def test_a_long_blob_takes_no_time() -> None:
    # An expression that is tried from each of its characters takes minutes for this.
    old, new = (thing("Service", spec={"caBundle": letter * 200_000}) for letter in "ab")
    began = time.monotonic()
    assert len(only(old, new, "other")) == 1
    assert time.monotonic() - began < 5


def test_changes_come_in_the_groups_order() -> None:
    old = text(workload(), config_map(level="a"))
    new = text(
        workload(container={"image": "example.com/main:2"}),
        config_map(level="b"),
        hook(),
        thing("Role", api="rbac.authorization.k8s.io/v1"),
        thing("CustomResourceDefinition", api="apiextensions.k8s.io/v1"),
    )
    found = groups(old, new)
    assert found == sorted(found, key=GROUPS.index)
    assert set(found) == set(GROUPS)


def test_the_headline_counts_an_image_once_wherever_it_runs() -> None:
    key = Key("Deployment", "x", "a")
    found = [
        Change("images", key, "changed", ("container a: x:1 → x:2", "init container b: x:1 → x:2")),
        Change("images", Key("Job", "x", "b"), "changed", ("container a: x:1 → x:2", "container c: z:1 → z:2")),
        Change("configuration", Key("ConfigMap", "x", "c"), "changed", ("a: 1 → 2", "b:\n-1\n+2")),
        Change("configuration", Key("ConfigMap", "x", "d"), "added"),
        Change("hooks", Key("Job", "x", "b"), "changed", ("spec.x: 1 → 2", "spec.y: 1 → 2")),
    ]
    assert headline(found) == ("2 images, 3 configuration keys, 0 RBAC, 1 hook, 0 custom resource definitions, 0 other")


def test_the_text_is_grouped_under_the_headline() -> None:
    old = text(workload(), config_map(a_conf="a {\n}\n"))
    new = text(workload(container={"image": "example.com/main:2"}), config_map(a_conf="b {\n}\n"), thing("Service"))
    assert render(difference(old, new)).splitlines() == [
        "1 image, 1 configuration key, 0 RBAC, 0 hooks, 0 custom resource definitions, 2 other",
        "",
        "images",
        "  Deployment thing",
        "    container main: example.com/main:1 → example.com/main:2",
        "",
        "configuration",
        "  ConfigMap settings",
        "    a.conf:",
        "    @@ -1,2 +1,2 @@",
        "    -a {",
        "    +b {",
        "     }",
        "",
        "other",
        "  Deployment thing",
        "    the pods are replaced",
        "  Service thing (added)",
    ]


def test_nothing_to_change_is_said_in_numbers() -> None:
    assert render([]) == "0 images, 0 configuration keys, 0 RBAC, 0 hooks, 0 custom resource definitions, 0 other\n"


@pytest.fixture
def helm(tmp_path: Path) -> Path:
    """Stands in for Helm: prints its arguments, or fails where the values file says so."""
    program = tmp_path / "helm"
    program.write_text(
        f"#!{sys.executable}\n"
        "import sys\n"
        "if 'fail' in open(sys.argv[sys.argv.index('--values') + 1]).read():\n"
        "    sys.exit('Error: values do not meet the schema\\n  - password: hush')\n"
        "print('\\n'.join(sys.argv[1:]))\n"
    )
    program.chmod(0o755)
    return program


def test_a_chart_is_rendered_as_the_upgrade_that_it_will_be(helm: Path, tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text("a: 1\n")
    given = rendered(helm, tmp_path / "chart", values, "1.36.3", "spire-mgmt", "--set", "x=1").splitlines()
    assert given[:3] == ["template", "spire", str(tmp_path / "chart")]
    assert {"--include-crds", "--is-upgrade", "--skip-tests"} <= set(given)
    assert "--no-hooks" not in given
    pairs = dict(pairwise(given))
    assert (pairs["--kube-version"], pairs["--values"], pairs["--namespace"], pairs["--set"]) == (
        "1.36.3",
        str(values),
        "spire-mgmt",
        "x=1",
    )


def test_a_chart_that_does_not_render_is_told_in_helms_words_without_secrets(helm: Path, tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text("fail: true\n")
    with pytest.raises(ReleaseError, match="does not render: Error: values do not meet the schema") as caught:
        rendered(helm, tmp_path / "chart", values, "1.36.3")
    assert "hush" not in str(caught.value)


class FakeSpire:
    """Prints a release as `helm get` does: manifests begin with a separator, and end with a newline or not."""

    def helm(self, *arguments: str) -> str:
        assert arguments[0] == "get"
        assert arguments[2:] == ("-n", "spire-mgmt", "spire")
        kind = {"manifest": "Service", "hooks": "Job"}[arguments[1]]
        hooked = '\n  annotations:\n    "helm.sh/hook": pre-upgrade' if kind == "Job" else ""
        return f"---\n# Source: spire/templates/{kind}.yaml\napiVersion: v1\nkind: {kind}\nmetadata:\n  name: a{hooked}"


def test_what_is_installed_includes_the_hooks() -> None:
    found = objects(installed(cast(Spire, FakeSpire())))
    assert {key.kind for key in found} == {"Service", "Job"}
