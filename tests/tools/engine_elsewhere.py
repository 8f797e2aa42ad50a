"""A run of the suite on a machine whose engine is elsewhere, as on a Mac: in a network namespace of its own.

The engine, its networks and so the gateway of Kind's network are those of the machine; the suite is given the engine's
socket, and the API servers' ports on its own loopback, as Docker Desktop or `podman machine` do. Needs root and Podman.

    python -m tests.tools.engine_elsewhere [options of pytest]
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from fixtures.core.project import PROJECT
from fixtures.core.waiting import Condition, Look, wait_for
from supply import host
from tests.tools.runs import PYTEST

CLUSTER_PREFIX = "elsewhere-"
NAMESPACE = "spire-federation-laptop"
CLUSTERS_FILTER = "label=io.x-k8s.kind.cluster"
CLONE_NEWNET = 0x40000000
SOCKET_TIMEOUT = 30.0  # seconds until the engine's service listens
PORTS_LOOK_INTERVAL = 0.5


def main(options: list[str]) -> int:
    """Run `pytest -m federation` there; returns its exit code."""
    engine = host.ensure_engine()
    if engine.program != "podman":
        raise SystemExit("this tool needs Podman, whose service it starts")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as undo:
        undo.enter_context(network_namespace())
        address = f"unix://{undo.enter_context(engine_service(engine, Path(folder, 'engine.sock')))}"
        undo.enter_context(forwarded_ports(engine))
        run = (*PYTEST, "-m", "federation", f"--cluster-prefix={CLUSTER_PREFIX}", *options)
        done = subprocess.run(
            ["ip", "netns", "exec", NAMESPACE, *run],
            cwd=PROJECT,
            env={**os.environ, **engine.environment, "CONTAINER_HOST": address},
            check=False,
        )
    return done.returncode


@contextmanager
def network_namespace() -> Iterator[None]:
    """A network namespace that has its loopback, and nothing else."""
    subprocess.run(["ip", "netns", "add", NAMESPACE], check=True)
    try:
        subprocess.run(["ip", "-n", NAMESPACE, "link", "set", "lo", "up"], check=True)
        yield
    finally:
        subprocess.run(["ip", "netns", "delete", NAMESPACE], check=True)


@contextmanager
def engine_service(engine: host.Engine, path: Path) -> Iterator[Path]:
    """Podman's service, at a socket. Raises `WaitError` where it does not listen."""
    with subprocess.Popen(
        [engine.program, "system", "service", "--time=0", f"unix://{path}"], env={**os.environ, **engine.environment}
    ) as service:
        try:
            listening = Condition("the socket of Podman's service", lambda: Look(path.exists() or None, "away"))
            wait_for(listening, SOCKET_TIMEOUT, fails_if=lambda: None if service.poll() is None else "it has ended")
            yield path
        finally:
            service.terminate()


@contextmanager
def forwarded_ports(engine: host.Engine) -> Iterator[None]:
    """The ports that Kind's nodes publish on this machine's loopback, on that of the namespace too, as they come."""
    ended = threading.Event()
    thread = threading.Thread(target=_forward_ports, args=(engine, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _forward_ports(engine: host.Engine, ended: threading.Event) -> None:
    listening: set[int] = set()
    while not ended.wait(PORTS_LOOK_INTERVAL):
        with suppress(subprocess.SubprocessError):  # a container that has just gone
            shown = engine.run("ps", "--filter", CLUSTERS_FILTER, "--format", "{{.Ports}}")
            for port in published_ports(shown) - listening:
                listening.add(port)
                threading.Thread(target=_serve, args=(_listen(port), port), daemon=True).start()


def published_ports(listed: str) -> set[int]:
    """The ports of this machine's loopback in what `podman ps` prints of ports, such as `127.0.0.1:38211->6443/tcp`."""
    return {
        int(each.partition("->")[0].rpartition(":")[2])
        for each in listed.replace(",", " ").split()
        if each.startswith("127.0.0.1:")
    }


def _listen(port: int) -> socket.socket:
    """A port of the namespace's loopback: a socket stays in the namespace of the thread that made it."""
    made: list[socket.socket] = []

    def make() -> None:
        with Path("/run/netns", NAMESPACE).open() as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        made.append(socket.create_server(("127.0.0.1", port)))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    return made[0]


def _serve(listener: socket.socket, port: int) -> None:
    while True:
        here, _ = listener.accept()
        try:
            there = socket.create_connection(("127.0.0.1", port))
        except OSError:
            here.close()
            continue
        for source, sink in ((here, there), (there, here)):
            threading.Thread(target=_copy, args=(source, sink), daemon=True).start()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(1 << 16):
            sink.sendall(piece)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
