"""What is pinned, and that everything that pins it says the same."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from semver import Version

from supply import catalogue, images, plan, programs, versions
from supply.catalogue import Catalogue
from supply.images import PREFIX
from supply.plan import BuildError
from supply.versions import Program

PINS = versions.load()
PUBLISHED = [program for program in PINS.programs.values() if program.module]
OWN = [program for program in PINS.programs.values() if not program.module]
MODULES = versions.HERE / "modules"

published = pytest.mark.parametrize("program", PUBLISHED, ids=lambda program: program.name)
everything = pytest.mark.parametrize("program", PINS.programs.values(), ids=lambda program: program.name)


def directives(program: Program, verb: str) -> list[str]:
    """What stands after a verb in the program's go.mod, in blocks or on lines of its own, comments left out."""
    found, inside = [], False
    for line in (program.folder / "go.mod").read_text().splitlines():
        words = line.split("//")[0].strip()
        if words == f"{verb} (":
            inside = True
        elif words == ")":
            inside = False
        elif inside and words:
            found.append(words)
        elif words.startswith(f"{verb} "):
            found.append(words.removeprefix(verb).strip())
    return found


def binary(program: Program, package: str) -> str:
    """The name that `go build` gives a package's program: its path's last part that is no major version."""
    path = directives(program, "module")[0] if package == "." else package
    *_, last = [part for part in path.split("/") if not re.fullmatch(r"v[0-9]+", part)]
    return last


@published
def test_a_programs_go_mod_requires_the_pinned_version(program: Program) -> None:
    required = dict(line.split() for line in directives(program, "require"))
    assert required.get(program.module) == program.version


@published
def test_a_programs_go_mod_keeps_the_packages_that_are_built(program: Program) -> None:
    assert sorted(directives(program, "tool")) == sorted(program.packages)


@published
def test_a_programs_go_sum_has_the_pinned_module(program: Program) -> None:
    lines = (program.folder / "go.sum").read_text().splitlines()
    for pinned in (f"{program.module} {program.version} h1:", f"{program.module} {program.version}/go.mod h1:"):
        assert any(line.startswith(pinned) for line in lines), pinned


@published
def test_a_programs_go_mod_replaces_what_is_to_be_replaced_and_nothing_else(program: Program) -> None:
    expected = {old: f"{old} {version}" for old, version in program.replace.items()}
    found = dict(line.split(" => ") for line in directives(program, "replace"))
    staged = {name: value for name, value in found.items() if program.staging and name.startswith("k8s.io/")}
    assert {name: value for name, value in found.items() if name not in staged} == expected
    assert set(staged.values()) == {f"{name} {program.staging}" for name in staged}
    assert bool(staged) == bool(program.staging)


@published
def test_the_version_that_is_linked_into_a_program_is_the_pinned_one(program: Program) -> None:
    numbers = program.version.removeprefix("v").split(".")
    for entry in program.set:
        variable, _, value = entry.rpartition("=")
        part = {"gitMajor": numbers[0], "gitMinor": numbers[1]}.get(variable.rsplit(".", 1)[1], ".".join(numbers))
        assert value.removeprefix("v") == part, entry


def test_kubernetes_libraries_are_those_of_its_own_minor_version() -> None:
    kubernetes = PINS.programs["kubernetes"]
    assert kubernetes.version == f"v{PINS.kubernetes}"
    assert kubernetes.staging == f"v0.{PINS.kubernetes.split('.', 1)[1]}"


@pytest.mark.parametrize("program", OWN, ids=lambda program: program.name)
def test_a_program_of_the_projects_own_has_its_source_and_the_sums_of_what_it_requires(program: Program) -> None:
    assert list(program.folder.glob("*.go"))
    assert not directives(program, "require") or (program.folder / "go.sum").is_file()


def test_every_folder_of_modules_belongs_to_a_program_and_is_named_like_it() -> None:
    own = {program.name for program in PINS.programs.values() if program.folder.parent == MODULES}
    assert {path.name for path in MODULES.iterdir() if path.is_dir()} == own


@everything
def test_a_program_is_renamed_from_what_the_toolchain_calls_it(program: Program) -> None:
    assert set(program.rename) <= {binary(program, package) for package in program.packages}


@everything
def test_an_image_has_a_program_of_its_name(program: Program) -> None:
    built = {binary(program, package) for package in program.packages}
    assert set(program.images) <= {program.rename.get(name, name) for name in built}


@everything
def test_an_image_begins_with_its_program_at_an_absolute_path(program: Program) -> None:
    for image in images.of(program):
        assert image.entrypoint[0].startswith("/")
        assert image.tag, f"{image.name} has no tag"


@pytest.mark.parametrize(
    "changed",
    [
        {"version": "v9.9.9"},
        {"packages": ("other",)},
        {"set": ("a.b=c",)},
        {"tags": ("other",)},
        {"rename": {"old": "new"}},
        {"cgo": True},
    ],
    ids=lambda changed: str(next(iter(changed))),
)
def test_every_part_of_a_pin_that_changes_the_program_changes_its_key(changed: dict[str, object]) -> None:
    program = PINS.programs["kind"]
    before = plan.keys([programs.step(program)])
    assert plan.keys([programs.step(replace(program, **changed))]) != before  # type: ignore[arg-type]


def test_a_plain_build_makes_the_newest_spire_and_the_one_that_an_upgrade_comes_from() -> None:
    assert list(PINS.spire) == sorted(PINS.spire, key=Version.parse, reverse=True)
    assert [PINS.programs[f"spire-{version}"].on_request for version in PINS.spire] == [False, False, True]


