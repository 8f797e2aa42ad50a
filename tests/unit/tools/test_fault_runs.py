"""What a run made of an installation fault, read from what the run printed and left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from supply.host import Engine
from tests.chart_faults import FAILED_CHECK, REFUSED_AT_START, ChartFault, Edit
from tests.tools import fault_runs
from tests.tools.fault_runs import Bench, Verdict, faults, table
from tests.tools.runs import Result, seconds_table

DIAGNOSIS = """\
broken link: component ready (client): DaemonSet spire-system/spire-agent has 0 of 1 ready (running, not ready)
  usually: the agent is refused by its server
    not configured for cluster "production"
  in consequence: agent attested (client): 0 of 1 agents are attested
"""
RED = """\
   41.0s  ✗ client   SPIRE                           20.1 s
broken link: component ready (client): DaemonSet spire-system/spire-agent has 0 of 1
  ready (running, not ready)
✗ test_1_deployment.py::test_agents (setup)
    client: DaemonSet spire-system/spire-agent did not come
20 skipped: a prerequisite did not pass

RED: 1 passed, 1 error, 20 skipped
{folder}
"""
FAULT = ChartFault("agent-of-another-cluster", "component ready|agent attested", "not configured for cluster")
PHASES: dict[str, Any] = {
    "red_at": 129.5,
    "phases": [
        {"what": "Kind cluster", "cluster": "client", "began": 80.0, "seconds": 20.0, "failed": False},
        {"what": "SPIRE", "cluster": "client", "began": 101.0, "seconds": 25.0, "failed": True},
        {"what": "SPIRE", "cluster": "server", "began": 100.0, "seconds": 24.0, "failed": True},
    ],
}


def result(folder: Path, code: int = 1, output: str = RED, diagnosis: str = DIAGNOSIS, phases: Any = PHASES) -> Result:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "output.log").write_text(output.format(folder=folder))
    if diagnosis:
        (folder / "diagnosis.txt").write_text(diagnosis)
    if phases:
        (folder / "phases.json").write_text(json.dumps(phases))
    return Result(folder, code, 60.0)


def verdict(folder: Path, link: str = FAULT.link, sentence: str = FAULT.sentence, **given: Any) -> Verdict:
    return Verdict(ChartFault("fault", link, sentence), result(folder, **given))


def test_a_fault_is_caught_and_named_and_its_time_is_from_the_first_start_of_helm(tmp_path: Path) -> None:
    met = verdict(tmp_path)
    assert (met.caught, met.named, met.right, met.why) == (True, True, True, "")
    assert met.seconds == 29.5
    assert met.row == ("fault", "caught", "named", "29.5 s")


@pytest.mark.parametrize(
    "given",
    [
        {"link": "agent attested"},  # which is there, but in consequence
        {"sentence": "0 of 1 agents are attested"},
        {"diagnosis": ""},
        {"diagnosis": "no broken link: every one that can be looked at holds\n"},
    ],
)
def test_what_is_named_otherwise_or_only_in_consequence_is_not_named(tmp_path: Path, given: dict[str, str]) -> None:
    met = verdict(tmp_path, **given)
    assert (met.caught, met.named, met.right) == (True, False, False)
    assert met.why.startswith("fault: expected ")


@pytest.mark.parametrize("code", [0, 2, 3, 4])
def test_a_run_that_is_green_or_ends_otherwise_has_not_caught_the_fault(tmp_path: Path, code: int) -> None:
    assert not verdict(tmp_path, code=code).caught


def test_what_is_refused_is_named_by_the_refusal_and_has_no_time(tmp_path: Path) -> None:
    said = "ERROR: cluster server: spire-server.federation.enabled is not true\n\n"
    met = verdict(tmp_path, REFUSED_AT_START, "enabled is not true", code=4, output=said, diagnosis="", phases=None)
    assert (met.right, met.seconds) == (True, None)
    assert not verdict(tmp_path / "red", REFUSED_AT_START, "enabled is not true").caught


def test_what_breaks_no_link_is_named_by_the_check_that_fails(tmp_path: Path) -> None:
    no_link = "no broken link: every one that can be looked at holds\n"
    met = verdict(tmp_path, FAILED_CHECK, "no entry any more: .*/static", diagnosis=no_link)
    assert (met.caught, met.named) == (True, False)
    (tmp_path / "failures.txt").write_text(
        "E   WaitError: server: the entries of before; last seen: no entry any\nmore: a/static\n"
    )
    assert met.named
    either = f"component ready|{FAILED_CHECK}"
    met = verdict(tmp_path / "check", either, "no entry any more: .*/static", diagnosis=no_link)
    (tmp_path / "check" / "failures.txt").write_text("E   no entry any more: a/static\n")
    assert met.named
    assert verdict(tmp_path / "link", either).named


def test_a_healthy_variant_must_be_green(tmp_path: Path) -> None:
    variant = ChartFault("slow", healthy=True)
    assert Verdict(variant, result(tmp_path / "green", 0, "GREEN: 30 passed\n{folder}\n", "")).right
    alarm = Verdict(variant, result(tmp_path / "red"))
    assert "FALSE ALARM" in alarm.row
    assert alarm.why.startswith("slow: expected green; the run ended with 1: broken link: component ready")


def test_the_verdict_of_a_red_run_has_its_first_failed_check_and_the_broken_link(tmp_path: Path) -> None:
    assert result(tmp_path).verdict.split(" | ") == [
        "RED: 1 passed, 1 error, 20 skipped",
        "✗ test_1_deployment.py::test_agents (setup)",
        "client: DaemonSet spire-system/spire-agent did not come",
        DIAGNOSIS.splitlines()[0],
    ]
    cut = result(tmp_path, output="    1.0s  ✓ run      supply\n")
    assert cut.verdict == "no verdict; last line:     1.0s  ✓ run      supply"


def test_the_table_has_totals_and_says_what_is_too_slow(tmp_path: Path) -> None:
    def after(name: str, seconds: float) -> Verdict:
        return Verdict(
            ChartFault(name, FAULT.link, FAULT.sentence),
            result(tmp_path / name, phases=PHASES | {"red_at": 100 + seconds}),
        )

    lines, wrong = table([after("a", 10), after("b", 29), after("c", 74)])
    assert lines[-2:] == [
        "3 faults: 3 caught, 3 named rightly; median 29.0 s, longest 74.0 s",
        "0 healthy variants: 0 false alarms",
    ]
    assert wrong == []
    _, wrong = table([after("a", 31), after("b", 76)])
    assert wrong == ["the median is over 30 s: 53.5 s", "b was red only after 76.0 s, and the most is 75 s"]
    slow = {"phases": [{"what": "upgrade", "began": 100}], "red_at": 200}
    assert table([Verdict(FAULT, result(tmp_path / "upgraded", phases=slow), met="upgrade")])[1] == []
    missed = Verdict(FAULT, result(tmp_path / "missed", 0))
    assert [each.partition(":")[0] for each in table([after("a", 10), missed])[1]] == [FAULT.name]


class Runs:
    """Runs that end with these codes, by the beginning of their folders' names; `asked` is what was asked, in order."""

    def __init__(self, codes: dict[str, list[int]]) -> None:
        self.codes = codes
        self.asked: list[str] = []
        self.suites: list[str] = []

    def __call__(self, folder: Path, _prefix: str, *options: str, suite: str, **_: Any) -> Runs:
        self.folder = folder
        self.suites.append(suite)
        values = next(
            (f" {option.partition('=')[2].partition('=')[0]}" for option in options if "values" in option), ""
        )
        kept = " kept" if "--keep-clusters" in options else ""
        given = dict(option.partition("=")[::2] for option in options)
        charts = " to ".join(Path(given[name]).name for name in ("--charts", "--from", "--to") if name in given)
        self.asked.append(f"{folder.name} on {charts}{kept}{values}")
        return self

    def result(self) -> Result:
        name = next((name for name in self.codes if self.folder.name.startswith(name)), "")
        return result(self.folder, self.codes[name].pop(0) if name else 0)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    (tmp_path / "charts" / "good" / "spire").mkdir(parents=True)
    (tmp_path / "charts" / "good" / "spire" / "values.yaml").touch()
    return Bench(tmp_path, "faults-", Engine("podman"), lambda: None, tmp_path / "charts" / "good")


