"""Runs that are repeated: which of them are counted, and what is said of the red ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.tools import reliability
from tests.tools.machine_load import Slowed
from tests.tools.reliability import repeat
from tests.tools.runs import Result

RED = "RED: 1 failed, 20 passed\ntest_every_node_is_ready: client: CSINode is not yet initialized\n"


class Runs:
    """Runs that end with these exit codes, one after another; `asked` has the folder and the options of each."""

    def __init__(self, *codes: int) -> None:
        self._codes = list(codes)
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, folder: Path, _prefix: str, *options: str, slowed: Slowed) -> Runs:
        assert slowed == Slowed()
        self.asked.append((folder.name, *options))
        self._folder = folder
        return self

    def result(self) -> Result:
        code = self._codes.pop(0)
        (self._folder / "output.log").write_text(RED if code else "GREEN: 21 passed\n")
        return Result(self._folder, code, 50.0)


@pytest.mark.parametrize(
    ("new", "codes", "asked", "counted"),
    [
        (True, (0, 1), [("run-1",), ("run-2",)], "2 1 1 50.0 s"),
        (False, (0, 0, 1), [(f"run-{number}", "--keep-clusters") for number in range(3)], "2 1 1 50.0 s"),
    ],
)
def test_runs_are_counted_but_for_the_one_that_makes_the_clusters_that_are_kept(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    new: bool,
    codes: tuple[int, ...],
    asked: list[Any],
    counted: str,
) -> None:
    runs = Runs(*codes)
    monkeypatch.setattr(reliability, "Run", runs)
    (wrong,) = repeat(tmp_path, 2, new=new, slowed=Slowed(), kind="runs of a test")
    assert runs.asked == asked
    said = " | ".join(RED.splitlines())
    assert wrong == f"run   2 of 2: red: {said}; see {tmp_path / 'run-2'}"
    printed = capsys.readouterr().out
    assert f"run   1 of 2:   50.0 s  green\nrun   2 of 2:   50.0 s  red: {said}\n" in printed
    assert counted in " ".join(printed.splitlines()[-2].split())


def test_a_red_run_that_makes_the_clusters_counts_as_broken_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reliability, "Run", Runs(1, 0))
    (wrong,) = repeat(tmp_path, 1, new=False, slowed=Slowed(), kind="")
    assert wrong.startswith("clusters made: red: ")


def test_options_of_the_runs_come_last_so_that_another_suite_can_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = Runs(0, 0)
    monkeypatch.setattr(reliability, "Run", runs)
    options = ["-m", "upgrade", "--from=previous"]
    assert repeat(tmp_path, 1, new=False, slowed=Slowed(), kind="", options=options) == []
    assert runs.asked == [(f"run-{number}", "--keep-clusters", *options) for number in (0, 1)]
