"""A run kept as data: what is known of it before its first test, and that all of it is written."""

from __future__ import annotations

import os
import signal

import pytest

from fixtures.plugins import recording

pytest_plugins = ["pytester"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], False),
        (["-m", "federation"], False),
        (["tests"], False),
        (["-k", "success"], True),
        (["--deselect=tests/federation/test_a.py::test_a"], True),
        (["--lf"], True),
        (["tests/federation"], True),
        (["tests/federation/test_a.py"], True),
        (["tests/federation/test_a.py::test_a"], True),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_a_run_of_chosen_tests_is_known_from_one_of_all_tests(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, arguments: list[str], expected: bool
) -> None:
    folder = pytester.mkdir("tests") / "federation"
    folder.mkdir()
    (folder / "test_a.py").write_text("def test_a(): pass\n")
    pytester.makepyprojecttoml('[tool.pytest.ini_options]\ntestpaths = ["tests"]\nmarkers = ["federation"]\n')
    monkeypatch.setattr(recording, "PROJECT", pytester.path)
    assert recording.is_selection(pytester.parseconfig(*arguments)) is expected


def test_a_signal_to_end_does_not_disturb_what_is_written_of_a_run() -> None:
    received: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    try:
        with recording._undisturbed():
            os.kill(os.getpid(), signal.SIGTERM)
        assert received == []
        os.kill(os.getpid(), signal.SIGTERM)
        assert received == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)
