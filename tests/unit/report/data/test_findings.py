"""What a run's document says of broken links: those of its diagnosis, and those that trials of faults named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fixtures.diagnosis.chain import Diagnosis
from fixtures.diagnosis.finding import Finding
from fixtures.report.data.document import RUN_JSON, RunFileError, describe, read_document
from fixtures.report.run import Report
from fixtures.resilience.fault_trial import TrialResult, TrialStatistics

BROKEN = Finding("bundle fresh", "client", "it is old", "a clock is wrong", "raw", True, True, "server.example")
DESCRIBED = {
    "link": "bundle fresh",
    "cluster": "client",
    "sentence": "it is old",
    "cause": "a clock is wrong",
    "evidence": "raw",
    "on_its_way": True,
    "peer": "server.example",
}
CONSEQUENCE = Finding("TLS", "client", "no call succeeds", "")


def test_a_diagnosis_is_there_with_all_that_its_findings_say(tmp_path: Path) -> None:
    report = Report(tmp_path)
    assert describe(report)["diagnosis"] is None
    report.facts.diagnosis = Diagnosis(BROKEN, (CONSEQUENCE,), ("server: fields: it did not answer",))
    report.diagnosis = ["broken link: bundle fresh"]
    found = describe(report)["diagnosis"]
    assert found["broken"] == DESCRIBED
    (consequence,) = found["consequences"]
    assert (consequence["link"], consequence["peer"], consequence["on_its_way"]) == ("TLS", None, False)
    assert (found["unseen"], found["lines"]) == (["server: fields: it did not answer"], ["broken link: bundle fresh"])
    report.facts.diagnosis = None
    assert describe(report)["diagnosis"]["broken"] is None


def test_trials_are_there_with_what_the_diagnosis_named(tmp_path: Path) -> None:
    report = Report(tmp_path)
    named = TrialResult("bundle-deleted", "no bundle", Diagnosis(BROKEN), 1.234, 5.678, 0.5)
    missed = TrialResult("misspelt-field", "", Diagnosis(None), 20.0, 30.0)
    report.facts.trials = TrialStatistics([(named, True, True), (missed, False, False)], false_alarms=1, healthy=2)
    found = describe(report)["trials"]
    assert (found["healthy"], found["false_alarms"]) == (2, 1)
    assert found["faults"][0] == {
        "fault": "bundle-deleted",
        "caught": True,
        "named": True,
        "error": "no bundle",
        "broken": DESCRIBED,
        "seconds_to_red": 1.23,
        "seconds": 5.68,
        "seconds_from_crash": 0.5,
    }
    second = found["faults"][1]
    assert (second["caught"], second["named"]) == (False, False)
    assert (second["broken"], second["seconds_from_crash"]) == (None, None)


def test_a_document_without_a_verdict_is_none_of_a_run(tmp_path: Path) -> None:
    document = describe(Report(tmp_path))
    (tmp_path / RUN_JSON).write_text(json.dumps({**document, "verdict": "green"}))
    with pytest.raises(RunFileError, match=r"run\.json has no verdict, and is no document of a run$"):
        read_document(tmp_path)
