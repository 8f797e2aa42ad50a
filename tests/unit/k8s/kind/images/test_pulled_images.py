"""Images pulled once by the engine: which, through which mirrors, and what is left to the nodes and why."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from threading import Event, Timer
from threading import enumerate as enumerate_threads

import pytest

from fixtures.core.project import PROJECT
from fixtures.core.waiting import Condition, Look, ended_by, wait_for
from fixtures.k8s.kind.images.pulled_images import PulledImages, full_name
from fixtures.k8s.kind.images.registries import parse_mirror
from supply.host import Engine

# An engine that has what is in `there`, can pull what is in `served`, and saves an archive of the image. It cannot take
# away what is in `kept`, and copies the file with credentials that it is given to `credentials`.
ENGINE = """#!/bin/sh
for last; do :; done
echo "$@" >> {folder}/asked
[ "$1" = --config ] && {{ config=$2/config.json; shift 2; }}
for each; do [ "$before" = --authfile ] && config=$each; before=$each; done
case "$1" in
image) grep -qxF "$last" {folder}/there ;;
rmi) grep -qxF "$last" {folder}/kept && exit 1 || exit 0 ;;
pull)
    [ -n "$config" ] && cat "$config" > {folder}/credentials && ls "$(dirname "$config")" > {folder}/beside
    grep -qxF "$last" {folder}/served && exit
    echo "Trying to pull $last..." >&2
    echo "Error: $last: {words}" >&2
    exit 125 ;;
