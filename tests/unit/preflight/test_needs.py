"""What a run looks at before it starts anything, and what it makes of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fixtures.artifacts.selection import Choice
from fixtures.artifacts.supply import SupplyError
from fixtures.k8s.kind.cluster import record_of
from fixtures.k8s.kind.configuration import NodeSettings
from fixtures.plugins.session import supply
from fixtures.preflight import needs, network
from fixtures.preflight.check import Check, ok, problem, warning
from fixtures.report.run import Report
from supply.host import Engine
from supply.plan import BuildError

Read = Callable[[str], str]
SETTINGS: Any = SimpleNamespace(
    supply="auto",
    clusters=[SimpleNamespace(name="server"), SimpleNamespace(name="client")],
    prefix="a-",
    contexts={"client": "theirs"},
    nodes=NodeSettings(),
    ca="",
)


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorded: Read) -> Callable[[str], Engine]:
    """An engine of this name that describes itself as the real one did; the working folder is one of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(network, "why_unreachable", lambda *_: "refused")

    def made(name: str) -> Engine:
        (tmp_path / "info").write_text(recorded(f"{name}-info.json"))
        (tmp_path / name).write_text(f'#!/bin/sh\necho "$1" >> {tmp_path}/asked\ncat {tmp_path}/info\n')
        (tmp_path / name).chmod(0o755)
        return Engine(name)

    return made


@pytest.mark.parametrize(
    ("is_kept", "user", "name", "refused"),
    [
        (False, 0, "docker", True),
        (False, 1000, "podman", True),
        # The nodes are another user's.
        (False, 1000, "docker", False),
        (True, 0, "docker", False),
    ],
)
def test_inotify_instances_are_counted_for_clusters_that_are_to_be_created_by_this_user(
    engine: Callable[[str], Engine],
    monkeypatch: pytest.MonkeyPatch,
    is_kept: bool,
    user: int,
    name: str,
    refused: bool,
) -> None:
    def check(nodes: int) -> None:
        raise BuildError(f"{nodes} nodes and no inotify instances")

    if is_kept:
        record_of("a-server").parent.mkdir(parents=True)
        record_of("a-server").touch()
    monkeypatch.setattr("supply.host.check_inotify", check)
    monkeypatch.setattr("os.geteuid", lambda: user)
    checks = needs.quick_checks(SETTINGS, engine(name), "local")
    assert (problem("inotify", "1 nodes and no inotify instances") in checks) == refused
    assert bool(checks) != is_kept


def test_registries_are_asked_for_a_published_supply_alone(engine: Callable[[str], Engine]) -> None:
    docker = engine("docker")
    for which, asked in (("local", 0), ("published", len(network.IMAGE_REGISTRIES))):
        found = needs.quick_checks(SETTINGS, docker, which)
        assert len([check for check in found if check.what == "network"]) == asked
        assert any(check.words.startswith("Docker 20.10.24") for check in found)


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., tuple[Choice, Report]]:
    """The fixture `choice`, where this is what was decided and found."""

    def chosen(decided: Choice | SupplyError, *checks: Check) -> tuple[Choice, Report]:
        def decide(*_: object) -> Choice:
            if isinstance(decided, SupplyError):
                raise decided
            return decided

        monkeypatch.setattr(supply, "decide", decide)
        monkeypatch.setattr(supply, "quick_checks", lambda *_: list(checks))
        report = Report(tmp_path)
        fixture = cast(Any, supply.choice)._get_wrapped_function()
        return fixture(SETTINGS, Engine("docker"), report), report

    return chosen


def test_a_problem_ends_the_run_with_what_mends_it(choose: Callable[..., tuple[Choice, Report]]) -> None:
    with pytest.raises(pytest.exit.Exception, match=r"^disk: 1 GiB left: prune$"):
        choose(Choice("local", "it is built"), ok("memory", "enough"), problem("disk", "1 GiB left", "prune"))
    with pytest.raises(pytest.exit.Exception, match="neither"):
        choose(SupplyError("neither is available"))


def test_a_warning_is_kept_and_the_run_goes_on(choose: Callable[..., tuple[Choice, Report]]) -> None:
    found, report = choose(Choice("local", "it is built"), ok("memory", "enough"), warning("disk", "3 GiB left"))
    assert (found.which, report.warnings) == ("local", ["disk: 3 GiB left"])
