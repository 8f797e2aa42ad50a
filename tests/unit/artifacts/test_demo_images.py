"""The demo's images, built by an engine: how it is called, and what is said of its failure."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fixtures.artifacts import demo_images
from fixtures.artifacts.supply import SupplyError
from fixtures.core.project import PROJECT
from fixtures.workloads.demo import SERVER_TIMEOUT, DemoImages
from fixtures.workloads.manifests import load_manifests, with_startup_probe
from supply import demo, programs
from supply.host import Engine
from supply.plan import BuildError

# Writes down its arguments, its environment's word on attestations, and what it reads; fails where a test asks for it.
DOCKER = """#!/bin/sh
folder={folder}
echo "$@" >> $folder/calls
echo "$BUILDX_NO_DEFAULT_ATTESTATIONS" > $folder/attestations
case " $* " in *" -f - "*) cat > $folder/given ;; esac
if [ -e $folder/fails ]; then cat $folder/fails >&2; exit 1; fi
if [ "$1" = save ]; then echo archive; fi
"""


@pytest.fixture(autouse=True)
def _no_go(monkeypatch: pytest.MonkeyPatch) -> None:
    def go() -> str:
        raise BuildError("there is none")

    monkeypatch.setattr(programs, "go", go)
    for name in ("GOPROXY", "GOSUMDB"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    program = tmp_path / "docker"
    program.write_text(DOCKER.format(folder=tmp_path))
    program.chmod(0o755)
    return Engine(str(program))


def builds(folder: Path) -> list[str]:
    return [line for line in (folder / "calls").read_text().splitlines() if line.startswith("build ")]


def test_the_engines_last_lines_say_why_the_demo_was_not_built(engine: Engine, tmp_path: Path) -> None:
    reason = "toomanyrequests: You have reached your pull rate limit."
    (tmp_path / "fails").write_text("\n".join([*(f"#{number} pulling" for number in range(40)), reason, "", ""]))
    with pytest.raises(SupplyError) as caught:
        demo_images.build(engine, tmp_path, lambda _: None)
    command, *lines, hint = str(caught.value).splitlines()
    assert command.startswith(f"the demo's images were not built: `{engine.program} build -t localhost/")
    assert command.endswith("` ended with 1:")
    assert lines[-1].strip() == reason
    assert len(lines) == 15
    assert "docker login" in hint


def test_an_engine_that_does_not_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(SupplyError, match=r"the demo's images were not built: .*No such file or directory: '/none'"):
        demo_images.build(Engine("/none"), tmp_path, lambda _: None)


def test_a_build_goes_by_this_machines_proxies_whose_values_are_in_no_command(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:hunter2@proxy.example:3128")
    monkeypatch.setenv("no_proxy", "localhost")
    monkeypatch.setenv("GOPROXY", "https://go.example")
    demo_images.build(engine, tmp_path, lambda _: None)
    server, client = builds(tmp_path)
    for line in (server, client):
        assert [word for word in line.split() if word.startswith("--build-arg")] == [
            "--build-arg=HTTPS_PROXY",
            "--build-arg=no_proxy",
            "--build-arg=GOPROXY",
        ]
        assert "hunter2" not in line
    given = (tmp_path / "given").read_text().splitlines()
    own = (PROJECT / "workloads" / "client" / "Containerfile").read_text().splitlines()
    at = given.index("ARG GOPROXY")
    assert given[at - 1].startswith("FROM docker.io/library/golang:")
    assert [*given[:at], *given[at + 1 :]] == own


@pytest.mark.parametrize(
    "value",
    ["http://127.0.0.1:3128", "http://a:b@localhost:3128", "http://[::1]:3128", "file:///go,https://go.example"],
)
def test_what_is_on_this_machines_loopback_is_not_for_a_build(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("https_proxy", value)
    monkeypatch.setenv("GOPROXY", value)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    demo_images.build(engine, tmp_path, lambda _: None)
    assert [line.count("--build-arg") for line in builds(tmp_path)] == [1, 1]
    assert all("--build-arg=NO_PROXY" in line for line in builds(tmp_path))


def test_go_that_downloads_nothing_on_this_machine_does_in_a_build_which_has_no_modules_of_it(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOPROXY", "off")
    monkeypatch.setenv("GOSUMDB", "off")
    demo_images.build(engine, tmp_path, lambda _: None)
    assert not any("GOPROXY" in line for line in builds(tmp_path))
    assert all("--build-arg=GOSUMDB" in line for line in builds(tmp_path))


def test_without_them_a_build_is_of_the_folder_as_it_is(engine: Engine, tmp_path: Path) -> None:
    demo_images.build(engine, tmp_path, lambda _: None)
    image, folder = "localhost/spire-federation/gospiffe-server:v0", PROJECT / "workloads" / "server"
    assert builds(tmp_path)[0] == f"build -t {image} {folder}"
    assert not (tmp_path / "given").exists()


def test_an_image_is_built_without_attestations(engine: Engine, tmp_path: Path) -> None:
    demo_images.build(engine, tmp_path, lambda _: None)
    assert (tmp_path / "attestations").read_text() == "1\n"


def test_the_engine_is_given_no_path_of_a_work_file(engine: Engine, tmp_path: Path) -> None:
    # Docker from snap has a /tmp of its own.
    (tmp_path / "scratch").mkdir()
    _, (archive,) = demo_images.build(engine, tmp_path / "scratch", lambda _: None)
    assert archive.read_text() == "archive\n"
    assert str(tmp_path) not in (tmp_path / "calls").read_text()


def test_without_an_engine_what_is_not_to_be_built_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        SupplyError, match=r"^no container engine answers, .* or give --demo-image-server and --demo-im"
    ):
        demo_images.build(None, tmp_path, lambda _: None)


THEIRS = (demo_images.PUBLISHED_DEMO["server"], demo_images.PUBLISHED_DEMO["client"])  # the tutorial's


@pytest.mark.parametrize(
    ("which", "server", "client", "chosen"),
    [
        ("built", "", "", DemoImages("s", "c", "c")),
        ("built", "a.test/s", "a.test/c", DemoImages("a.test/s", "a.test/c", "a.test/c", answers_ready=False)),
        ("published", "", "", DemoImages(*THEIRS, "c", answers_ready=False)),
        ("published", "", "a.test/c", DemoImages(*THEIRS, "a.test/c", answers_ready=False)),
    ],
)
def test_images_that_are_given_are_used_and_only_this_projects_server_has_a_readiness_path(
    which: str, server: str, client: str, chosen: DemoImages
) -> None:
    settings: Any = SimpleNamespace(demo_images=which, demo_image_server=server, demo_image_client=client)
    assert demo_images.chosen_images(settings, "s", "c") == chosen


def test_a_server_without_a_readiness_path_is_started_once_its_tls_port_listens() -> None:
    deployment = load_manifests("server.yaml")[0]
    changed = with_startup_probe(deployment)
    (container,) = changed["spec"]["template"]["spec"]["containers"]
    assert "readinessProbe" not in container
    probe = container["startupProbe"]
    assert (probe["tcpSocket"], probe["periodSeconds"]) == ({"port": "https"}, 1)
    assert probe["failureThreshold"] * probe["periodSeconds"] > SERVER_TIMEOUT
    assert [port["name"] for port in container["ports"]] == ["https"]
    assert "readinessProbe" in deployment["spec"]["template"]["spec"]["containers"][0], "a copy was changed"
def test_with_go_no_engine_is_asked_and_its_last_lines_say_why_it_failed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\necho 'modules.example: i/o timeout' >&2\nexit 1\n")
    go.chmod(0o755)
    monkeypatch.setenv("SPIRE_FEDERATION_CACHE", str(tmp_path / "cache"))
    for module in (programs, demo):
        monkeypatch.setattr(module, "go", lambda: str(go))
    with pytest.raises(
        SupplyError, match=r"(?s)the demo's images were not built: step demo-\S+: .*ended with 1.*i/o timeout"
    ):
        demo_images.build(Engine("/none"), tmp_path, lambda _: None)
