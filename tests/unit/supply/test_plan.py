"""Steps that are made once for each content of their inputs."""

from __future__ import annotations

import importlib.util
import linecache
import os
import shutil
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from supply import plan
from supply.plan import BuildError, Place, Step
from supply.time_left import keep_seconds

Make = Callable[[Place], None]


class Workshop:
    """Steps that write down when they are made, and what `say` was called with."""

    def __init__(self, folder: Path) -> None:
        self.cache = folder / "cache"
        self.made: list[str] = []
        self.said: list[str] = []

    def step(
        self,
        name: str,
        *needs: str,
        texts: Sequence[str] = (),
        sources: Sequence[Path] = (),
        make: Make | None = None,
    ) -> Step:
        def write(place: Place) -> None:
            self.made.append(name)
            below = "".join((path / "result").read_text() for path in place.needs.values())
            (place.out / "result").write_text(f"{below}{name};")
            if make is not None:
                make(place)

        return Step(name, write, needs, tuple(texts), tuple(sources))

    def build(self, *steps: Step, workers: int = 2) -> dict[str, Path]:
        """The steps' folders; `made` then has what this build made."""
        self.made.clear()
        return plan.build(steps, self.cache, self.said.append, workers)

    def unfinished(self) -> list[Path]:
        """What a build left half made."""
        return list(self.cache.glob("*.part"))


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


@pytest.fixture
def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """No time passes for builds, whose steps take seconds on a busy machine."""
    monkeypatch.setattr("supply.plan.time", SimpleNamespace(monotonic=lambda: 0.0))


def test_steps_are_made_after_what_they_need_and_given_its_folders(shop: Workshop) -> None:
    places = shop.build(shop.step("top", "middle", "base"), shop.step("middle", "base"), shop.step("base"))
    assert shop.made == ["base", "middle", "top"]
    assert (places["top"] / "result").read_text() == "base;middle;base;top;"


def test_a_second_build_with_nothing_changed_makes_nothing_and_says_nothing(shop: Workshop) -> None:
    steps = [shop.step("base"), shop.step("top", "base")]
    first = shop.build(*steps)
    shop.said.clear()
    assert shop.build(*steps) == first
    assert (shop.made, shop.said) == ([], [])


def test_another_text_gives_a_step_and_its_dependants_new_folders_and_leaves_others(shop: Workshop) -> None:
    def steps(version: str) -> list[Step]:
        return [shop.step("base", texts=[version]), shop.step("top", "base"), shop.step("other")]

    before = shop.build(*steps("1"))
    after = shop.build(*steps("2"))
    assert shop.made == ["base", "top"]
    assert {name for name in after if after[name] != before[name]} == {"base", "top"}
    assert all(path.is_dir() for path in before.values())


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "sub" / "file").write_text("changed"),
        lambda folder: (folder / "added").write_text(""),
        lambda folder: (folder / "sub" / "file").rename(folder / "sub" / "renamed"),
        lambda folder: (folder / "sub" / "file").unlink(),
    ],
    ids=["changed", "added", "renamed", "removed"],
)
def test_a_source_that_changes_gives_a_step_and_its_dependants_new_keys(
    shop: Workshop, tmp_path: Path, change: Callable[[Path], object]
) -> None:
    folder = tmp_path / "source"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "file").write_text("as it was")
    (folder / "kept").write_text("as it was")
    steps = [shop.step("base", sources=[folder]), shop.step("top", "base"), shop.step("other")]
    before = plan.keys(steps)
    change(folder)
    after = plan.keys(steps)
    assert {name for name in after if after[name] != before[name]} == {"base", "top"}


def test_what_python_compiled_beside_a_source_changes_no_key(shop: Workshop, tmp_path: Path) -> None:
    folder = tmp_path / "source"
    (folder / "__pycache__").mkdir(parents=True)
    steps = [shop.step("base", sources=[folder])]
    before = plan.keys(steps)
    (folder / "__pycache__" / "module.cpython-311.pyc").write_bytes(b"compiled")
    assert plan.keys(steps) == before


def test_the_tests_of_go_sources_change_no_key(shop: Workshop, tmp_path: Path) -> None:
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "main.go").write_text("package main")
    steps = [shop.step("base", sources=[folder])]
    before = plan.keys(steps)
    (folder / "main_test.go").write_text("package main")
    assert plan.keys(steps) == before


def test_a_source_has_the_same_key_in_another_checkout(shop: Workshop, tmp_path: Path) -> None:
    keys = []
    for checkout in ("one", "two"):
        source = tmp_path / checkout / "source"
        source.mkdir(parents=True)
        (source / "file").write_text("the same")
        keys.append(plan.keys([shop.step("base", sources=[source, source / "file"])]))
    assert keys[0] == keys[1]


