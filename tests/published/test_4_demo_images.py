"""The demo's images, built with Go for every architecture that the suite runs on, whatever this machine's is."""

from __future__ import annotations

import json
import tarfile

from fixtures.report.run import Report
from supply import demo

# ELF's e_machine (System V ABI, "ELF Header"): two bytes, little-endian, at 18.
ELF_MACHINES = {"amd64": 62, "arm64": 183}


def test_the_demos_programs_are_of_the_architectures_that_their_images_say(report: Report) -> None:
    with report.phase("demo's images"):
        built = demo.build(report.say, demo.ARCHITECTURES)
    for image, archives in built.items():
        for machine, archive in zip(demo.ARCHITECTURES, archives, strict=True):
            with tarfile.open(archive) as tar:
                (described,) = json.loads(_member(tar, "manifest.json"))
                assert json.loads(_member(tar, described["Config"]))["architecture"] == machine
                with tarfile.open(fileobj=tar.extractfile(described["Layers"][0])) as layer:
                    (name,) = layer.getnames()
                    program = _member(layer, name)
            assert program[:4] == b"\x7fELF", image
            assert int.from_bytes(program[18:20], "little") == ELF_MACHINES[machine], image


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    content = tar.extractfile(name)
    assert content is not None, name
    return content.read()
