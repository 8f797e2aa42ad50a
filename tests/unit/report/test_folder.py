"""The folder of a run."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from fixtures.report.folder import discard_folder, new_folder

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


def test_a_folder_elsewhere_that_is_discarded_leaves_what_is_beside_it(tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to("gone")
    discard_folder(new_folder(tmp_path / "mine", tmp_path / "runs"))
    assert [path.name for path in tmp_path.iterdir()] == ["latest"]


def test_latest_is_a_relative_link_so_that_the_runs_may_be_moved(tmp_path: Path) -> None:
    made = new_folder(None, tmp_path / "runs")
    (tmp_path / "runs").rename(tmp_path / "moved")
    assert (tmp_path / "moved" / "latest").resolve() == tmp_path / "moved" / made.name