RECIPE = """
CONSTANT = "as it was"


def make(place):
    (place.out / "result").write_text(CONSTANT)
"""
# The same, as far as Python reads it.
COMMENTED = '''
"""What is made."""
CONSTANT = (
    "as it was"  # a word
)
def make(place, ):
    """Make it."""
    (place.out / "result").write_text(
        CONSTANT,
    )
'''


@pytest.mark.parametrize(
    ("recipe", "is_the_same"),
    [
        (RECIPE, True),
        (COMMENTED, True),
        (RECIPE.replace("as it was", "changed, and longer"), False),
        (RECIPE.replace("write_text(CONSTANT)", "write_text(CONSTANT, 'ascii')"), False),
    ],
    ids=["same text", "comments and layout", "constant", "call"],
)
def test_the_code_of_a_recipe_and_of_its_sources_is_part_of_a_key_and_comments_and_layout_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: str, is_the_same: bool
) -> None:
    path = tmp_path / "recipe_of_a_step.py"

    def keys(text: str) -> dict[str, str]:
        path.write_text(text)
        linecache.checkcache()
        described = importlib.util.spec_from_file_location("recipe_of_a_step", path)
        assert described is not None
        assert described.loader is not None
        module = importlib.util.module_from_spec(described)
        monkeypatch.setitem(sys.modules, "recipe_of_a_step", module)
        described.loader.exec_module(module)
        return plan.keys([Step("made", module.make), Step("copied", lambda _: None, sources=(path,))])

    before, after = keys(RECIPE), keys(recipe)
    assert [before[name] == after[name] for name in before] == [is_the_same, is_the_same]


def test_a_step_that_fails_names_itself_its_command_and_the_last_lines(shop: Workshop) -> None:
    def fail(place: Place) -> None:
        place.run("sh", "-c", "for i in $(seq 1 50); do echo line $i; done; echo no space left >&2; exit 3")

    with pytest.raises(BuildError) as caught:
        shop.build(shop.step("base", make=fail))
    said = str(caught.value)
    assert said.startswith("step base: `sh -c for i in")
    assert "ended with 3" in said
    assert said.splitlines()[-2:] == ["    line 50", "    no space left"]
    assert "line 30" not in said
    assert str(shop.cache / "logs" / "base.log") in said
    assert "line 1\n" in (shop.cache / "logs" / "base.log").read_text()


def test_a_command_that_is_not_there_is_named(shop: Workshop) -> None:
    with pytest.raises(BuildError, match=r"step base: `no-such-program --now` cannot be started"):
        shop.build(shop.step("base", make=lambda place: place.run("no-such-program", "--now")))


def test_a_step_that_fails_leaves_no_folder_that_counts_as_made_and_its_dependants_are_not_begun(
    shop: Workshop,
) -> None:
    broken = [True]

    def fail(place: Place) -> None:
        if broken:
            place.run("false")

    steps = [shop.step("base", make=fail), shop.step("top", "base")]
    with pytest.raises(BuildError):
        shop.build(*steps)
    assert shop.made == ["base"]
    assert not any(place.exists() for place in plan.folders(steps, shop.cache).values())
    broken.clear()
    places = shop.build(*steps)
    assert shop.made == ["base", "top"]
    assert all(place.is_dir() for place in places.values())


def test_a_step_under_way_when_another_fails_is_finished_and_kept(shop: Workshop) -> None:
    both = threading.Barrier(2)
    failed = threading.Event()

    def fail(place: Place) -> None:
        both.wait(timeout=10)
        failed.set()
        place.run("false")

    def go_on(_: Place) -> None:
        both.wait(timeout=10)
        assert failed.wait(timeout=10)

    steps = [shop.step("bad", make=fail), shop.step("good", make=go_on)]
    with pytest.raises(BuildError, match="step bad: `false` ended with 1"):
        shop.build(*steps)
    assert plan.folders(steps, shop.cache)["good"].is_dir()


def test_what_an_interrupted_build_left_is_built_again_and_not_added_to(shop: Workshop) -> None:
    steps = [shop.step("base"), shop.step("top", "base")]
    place = plan.folders(steps, shop.cache)["top"]
    part = place.with_name(f"{place.name}.part")
    part.mkdir(parents=True)
    (part / "half").write_text("half made")
    places = shop.build(*steps)
    assert [path.name for path in places["top"].iterdir()] == ["result"]
    assert shop.unfinished() == []


