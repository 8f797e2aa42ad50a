"""The long commands of the documents, typed one after another, each with the end that is said of it there."""

from __future__ import annotations

import json
from pathlib import Path
from zipfile import ZipFile

import pytest

from fixtures.config.cluster_values import CLUSTERS
from fixtures.core.project import PROJECT
from fixtures.report.red_run.one_screen import SCREEN_LINES
from tests.docs.conftest import Ended, Reader

STARTED, FEDERATION = "docs/getting-started.md", "tox -e federation -- "
PAGE_LINES = 66  # lines of a page of paper
AGAIN = 0.7  # what a run on kept clusters takes at the most, of the run that made them


def seconds(folder: Path) -> float:
    """How long a run took, with all that it deletes."""
    return float(json.loads((folder / "run.json").read_text())["run"]["seconds"])


def is_green(ended: Ended, folder: Path) -> bool:
    """Whether a run ended as the documents say: its verdict, the exit code, and the folder as the last line."""
    verdict = [line for line in ended.lines if line.startswith("GREEN: ")]
    return ended.code == 0 and len(verdict) == 1 and ended.lines[-1] == str(folder)


def test_what_a_machine_has_is_listed_and_nothing_is_started(reader: Reader) -> None:
    ended = reader.types(STARTED, FEDERATION + "--preflight")
    assert ended.code == 0, ended.output
    listed = {line[4:17].strip() for line in ended.lines}
    assert {"engine", "memory", "disk", "inotify", "ports"} <= listed, ended.output
    assert ended.lines[-1] == "nothing is missing"


@pytest.mark.dependency(name="kept", scope="session")
def test_clusters_are_kept_and_taken_again(reader: Reader) -> None:
    command = FEDERATION + "--keep-clusters"
    first, again = (reader.runs(name, STARTED, command) for name in ("first", "again"))
    assert is_green(first, reader.folder / "first"), first.output
    assert is_green(again, reader.folder / "again"), again.output
    assert "export KUBECONFIG=" in first.output
    assert seconds(reader.folder / "again") < AGAIN * seconds(reader.folder / "first")


@pytest.mark.dependency(depends=["kept"], scope="session")
def test_what_differs_between_two_runs_is_a_page(reader: Reader) -> None:
    before, after = "runs/2026-11-25T081502Z", "runs/latest"
    ended = reader.types(
        "docs/comparing-runs.md",
        f"python -m fixtures.report compare {before} {after}",
        **{before: str(reader.folder / "first"), after: str(reader.folder / "again")},
    )
    assert ended.code == 0, ended.output
    assert len(ended.lines) <= PAGE_LINES
    # It may be too long for one line: what it goes on in is indented.
    assert [line for line in ended.lines if not line.startswith(" ")][-1].startswith("no difference: "), ended.output


@pytest.mark.dependency(depends=["kept"], scope="session")
def test_evidence_of_the_kept_clusters_is_a_zip(reader: Reader) -> None:
    command, place = "python -m fixtures.report collect --cluster-prefix=mine-", reader.folder / "collected.zip"
    ended = reader.types("docs/comparing-runs.md", command, **{"mine-": f"{reader.prefix} --output={place}"})
    assert ended.code == 0, ended.output
    assert ended.lines[-1] == str(place)
    with ZipFile(place) as collected:
        files = {name.partition("/")[2] for name in collected.namelist()}
    places = {f"{reader.prefix}{name}/pods.txt" for name in CLUSTERS}
    assert {"index.txt", "diagnosis.txt", *places} <= files, sorted(files)


def test_what_could_be_removed_of_the_supply_is_only_listed(reader: Reader) -> None:
    command = "python -m supply prune --dry-run"
    first, again = (reader.types("docs/offline-supply.md", command) for _ in range(2))
    assert first.code == 0, first.output
    assert first.lines == again.lines


@pytest.mark.dependency(depends=["kept"], scope="session")
def test_after_a_green_run_clusters_that_are_kept_on_failure_are_gone(reader: Reader) -> None:
    command, folder = FEDERATION + "--cluster-prefix=mine- --keep-clusters=on-failure", reader.folder / "on-failure"
    ended = reader.types("docs/options.md", command, f"--run-folder={folder}", **{"mine-": reader.prefix})
    assert is_green(ended, folder), ended.output
    collected = reader.types(
        "docs/comparing-runs.md",
        "python -m fixtures.report collect --cluster-prefix=mine-",
        **{"mine-": reader.prefix},
    )
    assert collected.code == 2, collected.output


def test_a_red_run_names_the_broken_link_in_one_screen(reader: Reader, tmp_path: Path) -> None:
    if reader.charts is None:
        pytest.skip("the run that is shown is of the hardened charts: give their folder with --charts")
    page = "docs/reading-a-red-run.md"
    value = "spire-server.controllerManager.reconcile.clusterFederatedTrustDomains: false"
    assert value in " ".join((PROJECT / page).read_text().split())
    name, _, false = value.rpartition(": ")
    nested = json.loads(false)
    for each in reversed(name.split(".")):
        nested = {each: nested}
    values, folder = tmp_path / "client.yaml", reader.folder / "red"
    values.write_text(json.dumps(nested))
    ended = reader.types(
        page,
        FEDERATION + "--charts=../helm-charts-hardened --values=client=client.yaml",
        f"--run-folder={folder}",
        **{"../helm-charts-hardened": str(reader.charts), "=client.yaml": f"={values}"},
    )
    assert ended.code == 1, ended.output
    end = ended.lines[next(number for number, line in enumerate(ended.lines) if "= diagnosis =" in line) :]
    assert end[1].startswith("broken link: federation relationship (client): there is none with server.example: the ")
    # Without its folder, a line that stands below.
    assert len(end) <= SCREEN_LINES + 1
