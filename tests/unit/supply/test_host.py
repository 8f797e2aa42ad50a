"""What is found out about the machine: its engine, its limits, the packages that it lacks."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from supply import host
from supply.host import Engine
from supply.plan import BuildError

Read = Callable[[str], str]
UNLIMITED = resource.RLIM_INFINITY
VERSIONS = {"docker": "Docker version 28.3.2, build 578ccf6", "podman": "podman version 5.5.2"}


@dataclass
class Machine:
    """A machine as the settings for Podman see it."""

    user: int = 0
    may_raise: bool = False
    open_files: int = 4096
    processes: int = 10000
    cgroup2: bool = True
    systemd: bool = True
    runc: bool = True
    conmon: Path | None = None


@pytest.fixture
def settings_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Machine], dict[str, Any]]:
    """Podman's settings on a machine, read as Podman reads them."""

    def read(machine: Machine) -> dict[str, Any]:
        limits = {resource.RLIMIT_NOFILE: machine.open_files, resource.RLIMIT_NPROC: machine.processes}
        there = tmp_path / "there"
        there.touch()
        monkeypatch.setattr("supply.host.os.geteuid", lambda: machine.user)
        monkeypatch.setattr(host, "_may_raise_limits", lambda: machine.may_raise)
        monkeypatch.setattr("supply.host.resource.getrlimit", lambda which: (1024, limits[which]))
        monkeypatch.setattr(host, "CGROUP2", there if machine.cgroup2 else tmp_path / "none")
        monkeypatch.setattr("supply.host.shutil.which", lambda *_, **__: "/usr/bin/runc" if machine.runc else None)
        monkeypatch.setattr(host, "Path", lambda _: there if machine.systemd else tmp_path / "none")
        return tomllib.loads(host._podman_settings(machine.conmon))

    return read


Settings = Callable[[Machine], dict[str, Any]]


def test_a_machine_as_podman_supposes_it_needs_no_settings(settings_on: Settings) -> None:
    assert settings_on(Machine(may_raise=True)) == {}
    assert settings_on(Machine(may_raise=True, conmon=Path("/cache/conmon"))) == {}


def test_root_who_may_not_raise_limits_asks_for_no_more_than_there_are(settings_on: Settings) -> None:
    assert settings_on(Machine(open_files=4096, processes=10000)) == {
        "containers": {"default_ulimits": ["nofile=4096:4096", "nproc=10000:10000"]}
    }


def test_processes_are_asked_for_up_to_what_a_node_needs(settings_on: Settings) -> None:
    limits = settings_on(Machine(processes=127000))["containers"]["default_ulimits"]
    assert f"nproc={host.PROCESSES}:{host.PROCESSES}" in limits


@pytest.mark.parametrize("open_files", [host.USUAL_OPEN_FILES, 2**30, UNLIMITED])
def test_open_files_stay_podmans_own_where_its_default_is_possible(settings_on: Settings, open_files: int) -> None:
    assert settings_on(Machine(open_files=open_files))["containers"]["default_ulimits"] == ["nproc=10000:10000"]


def test_unlimited_limits_are_not_touched(settings_on: Settings) -> None:
    assert settings_on(Machine(open_files=UNLIMITED, processes=UNLIMITED)) == {}


def test_limits_of_a_user_who_is_not_root_are_left_to_podman(settings_on: Settings) -> None:
    assert settings_on(Machine(user=1000)) == {}


def test_hosts_with_older_cgroups_get_runc_where_there_is_one(settings_on: Settings) -> None:
    assert settings_on(Machine(may_raise=True, cgroup2=False)) == {"engine": {"runtime": "runc"}}
    assert settings_on(Machine(may_raise=True, cgroup2=False, runc=False)) == {}


def test_hosts_without_systemd_get_a_cgroup_manager_and_a_log_that_do_without(settings_on: Settings) -> None:
    expected = {"engine": {"cgroup_manager": "cgroupfs", "events_logger": "file"}}
    assert settings_on(Machine(may_raise=True, systemd=False)) == expected


def test_all_of_a_bare_machines_settings_stand_side_by_side(settings_on: Settings) -> None:
    found = settings_on(Machine(cgroup2=False, systemd=False, conmon=Path("/cache/conmon")))
    assert set(found) == {"containers", "engine"}
    assert set(found["engine"]) == {"runtime", "cgroup_manager", "events_logger", "conmon_path"}


