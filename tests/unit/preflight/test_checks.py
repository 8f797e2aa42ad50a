"""What is found of a machine, an engine and a network before a run, with what mends it."""

from __future__ import annotations

import json
import os
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from fixtures.k8s.kind import reservation
from fixtures.k8s.kind.cluster import record_of
from fixtures.k8s.kind.engine_facts import docker_facts, podman_facts, why_rootless_fails
from fixtures.k8s.kind.images.registries import parse_mirror
from fixtures.k8s.kind.reservation import reserved
from fixtures.preflight import leftovers, machine, network
from fixtures.preflight.check import Check, Level, lines, ok, problem, warning
from fixtures.preflight.engine import engine_checks
from supply import host
from supply.host import Engine

GIB = machine.GIB
Read = Callable[[str], str]


def levels(checks: list[Check]) -> list[str]:
    return [check.level.value for check in checks]


def test_a_line_for_each_check_and_one_that_counts() -> None:
    assert lines([ok("memory", "enough"), warning("disk", "1 GiB left", "prune"), problem("engine", "none")]) == [
        "ok       memory  enough",
        "warning  disk    1 GiB left: prune",
        "problem  engine  none",
        "1 problem, 1 warning",
    ]
    assert lines([ok("memory", "enough")])[-1] == "nothing is missing"


@pytest.mark.parametrize(
    ("gib", "clusters", "level"), [(3.0, 2, "ok"), (2.9, 2, "warning"), (1.4, 2, "problem"), (0.1, 0, "ok")]
)
def test_memory_is_judged_by_the_clusters_that_are_to_be_created(gib: float, clusters: int, level: str) -> None:
    assert machine.enough_memory(gib * GIB, clusters).level.value == level


def write(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("groups", "left"),
    [
        ({}, 4 * GIB),
        ({"memory.max": "max\n", "memory.current": "1\n"}, 4 * GIB),
        ({"memory.max": f"{2 * GIB}\n", "memory.current": f"{GIB}\n"}, GIB),
        ({"memory/memory.limit_in_bytes": f"{3 * GIB}", "memory/memory.usage_in_bytes": f"{GIB}"}, 2 * GIB),
        ({"memory/memory.limit_in_bytes": "9223372036854771712", "memory/memory.usage_in_bytes": "1"}, 4 * GIB),
    ],
    ids=["none", "version 2, unlimited", "version 2", "version 1", "version 1, unlimited"],
)
def test_a_control_groups_limit_counts_where_it_is_less_than_the_machines(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, groups: dict[str, str], left: int
) -> None:
    monkeypatch.setattr(machine, "PROC", write(tmp_path / "proc", {"meminfo": "MemAvailable:    4194304 kB\n"}))
    monkeypatch.setattr(machine, "CGROUPS", write(tmp_path / "groups", groups))
    assert machine.available_memory() == left


@pytest.mark.parametrize(("watches", "level"), [("8192\n", "warning"), ("524288\n", "ok")])
def test_inotify_watches_of_a_usual_default_are_too_few(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, watches: str, level: str
) -> None:
    monkeypatch.setattr(machine, "PROC", write(tmp_path, {"sys/fs/inotify/max_user_watches": watches}))
    found = machine.inotify_watches()
    assert found is not None
    assert found.level.value == level


def test_inotify_instances_that_are_used_up_are_a_problem_with_what_mends_it() -> None:
    found = machine.inotify_instances(10**6)
    assert found.level is Level.PROBLEM
    assert "`sysctl fs.inotify.max_user_instances=512` allows more" in found.words


@pytest.mark.parametrize(("kind", "level"), [("local", "ok"), ("published", "warning")])
def test_published_node_images_may_not_start_with_cgroup_version_1(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, level: str
) -> None:
    monkeypatch.setattr(host, "CGROUP2", tmp_path / "none")
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    found = machine.control_groups(kind)
    assert found is not None
    assert found.level.value == level


@pytest.mark.parametrize(("gib", "level"), [(10, "ok"), (5, "warning"), (1, "problem")])
def test_disk_is_that_of_the_nearest_folder_that_is_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gib: int, level: str
) -> None:
    asked = []

    def usage(path: Path) -> SimpleNamespace:
        asked.append(path)
        return SimpleNamespace(free=gib * GIB)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    assert machine.disk(tmp_path / "a" / "b", 8 * GIB, 2 * GIB, "images").level.value == level
    assert asked == [tmp_path]


