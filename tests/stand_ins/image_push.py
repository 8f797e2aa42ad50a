"""Images pushed from archives into a registry, without an engine.

Follows the OCI distribution specification, "Push" (blobs in one piece, then the manifest), and the image
specification's "Image Manifest". Layers are compressed, as published ones are, and a layer with an empty file lies
below them: the local node image has those of the archives unpacked, and containerd pulls no layer that it has unpacked
on the same ones below (`rootfs.diff_ids`).
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import IO, Any
from urllib.parse import urljoin

import urllib3

from fixtures.helm.charts.images import split_reference

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CREATED, ACCEPTED, OK = 201, 202, 200
PIECE = 1 << 20  # bytes


class PushError(RuntimeError):
    """A registry did not take an image; the text has its answer."""


class Pusher:
    """Pushes images to the registry at `url` (`http://HOST:PORT`).

    The image `HOST/PATH:TAG` becomes `HOST/PATH:TAG` there too, its registry's name the first part of the repository's:
    the mirror of `HOST` is then `URL/v2/HOST`.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._http = urllib3.PoolManager(retries=False)
        self._has: dict[str, str] = {}  # digest of a blob -> a repository that has it

    def push(self, archive: Path, reference: str) -> int:
        """Push the only image of an archive, as `docker save` writes it, under this reference; the bytes of its layers.

        Raises `PushError`.
        """
        repository, tag = split_reference(reference)
        lowest = _lowest_layer()
        with tarfile.open(archive) as tar:
            (described,) = json.loads(_member(tar, "manifest.json").read())
            image = json.loads(_member(tar, described["Config"]).read())
            image["rootfs"]["diff_ids"].insert(0, f"sha256:{hashlib.sha256(lowest).hexdigest()}")
            if image.get("history"):
                image["history"].insert(0, {"created_by": "an empty file"})
            config = self._upload(repository, io.BytesIO(json.dumps(image).encode()), CONFIG)
            layers = [self._layer(repository, io.BytesIO(lowest))]
            layers += [self._layer(repository, _member(tar, name)) for name in described["Layers"]]
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}
        self._answer("PUT", f"{repository}/manifests/{tag or 'latest'}", CREATED, json.dumps(manifest), MANIFEST)
        return sum(layer["size"] for layer in layers)

    def _layer(self, repository: str, layer: IO[bytes]) -> dict[str, Any]:
        """Upload a layer, compressed, or have the registry mount it from a repository that has it; its descriptor."""
        with tempfile.TemporaryFile() as file:
            with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1, mtime=0) as packed:
                shutil.copyfileobj(layer, packed, PIECE)
            return self._upload(repository, file, LAYER)

    def _upload(self, repository: str, file: IO[bytes], media_type: str) -> dict[str, Any]:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"  # type: ignore[arg-type]
        file.seek(0)
        mounted = f"?mount={digest}&from={self._has[digest]}" if digest in self._has else ""
        begun = self._answer("POST", f"{repository}/blobs/uploads/{mounted}", CREATED if mounted else ACCEPTED)
        if not mounted:
            place = urljoin(self._url, begun.headers["Location"])
            where = f"{place}{'&' if '?' in place else '?'}digest={digest}"
            self._answer("PUT", where, CREATED, file, "application/octet-stream", size)
            self._has[digest] = repository
        return {"mediaType": media_type, "digest": digest, "size": size}

    def _answer(
        self,
        method: str,
        where: str,
        wanted: int,
        body: str | IO[bytes] | None = None,
        content_type: str = "",
        size: int | None = None,
    ) -> urllib3.BaseHTTPResponse:
        headers = {"Content-Type": content_type} if content_type else {}
        headers |= {"Content-Length": str(size)} if size is not None else {}
        url = where if where.startswith("http") else f"{self._url}/v2/{where}"
        answer = self._http.request(method, url, body=body, headers=headers)
        if answer.status != wanted:
            raise PushError(f"{method} {url}: {answer.status} {answer.data[:300]!r}")
        return answer


def _lowest_layer() -> bytes:
    """A layer with an empty file, as tar."""
    with io.BytesIO() as file:
        with tarfile.open(fileobj=file, mode="w") as tar:
            tar.addfile(tarfile.TarInfo(".stand-in"))
        return file.getvalue()


def _member(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    found = tar.extractfile(name)
    if found is None:
        raise PushError(f"{tar.name!r} has no file {name}")
    return found