@pytest.mark.parametrize("path", ["/cache/conmon", '/one\'s "cache"/conmon'])
@pytest.mark.parametrize("machine", [Machine(), Machine(may_raise=True, systemd=False)], ids=["limits", "engine"])
def test_settings_that_are_needed_name_the_conmon_that_waits(
    settings_on: Settings, machine: Machine, path: str
) -> None:
    assert settings_on(replace(machine, conmon=Path(path)))["engine"]["conmon_path"] == [path]
    assert "conmon_path" not in settings_on(machine).get("engine", {})


@pytest.mark.parametrize(
    ("bounding", "may"), [("000001ffffffffff", True), ("0000000001000000", True), ("00000000a80425fb", False)]
)
def test_limits_may_be_raised_by_whom_the_bounding_set_lets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bounding: str, may: bool
) -> None:
    status = tmp_path / "status"
    status.write_text(f"Name:\tpython\nCapEff:\t0000000000000000\nCapBnd:\t{bounding}\n")
    monkeypatch.setattr(host, "Path", lambda _: status)
    assert host._may_raise_limits() is may


def test_podmans_settings_are_kept_in_the_cache_and_named_to_podman(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SPIRE_FEDERATION_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CONTAINERS_CONF", raising=False)
    monkeypatch.setattr(host, "_podman_settings", lambda _: '[engine]\nruntime = "runc"\n')
    monkeypatch.setattr("supply.host.shutil.which", lambda name, **_: f"/usr/bin/{name}")
    found = host._environment("podman")
    assert found == {
        "KIND_EXPERIMENTAL_PROVIDER": "podman",
        "CONTAINERS_CONF": str(tmp_path / "cache" / "containers.conf"),
    }
    assert Path(found["CONTAINERS_CONF"]).read_text() == '[engine]\nruntime = "runc"\n'


@pytest.fixture
def conmon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The conmon that Podman is given for one that prints its arguments, a line for each."""
    (tmp_path / "its programs").mkdir()
    program = tmp_path / "its programs" / "conmon"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("SPIRE_FEDERATION_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CONTAINERS_CONF", raising=False)
    monkeypatch.setattr(host, "_podman_settings", lambda path: f"conmon_path = {json.dumps([str(path)])}\n")
    monkeypatch.setattr("supply.host.shutil.which", lambda name, **_: str(program.with_name(name)))
    settings = Path(host._environment("podman")["CONTAINERS_CONF"]).read_text()
    return Path(*tomllib.loads(settings)["conmon_path"])


def test_the_cleanup_of_an_exec_session_waits(conmon: Path) -> None:
    # As Podman 4.3 starts conmon for `podman exec`, shortened.
    arguments = [
        "--api-version",
        "1",
        "-c",
        "b8320c6e",
        "-e",
        "--exec-attach",
        "--exec-process-spec",
        "/a b",
        "--exit-command",
    ]
    started = subprocess.run([conmon, *arguments], capture_output=True, text=True, check=True).stdout.splitlines()
    assert started == ["--exit-delay", "10", *arguments]


@pytest.mark.parametrize(
    "arguments", [["--version"], ["--api-version", "1", "-c", "b8320c6e", "--exit-command", "/a b"]]
)
def test_a_container_of_its_own_is_cleaned_up_at_once(conmon: Path, arguments: list[str]) -> None:
    started = subprocess.run([conmon, *arguments], capture_output=True, text=True, check=True).stdout.splitlines()
    assert started == arguments


def test_where_no_conmon_is_found_podman_looks_for_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SPIRE_FEDERATION_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CONTAINERS_CONF", raising=False)
    monkeypatch.setattr(host, "_podman_settings", lambda path: f"# {path}\n")
    monkeypatch.setattr("supply.host.shutil.which", lambda name, **_: name if name == "podman" else None)
    assert Path(host._environment("podman")["CONTAINERS_CONF"]).read_text() == "# None\n"
    assert not (tmp_path / "cache" / "conmon").exists()


def test_settings_that_a_person_gives_podman_are_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SPIRE_FEDERATION_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CONTAINERS_CONF", "/mine")
    monkeypatch.setattr(host, "_podman_settings", lambda _: '[engine]\nruntime = "runc"\n')
    assert host._environment("podman") == {"KIND_EXPERIMENTAL_PROVIDER": "podman"}
    assert not (tmp_path / "cache").exists()


def test_podman_gets_no_settings_where_its_containers_are_in_a_virtual_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SPIRE_FEDERATION_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CONTAINERS_CONF", raising=False)
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    monkeypatch.setattr("supply.host.shutil.which", lambda name, **_: f"/opt/podman/bin/{name}")
    monkeypatch.setattr(host, "_podman_settings", lambda _: '[engine]\ncgroup_manager = "cgroupfs"\n')
    assert host._environment("podman") == {"KIND_EXPERIMENTAL_PROVIDER": "podman"}
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (None, {}),
        ("linux/arm64", {}),
        ("linux/arm64/v8", {}),
        ("linux/amd64", {"DOCKER_DEFAULT_PLATFORM": "linux/arm64"}),
    ],
)
def test_docker_needs_no_settings_but_for_another_machines_platform(
    monkeypatch: pytest.MonkeyPatch, chosen: str | None, expected: dict[str, str]
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    monkeypatch.delenv("DOCKER_DEFAULT_PLATFORM", raising=False)
    if chosen:
        monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", chosen)
    assert host._environment("docker") == expected


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Mapping[str, bool | str]], Engine | None]:
    """The engine that is found where these programs are: those that answer (or as what), and those that do not."""
    monkeypatch.setenv("PATH", str(tmp_path / "programs"))
    monkeypatch.setattr(host, "_environment", lambda _: {})
    (tmp_path / "programs").mkdir()

    def find(answering: Mapping[str, bool | str]) -> Engine | None:
        for name, answers in answering.items():
            program = tmp_path / "programs" / name
            said = answers if isinstance(answers, str) else VERSIONS[name]
            answer = f'ps) exit {0 if answers else 1} ;; --version) echo "{said}" ;; *) exit 9 ;;'
            program.write_text(f'#!/bin/sh\ncase "$1" in {answer} esac\n')
            program.chmod(0o755)
        host.engine.cache_clear()
        try:
            return host.engine()
        finally:
            host.engine.cache_clear()

    return find


@pytest.mark.parametrize(
    ("answering", "chosen", "expected"),
    [
        ({"docker": True, "podman": True}, None, "docker"),
        ({"docker": False, "podman": True}, None, "podman"),
        ({"podman": True}, None, "podman"),
        ({"docker": True, "podman": True}, "podman", "podman"),
        ({"docker": True, "podman": False}, "podman", None),
        # Fedora's podman-docker
        ({"docker": VERSIONS["podman"], "podman": True}, None, "podman"),
        ({"docker": VERSIONS["podman"], "podman": True}, "docker", None),
        ({"docker": "nerdctl version 2.1.2"}, None, None),
        ({"docker": False}, None, None),
        ({}, None, None),
    ],
)
def test_the_engine_is_the_chosen_one_or_the_first_that_answers(
    engines: Callable[[Mapping[str, bool | str]], Engine | None],
    monkeypatch: pytest.MonkeyPatch,
    answering: dict[str, bool | str],
    chosen: str | None,
    expected: str | None,
) -> None:
    monkeypatch.delenv("KIND_EXPERIMENTAL_PROVIDER", raising=False)
    if chosen:
        monkeypatch.setenv("KIND_EXPERIMENTAL_PROVIDER", chosen)
    found = engines(answering)
    assert (found.program if found else None) == expected


def test_an_engine_runs_with_its_own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT", "kept")
    assert Engine("sh", {"ADDED": "added"}).run("-c", 'echo "$KEPT $ADDED"') == "kept added\n"


def test_an_engines_commands_may_take_so_many_times_as_long() -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        Engine("sleep").run("1", timeout=0.05)
    assert Engine("sleep", timeout_scale=200.0).run("0.2", timeout=0.05) == ""


def test_an_engines_output_goes_to_a_file_that_it_need_not_see(tmp_path: Path) -> None:
    assert Engine("sh").pipe("-c", "printf '\\377'; cat", given="read", output=tmp_path / "archive") == ""
    assert (tmp_path / "archive").read_bytes() == b"\xffread"


def test_an_engine_reads_a_file_that_it_need_not_see(tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(b"\xffread")
    assert Engine("sh").pipe("-c", "od -An -tx1", given=tmp_path / "archive").split() == ["ff", "72", "65", "61", "64"]


@pytest.mark.parametrize(("user", "apt"), [(1000, "/usr/bin/apt-get"), (0, None)], ids=["not root", "no apt-get"])
def test_programs_that_cannot_be_installed_are_named_by_their_packages(
    monkeypatch: pytest.MonkeyPatch, user: int, apt: str | None
) -> None:
    monkeypatch.setattr("supply.host.os.geteuid", lambda: user)
    monkeypatch.setattr("supply.host.shutil.which", lambda name, **_: apt if name == "apt-get" else None)
    said: list[str] = []
    missing = "not installed: mmdebstrap debian-archive-keyring gcc libc6-dev tar"
    with pytest.raises(BuildError, match=f"{missing}; install them, or run as root"):
        host.install(host.BUILDING, said.append)
    assert said == []


def test_nothing_is_installed_that_nobody_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("supply.host.os.geteuid", lambda: 0)
    monkeypatch.setattr("supply.host.shutil.which", lambda name, **_: name if name == "apt-get" else None)
    monkeypatch.setattr("supply.host.subprocess.run", None)
    with pytest.raises(BuildError, match=r"not installed: mmdebstrap .*; .*, or give --install, which"):
        host.install(host.BUILDING, allowed=False)
    monkeypatch.setattr("supply.host.engine", lambda: None)
    with pytest.raises(BuildError, match="no container engine answers"):
        host.ensure_engine(may_install=False)


def test_nothing_is_installed_where_nothing_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("supply.host.os.geteuid", lambda: 1000)
    monkeypatch.setattr("supply.host.shutil.which", lambda name, **_: f"/usr/bin/{name}")
    said: list[str] = []
    host.install(host.BUILDING, said.append)
    assert said == []


@pytest.fixture
def apt(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes apt list these repositories, a line of address and label for each."""
    monkeypatch.delenv("SUPPLY_DEBIAN_MIRROR", raising=False)

    def lists(text: str) -> None:
        def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
            assert command[:2] == ["apt-get", "indextargets"]
            return subprocess.CompletedProcess(command, 0, text, "")

        monkeypatch.setattr("supply.host.subprocess.run", run)

    return lists


def test_a_mirror_that_a_person_names_is_taken(monkeypatch: pytest.MonkeyPatch, apt: Callable[[str], None]) -> None:
    apt("https://other.example/debian Debian\n")
    monkeypatch.setenv("SUPPLY_DEBIAN_MIRROR", "https://mirror.example/debian")
    assert host.debian_mirror() == "https://mirror.example/debian"


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ("https://s.example/security Debian-Security\nhttps://m.example/debian Debian\n", "https://m.example/debian"),
        ("https://one.example/debian Debian\nhttps://two.example/debian Debian\n", "https://one.example/debian"),
        ("https://archive.example/ubuntu Ubuntu\n", ""),
        ("", ""),
    ],
)
def test_else_the_mirror_is_the_first_that_apt_has_for_debian(
    apt: Callable[[str], None], listed: str, expected: str
) -> None:
    apt(listed)
    assert host.debian_mirror() == expected


