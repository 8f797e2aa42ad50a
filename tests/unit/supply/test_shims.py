"""The image of a shim: the program's own, with the shim before its entrypoint."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from supply import images, shims
from supply.archives import Entry, measure, write_archive, write_layer
from supply.images import Image
from supply.plan import Place

PROGRAM = Image("helper", "1.2.3", "program-helper", ("/helper", "serve"), user="65532")
SHIM = Image("helper-shim", "1.2.3", "program-helper-shim", ("/helper-shim",))


def read(archive: Path) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, bytes]]]:
    """An archive's only manifest, its configuration, and the files of each layer."""
    with tarfile.open(archive) as tar:

        def content(name: str) -> bytes:
            found = tar.extractfile(name)
            assert found is not None
            return found.read()

        (manifest,) = json.loads(content("manifest.json"))
        layers = []
        for name in manifest["Layers"]:
            with tarfile.open(fileobj=io.BytesIO(content(name))) as layer:
                files = [(member.name, layer.extractfile(member)) for member in layer if member.isfile()]
                layers.append({name: found.read() for name, found in files if found})
        return manifest, json.loads(content(manifest["Config"])), layers


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Where the shim's image is made: beside its program, and the image of the program that it starts."""
    needs = {name: tmp_path / name for name in ("image-helper-1.2.3", "program-helper-shim")}
    out = tmp_path / "out"
    for folder in (out, *needs.values()):
        folder.mkdir()
    (needs["program-helper-shim"] / "helper-shim").write_bytes(b"shim")
    layers = [
        write_layer(tmp_path / f"{at}.tar", [Entry(path, text=text)])
        for at, (path, text) in enumerate([("etc/passwd", "accounts"), ("helper", "program")])
    ]
    write_archive(needs["image-helper-1.2.3"] / "image.tar", [PROGRAM.reference], layers, architecture="amd64")
    return Place(out, needs, tmp_path / "log")


def test_the_image_is_the_programs_with_the_shim_before_its_entrypoint(place: Place) -> None:
    shims.step(SHIM, PROGRAM).make(place)
    manifest, config, layers = read(place.out / "image.tar")
    assert manifest["RepoTags"] == [SHIM.reference]
    assert layers == [{"etc/passwd": b"accounts"}, {"helper": b"program"}, {"helper-shim": b"shim"}]
    assert config["config"]["Entrypoint"] == ["/helper-shim", "/helper", "serve"]
    assert config["config"]["User"] == "65532"
    assert config["architecture"] == images.architecture()


def test_nothing_but_the_archive_is_left_and_it_is_the_same_each_time(place: Place) -> None:
    shims.step(SHIM, PROGRAM).make(place)
    archive = place.out / "image.tar"
    assert list(place.out.iterdir()) == [archive]
    first = measure(archive).digest
    shims.step(SHIM, PROGRAM).make(place)
    assert measure(archive).digest == first


def test_the_step_needs_what_it_reads() -> None:
    assert shims.step(SHIM, PROGRAM).needs == ("image-helper-1.2.3", "program-helper-shim")
