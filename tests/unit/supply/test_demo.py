"""The demo's images built with Go: architecture, entrypoint and user are those of the Containerfiles."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import pytest

from supply import demo
from supply.handed import references
from supply.plan import BuildError
from supply.versions import PROJECT


def go_that_writes(folder: Path) -> str:
    """A program that writes, in Go's place, its architecture and arguments to where the built program would be."""
    program = folder / "go"
    program.write_text(
        '#!/bin/sh\nwritten="$GOOS/$GOARCH/$CGO_ENABLED $*"\nwhile [ "$1" != -o ]; do shift; done\n'
        'echo "$written in ${PWD##*/}" > "$2"\n'
    )
    program.chmod(0o755)
    return str(program)


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SPIRE_FEDERATION_CACHE", str(tmp_path / "cache"))


def test_an_image_is_what_its_containerfile_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    go = go_that_writes(tmp_path)
    monkeypatch.setattr(demo, "go", lambda: go)
    built = demo.build(lambda _: None, ("arm64", "amd64"))
    assert list(built) == [demo.reference("server"), demo.reference("client")]
    for name, image in zip(demo.NAMES, built, strict=True):
        file = (PROJECT / "workloads" / name / "Containerfile").read_text()
        for machine, archive in zip(("arm64", "amd64"), built[image], strict=True):
            assert references(archive) == (image,)
            with tarfile.open(archive) as tar:
                (described,) = json.loads(member(tar, "manifest.json"))
                configuration = json.loads(member(tar, described["Config"]))
                (layer,) = described["Layers"]
                with tarfile.open(fileobj=tar.extractfile(layer)) as content:
                    assert content.getnames() == [name]
                    written = member(content, name).decode()
            assert configuration["architecture"] == machine
            assert f"ENTRYPOINT {json.dumps(configuration['config']['Entrypoint'])}" in file
            assert f"USER {configuration['config']['User']}" in file
            assert written.startswith(f"linux/{machine}/0 build -trimpath ")
            assert written.endswith(f" . in {name}\n")
    # Nothing is built again.
    Path(go).unlink()
    assert demo.build(lambda _: None, ("arm64", "amd64")) == built


def test_without_go_nothing_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(BuildError, match="needs Go"):
        demo.build(lambda _: None)


def member(tar: tarfile.TarFile, name: str) -> bytes:
    content = tar.extractfile(name)
    assert content is not None
    return content.read()
