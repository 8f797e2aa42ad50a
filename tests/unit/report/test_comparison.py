"""What is said to differ between two runs, of real ones that were recorded."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fixtures.report.__main__ import main
from fixtures.report.comparison.differences import NOTHING, Difference, compare
from fixtures.report.comparison.noise import TIME_NOISE
from fixtures.report.comparison.page import SHOWN, page
from fixtures.report.data.document import SCHEMA_VERSION, describe
from fixtures.report.run import Report
from tests.unit.report.recorded_runs import RECORDED, recorded

FOLDER = RECORDED[0].parent


def differences(before: dict[str, Any], after: dict[str, Any]) -> dict[str, list[Difference]]:
    return {each.title: list(each.differences) for each in compare(before, after) if each.differences}


@pytest.fixture
def green() -> Iterator[dict[str, Any]]:
    """A green run, which stays as it is."""
    found = recorded("green")
    before = copy.deepcopy(found)
    yield found
    assert found == before


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_a_run_does_not_differ_from_itself(path: Path) -> None:
    run = recorded(path.stem)
    assert differences(run, run) == {}


def test_a_red_run_differs_from_a_green_one_by_its_broken_link_and_what_led_to_it(green: dict[str, Any]) -> None:
    found = differences(green, recorded("red-relationship"))
    broken = found["verdict"][1]
    assert (broken.what, broken.before) == ("broken link", NOTHING)
    assert broken.after.startswith("federation relationship (client): there is none with server.")
    assert Difference("federation relationship to server.example (client)", "holds", "broken") in found["links"]
    assert found["links"][0].after == "broken", "what broke stands before its consequences"
    assert found["versions"] == [Difference("chart (server, client)", "0.1.0", "0.30.0")]
    assert found["options"][0].what == "source"
    assert found["values"] == [
        Difference("spire-server.controllerManager.reconcile.clusterFederatedTrustDomains (client)", NOTHING, "false")
    ]
    outcomes = [each.after for each in found["tests"]]
    assert outcomes == sorted(outcomes), "errors stand before what was skipped for them"
    assert Difference("federation", "1.2 s", "16.9 s (slower)") in found["times"]


def given(run: dict[str, Any], *options: tuple[str, str], default: str = "") -> dict[str, Any]:
    """A run with options of the suite's, each with where it is from, and one that has its default."""
    found = copy.deepcopy(run)
    listed = [(option, origin, False) for option, origin in options] + (
        [(default, "command line", True)] * bool(default)
    )
    found["run"]["options"] = [
        {"option": option, "origin": origin, "is_default": is_default} for option, origin, is_default in listed
    ]
    return found


def test_options_are_compared_wherever_they_are_from(green: dict[str, Any]) -> None:
    """On the command line of one, in the environment of the other: that is no difference, and a default is none."""
    before = given(
        green, ("--pace=chart", "command line"), ("--set=a=…", "$SPIRE_FEDERATION_SET"), default="--keep-runs=20"
    )
    before["run"]["arguments"] += ["--pace", "chart", "--keep-runs=20", "-k", "bundle"]
    after = given(
        green,
        ("--pace=chart", "ini key spire_federation_pace"),
        ("--mirror=https://a.example", "$SPIRE_FEDERATION_MIRROR"),
        ("--cluster-prefix=other-", "$SPIRE_FEDERATION_CLUSTER_PREFIX"),
    )
    assert differences(before, after)["options"] == [
        Difference("--set=a=…", "$SPIRE_FEDERATION_SET", NOTHING),
        Difference("-k bundle", "", NOTHING),
        Difference("--mirror=https://a.example", NOTHING, "$SPIRE_FEDERATION_MIRROR"),
    ]
    # A document from before they were kept has the arguments alone.
    old = copy.deepcopy(green)
    old["run"]["arguments"] += ["--pace=chart"]
    assert "options" not in differences(old, given(green, ("--pace=chart", "$SPIRE_FEDERATION_PACE")))


