"""Whether the local supply is built, and what is in the way of building it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from supply import catalogue, host, plan, readiness, versions
from supply.readiness import Readiness, look, obstacles
from supply.time_left import keep_seconds


def unreachable(_: str) -> str:
    return "timed out"


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Go on PATH, whose settings are in a file."""
    (tmp_path / "bin").mkdir()
    said = tmp_path / "said"
    program = tmp_path / "bin" / "go"
    program.write_text(f'#!/bin/sh\ncase "$2" in GOVERSION) echo go1.26.1 ;; *) cat {said} ;; esac\n')
    program.chmod(0o755)
    said.write_text('{"GOPROXY": "https://modules.example,direct", "GOMODCACHE": "/nowhere"}')
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return said


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of two cores that has all that a build needs; its user is root."""
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(host, "missing_packages", lambda _: [])
    monkeypatch.setattr(host, "debian_mirror", lambda: "http://mirror.example/debian")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**40))


def test_what_is_missing_is_named_and_a_whole_build_takes_what_was_measured(tmp_path: Path) -> None:
    steps, _, _ = catalogue.steps(versions.load())
    empty = look(tmp_path)
    assert len(empty.missing) == empty.total == len(steps)
    assert 18 <= empty.minutes <= 25  # 1,242 s
    assert 0.9 * readiness.BUILD_SPACE <= empty.space <= readiness.BUILD_SPACE
    for name, place in plan.folders(steps, tmp_path).items():
        if name != "node":
            place.mkdir()
    assert look(tmp_path) == Readiness(("node",), empty.total, 20.0)
    assert look(tmp_path).minutes == 1
    # What a build says while it goes on, and what is said before it, are of one estimate.
    keep_seconds(tmp_path, "node", 200.0)
    assert look(tmp_path).minutes == 4
    plan.folders(steps, tmp_path)["node"].mkdir()
    assert (look(tmp_path).missing, look(tmp_path).minutes, look(tmp_path).space) == ((), 0, 0)


def test_what_is_built_has_no_obstacles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert obstacles(Readiness((), 37), unreachable) == []


@pytest.mark.usefixtures("go")
def test_a_machine_that_has_everything_has_no_obstacles(tmp_path: Path) -> None:
    assert obstacles(look(tmp_path), lambda _: "", tmp_path) == []


@pytest.mark.usefixtures("go")
def test_each_obstacle_is_named_with_what_would_help(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**30))
    monkeypatch.setattr(host, "missing_packages", lambda _: ["mmdebstrap"])
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name, **given: None if name == "apt-get" else which(name, **given))
    assert obstacles(look(tmp_path), unreachable, tmp_path / "cache") == [
        "mmdebstrap needs root",
        "mmdebstrap are needed, and this machine has no apt-get to install them",
        "Go's modules cannot be reached: https://modules.example (timed out): set GOPROXY",
        "the Debian mirror http://mirror.example/debian cannot be reached (timed out): set SUPPLY_DEBIAN_MIRROR",
        f"{tmp_path} has 1 GiB left, and it takes about 25: make room, or name another place by SPIRE_FEDERATION_CACHE",
    ]


def test_go_that_downloads_nothing_is_no_obstacle_where_it_has_its_modules(tmp_path: Path, go: Path) -> None:
    go.write_text(f'{{"GOPROXY": "off", "GOMODCACHE": "{tmp_path}"}}')
    missing = Readiness(("program-helm",), 37)
    assert obstacles(missing, unreachable, tmp_path) == ["GOPROXY=off, and Go has no module yet"]
    (tmp_path / "cache" / "download").mkdir(parents=True)
    assert obstacles(missing, unreachable, tmp_path) == []


def test_a_machine_without_go_is_told_which_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    (found,) = obstacles(Readiness(("program-helm",), 37), unreachable, tmp_path)
    assert found.startswith("building the local supply needs Go 1.26 or newer on PATH")
