"""The names of the Workload API's socket, found in a folder of this machine as in a node's."""

from __future__ import annotations

import shlex
import socket
import subprocess
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from fixtures.diagnosis.links.socket_links import check_socket_folder, check_socket_names, remove_links, socket_names
from fixtures.spire.installation import Spire
from tests.unit.own_chart import LAYOUT


def bind(listening: socket.socket, path: Path) -> None:
    """Make a socket there, by its name alone: the kernel takes 107 bytes, and pytest's folder may have more."""
    with chdir(path.parent):
        listening.bind(path.name)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """With a socket, and links to it."""
    made = tmp_path / "the agent's sockets"
    made.mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        bind(listening, made / "spire-agent.sock")
        (made / "api.sock").symlink_to("spire-agent.sock")
        (made / "socket").symlink_to("spire-agent.sock")
        (made / "notes").touch()
        yield made


def spire(*folders: Path, revision: int = 1, is_ours: bool = True) -> Spire:
    """SPIRE on nodes with these folders, each where the CSI driver mounts it from."""

    def on_nodes(shell: str, option: str, command: str) -> dict[str, str]:
        def run(folder: Path) -> str:
            there = command.replace("/sockets", shlex.quote(str(folder)))
            return subprocess.run([shell, option, there], check=True, capture_output=True, text=True).stdout

        return {f"node-{number}": run(folder) for number, folder in enumerate(folders)}

    found = SimpleNamespace(
        cluster=SimpleNamespace(label="server", on_nodes=on_nodes),
        layout=replace(LAYOUT, csi_driver=replace(LAYOUT.csi_driver, socket_folder="/sockets")),
        was_installed_by_run=is_ours,
        revision=revision,
    )
    return cast(Spire, found)


def test_a_socket_has_its_own_name_and_those_of_links_beside_it(folder: Path) -> None:
    names = {"spire-agent.sock", "api.sock", "socket"}
    assert socket_names(spire(folder)) == names
    # A node without an agent has no such folder; where nodes cannot be entered nothing is known.
    assert socket_names(spire(folder, folder / "missing")) == names
    assert socket_names(spire()) == frozenset()
    assert list(check_socket_names(spire(folder))) == []


def test_only_names_that_every_node_has_are_kept(folder: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        bind(listening, tmp_path / "spire-agent.sock")
        assert socket_names(spire(folder, tmp_path)) == {"spire-agent.sock"}


# In a pod the folder is in another place, so that a path of the node's leads nowhere there.
@pytest.mark.parametrize("target", ["missing.sock", "{folder}/spire-agent.sock", "../elsewhere.sock"])
def test_a_link_that_leads_nowhere_in_a_pod_is_named(folder: Path, target: str) -> None:
    target = target.format(folder=folder)
    (folder / "other").symlink_to(target)
    (found,) = check_socket_names(spire(folder))
    words = f"in /sockets, links lead to nothing: node-0: other -> {target}"
    assert (found.link, found.sentence) == ("CSI socket", words)
    assert "other" not in socket_names(spire(folder))
    # What a release of before has left is no fault of this one; of somebody else's nodes nothing is known.
    for there in (spire(folder, revision=2), spire(folder, is_ours=False)):
        assert list(check_socket_names(there)) == []


def test_links_are_removed_and_nothing_else(folder: Path) -> None:
    remove_links(spire(folder, folder / "missing"))
    assert sorted(each.name for each in folder.iterdir()) == ["notes", "spire-agent.sock"]


def test_a_folder_that_is_mounted_and_has_no_agents_socket_is_named() -> None:
    assert list(check_socket_folder(cast(Spire, SimpleNamespace(layout=LAYOUT)))) == []
    (found,) = check_socket_folder(spire())
    assert (found.link, found.on_its_way) == ("CSI socket", False)
    assert found.sentence == (
        f"new pods find no socket: {LAYOUT.csi_driver} mounts /sockets, and the agents' is in /run/spire/agent-sockets"
    )
