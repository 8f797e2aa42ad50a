"""Image archives, read back as an engine would."""

from __future__ import annotations

import hashlib
import json
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

from supply import archives
from supply.archives import Entry, Layer


@pytest.fixture
def entries(tmp_path: Path) -> list[Entry]:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF program")
    return [
        Entry("tmp", mode=0o1777),
        Entry("run/spire", owner=1000),
        Entry("/etc/passwd", text="root:x:0:0\n", mode=0o644),
        Entry("/opt/spire/bin/server", source=program),
        Entry("/opt/spire/conf", text="", mode=0o600, owner=65532),
    ]


def members(path: Path) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(path) as tar:
        return {member.name: member for member in tar}


def read(path: Path, name: str) -> bytes:
    with tarfile.open(path) as tar:
        content = tar.extractfile(name)
        assert content is not None
        return content.read()


def image(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """An archive's only manifest, and its configuration."""
    (manifest,) = json.loads(read(path, "manifest.json"))
    return manifest, json.loads(read(path, manifest["Config"]))


def test_a_layer_has_the_content_mode_and_owner_of_every_entry(tmp_path: Path, entries: list[Entry]) -> None:
    path = archives.write_layer(tmp_path / "layer.tar", entries).path
    found = {name: (member.mode, member.uid, member.gid) for name, member in members(path).items()}
    assert found["tmp"] == (0o1777, 0, 0)
    assert found["run/spire"] == (0o755, 1000, 1000)
    assert found["etc/passwd"] == (0o644, 0, 0)
    assert found["opt/spire/bin/server"] == (0o755, 0, 0)
    assert found["opt/spire/conf"] == (0o600, 65532, 65532)
    assert read(path, "etc/passwd") == b"root:x:0:0\n"
    assert read(path, "opt/spire/bin/server") == b"\x7fELF program"
    assert read(path, "opt/spire/conf") == b""


def test_a_layer_has_every_folder_once_and_before_what_is_in_it(tmp_path: Path, entries: list[Entry]) -> None:
    path = archives.write_layer(tmp_path / "layer.tar", entries).path
    with tarfile.open(path) as tar:
        names = tar.getnames()
    folders = [name for name, member in members(path).items() if member.isdir()]
    assert folders == ["tmp", "run", "run/spire", "etc", "opt", "opt/spire", "opt/spire/bin"]
    assert len(names) == len(set(names))
    for name in names:
        assert not name.startswith(("/", "."))
        assert all(str(parent) in names[: names.index(name)] for parent in Path(name).parents if str(parent) != ".")


def test_a_folder_above_an_entry_belongs_to_root_whoever_owns_the_entry(tmp_path: Path) -> None:
    found = members(archives.write_layer(tmp_path / "layer.tar", [Entry("run/spire", owner=1000)]).path)
    assert (found["run"].mode, found["run"].uid, found["run"].gid) == (0o755, 0, 0)


def test_a_layers_digest_is_that_of_its_tar(tmp_path: Path, entries: list[Entry]) -> None:
    layer = archives.write_layer(tmp_path / "layer.tar", entries)
    assert layer.digest == hashlib.sha256(layer.path.read_bytes()).hexdigest()
    assert archives.measure(layer.path) == layer


def test_the_same_entries_give_the_same_bytes_at_another_time_and_from_another_file(
    tmp_path: Path, entries: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = archives.write_layer(tmp_path / "first.tar", entries)
    copied = tmp_path / "copied"
    copied.write_bytes(b"\x7fELF program")
    copied.chmod(0o700)
    again = [Entry(entry.path, copied, None, entry.mode, entry.owner) if entry.source else entry for entry in entries]
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 86400)
    second = archives.write_layer(tmp_path / "second.tar", again)
    assert first.path.read_bytes() == second.path.read_bytes()


@pytest.mark.parametrize(
    "changed",
    [
        Entry("etc/passwd", text="other"),
        Entry("etc/passwd", text="", mode=0o600),
        Entry("etc/passwd", text="", owner=1),
    ],
    ids=["content", "mode", "owner"],
)
def test_another_content_mode_or_owner_gives_another_digest(tmp_path: Path, changed: Entry) -> None:
    plain = archives.write_layer(tmp_path / "plain.tar", [Entry("etc/passwd", text="")])
    assert archives.write_layer(tmp_path / "changed.tar", [changed]).digest != plain.digest


def two_layers(folder: Path, entries: list[Entry]) -> list[Layer]:
    below = archives.write_layer(folder / "below.tar", [Entry("bin", mode=0o755)])
    return [below, archives.write_layer(folder / "above.tar", entries)]


def test_manifest_configuration_and_layers_of_an_archive_agree(tmp_path: Path, entries: list[Entry]) -> None:
    layers = two_layers(tmp_path, entries)
    path = tmp_path / "image.tar"
    archives.write_archive(path, ["localhost/a:1", "localhost/b:1"], layers, architecture="amd64")
    manifest, config = image(path)
    assert manifest["RepoTags"] == ["localhost/a:1", "localhost/b:1"]
    assert manifest["Config"] == hashlib.sha256(read(path, manifest["Config"])).hexdigest() + ".json"
    contents = [read(path, name) for name in manifest["Layers"]]
    assert contents == [layer.path.read_bytes() for layer in layers]
    assert config["rootfs"] == {
        "type": "layers",
        "diff_ids": [f"sha256:{hashlib.sha256(content).hexdigest()}" for content in contents],
    }
    assert len(config["history"]) == len(layers)
    assert (config["architecture"], config["os"]) == ("amd64", "linux")
    assert set(members(path)) == {"manifest.json", manifest["Config"], *manifest["Layers"]}


def test_an_image_has_the_entrypoint_user_environment_and_signal_given(tmp_path: Path, entries: list[Entry]) -> None:
    path = tmp_path / "image.tar"
    layers = two_layers(tmp_path, entries)
    archives.write_archive(
        path,
        ["localhost/a:1"],
        layers,
        architecture="arm64",
        entrypoint=["/opt/spire/bin/server", "run"],
        user="65532",
        env=["container=docker"],
        stop_signal="SIGRTMIN+3",
    )
    assert image(path)[1]["config"] == {
        "Entrypoint": ["/opt/spire/bin/server", "run"],
        "User": "65532",
        "Env": [f"PATH={archives.PATH}", "container=docker"],
        "StopSignal": "SIGRTMIN+3",
    }


def test_an_image_of_which_nothing_is_said_has_a_path_alone(tmp_path: Path, entries: list[Entry]) -> None:
    path = tmp_path / "image.tar"
    archives.write_archive(path, ["localhost/a:1"], two_layers(tmp_path, entries), architecture="amd64")
    assert image(path)[1]["config"] == {"Env": [f"PATH={archives.PATH}"]}


def test_a_layer_that_is_used_twice_is_in_the_archive_once(tmp_path: Path) -> None:
    layer = archives.write_layer(tmp_path / "layer.tar", [Entry("tmp")])
    path = tmp_path / "image.tar"
    archives.write_archive(path, ["localhost/a:1"], [layer, layer], architecture="amd64")
    with tarfile.open(path) as tar:
        assert [name.endswith("layer.tar") for name in tar.getnames()].count(True) == 1
    assert len(image(path)[1]["rootfs"]["diff_ids"]) == 2


def test_the_same_layers_give_the_same_archive(tmp_path: Path, entries: list[Entry]) -> None:
    layers = two_layers(tmp_path, entries)
    for name in ("first.tar", "second.tar"):
        archives.write_archive(tmp_path / name, ["localhost/a:1"], layers, architecture="amd64", user="1000")
    assert (tmp_path / "first.tar").read_bytes() == (tmp_path / "second.tar").read_bytes()


def test_a_folders_tree_gives_the_same_layer_whatever_its_files_times(tmp_path: Path) -> None:
    layers = []
    for name in ("first", "second"):
        root = tmp_path / name
        (root / "bin").mkdir(parents=True)
        (root / "bin" / "tool").write_text("tool")
        (root / "bin" / "tool").chmod(0o755)
        (root / "bin" / "link").symlink_to("tool")
        layers.append(archives.tar_folder(root, tmp_path / f"{name}.tar"))
    assert layers[0].digest == layers[1].digest
    found = members(layers[0].path)
    assert found["./bin/tool"].mode == 0o755
    assert found["./bin/link"].linkname == "tool"
