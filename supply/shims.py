"""Images in which a shim of the project's own translates an older command line and then starts the program of today."""

from __future__ import annotations

import json
import tarfile
import tempfile
from pathlib import Path

from supply import archives
from supply.archives import Entry, Layer
from supply.images import Image, architecture
from supply.plan import Place, Step
from supply.versions import HERE


def step(shim: Image, program: Image) -> Step:
    """The shim's archive, `image.tar`: the program's image with the shim before its entrypoint."""
    image_step = f"image-{program.name}-{program.tag}"

    def make(place: Place) -> None:
        entry = Entry(shim.entrypoint[0], source=place.needs[shim.step] / shim.name)
        with tempfile.TemporaryDirectory(dir=place.out) as scratch:
            layers = [
                *_unpacked_layers(place.needs[image_step] / "image.tar", Path(scratch)),
                archives.write_layer(Path(scratch) / "layer.tar", [entry]),
            ]
            archives.write_archive(
                place.out / "image.tar",
                [shim.reference],
                layers,
                architecture=architecture(),
                entrypoint=(*shim.entrypoint, *program.entrypoint),
                user=program.user,
            )

    return Step(
        f"image-{shim.name}-{shim.tag}",
        make,
        needs=(image_step, shim.step),
        texts=(repr(shim), repr(program)),
        sources=(HERE / "archives.py", HERE / "images.py"),
    )


def _unpacked_layers(path: Path, folder: Path) -> list[Layer]:
    """The layers of the image in an archive, as files in the folder."""
    with tarfile.open(path) as archive:
        manifest = archive.extractfile("manifest.json")
        names = [name for image in json.load(manifest) for name in image["Layers"]] if manifest else []
        files = [folder / f"layer-{number}.tar" for number, _ in enumerate(names)]
        # Not by `extractall`, which refuses what leads out of the folder only since 3.11.4; Debian 12 has 3.11.2.
        for name, file in zip(names, files, strict=True):
            content = archive.extractfile(name)
            file.write_bytes(content.read() if content else b"")
    return [archives.measure(file) for file in files]
