"""Images that a user hands over as archives."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from supply import archives, handed


def write_tar(path: Path, **members: object) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            data = json.dumps(content).encode()
            info = tarfile.TarInfo(f"{name}.json")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def test_every_name_of_every_image_of_an_archive_is_read(tmp_path: Path) -> None:
    described = [{"RepoTags": ["a.example/x:1", "a.example/x:2"]}, {"RepoTags": None}, {"RepoTags": ["a.example/y:1"]}]
    found = handed.references(write_tar(tmp_path / "images.tar", manifest=described))
    assert found == ("a.example/x:1", "a.example/x:2", "a.example/y:1")


def test_what_the_supply_itself_writes_can_be_handed_over(tmp_path: Path) -> None:
    layer = archives.write_layer(tmp_path / "layer.tar", [archives.Entry("a", text="a")])
    archives.write_archive(tmp_path / "image.tar", ["a.example/x:1"], [layer], architecture="amd64")
    assert handed.references(tmp_path / "image.tar") == ("a.example/x:1",)


def test_a_file_that_is_not_there_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^the image archive .*none cannot be read: No such file or directory$"):
        handed.references(tmp_path / "none")


@pytest.mark.parametrize("manifest", [None, [{"Layers": []}], {"RepoTags": ["a"]}, 7])
def test_a_tar_that_is_no_image_archive_is_refused(tmp_path: Path, manifest: object) -> None:
    path = write_tar(tmp_path / "a.tar", **({"other": {}} if manifest is None else {"manifest": manifest}))
    with pytest.raises(ValueError, match=r"a\.tar is no image archive, as `docker save` writes it"):
        handed.references(path)


def test_a_text_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("no archive")
    with pytest.raises(ValueError, match=r"a\.txt is no image archive"):
        handed.references(tmp_path / "a.txt")


def test_an_archive_whose_images_have_no_names_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="names none of its images"):
        handed.references(write_tar(tmp_path / "images.tar", manifest=[{"RepoTags": []}]))


@pytest.mark.parametrize("kind", handed.INDEXES)
@pytest.mark.parametrize("is_complete", [True, False])
def test_an_archive_of_an_image_that_was_pulled_for_one_of_its_platforms_is_refused(
    tmp_path: Path, kind: str, is_complete: bool
) -> None:
    # As Docker 29 writes it for `docker pull busybox; docker save busybox`, shortened.
    blobs = {"a" * 64: {"manifests": [{"digest": f"sha256:{each * 64}"} for each in "bc"]}, "b" * 64: {"config": {}}}
    blobs |= {"c" * 64: {"config": {}}} if is_complete else {}
    path = tmp_path / "images.tar"
    with tarfile.open(path, "w") as tar:
        for name, content in {
            "manifest.json": [{"RepoTags": ["busybox:latest"]}],
            "index.json": {"manifests": [{"mediaType": kind, "digest": f"sha256:{'a' * 64}"}]},
            **{f"blobs/sha256/{digest}": blob for digest, blob in blobs.items()},
        }.items():
            data = json.dumps(content).encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    if is_complete:
        assert handed.references(path) == ("busybox:latest",)
        return
    with pytest.raises(ValueError, match=r"lists platforms .*`docker save --platform linux/\w+ busybox:latest`$"):
        handed.references(path)