def test_of_a_refused_run_it_is_said_that_it_was(green: dict[str, Any], tmp_path: Path) -> None:
    refused = describe(Report(tmp_path, refused="--charts: it is given without a value"))
    found = differences(green, refused)["verdict"][0]
    assert found.after == "REFUSED: --charts: it is given without a value"
    lines = page((FOLDER, tmp_path), (green, refused), compare(green, refused), 200)
    assert "  REFUSED: --charts: it is given without a value  " in lines[1]


def test_what_only_one_of_two_runs_came_to_is_no_broken_link(green: dict[str, Any]) -> None:
    red = recorded("red-relationship")
    assert {each["state"] for each in red["links"]} >= {"unknown"}
    assert not [each for each in differences(green, red)["links"] if NOTHING in (each.before, each.after)]


def test_of_another_suite_its_name_is_said_and_no_time_of_all_of_the_run(green: dict[str, Any]) -> None:
    found = differences(green, recorded("resilience"))
    assert found["tests"] == [
        Difference("suite federation", "", NOTHING),
        Difference("suite resilience", NOTHING, ""),
    ]
    assert "all of the run" not in [each.what for each in found.get("times", ())]


def test_the_time_of_all_of_a_run_is_compared_where_its_tests_are_the_same(green: dict[str, Any]) -> None:
    slower = copy.deepcopy(green)
    slower["run"]["seconds"] = 90.0
    (found,) = differences(green, slower)["times"]
    assert found == Difference("all of the run", "43.3 s", "90.0 s (slower)")
    del slower["tests"][-1]
    assert "times" not in differences(green, slower)


def test_of_traffic_failures_and_gaps_are_compared() -> None:
    before, after = recorded("upgrade"), recorded("upgrade")
    changed = {(each["phase"], each["kind"]): each for each in after["traffic"]["summaries"]}
    changed["mixed", "new"] |= {"failed": 3, "failed_outside_windows": 2}
    changed["after", "kept"]["longest_gap_ms"] += 1000.0
    changed["after", "new"]["longest_gap_ms"] += 100.0
    assert differences(before, after) == {
        "traffic": [Difference("mixed, new connections", "0 failed", "3 failed, 2 of them outside restarts")],
        "longest gaps of the traffic": [Difference("after, kept connections", "0.3 s", "1.3 s (slower)")],
    }


def test_a_recovery_that_takes_longer_than_noise_is_said() -> None:
    before, after = recorded("resilience"), recorded("resilience")
    after["recovery_times"][2]["seconds"] += 10
    after["recovery_times"][0]["seconds"] += 3  # of 14
    assert differences(before, after) == {
        "recovery times": [
            Difference("agent of server back: an old pod's identity (recovery)", "1.2 s", "11.2 s (slower)")
        ]
    }


def test_a_logged_error_is_new_by_its_words_and_not_by_the_ids_and_times_in_them(green: dict[str, Any]) -> None:
    after = copy.deepcopy(green)
    for each in after["logged_errors"]:
        each["words"] = each["words"].replace("2026-11-26T17:51", "2026-12-01T03:11")
    new = {**after["logged_errors"][0], "excused": False, "reason": "", "words": "Datastore is full after 12345 rows"}
    after["logged_errors"] += [new, {**new, "words": "Datastore is full after 67890 rows"}]
    (found,) = differences(green, after)["logged errors"]
    assert found == Difference("server: Datastore is full after … rows (client)", NOTHING, "")


def test_a_test_that_fails_now_is_said_with_its_sentence_and_one_that_fails_otherwise_than_before_is_not(
    green: dict[str, Any],
) -> None:
    failed = copy.deepcopy(green)
    failed["tests"][3] |= {"outcome": "failed", "sentence": "1 of 2 agents after 3.1 s"}
    (found,) = differences(green, failed)["tests"]
    assert (found.before, found.after) == ("passed", "failed: 1 of 2 agents after 3.1 s")
    again = copy.deepcopy(failed)
    again["tests"][3]["sentence"] = "1 of 2 agents after 4.7 s"
    assert differences(failed, again) == {}


