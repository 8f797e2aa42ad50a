"""Images pushed from archives into a registry, without an engine.

Follows the OCI distribution specification, "Push" (blobs in one piece, then the manifest), and the image
specification's "Image Manifest". Layers are compressed, as published ones are: those of the archives are in the local
node image already, and would not be pulled.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import IO, Any
from urllib.parse import urljoin

import urllib3

from fixtures.helm.charts import split_reference

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
        with tarfile.open(archive) as tar:
            (described,) = json.loads(_member(tar, "manifest.json").read())
            config = self._blob(repository, tar, described["Config"], CONFIG)
            layers = [self._blob(repository, tar, name, LAYER) for name in described["Layers"]]
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}
        self._answer("PUT", f"{repository}/manifests/{tag or 'latest'}", CREATED, json.dumps(manifest), MANIFEST)
        return sum(layer["size"] for layer in layers)

    def _blob(self, repository: str, tar: tarfile.TarFile, name: str, media_type: str) -> dict[str, Any]:
        """Upload a file of the archive, or have the registry mount it from a repository that has it; its descriptor."""
        with tempfile.TemporaryFile() as file:
            if media_type == LAYER:
                with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1, mtime=0) as packed:
                    shutil.copyfileobj(_member(tar, name), packed, PIECE)
            else:
                shutil.copyfileobj(_member(tar, name), file, PIECE)
            return self._upload(repository, file, media_type)

    def _upload(self, repository: str, file: IO[bytes], media_type: str) -> dict[str, Any]:
        size = file.tell()
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


def _member(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    found = tar.extractfile(name)
    if found is None:
        raise PushError(f"{tar.name!r} has no file {name}")
    return found
