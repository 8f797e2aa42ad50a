"""What a run leaves may be shown to anybody."""

from __future__ import annotations

from pathlib import Path

from fixtures.k8s.cluster import Cluster
from fixtures.report.data.document import describe, write_document
from fixtures.report.run import Report
from tests import known_secrets


def test_no_artefact_of_the_run_has_a_secret_in_it(
    clusters: dict[str, Cluster], run_folder: Path, report: Report
) -> None:
    # As far as the run has come; it is written again at its end.
    write_document(describe(report), run_folder)
    known_secrets.assert_none_is_revealed(run_folder, clusters.values())