@pytest.mark.usefixtures("stopped_clock")
def test_only_what_is_missing_is_made(shop: Workshop) -> None:
    steps = [shop.step("base"), shop.step("top", "base"), shop.step("other")]
    shutil.rmtree(shop.build(*steps)["top"])
    shop.said.clear()
    shop.build(*steps)
    assert shop.made == ["top"]
    assert shop.said[0] == f"supply: 1 of 3 steps to make, in {shop.cache}"
    assert shop.said[1:] == ["supply: top … (about 1 s)", "supply: [1/1] top made in 0 s"]


def test_a_steps_folder_is_complete_or_absent(shop: Workshop) -> None:
    seen: list[bool] = []
    step = shop.step("base", make=lambda _: seen.append(plan.folders([step], shop.cache)["base"].exists()))
    places = shop.build(step)
    assert seen == [False]
    assert places["base"].is_dir()


def test_a_second_build_waits_for_the_first_and_makes_nothing_again(shop: Workshop) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(_: Place) -> None:
        begun.set()
        assert go_on.wait(timeout=10)

    step = shop.step("base", make=slow)

    def say(text: str) -> None:
        shop.said.append(text)
        if "waiting for it" in text:
            go_on.set()

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(plan.build, [step], shop.cache, shop.said.append)
        assert begun.wait(timeout=10)
        second = pool.submit(plan.build, [step], shop.cache, say)
        assert first.result(timeout=20) == second.result(timeout=20)
    assert shop.made == ["base"]
    assert f"supply: another build (process {os.getpid()}) is using this cache: waiting for it" in shop.said


def test_a_commands_output_environment_folder_and_input_are_those_given(tmp_path: Path) -> None:
    (tmp_path / "given").write_text("from a file\n")
    place = Place(tmp_path, {}, tmp_path / "log")
    place.run("sh", "-c", 'echo "$WORD"; pwd; cat', cwd=tmp_path, env={"WORD": "set"}, stdin=tmp_path / "given")
    assert (tmp_path / "log").read_text().splitlines()[1:] == ["set", str(tmp_path), "from a file"]


def test_a_command_that_reads_its_input_does_not_wait_for_a_person(tmp_path: Path) -> None:
    Place(tmp_path, {}, tmp_path / "log").run("cat")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"SPIRE_FEDERATION_CACHE": "/chosen", "XDG_CACHE_HOME": "/xdg", "HOME": "/home/me"}, "/chosen"),
        ({"XDG_CACHE_HOME": "/xdg", "HOME": "/home/me"}, "/xdg/spire-federation"),
        ({"XDG_CACHE_HOME": "", "HOME": "/home/me"}, "/home/me/.cache/spire-federation"),
        ({"HOME": "/home/me"}, "/home/me/.cache/spire-federation"),
    ],
)
def test_the_cache_is_where_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: str
) -> None:
    for name in ("SPIRE_FEDERATION_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert plan.cache_folder() == Path(expected)


@pytest.mark.usefixtures("stopped_clock")
def test_a_build_says_how_far_it_is_and_what_is_left_by_the_one_before_or_as_measured(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    far: list[str] = []
    steps = (
        shop.step("below", make=lambda _: far.append(plan.under_way())),
        shop.step("top", "below", make=lambda _: far.append(plan.under_way())),
    )
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    shop.build(*steps)
    # Not made before, and of no name that was measured.
    assert far == ["[0/2], about 6 s left  below 0 of 3 s", "[1/2], about 3 s left  top 0 of 3 s"]
    assert plan.under_way() == ""
    for folder in plan.folders(steps, shop.cache).values():
        shutil.rmtree(folder)
    for name, seconds in (("below", 40.0), ("top", 300.0)):
        keep_seconds(shop.cache, name, seconds)
    far.clear()
    shop.said.clear()
    shop.build(*steps)
    assert far == ["[0/2], about 6 min left  below 0 of 40 s", "[1/2], about 5 min left  top 0 of 5 min"]
    assert shop.said[1:] == [
        "supply: below … (about 40 s)",
        "supply: [1/2] below made in 0 s, about 5 min left",
        "supply: top … (about 5 min)",
        "supply: [2/2] top made in 0 s",
    ]


def test_what_is_built_can_be_read_by_everybody_whatever_the_users_umask(shop: Workshop) -> None:
    before = os.umask(0o077)
    try:
        made = shop.build(shop.step("image"))["image"]
        assert made.stat().st_mode & 0o777 == 0o755
        assert (made / "result").stat().st_mode & 0o777 == 0o644
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(before)
