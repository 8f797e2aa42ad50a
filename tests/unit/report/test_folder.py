"""The folder of a run."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fixtures.report.folder import discard_folder, new_folder, prune_folders

NOON = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


def test_a_folder_of_ones_own_is_made_and_latest_stays_as_it_was(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    first = new_folder(None, runs)
    chosen = tmp_path / "some" / "where"
    assert new_folder(chosen, runs) == chosen
    assert chosen.is_dir()
    assert new_folder(chosen, runs) == chosen
    assert (runs / "latest").resolve() == first


def test_folders_made_within_one_second_are_distinct_and_latest_points_to_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock:
        @staticmethod
        def now(zone: object) -> datetime:
            assert zone is UTC
            return NOON

    monkeypatch.setattr("fixtures.report.folder.datetime", Clock)
    runs = tmp_path / "runs"
    made = []
    for _ in range(3):
        made.append(new_folder(None, runs))
        assert (runs / "latest").resolve() == made[-1]
        assert made[-1].is_dir()
    assert [path.name for path in made] == [f"2026-11-24T120000Z{suffix}" for suffix in ("", "-2", "-3")]
    assert sorted(path.name for path in runs.iterdir()) == [*sorted(path.name for path in made), "latest"]


def test_a_folder_that_is_discarded_leaves_latest_to_the_one_before(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    first = new_folder(None, runs)
    second = new_folder(None, runs)
    (second / "junit.xml").touch()
    discard_folder(second)
    assert (runs / "latest").resolve() == first
    discard_folder(first)
    assert not runs.exists()


def test_a_folder_that_somebody_else_has_removed_is_discarded_and_latest_is_there_at_any_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = tmp_path / "runs"
    first, second = new_folder(None, runs), new_folder(None, runs)
    latest, is_there, symlink_to = runs / "latest", list[bool](), Path.symlink_to

    def look_and_link(path: Path, target: str) -> None:
        is_there.append(latest.is_symlink())
        symlink_to(path, target)

    monkeypatch.setattr(Path, "symlink_to", look_and_link)
    second.rmdir()
    discard_folder(second)
    assert latest.resolve() == first
    assert is_there == [True]
    assert sorted(path.name for path in runs.iterdir()) == [first.name, "latest"]


def test_a_folder_elsewhere_that_is_discarded_leaves_what_is_beside_it(tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to("gone")
    discard_folder(new_folder(tmp_path / "mine", tmp_path / "runs"))
    assert [path.name for path in tmp_path.iterdir()] == ["latest"]


def test_latest_is_a_relative_link_so_that_the_runs_may_be_moved(tmp_path: Path) -> None:
    made = new_folder(None, tmp_path / "runs")
    (tmp_path / "runs").rename(tmp_path / "moved")
    assert (tmp_path / "moved" / "latest").resolve() == tmp_path / "moved" / made.name


def test_of_the_folders_of_runs_the_newest_are_kept_and_nothing_else_is_touched(tmp_path: Path) -> None:
    names = ["2026-11-20T120000Z", "2026-11-21T120000Z", "2026-11-21T120000Z-2", "2026-11-21T120000Z-10"]
    others = ["mine", "2026-11-01", "2026-11-19T120000Z-kept"]
    long_ago = NOON.timestamp() - 10**8
    for name in [*names, *others]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "junit.xml").touch()
        os.utime(tmp_path / name / "junit.xml", (long_ago, long_ago))
        os.utime(tmp_path / name, (long_ago, long_ago))
    (tmp_path / "2026-11-18T120000Z").symlink_to("mine")
    (tmp_path / "2026-11-17T120000Z").touch()
    untouched = {*others, "2026-11-18T120000Z", "2026-11-17T120000Z", "latest"}
    folder = new_folder(None, tmp_path)
    prune_folders(folder, 3)
    assert {path.name for path in tmp_path.iterdir()} == {*names[2:], folder.name, *untouched}
    prune_folders(folder, 1)
    assert {path.name for path in tmp_path.iterdir()} == {folder.name, *untouched}


def test_a_folder_that_another_run_removes_meanwhile_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_ago = NOON.timestamp() - 10**8
    gone, old = (tmp_path / f"2026-11-{day}T120000Z" for day in (19, 20))
    for path in (gone, old):
        path.mkdir()
        os.utime(path, (long_ago, long_ago))
    is_symlink = Path.is_symlink

    def look_and_remove(path: Path) -> bool:
        found = is_symlink(path)
        if path == gone and path.exists():
            path.rmdir()
        return found

    monkeypatch.setattr(Path, "is_symlink", look_and_remove)
    folder = new_folder(None, tmp_path)
    prune_folders(folder, 1)
    assert {path.name for path in tmp_path.iterdir()} == {folder.name, "latest"}


def test_neither_a_run_that_may_be_under_way_nor_what_latest_points_to_is_removed(tmp_path: Path) -> None:
    under_way, latest, old = (tmp_path / f"2026-11-{day}T120000Z" for day in (19, 20, 21))
    long_ago = NOON.timestamp() - 10**8
    for path in (under_way, latest, old):
        path.mkdir()
        os.utime(path, (long_ago, long_ago))
    (under_way / "forward.log").touch()
    os.utime(under_way, (long_ago, long_ago))
    (tmp_path / "latest").symlink_to(latest.name)
    folder = tmp_path / "2026-11-24T120000Z"
    folder.mkdir()
    prune_folders(folder, 1)
    assert {path.name for path in tmp_path.iterdir()} == {under_way.name, latest.name, folder.name, "latest"}
