"""Objects put to the API server: what it is asked, and what becomes of its words."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import kubernetes
import pytest

from fixtures.k8s.server_side_apply import FIELD_MANAGER, Applier, ApplyError
from tests.unit.api_server import ApiServer

PATH = "/api/v1/namespaces/demo/configmaps"


@pytest.fixture
def applier(api_server: ApiServer, tmp_path: Path) -> Applier:
    return applier_of(api_server.server_port, tmp_path)


def applier_of(port: int, folder: Path) -> Applier:
    configuration = kubernetes.client.Configuration()
    configuration.host = f"http://127.0.0.1:{port}"
    configuration.retries = 0
    return Applier(kubernetes.client.ApiClient(configuration), folder / "discovered.json")


def config_map(name: str, kind: str = "ConfigMap") -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "demo"}}


@pytest.mark.parametrize(("dry_run", "query"), [(False, {}), (True, {"dryRun": ["All"]})])
def test_an_object_is_applied_for_this_suite_whoever_else_has_set_its_fields(
    applier: Applier, api_server: ApiServer, dry_run: bool, query: dict[str, list[str]]
) -> None:
    applier.apply(config_map("a"), dry_run=dry_run)
    assert api_server.asked == [("PATCH", f"{PATH}/a", {"fieldManager": [FIELD_MANAGER], "force": ["true"], **query})]


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("refused", "ConfigMap", r".*\.dataa: field not declared in schema"),
        ("a", "Secret", "the API server has no Secret of v1"),
        ("elsewhere", "ConfigMap", "404 Not Found 404 page not found"),
    ],
)
def test_a_rejected_object_is_reported_in_one_line_of_the_api_servers(
    applier: Applier, name: str, kind: str, said: str
) -> None:
    with pytest.raises(ApplyError, match=f"^{said}$"):
        applier.apply(config_map(name, kind))


@pytest.mark.parametrize("name", ["a", "invalid"])
def test_an_object_whose_fields_are_known_is_not_objected_to_and_not_created(
    applier: Applier, api_server: ApiServer, name: str
) -> None:
    assert applier.unknown_fields(config_map(name), "elsewhere") == ""
    assert api_server.asked == [("POST", PATH, {"fieldValidation": ["Strict"], "dryRun": ["All"]})]


def test_an_unknown_field_is_reported(applier: Applier) -> None:
    found = applier.unknown_fields(config_map("refused"), "demo")
    assert found.endswith('strict decoding error: unknown field "dataa"')


def test_an_object_that_names_no_namespace_is_looked_over_in_the_given_one(
    applier: Applier, api_server: ApiServer
) -> None:
    nowhere = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    applier.unknown_fields(nowhere, "spire-mgmt")
    assert [path for _, path, _ in api_server.asked] == ["/api/v1/namespaces/spire-mgmt/configmaps"]


@pytest.mark.parametrize("name", ["forbidden", "elsewhere"])
def test_that_the_fields_were_not_looked_at_does_not_pass_for_known_ones(applier: Applier, name: str) -> None:
    with pytest.raises(ApplyError, match=r"is forbidden|404 page not found"):
        applier.unknown_fields(config_map(name), "demo")


def test_an_object_that_names_no_namespace_is_applied_nowhere(applier: Applier, api_server: ApiServer) -> None:
    with pytest.raises(ApplyError, match="Namespace is required"):
        applier.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}})
    assert api_server.asked == []


def test_the_cached_api_of_another_cluster_is_not_used(api_server: ApiServer, tmp_path: Path) -> None:
    applier_of(api_server.server_port, tmp_path).apply(config_map("a"))
    learned = tmp_path / "discovered.json"
    assert '"configmaps"' in learned.read_text()
    learned.write_text(learned.read_text().replace('"configmaps"', '"elsewheres"'))
    applier_of(api_server.server_port, tmp_path).apply(config_map("a"))
    assert [path for _, path, _ in api_server.asked] == [f"{PATH}/a"] * 2


def test_an_api_server_that_does_not_answer_is_reported(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        gone = applier_of(closed.getsockname()[1], tmp_path)
        with pytest.raises(ApplyError, match="refused"):
            gone.apply(config_map("a"))
        with pytest.raises(ApplyError, match="refused"):
            gone.unknown_fields(config_map("a"), "demo")


@pytest.mark.parametrize(
    ("data", "changed"),
    [({"whose": "somebody's"}, []), ({"whose": "ours"}, ["data"]), ({"whose": "somebody's", "more": "x"}, ["data"])],
)
def test_what_somebody_has_changed_of_an_object_is_said_by_its_fields(
    applier: Applier, data: dict[str, str], changed: list[str]
) -> None:
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "there"}, "data": data}
    assert applier.changed_fields(manifest, "theirs", "helm") == changed


def test_an_object_that_somebody_has_deleted_is_gone(applier: Applier, api_server: ApiServer) -> None:
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "gone"}, "data": {}}
    assert applier.changed_fields(manifest, "theirs", "helm") is None
    assert api_server.asked == []
    manifest["metadata"] = {"name": "there", "namespace": "theirs"}
    applier.changed_fields(manifest, "elsewhere", "helm")
    ((method, path, query),) = api_server.asked
    assert (method, path) == ("PATCH", "/api/v1/namespaces/theirs/configmaps/there")
    assert (query["dryRun"], query["fieldManager"]) == (["All"], ["helm"])
