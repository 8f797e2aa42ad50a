"""The field's cases as data: what the suite itself can say of them without a cluster."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from fixtures.config.cluster_values import read_clusters
from fixtures.diagnosis.chain import LINKS
from tests.chart_faults import REFUSED_AT_START, ChartFault
from tests.field_cases import FIELD_CASES, as_read_by

# Others are refused for what a chart makes of them.
REFUSED_FOR_THEMSELVES = {"values-of-an-umbrella-chart", "no-identity-that-federates"}


def test_every_case_has_a_name_of_its_own_and_a_known_link_or_none() -> None:
    assert len({case.name for case in FIELD_CASES}) == len(FIELD_CASES)
    links = {link for case in FIELD_CASES if not case.healthy for link in case.link.split("|")}
    assert links - {REFUSED_AT_START} <= set(LINKS)


@pytest.mark.parametrize("case", FIELD_CASES, ids=str)
def test_values_are_taken_unless_they_are_refused_for_themselves(case: ChartFault, tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(dict(case.values)))
    given = [f"{case.cluster}={file}" if case.cluster else str(file)]
    if case.name in REFUSED_FOR_THEMSELVES:
        with pytest.raises(ValueError, match=case.sentence):
            read_clusters(given)
    else:
        assert len(read_clusters(given)) == 2


@pytest.mark.parametrize(("reads", "healthy"), [({}, True), ({"hostNetwork": True}, False)], ids=["none", "all"])
def test_a_chart_that_reads_none_of_a_cases_values_is_not_broken_by_them(
    reads: dict[str, bool], healthy: bool, tmp_path: Path
) -> None:
    agent = tmp_path / "charts" / "spire-agent"
    agent.mkdir(parents=True)
    for folder, values in ((tmp_path, {"spire-agent": {"enabled": True}}), (agent, reads)):
        (folder / "Chart.yaml").write_text(yaml.safe_dump({"name": folder.name, "version": "1.0.0"}))
        (folder / "values.yaml").write_text(yaml.safe_dump(values))
    (case,) = (each for each in FIELD_CASES if each.name == "agent-outside-the-hosts-network")
    assert as_read_by(case, tmp_path).healthy is healthy
