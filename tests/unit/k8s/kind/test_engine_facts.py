"""What container engines say of themselves, and when nodes cannot run in one that has no root."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fixtures.k8s.kind.engine_facts import docker_facts, engine_facts, podman_facts, why_rootless_fails
from supply.host import Engine

Read = Callable[[str], str]
NOW = datetime(2026, 11, 26, 17, 55, 20, 178662, tzinfo=UTC)  # a second after Docker's answer was recorded


def test_what_podman_says_of_itself_is_read(recorded: Read) -> None:
    facts = podman_facts(json.loads(recorded("podman-info.json")))
    assert (facts.version, facts.rootless, facts.cgroup_version) == ("4.3.1", False, "1")
    assert facts.controllers is not None
    assert facts.controllers >= {"cpu", "memory", "pids"}
    assert (facts.memory, facts.storage, facts.ahead) == (25276510208, "/var/lib/containers/storage", None)


def test_what_docker_says_of_itself_is_read(recorded: Read) -> None:
    facts = docker_facts(json.loads(recorded("docker-info.json")), NOW)
    assert (facts.version, facts.rootless, facts.cgroup_version) == ("20.10.24+dfsg1", False, "1")
    assert facts.controllers == frozenset(("cpu", "memory", "pids"))
    assert (facts.memory, facts.storage) == (25276510208, "/var/lib/docker")
    assert facts.ahead is not None
    assert -2 < facts.ahead <= -1


@pytest.mark.parametrize(
    ("version", "controllers", "said"),
    [
        ("1", {"cpu", "memory", "pids"}, "Kind needs cgroup version 2"),
        ("2", {"memory"}, "no cpu, pids control group"),
        ("2", {"cpu", "memory", "pids"}, ""),
    ],
)
def test_a_rootless_engine_needs_cgroup_version_2_with_its_controllers(
    recorded: Read, version: str, controllers: set[str], said: str
) -> None:
    facts = podman_facts(json.loads(recorded("podman-info.json")))
    rootless = replace(facts, rootless=True, cgroup_version=version, controllers=frozenset(controllers))
    found = why_rootless_fails(rootless)
    assert said in found
    assert bool(found) == bool(said)
    assert why_rootless_fails(replace(rootless, rootless=False)) == ""


def test_an_engine_that_does_not_describe_itself_is_named(tmp_path: Path) -> None:
    program = tmp_path / "docker"
    program.write_text("#!/bin/sh\necho 'permission denied' >&2\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(ValueError, match=r"(?s)^`.*docker info` does not describe the engine: .*permission denied"):
        engine_facts(Engine(str(program)))


def test_a_docker_without_root_says_so_among_its_security_options(recorded: Read) -> None:
    described = json.loads(recorded("docker-info.json"))
    # As `dockerd-rootless.sh` has it added (moby, daemon/info.go).
    described["SecurityOptions"] = ["name=seccomp,profile=builtin", "name=rootless", "name=cgroupns"]
    assert docker_facts(described, NOW).rootless
