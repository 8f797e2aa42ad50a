"""Images that the user gives as archives, where neither a registry nor the build has them."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path


def references(path: Path) -> tuple[str, ...]:
    """The image references in an archive, as `docker save` or `podman save` writes it.

    Raises `ValueError` for a file that is no such archive, or that names no image.
    """
    try:
        with tarfile.open(path) as tar:
            manifest = tar.extractfile("manifest.json")
            described = json.loads(manifest.read()) if manifest else []
            found = tuple(reference for image in described for reference in image["RepoTags"] or ())
    except OSError as error:
        raise ValueError(f"the image archive {path} cannot be read: {error.strerror or error}") from error
    except (tarfile.TarError, KeyError, TypeError, ValueError) as error:
        said = str(error).partition("\n")[0].removesuffix(":")
        raise ValueError(f"{path} is no image archive, as `docker save` writes it ({said})") from error
    if not found:
        raise ValueError(f"the image archive {path} names none of its images")
    return found