def test_a_port_that_is_in_use_is_named() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert [check.words for check in machine.ports([port])] == [
            f"{port} is in use; another one is taken in its place"
        ]
    assert [check.words for check in machine.ports([port])] == [f"{port} is free"]


NOW = datetime(2026, 11, 26, 17, 55, 20, 178662, tzinfo=UTC)  # a second after Docker's answer was recorded


def test_a_clock_that_is_off_is_a_warning(recorded: Read) -> None:
    described = json.loads(recorded("docker-info.json"))
    docker = Engine("docker")
    for late, found in ((0, "ok"), (300, "warning")):
        facts = replace(docker_facts(described, NOW + timedelta(seconds=late)), storage="", memory=0)
        (clock,) = [check for check in engine_checks(docker, facts, 2) if check.what == "clock"]
        assert clock.level.value == found


def test_a_rootless_engine_in_which_no_node_starts_is_a_problem_where_one_is_to(recorded: Read) -> None:
    facts = replace(podman_facts(json.loads(recorded("podman-info.json"))), rootless=True, storage="", memory=0)
    checks = engine_checks(Engine("podman"), facts, 2)
    assert [check.words for check in checks if check.level is Level.PROBLEM] == [why_rootless_fails(facts)]
    assert levels(engine_checks(Engine("podman"), facts, 0)) == ["ok"]


def test_clusters_of_this_runs_names_and_others_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    program = tmp_path / "podman"
    program.write_text("#!/bin/sh\nprintf '%s\\n' 'server running' 'client exited' 'their-own running'\n")
    program.chmod(0o755)
    record_of("server").parent.mkdir(parents=True)
    record_of("server").touch()
    engine = Engine(str(program))
    found = leftovers.cluster_checks(engine, ["server", "client"])
    assert levels(found) == ["ok", "warning", "ok"]
    assert "client is there (exited), and was not kept from this working folder" in found[1].words
    assert "`kind delete cluster --name client`" in found[1].remedy
    # The one that was kept has been deleted since, and another one has its name.
    record_of("server").write_text("whose it is\n0123abcd\n")
    assert "and was not kept" in leftovers.cluster_checks(engine, ["server"])[0].words
    program.write_text("#!/bin/sh\ncase $* in *-q*) echo 0123abcd ;; *) echo server running ;; esac\n")
    assert "kept by an earlier run" in leftovers.cluster_checks(engine, ["server"])[0].words
    assert "their-own" in found[2].words


def test_a_run_that_uses_the_same_clusters_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reservation, "LOCKS", tmp_path / "locks")
    assert levels(leftovers.run_checks(["a-server"])) == ["ok"]
    with reserved(["a-server"], tmp_path):
        (found,) = leftovers.run_checks(["a-server"])
    assert found.level is Level.PROBLEM
    assert found.words.startswith("another run is using the cluster a-server (process ")


def test_credentials_of_a_run_that_was_killed_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = tmp_path / f"spire-federation-server-{ended.pid}-abc_1"
    for folder in (left, tmp_path / f"spire-federation-server-{os.getpid()}-abc", tmp_path / "spire-federation-locks"):
        folder.mkdir()
    (found,) = leftovers.credential_checks()
    assert found == warning("credentials", f"a run has left those in {left}", f"`rm -r {left}`")


def test_places_are_asked_at_once_and_only_what_is_required_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "why_unreachable", lambda url, _ca: "" if "mirror" in url else "refused")
    places = [
        *network.image_places([parse_mirror("--mirror", "ghcr.io=https://mirror.example")]),
        network.RemotePlace("the charts", "https://charts.example/index.yaml", True, "give a folder with --charts"),
    ]
    found = {check.words.split()[0].rstrip(","): check.level.value for check in network.reachable(places)}
    assert found == {
        "registry-1.docker.io": "warning",
        "mirror.example": "ok",
        "registry.k8s.io": "warning",
        "cgr.dev": "warning",
        "charts.example": "problem",
    }