def test_images_are_compared_by_name_whichever_registry_they_are_from(green: dict[str, Any]) -> None:
    after = copy.deepcopy(green)
    image = next(each for each in after["versions"]["images"] if "spire-agent" in each["image"])
    image["image"] = "ghcr.io/spiffe/spire-agent:1.15.3"
    (found,) = differences(green, after)["images"]
    assert found.what.startswith("spire-agent (")
    assert (found.before.split("/")[0], found.after.split("/")[0]) == ("localhost", "ghcr.io")


def test_values_have_no_secrets(green: dict[str, Any]) -> None:
    after = copy.deepcopy(green)
    for each in after["values"]:
        each["values"]["spire-server"]["dataStore"] = {"sql": {"password": "correct-horse-1"}}
    found = page((Path("a"), Path("b")), (green, after), compare(green, after), 100)
    assert [line for line in found if "dataStore.sql.password" in line]
    assert "correct-horse-1" not in "\n".join(found)


@pytest.mark.parametrize(
    ("before", "after", "exceeds"),
    [
        (15.4, 13.5, False),
        (1.4, 2.5, False),
        (1.2, 16.9, True),
        (16.9, 1.2, True),
        (9.5, 13.9, False),
        (9.5, 14.5, True),
    ],
)
def test_a_time_differs_by_more_than_noise_only_where_share_and_seconds_are_exceeded(
    before: float, after: float, exceeds: bool
) -> None:
    assert TIME_NOISE.is_exceeded(before, after) is exceeds


@pytest.mark.parametrize("width", [40, 80, 110])
def test_a_page_fits_its_width_and_says_where_there_is_more(width: int, green: dict[str, Any]) -> None:
    red = recorded("red-relationship")
    sections = compare(green, red)
    places = (Path("runs/green"), Path("runs/red"))
    lines = page(places, (green, red), sections, width)
    assert max(map(len, lines)) <= width or [line for line in lines if len(line) > width and " " not in line.strip()]
    assert len(next(each for each in sections if each.title == "tests").differences) > SHOWN
    assert len([line for line in lines if re.fullmatch(r"  … and \d+ more: --all shows them", line)]) == 1
    everything = page(places, (green, red), sections, width, everything=True)
    assert not [line for line in everything if "--all" in line]
    assert len(everything) >= len(lines)


def test_the_command_takes_folders_and_files_and_says_where_nothing_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.json").write_text((FOLDER / "green.json").read_text())
    assert main(["compare", str(FOLDER / "green.json"), str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["A", "B"]
    assert lines[3].startswith("no difference: verdict, links, versions, ")


def test_a_document_that_lacks_what_was_added_since_is_compared_all_the_same(green: dict[str, Any]) -> None:
    needed = ("schema_version", "run", "verdict")
    before = {name: green[name] for name in needed}
    assert page((Path("a"), Path("b")), (before, green), compare(before, green), 80)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "is no folder of a run: it has no run.json"),
        ("no JSON", "is no JSON"),
        ("[]", "has schema_version None, and this suite reads"),
        (json.dumps({"schema_version": SCHEMA_VERSION + 1}), f"has schema_version {SCHEMA_VERSION + 1}, and this"),
        (json.dumps({"schema_version": SCHEMA_VERSION}), "has no verdict"),
    ],
)
def test_what_is_no_run_or_of_another_schema_version_is_refused_in_a_sentence(
    text: str | None, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    assert main(["compare", str(FOLDER / "green.json"), str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert sentence in said.err
    assert len(said.err.splitlines()) == 1
    assert said.err.startswith(f"compare: {tmp_path}")
