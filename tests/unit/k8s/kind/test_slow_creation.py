"""A cluster that took longer to create than its neighbour leaves its node's journal; others leave nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.k8s.kind.cluster import KindCluster
from fixtures.k8s.kind.slow_creation import SLOWER, keep_slow_creation
from supply.host import Engine

# `ps` names one node of the cluster that it is asked for; one node has no logs yet.
ENGINE = """#!/bin/sh
case "$1 $2 $3" in
"ps --filter label=io.x-k8s.kind.cluster=t-"*) echo "${3#*=*=}-control-plane" ;;
"inspect "*) echo "created 06:37:01" ;;
"exec t-client-control-plane sh") echo "tail: no such file" >&2; exit 1 ;;
"exec "*) echo "$2: $3"; echo "Password: hunter2" ;;
esac
"""


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    program = tmp_path / "engine"
    program.write_text(ENGINE)
    program.chmod(0o755)
    return Engine(str(program))


def clusters(folder: Path) -> list[KindCluster]:
    path = folder / "nothing"
    return [
        KindCluster(name, "t-", image=None, kind=path, kubectl=path, log=folder / "log")
        for name in ("server", "client")
    ]


def test_the_slower_one_leaves_evidence_of_all_nodes(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = clusters(tmp_path)
    run = tmp_path / "run"
    assert keep_slow_creation(made, {"server": 15.0, "client": 15.0 + SLOWER}, engine, run) == [
        "cluster client took 20.0 s to create, the quickest 15.0 s: see slow-creation-client"
    ]
    (kept,) = run.iterdir()
    assert sorted(path.name for path in kept.iterdir()) == ["t-client-control-plane", "t-server-control-plane"]
    server, client = kept / "t-server-control-plane", kept / "t-client-control-plane"
    assert (server / "container.txt").read_text() == "created 06:37:01\n"
    assert (server / "journal.txt").read_text() == "t-server-control-plane: journalctl\nPassword: <redacted>\n"
    assert (server / "files.txt").read_text().startswith("t-server-control-plane: find\n")
    assert "could not be read: tail: no such file" in (client / "logs.txt").read_text()


@pytest.mark.parametrize("seconds", [{}, {"server": 90.0}, {"server": 15.0, "client": 15.0 + SLOWER - 0.1}])
def test_clusters_that_took_about_as_long_leave_nothing(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch, seconds: dict[str, float]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert keep_slow_creation(clusters(tmp_path), seconds, engine, tmp_path / "run") == []
    assert not (tmp_path / "run").exists()


def test_an_engine_that_does_not_answer_ends_nothing(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(engine.program).write_text("#!/bin/sh\nexit 125\n")
    assert keep_slow_creation(clusters(tmp_path), {"server": 15.0, "client": 30.0}, engine, tmp_path / "run")
