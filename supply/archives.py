"""Container images as archives, written without an engine.

The format is the one `docker save` writes, which Docker, Podman and containerd all read: a tar of `manifest.json`, an
image configuration (OCI image-spec, config.md) and one tar for each layer. The same content gives the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Entry:
    """A file (from the host), a text, or a folder (neither) in a layer. `mode` as in chmod."""

    path: str
    source: Path | None = None
    text: str | None = None
    mode: int = 0o755
    owner: int = 0


@dataclass(frozen=True)
class Layer:
    """A layer's tar and its digest (hex SHA-256 of the uncompressed tar, the image-spec's DiffID)."""

    path: Path
    digest: str


def measure(path: Path) -> Layer:
    """A layer from a tar that exists."""
    with path.open("rb") as handle:
        return Layer(path, hashlib.file_digest(handle, "sha256").hexdigest())


def write_layer(path: Path, entries: Sequence[Entry]) -> Layer:
    """Write a layer of these entries, with the folders above them."""
    made: set[str] = set()
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for entry in entries:
            name = entry.path.strip("/")
            parents = name.split("/")[:-1]
            for depth in range(1, len(parents) + 1):
                _add_folder(tar, "/".join(parents[:depth]), 0o755, 0, made)
            if entry.source is None and entry.text is None:
                _add_folder(tar, name, entry.mode, entry.owner, made)
                continue
            content = entry.source.read_bytes() if entry.source is not None else (entry.text or "").encode()
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.uid, info.gid = len(content), entry.mode, entry.owner, entry.owner
            tar.addfile(info, io.BytesIO(content))
    return measure(path)


def _add_folder(tar: tarfile.TarFile, name: str, mode: int, owner: int, made: set[str]) -> None:
    if name in made:
        return
    made.add(name)
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.uid, info.gid = tarfile.DIRTYPE, mode, owner, owner
    tar.addfile(info)


def tar_folder(folder: Path, path: Path) -> Layer:
    """A folder's whole tree as a layer (GNU tar: ownership, modes and links as they are; root to read them)."""
    command = [
        "tar",
        "--numeric-owner",
        "--sort=name",
        "--mtime=@0",
        "--format=posix",
        "--pax-option=delete=atime,delete=ctime",
        "--xattrs",
        "-C",
        str(folder),
        "-cf",
        str(path),
        ".",
    ]
    subprocess.run(command, check=True, capture_output=True)
    return measure(path)


def write_archive(
    path: Path,
    names: Sequence[str],
    layers: Sequence[Layer],
    *,
    architecture: str,
    entrypoint: Sequence[str] = (),
    user: str = "",
    env: Sequence[str] = (),
    stop_signal: str = "",
) -> None:
    """Write an image archive under all the names (`registry/repository:tag`).

    `architecture` is in Go's words (`amd64`), `user` and `stop_signal` as in the image configuration.
    """
    config: dict[str, object] = {"Env": [f"PATH={PATH}", *env]}
    if entrypoint:
        config["Entrypoint"] = list(entrypoint)
    if user:
        config["User"] = user
    if stop_signal:
        config["StopSignal"] = stop_signal
    image = {
        "architecture": architecture,
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.digest}" for layer in layers]},
        "history": [{"created_by": "spire-federation supply"} for _ in layers],
    }
    content = json.dumps(image, sort_keys=True).encode()
    config_name = hashlib.sha256(content).hexdigest() + ".json"
    manifest = [
        {"Config": config_name, "RepoTags": list(names), "Layers": [f"{layer.digest}/layer.tar" for layer in layers]}
    ]
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in ((config_name, content), ("manifest.json", json.dumps(manifest).encode())):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o644
            tar.addfile(info, io.BytesIO(data))
        for layer in {layer.digest: layer for layer in layers}.values():
            info = tarfile.TarInfo(f"{layer.digest}/layer.tar")
            info.size, info.mode = layer.path.stat().st_size, 0o644
            with layer.path.open("rb") as handle:
                tar.addfile(info, handle)
