"""What several of these tests need: real outputs, recorded, and an API server."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pygal  # noqa: F401 - its importlib_metadata takes over from Python's, half of which pytester's runs would undo
import pytest

from fixtures.core import redaction
from fixtures.k8s.kind.engine_facts import EngineFacts, docker_facts
from supply.host import Engine
from tests.unit.api_server import ApiServer, serving

RECORDED = Path(__file__).parent / "recorded"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """What these tests connect to is on this machine, and no proxy is between unless a test sets one."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(autouse=True)
def _not_on_github(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs within these tests are not those of the job that runs the tests, and annotate nothing there."""
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _no_kept_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test hides what another one's run had as secrets."""
    monkeypatch.setattr(redaction, "_kept", redaction._Kept())


@pytest.fixture
def recorded() -> Callable[[str], str]:
    """Reads a recorded output by its file's name."""
    return lambda name: (RECORDED / name).read_text()


@pytest.fixture
def rootful_docker(monkeypatch: pytest.MonkeyPatch, recorded: Callable[[str], str]) -> EngineFacts:
    """A machine whose engine is Docker, with root; what it says of itself."""
    facts = docker_facts(json.loads(recorded("docker-info.json")), datetime.now(UTC))
    monkeypatch.setattr("fixtures.config.command_line.host.engine", lambda: Engine("docker"))
    monkeypatch.setattr("fixtures.config.command_line.engine_facts", lambda _: facts)
    return facts


@pytest.fixture
def api_server() -> Iterator[ApiServer]:
    """An API server of a few answers."""
    with serving() as made:
        yield made


@pytest.fixture(params=["127.0.0.1", "0.0.0.0"])  # noqa: S104 - as a program of somebody else may have
def taken(request: pytest.FixtureRequest) -> Iterator[int]:
    """A port on which something listens, on this machine alone or for everyone."""
    with socket.socket() as listener:
        listener.bind((request.param, 0))
        listener.listen()
        yield listener.getsockname()[1]
