"""One image of several architectures, out of an archive for each: what is pushed so that any machine can pull it.

The format is an OCI image layout in a tar (image-spec, image-layout.md and image-index.md), which Podman, skopeo
(`oci-archive:`) and containerd read.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from supply.plan import BuildError

OCI = "application/vnd.oci.image"
GZIP_MAGIC = b"\x1f\x8b"


class _Layout:
    """An image layout that is being written: its blobs, each once."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._written: set[str] = set()

    def add(self, name: str, content: bytes) -> None:
        """Add a file."""
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(content), 0o644
        self._tar.addfile(info, io.BytesIO(content))

    def add_blob(self, content: bytes, media_type: str) -> dict[str, object]:
        """Add what others refer to by its digest; returns its descriptor."""
        digest = hashlib.sha256(content).hexdigest()
        if digest not in self._written:
            self._written.add(digest)
            self.add(f"blobs/sha256/{digest}", content)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    def add_image(self, archive: Path, names: set[str]) -> dict[str, object]:
        """Add the one image of an archive, and its names to `names`; returns its manifest's descriptor."""
        with tarfile.open(archive) as tar:

            def read(member: str) -> bytes:
                file = tar.extractfile(member)
                if file is None:
                    raise KeyError(member)
                with file:
                    return file.read()

            (image,) = json.loads(read("manifest.json"))
            names.add(" ".join(sorted(image.get("RepoTags") or ())))
            text = read(image["Config"])
            layers = [self._add_layer(read(layer)) for layer in image["Layers"]]
        config: Mapping[str, Any] = json.loads(text)
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{OCI}.manifest.v1+json",
            "config": self.add_blob(text, f"{OCI}.config.v1+json"),
            "layers": layers,
        }
        platform = {key: config[key] for key in ("architecture", "os", "variant") if config.get(key)}
        return {**self.add_blob(_json(manifest), f"{OCI}.manifest.v1+json"), "platform": platform}

    def _add_layer(self, content: bytes) -> dict[str, object]:
        packed = content.startswith(GZIP_MAGIC)
        return self.add_blob(content, f"{OCI}.layer.v1.tar{'+gzip' if packed else ''}")


def write_index(path: Path, archives: Sequence[Path]) -> str:
    """Write an image of all the archives' architectures, and return its name: the one that all of them have.

    Each archive has one image, as `docker save` writes it. Raises `BuildError`, in a sentence, where one cannot be
    read, two are of one architecture, or they have different names or several.
    """
    names: set[str] = set()
    try:
        with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
            layout = _Layout(tar)
            manifests = [layout.add_image(archive, names) for archive in archives]
            name = _check(names, manifests)
            index = {"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": manifests}
            # By the first containerd names what it imports, by the second Podman and skopeo.
            named = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}
            descriptor = {**layout.add_blob(_json(index), f"{OCI}.index.v1+json"), "annotations": named}
            layout.add("index.json", _json({"schemaVersion": 2, "manifests": [descriptor]}))
            layout.add("oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
    except (OSError, tarfile.TarError, KeyError, ValueError) as error:
        path.unlink(missing_ok=True)
        raise BuildError(f"{', '.join(map(str, archives))}: no image of several architectures: {error}") from error
    return name


def _check(names: set[str], manifests: Sequence[Mapping[str, Any]]) -> str:
    """The name of all. Raises `ValueError`."""
    platforms = ["/".join(each["platform"].values()) for each in manifests]
    if len(set(platforms)) < len(platforms):
        raise ValueError(f"two are of one architecture ({', '.join(platforms)})")
    if len(names) != 1 or len(next(iter(names)).split()) != 1:
        raise ValueError(f"they are to have one name in common, and have {', '.join(sorted(names)) or 'none'}")
    return next(iter(names))


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()