def test_no_two_images_have_the_same_name_and_tag() -> None:
    names = catalogue.references(PINS)
    assert sorted(names) == sorted(set(names))


def test_a_plain_build_makes_every_default_image_and_no_other() -> None:
    steps, default, extra = catalogue.steps(PINS)
    names = {step.name for step in steps}
    for image in default:
        assert {image.step, f"image-{image.name}-{image.tag}"} <= names
    assert extra == []
    assert {f"spire-server:{PINS.spire[0]}", f"kubectl:{PINS.kubernetes}", "gospiffe-client:v0"} <= {
        f"{image.name}:{image.tag}" for image in default
    }
    for version in PINS.spire[2:]:
        assert f"program-spire-{version}" not in names


def test_a_further_spire_version_is_made_when_one_of_its_images_is_asked_for() -> None:
    (asked,) = PINS.spire[2:]
    steps, default, extra = catalogue.steps(PINS, [f"{PREFIX}/spire-agent:{asked}"])
    names = {step.name for step in steps}
    assert {f"{image.name}:{image.tag}" for image in extra} == {
        f"{name}:{asked}" for name in ("spire-server", "spire-agent", "oidc-discovery-provider")
    }
    for image in extra:
        assert {image.step, f"image-{image.name}-{image.tag}"} <= names
    assert default == catalogue.steps(PINS)[1]


def test_a_shim_is_made_when_it_is_asked_for_of_the_image_of_its_program() -> None:
    (shim,) = [program for program in PINS.programs.values() if program.shim_of]
    (behind,) = images.of(PINS.programs[shim.shim_of])
    steps, _, (image,) = catalogue.steps(PINS, [f"{PREFIX}/{shim.name}:{behind.tag}"])
    needs = {step.name: step.needs for step in steps}
    assert needs[f"image-{image.name}-{image.tag}"] == (f"image-{behind.name}-{behind.tag}", f"program-{shim.name}")


def test_every_image_there_is_can_be_asked_for() -> None:
    steps, default, extra = catalogue.steps(PINS, catalogue.references(PINS))
    names = {step.name for step in steps}
    for image in default + extra:
        assert {image.step, f"image-{image.name}-{image.tag}"} <= names
        assert image.reference in catalogue.references(PINS)
    assert {image.tag for image in extra if image.name == "spire-server"} == set(PINS.spire[2:])


@pytest.mark.parametrize("requested", [[], catalogue.references(PINS)], ids=["plain", "everything"])
def test_every_step_needs_only_steps_that_there_are_and_reads_only_sources_that_there_are(requested: list[str]) -> None:
    steps, _, _ = catalogue.steps(PINS, requested)
    names = [step.name for step in steps]
    assert sorted(names) == sorted(set(names))
    for step in steps:
        assert set(step.needs) <= set(names), step.name
        assert all(source.exists() for source in step.sources), step.name


def test_what_is_made_on_request_does_not_change_the_node_image() -> None:
    plain, _, _ = catalogue.steps(PINS)
    all_of_it, _, _ = catalogue.steps(PINS, catalogue.references(PINS))
    assert plan.keys(all_of_it).items() >= plan.keys(plain).items()


@pytest.fixture
def unmade(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache in which nothing may be built."""

    def refuse(*_: object) -> None:
        raise AssertionError("a build was begun")

    for module, name in ((programs, "go"), (catalogue, "install"), (plan, "build")):
        monkeypatch.setattr(module, name, refuse)
    return tmp_path / "cache"


def test_a_version_that_is_not_pinned_is_refused_before_anything_is_built(unmade: Path) -> None:
    said: list[str] = []
    with pytest.raises(BuildError, match=r"spire-server:9\.9\.9: no program of supply/versions\.toml makes this image"):
        catalogue.make([f"{PREFIX}/spire-server:9.9.9", f"{PREFIX}/spire-server:{PINS.spire[0]}"], unmade, said.append)
    assert said == []
    assert not unmade.exists()


def made(cache: Path, *requested: str) -> Catalogue:
    """The catalogue of a cache that has everything."""
    for place in plan.folders(catalogue.steps(PINS, requested)[0], cache).values():
        place.mkdir(parents=True, exist_ok=True)
    said: list[str] = []
    found = catalogue.make(requested, cache, said.append)
    assert said == []
    return found


def test_a_cache_that_has_everything_is_used_without_toolchain_or_build(unmade: Path) -> None:
    found = made(unmade)
    assert found.kind.name == "kind"
    assert found.kubectl.parent.parent == unmade
    assert found.image("spire-server") == f"{PREFIX}/spire-server:{PINS.spire[0]}"
    assert found.preloaded == set(found.archives)
    assert set(found.archives.values()) == {path for path in found.archives.values() if path.parent.parent == unmade}


def test_an_image_made_on_request_is_found_by_its_tag_and_is_not_preloaded(unmade: Path) -> None:
    asked = f"{PREFIX}/spire-server:{PINS.spire[2]}"
    found = made(unmade, asked)
    assert found.image("spire-server", PINS.spire[2]) == asked
    assert found.image("spire-server") == f"{PREFIX}/spire-server:{PINS.spire[0]}"
    assert asked not in found.preloaded


@pytest.mark.parametrize(("name", "tag"), [("spire-server", "9.9.9"), ("spire", ""), ("no-such-image", "")])
def test_an_image_that_was_not_built_is_a_key_error(unmade: Path, name: str, tag: str) -> None:
    with pytest.raises(KeyError, match=name):
        made(unmade).image(name, tag)
