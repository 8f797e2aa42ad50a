"""The SHA-256 of programs that are downloaded, pinned at the versions of versions.toml and as they are published."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from supply import published, versions
from supply.pin import pin_downloads
from supply.plan import BuildError
from supply.published import DOWNLOAD_BASES, PLATFORMS, PublishedProgram
from tests.stand_ins.web_server import FileServer, serving

PINS = versions.load()


def programs(pins: versions.Versions = PINS) -> list[PublishedProgram]:
    return [each for system, machine in PLATFORMS for each in published.programs(pins, system, machine).values()]


def digest(program: PublishedProgram) -> str:
    """What the stand-in publishes as a program's SHA-256."""
    return hashlib.sha256(program.pinned_as.encode()).hexdigest()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FileServer]:
    """A server with the checksums of all that is pinned, as the projects publish them."""
    server = FileServer(tmp_path / "published")
    for program in programs():
        place = server.folder / program.name / program.checksum
        place.parent.mkdir(parents=True, exist_ok=True)
        # dl.k8s.io has the digest alone.
        rest = "" if program.name == "kubectl" else f"  {Path(program.path).name}\n"
        place.write_text(f"{digest(program)}{rest}")
    with serving(server):
        yield server


@pytest.fixture
def environment(server: FileServer) -> dict[str, str]:
    return {variable: f"{server.url}/{name}/" for name, variable in DOWNLOAD_BASES.items()}


def test_what_versions_toml_names_is_pinned_and_nothing_else() -> None:
    pinned = published.digests()
    assert set(pinned) == {each.pinned_as for each in programs()}
    assert all(len(each) == 64 for each in pinned.values())
    assert len({*pinned.values()}) == len(pinned) == 12


def test_what_is_published_is_pinned_and_asked_for_once(
    server: FileServer, environment: dict[str, str], tmp_path: Path
) -> None:
    file, said = tmp_path / "pinned", list[str]()
    pin_downloads(PINS, said.append, environment, file)
    assert published.digests(file) == {each.pinned_as: digest(each) for each in programs()}
    assert sorted(said) == sorted(f"pin {each.pinned_as}" for each in programs())
    assert len(server.asked) == len(said)
    written = file.read_text()
    pin_downloads(PINS, pytest.fail, environment, file)
    assert file.read_text() == written


def test_another_version_has_only_its_program_pinned_again(environment: dict[str, str], tmp_path: Path) -> None:
    file, said = tmp_path / "pinned", list[str]()
    pin_downloads(PINS, said.append, environment, file)
    before = published.digests(file)
    older = replace(PINS.programs["kind"], version="v0.1.0")
    changed = replace(PINS, programs={**PINS.programs, "kind": older})
    with pytest.raises(
        BuildError, match=r"^the checksum of kind cannot be read from \S+/v0\.1\.0/kind-linux-amd64\.sha256sum: .*404"
    ):
        pin_downloads(changed, said.append, environment, file)
    assert published.digests(file) == before
    (tmp_path / "published" / "kind" / "v0.1.0").mkdir()
    for system, machine in PLATFORMS:
        kind = published.programs(changed, system, machine)["kind"]
        (tmp_path / "published" / "kind" / kind.checksum).write_text(digest(kind))
    said.clear()
    pin_downloads(changed, said.append, environment, file)
    assert said == [f"pin kind/v0.1.0/kind-{system}-{machine}" for system, machine in PLATFORMS]
    assert published.digests(file) == {each.pinned_as: digest(each) for each in programs(changed)}


@pytest.mark.parametrize("answer", ["", "<html>not here</html>", "0" * 63])
def test_an_answer_that_is_no_checksum_is_refused_and_pins_nothing(
    server: FileServer, environment: dict[str, str], tmp_path: Path, answer: str
) -> None:
    (server.folder / "kind" / programs()[0].checksum).write_text(answer)
    with pytest.raises(BuildError, match=r"kind-linux-amd64\.sha256sum does not begin with a SHA-256: "):
        pin_downloads(PINS, lambda _: None, environment, tmp_path / "pinned")
    assert not (tmp_path / "pinned").exists()
