"""What is superseded in the cache and in the engine, and what is not."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from supply import catalogue, node, plan, versions
from supply.__main__ import main
from supply.host import Engine
from supply.plan import BuildError
from supply.prune import folders, prune

PINS = versions.load()
OLD_KEY = "0123456789abcdef"
# An engine with two node images of this project besides the wanted one; the second has a container that has ended.
ENGINE = """#!/bin/sh
echo "$@" >> {folder}/asked
case "$1 $2" in
"images --format")
    printf "%s\\n" {wanted} {node}:v1-old {node}:v1-used docker.io/kindest/node:v1 {demo}:v0 ;;
"ps -a") test "${{5#ancestor=}}" != {node}:v1-used || echo 0123456789ab ;;
"image inspect") echo 1048576 ;;
"rmi {refused}") echo "image is in use" >&2; exit 1 ;;
esac
"""


def wanted(cache: Path) -> dict[str, Path]:
    steps, _, _ = catalogue.steps(PINS, catalogue.references(PINS))
    return plan.folders(steps, cache)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache with all that is wanted, one superseded step of 3000 bytes, an unfinished one, and what is no step."""
    made = tmp_path / "cache"
    for place in wanted(made).values():
        place.mkdir(parents=True)
    old = made / f"program-kind-{OLD_KEY}" / "bin"
    old.mkdir(parents=True)
    (old / "kind").write_bytes(b"k" * 3000)
    (made / f"node-{OLD_KEY}.part").mkdir()
    for name in ("logs", "tools", "somebody-elses"):
        (made / name).mkdir()
    (made / f"file-{OLD_KEY}").touch()
    return made


def engine(folder: Path, cache: Path, refused: str = "nothing") -> Engine:
    program = folder / "podman"
    reference = node.reference(PINS.kubernetes, wanted(cache)["node"])
    prefix = "localhost/spire-federation"
    text = ENGINE.format(
        folder=folder, wanted=reference, node=f"{prefix}/node", demo=f"{prefix}/gospiffe-server", refused=refused
    )
    program.write_text(text)
    program.chmod(0o755)
    return Engine(str(program))


def removed(folder: Path) -> list[str]:
    return [line for line in (folder / "asked").read_text().splitlines() if line.startswith("rmi")]


def test_what_no_pin_names_is_removed_and_all_else_stays(cache: Path, tmp_path: Path) -> None:
    before = {path.name for path in cache.iterdir()}
    said: list[str] = []
    prune(cache, engine(tmp_path, cache), said.append)
    gone = {f"program-kind-{OLD_KEY}", f"node-{OLD_KEY}.part"}
    assert before - {path.name for path in cache.iterdir()} == gone
    assert removed(tmp_path) == ["rmi localhost/spire-federation/node:v1-old"]
    assert [line.partition(",")[0] for line in said[:-1]] == [
        f"removed: node-{OLD_KEY}.part",
        f"removed: program-kind-{OLD_KEY}",
        "removed: localhost/spire-federation/node:v1-old",
    ]
    assert said[-1] == "3 superseded, 1.0 MiB"
    said.clear()
    (tmp_path / "asked").unlink()
    prune(cache, None, said.append)
    assert said == ["nothing is superseded"]


def test_programs_that_were_downloaded_at_other_versions_go_with_their_bytes(cache: Path) -> None:
    tools = cache / "tools" / "linux-amd64"
    tools.mkdir()
    kept = {f"kind-{PINS.programs['kind'].version}", f"kubectl-v{PINS.kubernetes}", "helm.lock"}
    for name in (*kept, "kind-v0.1.0", "helm-v3.0.0"):
        (tools / name).write_bytes(b"p" * 2**20)
    said: list[str] = []
    prune(cache, None, said.append)
    assert {
        "removed: tools/linux-amd64/kind-v0.1.0, 1.0 MiB",
        "removed: tools/linux-amd64/helm-v3.0.0, 1.0 MiB",
    } <= set(said)
    assert {path.name for path in tools.iterdir()} == kept


def test_a_dry_run_lists_the_same_and_removes_nothing(cache: Path, tmp_path: Path) -> None:
    before = {path.name for path in cache.iterdir()} | {"lock"}
    said: list[str] = []
    prune(cache, engine(tmp_path, cache), said.append, dry_run=True)
    assert {path.name for path in cache.iterdir()} == before
    assert removed(tmp_path) == []
    assert said[-1] == "3 superseded, 1.0 MiB"
    assert all(line.startswith("superseded: ") for line in said[:-1])


def test_sizes_are_those_of_all_files_below(cache: Path) -> None:
    assert {each.name: each.size for each in folders(cache, wanted(cache).values())} == {
        f"program-kind-{OLD_KEY}": 3000,
        f"node-{OLD_KEY}.part": 0,
    }


def test_nothing_is_touched_while_a_build_uses_the_cache(cache: Path, tmp_path: Path) -> None:
    with plan.lock(cache), pytest.raises(BuildError, match=r"a build \(process \d+\) is using .*cache"):
        prune(cache, engine(tmp_path, cache), print)
    assert (cache / f"program-kind-{OLD_KEY}").is_dir()
    assert not (tmp_path / "asked").exists()


def test_a_folder_stays_while_a_program_in_it_is_running(cache: Path) -> None:
    # Under its own name, by which it knows what it is to do where the coreutils are one program.
    program = cache / f"program-kind-{OLD_KEY}" / "bin" / "sleep"
    shutil.copy(shutil.which("sleep") or "", program)
    running = subprocess.Popen([program, "60"])
    try:
        assert f"program-kind-{OLD_KEY}" not in {each.name for each in folders(cache, wanted(cache).values())}
    finally:
        running.kill()
        running.wait()
    assert f"program-kind-{OLD_KEY}" in {each.name for each in folders(cache, wanted(cache).values())}


def test_what_an_interruption_leaves_of_a_folder_is_not_taken_for_a_finished_step(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", interrupted)
    old = next(each for each in folders(cache, wanted(cache).values()) if each.name.startswith("program-kind"))
    with pytest.raises(KeyboardInterrupt):
        old.remove()
    assert not (cache / f"program-kind-{OLD_KEY}").exists()
    assert (cache / f"program-kind-{OLD_KEY}.part").is_dir()


def test_an_image_that_the_engine_does_not_remove_is_named(cache: Path, tmp_path: Path) -> None:
    refusing = engine(tmp_path, cache, refused="localhost/spire-federation/node:v1-old")
    with pytest.raises(BuildError, match=r"does not remove localhost/spire-federation/node:v1-old: image is in use"):
        prune(cache, refusing, print)


def test_the_command_uses_the_cache_and_the_engine_that_there_are(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = engine(tmp_path, cache)
    monkeypatch.setenv("SPIRE_FEDERATION_CACHE", str(cache))
    monkeypatch.setattr("supply.host.engine", lambda: found)
    assert main(["prune", "--dry-run"]) == 0
    assert capsys.readouterr().out.endswith("3 superseded, 1.0 MiB\n")
    with plan.lock(cache):
        assert main(["prune"]) == 1
    assert f"a build (process {os.getpid()}) is using" in capsys.readouterr().err
    assert os.access(cache / f"program-kind-{OLD_KEY}", os.R_OK)