save) cat {folder}/archive.tar ;;
esac
"""
REFUSED = "toomanyrequests: You have reached your unauthenticated pull rate limit"


def archive(path: Path) -> None:
    content = json.dumps([{"Config": "c", "RepoTags": ["any:v1"], "Layers": []}]).encode()
    info = tarfile.TarInfo("manifest.json")
    info.size = len(content)
    with tarfile.open(path, "w") as tar:
        tar.addfile(info, io.BytesIO(content))


@pytest.fixture(params=["podman", "docker"])
def engine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    program = tmp_path / "bin" / request.param
    program.parent.mkdir()
    program.write_text(ENGINE.format(folder=tmp_path, words=REFUSED))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    archive(tmp_path / "archive.tar")
    for name in ("there", "served", "asked", "kept"):
        (tmp_path / name).touch()
    return Engine(request.param)


def asked(folder: Path, command: str) -> list[str]:
    return sorted(line for line in (folder / "asked").read_text().splitlines() if line.startswith(command))


def pull(engine: Engine, folder: Path, *images: str, mirrors: tuple[str, ...] = ()) -> tuple[list[Path], str]:
    (folder / "images").mkdir()
    made = PulledImages(engine, images, [parse_mirror("--mirror", each) for each in mirrors], folder / "images")
    made.start()
    return list(made.archives()), made.left_to_nodes()


def test_each_image_is_pulled_once_under_its_full_name_and_not_where_it_is_there(
    engine: Engine, tmp_path: Path
) -> None:
    (tmp_path / "there").write_text("ghcr.io/spiffe/spire-server:1.15.3\n")
    (tmp_path / "served").write_text("docker.io/library/busybox:1.37\n")
    archives, left = pull(
        engine, tmp_path, "ghcr.io/spiffe/spire-server:1.15.3", "busybox:1.37", "docker.io/library/busybox:1.37"
    )
    assert left == ""
    assert {path.name for path in archives} == {
        "ghcr.io_spiffe_spire-server_1.15.3.tar",
        "docker.io_library_busybox_1.37.tar",
    }
    assert asked(tmp_path, "pull") == ["pull --quiet docker.io/library/busybox:1.37"]
    assert asked(tmp_path, "save") == [
        "save docker.io/library/busybox:1.37",
        "save ghcr.io/spiffe/spire-server:1.15.3",
    ]


def test_what_cannot_be_loaded_under_its_name_is_neither_pulled_nor_said(engine: Engine, tmp_path: Path) -> None:
    images = ("cgr.dev/chainguard/bash:latest@sha256:" + 64 * "0", "localhost/spire-federation/gospiffe-client:v0")
    assert pull(engine, tmp_path, *images) == ([], "")
    assert (tmp_path / "asked").read_text() == ""


def test_the_registrys_words_say_why_an_image_is_left_to_the_nodes(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "served").write_text("ghcr.io/spiffe/spire-agent:1.15.3\n")
    archives, left = pull(engine, tmp_path, "docker.io/demo/server:v0", "ghcr.io/spiffe/spire-agent:1.15.3")
    assert [path.name for path in archives] == ["ghcr.io_spiffe_spire-agent_1.15.3.tar"]
    why = f"pulled by each node, since {engine.program} could not"
    assert left == f"{why}: docker.io/demo/server:v0: Error: docker.io/demo/server:v0: {REFUSED}"


def test_a_mirror_is_asked_before_others_and_its_image_gets_the_published_name(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "served").write_text("10.89.1.2:5000/cache/spiffe/spire-server:1.15.3\n")
    mirrors = ("https://mirror.example", "ghcr.io=http://10.89.1.2:5000/v2/cache")
    archives, left = pull(engine, tmp_path, "ghcr.io/spiffe/spire-server:1.15.3", mirrors=mirrors)
    assert (len(archives), left) == (1, "")
    name = "10.89.1.2:5000/cache/spiffe/spire-server:1.15.3"
    insecure = "--tls-verify=false " if engine.program == "podman" else ""
    assert asked(tmp_path, "pull") == [f"pull --quiet {insecure}{name}"]
    assert asked(tmp_path, "tag") == [f"tag {name} ghcr.io/spiffe/spire-server:1.15.3"]
    assert asked(tmp_path, "save") == ["save ghcr.io/spiffe/spire-server:1.15.3"]


def test_a_mirrors_credentials_are_in_a_file_for_its_own_pull_alone(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    (own / "contexts").mkdir(parents=True)
    others = {"auths": {"other.example": {"auth": "b3RoZXI6"}}, "credsStore": "desktop", "currentContext": "colima"}
    (own / "config.json").write_text(json.dumps(others))
    monkeypatch.setenv("DOCKER_CONFIG", str(own))
    name = "mirror.example:5000/spiffe/spire-server:1.15.3"
    (tmp_path / "served").write_text(name)
    mirrors = ("https://pull:Tr%40ffic-7@mirror.example:5000",)
    archives, left = pull(engine, tmp_path, "ghcr.io/spiffe/spire-server:1.15.3", mirrors=mirrors)
    assert (len(archives), left) == (1, "")
    assert "ffic" not in (tmp_path / "asked").read_text()
    found = json.loads((tmp_path / "credentials").read_text())
    login = found["auths"]["mirror.example:5000"]
    if engine.program == "podman":
        assert found == {"auths": {"mirror.example:5000": {"auth": base64.b64encode(b"pull:Tr@ffic-7").decode()}}}
    else:
        assert login == {"username": "pull", "password": "Tr@ffic-7"}
        # The helper would be asked in the file's place, and the context says which engine it is.
        assert found["credHelpers"] == {"mirror.example:5000": ""}
        assert {name: found[name] for name in ("credsStore", "currentContext")}.items() <= others.items()
        assert found["auths"]["other.example"] == others["auths"]["other.example"]  # type: ignore[index]
        assert (tmp_path / "beside").read_text().split() == ["config.json", "contexts"]
    assert json.loads((own / "config.json").read_text()) == others
    assert [path.suffix for path in (tmp_path / "images").iterdir()] == [".tar"]


def test_a_mirrors_image_that_the_engine_had_before_is_taken_and_stays(engine: Engine, tmp_path: Path) -> None:
    name = "mirror.example/spiffe/spire-server:1.15.3"
    (tmp_path / "there").write_text(name)
    archives, left = pull(engine, tmp_path, "ghcr.io/spiffe/spire-server:1.15.3", mirrors=("https://mirror.example",))
    assert (len(archives), left) == (1, "")
    assert asked(tmp_path, "pull") == asked(tmp_path, "rmi") == []
    assert asked(tmp_path, "tag") == [f"tag {name} ghcr.io/spiffe/spire-server:1.15.3"]


def test_a_mirrors_name_that_cannot_be_taken_away_is_no_reason_to_ask_others(engine: Engine, tmp_path: Path) -> None:
    name = "mirror.example/spiffe/spire-server:1.15.3"
    for file in ("served", "kept"):
        (tmp_path / file).write_text(name)
    archives, left = pull(engine, tmp_path, "ghcr.io/spiffe/spire-server:1.15.3", mirrors=("https://mirror.example",))
    assert (len(archives), left) == (1, "")
    assert asked(tmp_path, "rmi") == [f"rmi {name}"]
    assert asked(tmp_path, "pull") == [f"pull --quiet {name}"]


def test_where_no_mirror_has_an_image_its_own_registry_is_asked_as_the_nodes_do(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "served").write_text("ghcr.io/spiffe/spire-server:1.15.3\n")
    mirrors = ("http://10.89.1.2:5000",)
    archives, left = pull(engine, tmp_path, "ghcr.io/spiffe/spire-server:1.15.3", "ghcr.io/gone:v1", mirrors=mirrors)
    assert len(archives) == 1
    assert len(asked(tmp_path, "pull")) == 4
    # The words of each that was asked.
    words = f"Error: 10.89.1.2:5000/gone:v1: {REFUSED}; Error: ghcr.io/gone:v1: {REFUSED}"
    assert left == f"pulled by each node, since {engine.program} could not: ghcr.io/gone:v1: {words}"


def test_archives_go_when_no_node_needs_them_any_more(engine: Engine, tmp_path: Path) -> None:
    images = ("ghcr.io/spiffe/spire-server:1.15.3",)
    (tmp_path / "there").write_text(f"{images[0]}\n")
    (tmp_path / "images").mkdir()
    made = PulledImages(engine, images, [], tmp_path / "images")
    made.start()
    (archive_of_one,) = made.archives()
    assert archive_of_one.is_file()
    made.close()
    assert not archive_of_one.exists()


# A pull of minutes, and a process that ends meanwhile.
SLOW_PULL = """
import sys, time
from pathlib import Path
from fixtures.k8s.kind.images.pulled_images import PulledImages
from supply.host import Engine

