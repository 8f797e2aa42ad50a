"""Images that the user gives as archives, where neither a registry nor the build has them."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

from supply.images import architecture

INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)


def references(path: Path) -> tuple[str, ...]:
    """The image references in an archive, as `docker save` or `podman save` writes it.

    Raises `ValueError` for a file that is no such archive, that names no image, or that Kind could not load.
    """
    try:
        with tarfile.open(path) as tar:
            manifest = tar.extractfile("manifest.json")
            described = json.loads(manifest.read()) if manifest else []
            found = tuple(reference for image in described for reference in image["RepoTags"] or ())
            incomplete = _lacks_manifests(tar, "index.json")
    except OSError as error:
        raise ValueError(f"the image archive {path} cannot be read: {error.strerror or error}") from error
    except (tarfile.TarError, AttributeError, KeyError, TypeError, ValueError) as error:
        said = str(error).partition("\n")[0].removesuffix(":")
        raise ValueError(f"{path} is no image archive, as `docker save` writes it ({said})") from error
    if not found:
        raise ValueError(f"the image archive {path} names none of its images")
    if incomplete:
        raise ValueError(
            f"the image archive {path} lists platforms that it does not have, and Kind loads all of them: write it by "
            f"`docker save --platform linux/{architecture()} {' '.join(found)}`"
        )
    return found


def _lacks_manifests(tar: tarfile.TarFile, index: str) -> bool:
    """Whether an index of an archive (OCI image layout) lists manifests that the archive does not have.

    So is an image of several platforms that was pulled for one (kubernetes-sigs/kind#3795).
    """
    names = set(tar.getnames())
    file = tar.extractfile(index) if index in names else None
    listed = json.loads(file.read()).get("manifests") or () if file else ()
    for each in listed:
        blob = "blobs/" + each["digest"].replace(":", "/")
        if blob not in names or (each.get("mediaType") in INDEXES and _lacks_manifests(tar, blob)):
            return True
    return False
