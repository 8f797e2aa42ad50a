"""What kubectl heeds of a kubeconfig: who asks, by which proxy, and with which credentials."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from fixtures.k8s.access.kubeconfig import with_absolute_paths
from fixtures.k8s.cluster import Cluster, ClusterError, ClusterRefusedError
from fixtures.k8s.existing_cluster import ExistingCluster
from fixtures.preflight.existing_clusters.access_review import denied_permissions
from tests.unit.api_server import ACCESS_REVIEWS, ApiServer, kubeconfig

IMPERSONATING = {
    "as": "Ädmin",
    "as-uid": "u-1",
    "as-groups": ["system:masters", "a, b"],
    "as-user-extra": {"acme.com/scopes": ["view", "edit"], "reason%": ["x"]},
}
# What kubectl 1.32 sends for that, recorded; Go writes the case of names in its own way.
IMPERSONATED = [
    ("Impersonate-User", "Ädmin"),
    ("Impersonate-Uid", "u-1"),
    ("Impersonate-Group", "system:masters"),
    ("Impersonate-Group", "a, b"),
    ("Impersonate-Extra-acme.com%2Fscopes", "view"),
    ("Impersonate-Extra-acme.com%2Fscopes", "edit"),
    ("Impersonate-Extra-reason%25", "x"),
]
EXEC = "/api/v1/namespaces/demo/pods/server/exec"


def given(text: str, *, user: dict[str, Any] | None = None, proxy: str = "") -> str:
    """A kubeconfig with another user, and with a proxy of its cluster's."""
    made = yaml.safe_load(text)
    made["users"][0]["user"] = {"token": "t"} if user is None else user
    made["clusters"][0]["cluster"] |= {"proxy-url": proxy} if proxy else {}
    return yaml.safe_dump(made)


def cluster(folder: Path, text: str) -> Cluster:
    made = Cluster("server", kubectl=folder / "kubectl", path=folder, log=folder / "log")
    made.is_external = True
    made.kubeconfig_path.write_text(text)
    return made


def connected(folder: Path, text: str) -> ExistingCluster:
    (folder / "given").write_text(text)
    (folder / "kubectl").write_text(f"#!/bin/sh\ncat {folder}/given\n")
    (folder / "kubectl").chmod(0o755)
    made = ExistingCluster("server", engine=None, kubectl=folder / "kubectl", log=folder / "log")
    made.connect([folder / "given"], "a")
    return made


def impersonated(server: ApiServer, request: str) -> list[tuple[str, str]]:
    found = [each for each in server.headers[request] if each[0].lower().startswith("impersonate")]
    return [(name, value.encode("latin-1").decode()) for name, value in found]


def test_every_request_is_the_impersonated_users(tmp_path: Path, api_server: ApiServer) -> None:
    made = cluster(tmp_path, given(api_server.kubeconfig(), user={"token": "t", **IMPERSONATING}))
    made.core.list_node()
    denied_permissions(made, ())
    made.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "theirs"}})
    with pytest.raises(ClusterError, match="Handshake status 404"):
        made.execute("demo", "server", "server", "ls")
    discovered, applied = "GET /api/v1", "PATCH /api/v1/namespaces/theirs/configmaps/a"
    for request in ("GET /api/v1/nodes", f"POST {ACCESS_REVIEWS}", discovered, applied, f"GET {EXEC}"):
        assert impersonated(api_server, request) == IMPERSONATED, request
        assert ("authorization", "Bearer t") in [(name.lower(), value) for name, value in api_server.headers[request]]


def test_a_user_who_impersonates_nobody_is_asked_as_before(tmp_path: Path, api_server: ApiServer) -> None:
    theirs = cluster(tmp_path, given(api_server.kubeconfig(), user={"token": "t", **IMPERSONATING}))
    with pytest.raises(ClusterError):
        theirs.execute("demo", "server", "server", "ls")
    ours = cluster(tmp_path, api_server.kubeconfig())
    with pytest.raises(ClusterError):
        ours.execute("demo", "server", "server", "ls")
    ours.core.list_node()
    assert impersonated(api_server, "GET /api/v1/nodes") == impersonated(api_server, f"GET {EXEC}") == []


def test_a_tokens_file_is_read_again_and_may_end_in_a_newline(tmp_path: Path, api_server: ApiServer) -> None:
    (tmp_path / "token").write_text("first\n")
    # A relative path begins at the kubeconfig; the file goes before a token beside it, as in client-go.
    made = cluster(tmp_path, given(api_server.kubeconfig(), user={"tokenFile": "token", "token": "old"}))
    sent = []
    for written in ("first\n", "second\n", ""):
        (tmp_path / "token").write_text(written)
        made.core.list_node()
        sent += [value for name, value in api_server.headers["GET /api/v1/nodes"] if name.lower() == "authorization"]
    assert sent == ["Bearer first", "Bearer second", "Bearer second"]


