"""One image of several architectures: the demo's programs, compiled for both, as the layout that registries serve."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from supply import __main__ as command
from supply.archives import Entry, write_archive, write_layer
from supply.image_index import write_index
from supply.plan import BuildError
from supply.programs import go
from supply.versions import PROJECT

NAME = "localhost/spire-federation/gospiffe-client:v0"
MACHINES = {"amd64": 0x3E, "arm64": 0xB7}  # e_machine of an ELF header


def archive(folder: Path, machine: str, content: str = "", name: str = NAME) -> Path:
    """An archive of an image with one file."""
    path = folder / f"{machine}.tar"
    layer = write_layer(folder / "layer.tar", [Entry("client", text=content or machine)])
    write_archive(path, [name] if name else [], [layer], architecture=machine, entrypoint=["/client"])
    return path


def blobs(path: Path) -> dict[str, bytes]:
    """The files of a layout, by name; what is stored by a digest has it."""
    with tarfile.open(path) as tar:
        found = {member.name: tar.extractfile(member).read() for member in tar.getmembers()}  # type: ignore[union-attr]
    for name, content in found.items():
        if name.startswith("blobs/sha256/"):
            assert hashlib.sha256(content).hexdigest() == name.rsplit("/", 1)[1]
    return found


def referred(found: dict[str, bytes], descriptor: dict[str, Any]) -> bytes:
    """What a descriptor refers to, of the size that it says."""
    content = found[f"blobs/{descriptor['digest'].replace(':', '/')}"]
    assert len(content) == descriptor["size"]
    return content


def manifests(path: Path) -> dict[str, dict[str, Any]]:
    """Architecture -> manifest, of the one image of a layout."""
    found = blobs(path)
    assert json.loads(found["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    (top,) = json.loads(found["index.json"])["manifests"]
    assert set(top["annotations"].values()) == {NAME}
    index = json.loads(referred(found, top))
    assert {each["platform"]["os"] for each in index["manifests"]} == {"linux"}
    return {each["platform"]["architecture"]: json.loads(referred(found, each)) for each in index["manifests"]}


def test_each_architecture_has_its_own_layers_and_configuration(tmp_path: Path) -> None:
    path = tmp_path / "image.tar"
    assert write_index(path, [archive(tmp_path, machine) for machine in MACHINES]) == NAME
    found = blobs(path)
    assert set(manifests(path)) == set(MACHINES)
    for machine, manifest in manifests(path).items():
        config = json.loads(referred(found, manifest["config"]))
        assert (config["architecture"], config["config"]["Entrypoint"]) == (machine, ["/client"])
        (layer,) = manifest["layers"]
        assert [layer["digest"]] == config["rootfs"]["diff_ids"]
        assert machine.encode() in referred(found, layer)


def test_what_both_have_is_stored_once(tmp_path: Path) -> None:
    path = tmp_path / "image.tar"
    write_index(path, [archive(tmp_path, machine, "the same") for machine in MACHINES])
    with tarfile.open(path) as tar:
        names = tar.getnames()
    assert len(names) == len(set(names))
    assert len({manifest["layers"][0]["digest"] for manifest in manifests(path).values()}) == 1


@pytest.mark.parametrize("name", ["server", "client"])
def test_a_program_of_the_demo_compiled_for_both_is_one_image(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archives = []
    for machine in MACHINES:
        program = tmp_path / f"{name}-{machine}"
        environment = {**os.environ, "CGO_ENABLED": "0", "GOOS": "linux", "GOARCH": machine, "GOWORK": "off"}
        build = [go(), "build", "-buildvcs=false", "-ldflags=-s -w", "-o", str(program), "."]
        subprocess.run(build, cwd=PROJECT / "workloads" / name, env=environment, check=True)
        layer = write_layer(tmp_path / "layer.tar", [Entry(name, source=program)])
        archives.append(tmp_path / f"{machine}.tar")
        write_archive(archives[-1], [NAME], [layer], architecture=machine, entrypoint=[f"/{name}"])
    path = tmp_path / "image.tar"
    assert command.main(["index", str(path), *map(str, archives)]) == 0
    assert capsys.readouterr().out == f"{NAME}\n"
    found = blobs(path)
    for machine, manifest in manifests(path).items():
        (tmp_path / "read.tar").write_bytes(referred(found, manifest["layers"][0]))
        with tarfile.open(tmp_path / "read.tar") as tar:
            program_file = tar.extractfile(name)
            assert program_file
            header = program_file.read(20)
        assert header[:4] == b"\x7fELF"
        assert int.from_bytes(header[18:20], "little") == MACHINES[machine]


@pytest.mark.parametrize(
    ("machines", "names", "why"),
    [
        (("amd64", "amd64"), (NAME, NAME), r"two are of one architecture \(amd64/linux, amd64/linux\)"),
        (
            ("amd64", "arm64"),
            (NAME, "localhost/other:v0"),
            "one name in common, and have localhost/other:v0, localhost/spire-federation",
        ),
        (("amd64", "arm64"), ("", ""), "one name in common, and have"),
    ],
)
def test_what_is_no_such_image_is_refused_and_leaves_nothing(
    machines: tuple[str, str], names: tuple[str, str], why: str, tmp_path: Path
) -> None:
    archives = []
    for number, (machine, name) in enumerate(zip(machines, names, strict=True)):
        folder = tmp_path / str(number)
        folder.mkdir()
        archives.append(archive(folder, machine, name=name))
    with pytest.raises(BuildError, match=why):
        write_index(tmp_path / "image.tar", archives)
    assert not (tmp_path / "image.tar").exists()


def test_what_is_no_archive_is_refused_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.tar"
    broken.write_text("no tar")
    assert command.main(["index", str(tmp_path / "image.tar"), str(broken)]) == 1
    assert "broken.tar: no image of several architectures" in capsys.readouterr().err