VALUES_FAULT = ChartFault(
    "federates-with-nobody", FAULT.link, FAULT.sentence, values={"spire-server": {}}, cluster="client"
)


def test_on_new_clusters_each_fault_is_a_run(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = Runs({"federates": [1]})
    monkeypatch.setattr(fault_runs, "Run", runs)
    assert faults(bench, [VALUES_FAULT], bench.on_new_clusters) == []
    assert runs.asked == ["federates-with-nobody on good client"]
    assert (bench.folder / "charts" / "federates-with-nobody.yaml").read_text() == "spire-server: {}\n"
    assert (bench.folder / "faults.txt").read_text().splitlines()[1].startswith("federates-with-nobody ")


def test_on_kept_clusters_a_green_run_comes_before_and_after(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = Runs({"federates-with-nobody-after": [0], "federates": [1], "again-after": [0], "again": [1]})
    monkeypatch.setattr(fault_runs, "Run", runs)
    again = ChartFault("again", FAULT.link, FAULT.sentence)
    assert faults(bench, [VALUES_FAULT, again], bench.on_kept_clusters) == []
    assert runs.asked == [
        "before-0 on good kept",
        "federates-with-nobody on good kept client",
        "federates-with-nobody-after on good kept",
        "again on good kept",
        "again-after on good kept",
    ]


def test_by_an_upgrade_a_fault_is_met_by_the_new_release_alone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = Runs({"federates": [1], "edited": [1]})
    monkeypatch.setattr(fault_runs, "Run", runs)
    edited = ChartFault("edited", FAULT.link, FAULT.sentence, (Edit("values.yaml", "", "a: 1\n"),))
    assert faults(bench, [VALUES_FAULT, edited], bench.by_an_upgrade) == []
    assert runs.asked == ["federates-with-nobody on good to good client", "edited on good to edited"]
    assert runs.suites == ["upgrade", "upgrade"]


def test_seconds_of_an_upgrade_count_from_its_own_beginning(tmp_path: Path) -> None:
    phases = {"phases": [{"what": "SPIRE", "began": 100}, {"what": "upgrade", "began": 150}], "red_at": 160}
    assert Verdict(FAULT, result(tmp_path, phases=phases), met="upgrade").seconds == 10


def test_clusters_that_are_not_green_again_are_deleted_and_made_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted: list[str] = []
    runs = Runs({"first-after": [1], "first": [1], "second-after": [0], "second": [1]})
    monkeypatch.setattr(fault_runs, "Run", runs)
    bench.delete_clusters = lambda: deleted.append(runs.asked[-1].partition(" ")[0])
    chosen = [ChartFault(name, FAULT.link, FAULT.sentence) for name in ("first", "second")]
    assert faults(bench, chosen, bench.on_kept_clusters) == []
    assert deleted == ["first-after"]
    assert [asked.partition(" ")[0] for asked in runs.asked] == [
        "before-0",
        "first",
        "first-after",
        "before-3",
        "second",
        "second-after",
    ]


def test_charts_with_which_nothing_is_green_end_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fault_runs, "Run", Runs({"before": [1, 1]}))
    with pytest.raises(RuntimeError, match="not green on new clusters"):
        faults(bench, [VALUES_FAULT], bench.on_kept_clusters)


def test_repeated_runs_are_counted_with_their_median_and_longest_time(tmp_path: Path) -> None:
    results = [Result(tmp_path, code, seconds) for code, seconds in ((0, 10.0), (0, 30.0), (1, 20.0))]
    head, row = seconds_table([("new clusters", results)])
    assert head.split() == ["runs", "count", "green", "red", "median", "longest"]
    assert row.split() == ["new", "clusters", "3", "2", "1", "20.0", "s", "30.0", "s"]