@pytest.mark.skipif(not host.INOTIFY_LIMIT.exists(), reason="this kernel has no inotify")
def test_inotify_instances_are_looked_at_and_given_back() -> None:
    before = sorted(Path("/proc/self/fd").iterdir())
    host.check_inotify(1)
    assert sorted(Path("/proc/self/fd").iterdir()) == before


@pytest.mark.parametrize(("free", "refused"), [(0, True), (19, True), (20, False)])
def test_nodes_are_refused_where_inotify_instances_are_used_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, refused: bool
) -> None:
    opened: list[int] = []

    def instance() -> int:
        if len(opened) == free:
            raise OSError(errno.EMFILE, "Too many open files")
        opened.append(os.open(os.devnull, os.O_RDONLY))
        return opened[-1]

    (tmp_path / "limit").write_text("128\n")
    monkeypatch.setattr(host, "_inotify_instance", instance)
    monkeypatch.setattr(host, "INOTIFY_LIMIT", tmp_path / "limit")
    if refused:
        said = rf"^2 Kind nodes need at least 20 inotify instances, and {free} are free .* may have 128\): `sysctl fs"
        with pytest.raises(BuildError, match=said):
            host.check_inotify(2)
    else:
        host.check_inotify(2)
    for each in opened:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(each)


def test_other_systems_have_no_inotify(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    monkeypatch.setattr(host, "_inotify_instance", lambda: pytest.fail("there is none"))
    host.check_inotify(2)
