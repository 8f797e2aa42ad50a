"""This process in a container of the engine that Kind uses: how it is known, and how it gets into Kind's network."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from fixtures.k8s.kind import job_container
from fixtures.k8s.kind.job_container import api_server_is_elsewhere, join_kind_network, own_container
from supply.host import Engine, EngineError
from tests.unit.api_server import kubeconfig

ID = "02a32a9ea269f71138721ce142a17b27073b796d4acfa1fce9a0b77512defbe3"
# Of a container of Podman 4.3; Docker's documentation has the second form.
IN_PODMAN = (
    f"1585 1552 254:0 /run/containers/storage/overlay-containers/{ID}/userdata/.containerenv /run/.containerenv "
    "rw,relatime - ext4 /dev/vda rw,discard,resv_strict,resuid=65534,resgid=65534\n"
    f"1586 1552 254:0 /run/containers/storage/overlay-containers/{ID}/userdata/hostname /etc/hostname "
    "rw,relatime - ext4 /dev/vda rw,discard,resv_strict,resuid=65534,resgid=65534\n"
)
IN_DOCKER = (
    f"740 730 8:1 /var/lib/docker/containers/{ID}/hostname /etc/hostname rw,relatime - ext4 /dev/sda1 rw,discard\n"
)
# Of a machine on which a container runs.
OUTSIDE = (
    f"901 30 0:88 / /var/lib/containers/storage/overlay-containers/{ID}/userdata/shm rw,nosuid - tmpfs shm rw\n"
    "902 30 0:89 / /etc/hostname rw - tmpfs none rw\n"
)
CONNECTED = (
    f'Error: container {ID} is already connected to network "kind": network is already connected'  # Podman's words
)
ENGINE = """#!/bin/sh
echo "$@" >> {folder}/asked
case "$1" in
inspect) test -f {folder}/knows ;;
*) test ! -f {folder}/said || {{ cat {folder}/said >&2; exit 125; }} ;;
esac
"""


@pytest.fixture
def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This process's mounts, none yet."""
    monkeypatch.setattr(job_container, "MOUNTS", tmp_path / "mountinfo")
    monkeypatch.delenv("KIND_EXPERIMENTAL_DOCKER_NETWORK", raising=False)
    return tmp_path / "mountinfo"


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """An engine that notes what it is asked, knows a container if `knows` is there, and refuses with what is `said`."""
    program = tmp_path / "engine"
    program.write_text(ENGINE.format(folder=tmp_path))
    program.chmod(0o755)
    return Engine(str(program))


@pytest.mark.parametrize(("text", "found"), [(IN_PODMAN, ID), (IN_DOCKER, ID), (OUTSIDE, ""), (None, "")])
def test_a_container_is_known_by_its_own_files(mounts: Path, text: str | None, found: str) -> None:
    if text is not None:
        mounts.write_text(text)
    assert own_container() == found


@pytest.mark.parametrize("said", ["", CONNECTED])
def test_a_container_of_the_engine_gets_into_kinds_network(
    mounts: Path, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    mounts.write_text(IN_PODMAN)
    monkeypatch.setattr(job_container, "network_name", lambda _: "kind")
    (tmp_path / "knows").touch()
    if said:
        (tmp_path / "said").write_text(said)
    assert join_kind_network(engine)
    assert (tmp_path / "asked").read_text().splitlines()[-1] == f"network connect kind {ID}"


def test_what_the_engine_does_not_connect_is_an_error(
    mounts: Path, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts.write_text(IN_PODMAN)
    monkeypatch.setattr(job_container, "network_name", lambda _: "kind")
    (tmp_path / "knows").touch()
    (tmp_path / "said").write_text("Error: no such network")
    with pytest.raises(EngineError, match="no such network"):
        join_kind_network(engine)


@pytest.mark.parametrize("text", [IN_PODMAN, OUTSIDE])
def test_a_process_in_no_container_of_this_engine_is_left_where_it_is(
    mounts: Path, engine: Engine, tmp_path: Path, text: str
) -> None:
    mounts.write_text(text)
    (tmp_path / "asked").touch()
    assert not join_kind_network(engine)
    assert "connect" not in (tmp_path / "asked").read_text()


def test_an_api_server_is_elsewhere_where_nothing_listens_on_its_loopback_port(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        path.write_text(kubeconfig(port))
        assert api_server_is_elsewhere(path) == ""
    found = api_server_is_elsewhere(path)
    assert found.endswith(f"://127.0.0.1:{port}")
    path.write_text(path.read_text().replace("127.0.0.1", "server-control-plane.invalid"))
    assert api_server_is_elsewhere(path) == ""