def test_paths_of_the_users_kubeconfig_still_lead_there_from_the_copy(tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    first, second = tmp_path / "config", tmp_path / "second" / "config"
    first.write_text(yaml.safe_dump({"users": [{"name": "other", "user": {}}]}))
    second.write_text(yaml.safe_dump({"users": [{"name": "a", "user": {}}]}))
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": "./bin/login", "args": ["x"]}
    view = given(kubeconfig(1), user={"tokenFile": "token", "exec": plugin})
    user = yaml.safe_load(with_absolute_paths(view, [tmp_path / "missing", first, second]))["users"][0]["user"]
    assert user["tokenFile"] == str(tmp_path / "second" / "token")
    assert user["exec"] == {**plugin, "command": str(tmp_path / "second" / "bin" / "login")}
    (tmp_path / "token").write_text("theirs")
    of_copy = connected(tmp_path, given(kubeconfig(1), user={"tokenFile": "token"}))
    assert of_copy.client.configuration.api_key == {"BearerToken": "Bearer theirs"}
    on_path = given(kubeconfig(1), user={"tokenFile": "/run/token", "exec": {**plugin, "command": "login"}})
    assert with_absolute_paths(on_path, [second]) == on_path


def test_a_plugin_that_gives_no_credentials_is_no_anonymous_user(tmp_path: Path, api_server: ApiServer) -> None:
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": "false"}
    with pytest.raises(ClusterRefusedError, match=r"^cluster server: `false` of the kubeconfig gives no credentials"):
        connected(tmp_path, given(api_server.kubeconfig(), user={"exec": plugin}))
    with pytest.raises(ClusterError, match=r"^server: `false` of the kubeconfig gives no credentials"):
        denied_permissions(cluster(tmp_path, given(api_server.kubeconfig(), user={"exec": plugin})), ())


@pytest.mark.parametrize("provider", ["gcp", "azure"])
def test_an_auth_provider_that_kubectl_has_no_more_is_refused(
    tmp_path: Path, api_server: ApiServer, provider: str
) -> None:
    user = {"auth-provider": {"name": provider, "config": {"access-token": "t"}}}
    with pytest.raises(ClusterRefusedError, match=f"^cluster server: .*auth-provider {provider}, which kubectl has no"):
        connected(tmp_path, given(api_server.kubeconfig(), user=user))


@pytest.mark.parametrize("scheme", ["socks5", "https"])
def test_a_proxy_that_executions_cannot_use_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    proxy = f"{scheme}://user:hunter2@proxy.example:1080"
    with pytest.raises(ClusterRefusedError, match=rf"the proxy {scheme}://proxy\.example, and this suite") as refusal:
        connected(tmp_path, given(kubeconfig(6443, "api.example"), proxy=proxy))
    assert "hunter2" not in str(refusal.value)
    monkeypatch.setenv("HTTP_PROXY", proxy)
    with pytest.raises(ClusterRefusedError, match=r"proxy\.example"):
        connected(tmp_path, kubeconfig(6443, "api.example"))
    monkeypatch.setenv("NO_PROXY", "api.example")
    connected(tmp_path, kubeconfig(6443, "api.example"))


def test_a_proxy_that_go_does_not_read_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://proxy.example:1080")
    assert cluster(tmp_path, kubeconfig(6443, "api.example")).client.configuration.proxy is None


def test_a_kubeconfigs_own_proxy_is_taken_whatever_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_server: ApiServer
) -> None:
    # The API server stands in for the proxy, which is asked for absolute URLs where these are of http://.
    monkeypatch.setenv("NO_PROXY", "*")
    proxy = f"http://us%40er:pass@127.0.0.1:{api_server.server_port}"
    made = cluster(tmp_path, given(kubeconfig(6443, "127.0.0.1"), proxy=proxy))
    with pytest.raises(Exception, match="404"):
        made.core.list_node()
    (asked,) = api_server.headers
    assert asked == "GET http://127.0.0.1:6443/api/v1/nodes"
    basic = base64.b64encode(b"us@er:pass").decode()
    assert ("proxy-authorization", f"Basic {basic}") in [(n.lower(), v) for n, v in api_server.headers[asked]]
    usual = cluster(tmp_path, given(kubeconfig(6443, "api.example"), proxy="http://proxy.example"))
    assert usual.client.configuration.proxy == "http://proxy.example:80"