made = PulledImages(Engine("docker"), ["ghcr.io/spiffe/spire-server:1.15.3"], [], Path(sys.argv[1]))
made.start()
begun = Path(sys.argv[2])
while not (begun.exists() and begun.read_text().endswith("\\n")):
    time.sleep(0.01)
made.close()
"""


def test_an_end_of_the_run_waits_for_no_pull(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, begun = tmp_path / "bin" / "docker", tmp_path / "begun"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\n[ "$1" = image ] && exit 1\necho $$ > {begun}\nexec sleep 600\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    (tmp_path / "images").mkdir()
    command = [sys.executable, "-c", SLOW_PULL, str(tmp_path / "images"), str(begun)]
    subprocess.run(command, cwd=PROJECT, check=True, timeout=180, stdin=subprocess.DEVNULL)
    subprocess.run(["kill", begun.read_text().strip()], check=True)


def test_waits_for_archives_end_as_others_do(engine: Engine, tmp_path: Path) -> None:
    program, begun = tmp_path / "bin" / engine.program, tmp_path / "begun"
    program.write_text(f'#!/bin/sh\n[ "$1" = image ] && exit 1\necho $$ > {begun}\nexec sleep 60\n')

    def pulls() -> Look[int]:
        said = begun.read_text() if begun.exists() else ""
        return Look(int(said) if said.endswith("\n") else None, said)

    made = PulledImages(engine, ["ghcr.io/spiffe/spire-server:1.15.3"], [], tmp_path)
    made.start()
    pull = wait_for(Condition("a pull", pulls), 60, interval=0.01)
    ending = Event()
    began = time.monotonic()
    Timer(0.5, ending.set).start()
    with ended_by(ending):
        assert list(made.archives()) == []
    assert time.monotonic() - began < 30
    # Before PATH is as it was: what a thread that goes on calls next would be the machine's own engine.
    os.kill(pull, signal.SIGTERM)
    for thread in enumerate_threads():
        if thread.name == "pull":
            thread.join(60)


@pytest.mark.parametrize(
    ("given", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("demo/server:v0", "docker.io/demo/server:v0"),
        ("localhost:5000/server", "localhost:5000/server:latest"),
        ("ghcr.io/spiffe/spire-server:1.15.3", "ghcr.io/spiffe/spire-server:1.15.3"),
    ],
)
def test_a_short_name_is_completed_as_the_kubelet_does(given: str, full: str) -> None:
    assert full_name(given) == full
