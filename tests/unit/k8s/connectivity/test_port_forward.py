"""Forwards that stay, with a program in kubectl's place that says what kubectl says."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fixtures.core.waiting import Condition, Look, WaitError, wait_for
from fixtures.k8s.cluster import Cluster
from fixtures.k8s.connectivity.port_forward import PortForward, free_port, port_is_free
from fixtures.k8s.kind.network import KindNetwork

SOON = 60.0  # seconds, for what comes at once on a machine that is not busy
LISTENS = """#!/bin/sh
echo "$@" >> {folder}/arguments
echo $$ >> {folder}/started
echo "Forwarding from 127.0.0.1:8440 -> 8443"
exec sleep 60
"""
LOSES_ITS_POD = """#!/bin/sh
echo $$ >> {folder}/started
echo "Forwarding from 127.0.0.1:8440 -> 8443"
test "$(wc -l < {folder}/started)" -gt 1 || echo "error: lost connection to pod"
exec sleep 60
"""


@pytest.fixture
def forward(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[PortForward]:
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(getattr(request, "param", LISTENS).format(folder=tmp_path))
    kubectl.chmod(0o755)
    cluster: Any = SimpleNamespace(label="server", kubectl_path=kubectl, environment=dict(os.environ))
    place = (cast(Cluster, cluster), "spire-server", "svc/spire-server")
    made = PortForward(
        *place, 8443, tmp_path / "log", KindNetwork("127.0.0.1", "127.0.0.0/8"), address="127.0.0.1", port=8440
    )
    yield made
    made.close()


def started(folder: Path) -> list[int]:
    file = folder / "started"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def times_started(folder: Path, times: int) -> Condition[bool]:
    return Condition("starts", lambda: Look(len(started(folder)) >= times or None, str(started(folder))))


def test_a_forward_is_of_one_address_to_one_service(forward: PortForward, tmp_path: Path) -> None:
    forward.open()
    expected = "port-forward -n spire-server --address 127.0.0.1 svc/spire-server 8440:8443"
    assert (tmp_path / "arguments").read_text().strip() == expected
    assert forward.reopenings == []


@pytest.mark.parametrize("forward", [LOSES_ITS_POD], indirect=True)
def test_a_forward_that_loses_its_pod_is_opened_again_and_that_is_recorded(
    forward: PortForward, tmp_path: Path
) -> None:
    forward.open()
    wait_for(times_started(tmp_path, 2), SOON)
    wait_for(forward.listening, SOON)
    assert [each.why for each in forward.reopenings] == ["error: lost connection to pod"]


def test_a_forward_that_is_interrupted_is_opened_again(forward: PortForward, tmp_path: Path) -> None:
    forward.open()
    forward.interrupt()
    wait_for(times_started(tmp_path, 2), SOON)
    wait_for(forward.listening, SOON)


def test_a_forward_that_is_closed_ends_its_program_and_may_be_opened_again(
    forward: PortForward, tmp_path: Path
) -> None:
    forward.open()
    forward.close()
    (first,) = started(tmp_path)
    assert not Path(f"/proc/{first}/cwd").exists()
    with pytest.raises(WaitError):
        wait_for(forward.listening, 0.1)
    forward.open()
    assert len(started(tmp_path)) == 2


def test_a_forward_that_is_closed_while_its_program_is_being_started_ends_it(
    forward: PortForward, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = subprocess.Popen

    def start_once_it_is_closed(*command: Any, **options: Any) -> Any:
        assert forward._stopping.wait(60)
        time.sleep(0.2)  # by then `close` has looked for a program
        return start(*command, **options)

    monkeypatch.setattr("fixtures.k8s.connectivity.port_forward.FORWARD_OPEN_TIMEOUT", 0.1)
    monkeypatch.setattr("fixtures.k8s.connectivity.port_forward.subprocess.Popen", start_once_it_is_closed)
    with pytest.raises(WaitError):
        forward.open()
    forward.close()
    assert forward._process is not None
    assert forward._process.poll() is not None
    assert forward._thread is not None
    assert not forward._thread.is_alive()
    assert not [process for process in started(tmp_path) if Path(f"/proc/{process}/cwd").exists()]


def test_a_forward_that_is_opened_while_it_is_open_has_one_program(forward: PortForward, tmp_path: Path) -> None:
    forward.open()
    forward.open()
    first, second = started(tmp_path)
    assert not Path(f"/proc/{first}/cwd").exists()
    assert Path(f"/proc/{second}/cwd").exists()


# Fails until there is a file that says it may work.
FAILS_AT_FIRST = """#!/bin/sh
echo $$ >> {folder}/started
if ! test -e {folder}/repaired; then echo "error: services \\"spire-server\\" not found"; exit 1; fi
echo "Forwarding from 127.0.0.1:8440 -> 8443"
exec sleep 60
"""


def is_down(forward: PortForward) -> Condition[bool]:
    return Condition("a forward that is down", lambda: Look(forward.is_opening or None, forward.state))


def test_a_forward_is_closed_until_it_is_opened_and_after_it_is_closed(forward: PortForward) -> None:
    assert (forward.state, forward.is_opening) == ("closed", False)
    forward.open()
    assert (forward.state, forward.is_opening) == ("listening", False)
    assert forward.words == "Forwarding from 127.0.0.1:8440 -> 8443"
    forward.close()
    assert (forward.state, forward.is_opening) == ("closed", False)


@pytest.mark.parametrize("forward", [FAILS_AT_FIRST], indirect=True)
def test_a_forward_that_cannot_listen_is_being_opened_with_kubectls_words(forward: PortForward, tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        opened = pool.submit(forward.open)
        wait_for(times_started(tmp_path, 2), SOON)
        assert (forward.state, forward.is_opening) == ("being opened", True)
        assert forward.words == 'error: services "spire-server" not found'
        before = forward.opening_for
        assert 0.0 < before < SOON
        wait_for(times_started(tmp_path, len(started(tmp_path)) + 2), SOON)
        # It has been down since it was to be opened, however often it was tried again.
        assert forward.opening_for > before
        (tmp_path / "repaired").touch()
        opened.result(SOON)
    assert (forward.state, forward.is_opening) == ("listening", False)


def test_a_forward_that_ends_is_being_opened_from_then_on(forward: PortForward, tmp_path: Path) -> None:
    forward.open()
    (tmp_path / "kubectl").write_text(FAILS_AT_FIRST.format(folder=tmp_path))
    wait_for(Condition("an age", lambda: Look(forward.opening_for > 0.5 or None, "")), SOON)
    ended = time.monotonic()
    forward.interrupt()
    assert (forward.state, forward.is_opening) == ("being opened", True)
    wait_for(times_started(tmp_path, 2), SOON)
    assert forward.opening_for <= time.monotonic() - ended


def test_a_forward_whose_kubectl_dies_is_being_opened(forward: PortForward, tmp_path: Path) -> None:
    forward.open()
    (tmp_path / "kubectl").write_text(FAILS_AT_FIRST.format(folder=tmp_path))
    (first,) = started(tmp_path)
    died = time.monotonic()
    os.kill(first, signal.SIGKILL)
    wait_for(is_down(forward), SOON, interval=0.01)
    wait_for(times_started(tmp_path, 2), SOON)
    assert forward.opening_for <= time.monotonic() - died


def test_a_copy_of_a_forward_is_one_of_its_own(forward: PortForward) -> None:
    forward.open()
    other = replace(forward, target="svc/server-service")
    with pytest.raises(WaitError):
        wait_for(other.listening, 0.1)
    other.open()
    other.close()
    wait_for(forward.listening, 0.1)


def test_a_port_that_is_taken_gives_way_to_a_free_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert not port_is_free("127.0.0.1", port)
        other = free_port("127.0.0.1", port)
    assert other != port
    assert free_port("127.0.0.1", other) == other
