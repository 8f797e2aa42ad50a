"""Evidence of running clusters: which are asked, and what is said of those that do not answer."""

from __future__ import annotations

import socket
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from fixtures.artifacts import programs
from fixtures.k8s.cluster import Cluster
from fixtures.k8s.kind.cluster import record_of
from fixtures.report.__main__ import main
from fixtures.report.collection import CollectedCluster, CollectionError, clusters_of_contexts, collect, kept_clusters
from tests.unit import secret_examples
from tests.unit.api_server import ApiServer

# What `helm list -A --all -o json` printed, of a cluster with SPIRE and of what somebody else installed there.
RELEASES = """[
{"name":"spire","namespace":"spire-mgmt","revision":"1","updated":"2026-11-26 18:55:02.69478645 +0000 UTC",
"status":"deployed","chart":"spire-0.1.0","app_version":"1.15.3"},
{"name":"extra","namespace":"demo","revision":"1","updated":"2026-11-26 18:58:25.1 +0000 UTC",
"status":"deployed","chart":"extra-0.1.0","app_version":""}]"""
VALUES = "trustDomain: server.example\nupstream:\n  password: correct-horse-1\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that refuses connections."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        yield closed.getsockname()[1]


def keep(name: str) -> None:
    """A cluster that a run from this folder has kept."""
    record_of(name).parent.mkdir(parents=True)
    record_of(name).touch()


def kubeconfig(folder: Path, *contexts: str, port: int = 1) -> Path:
    entries = [{"name": each, "context": {"cluster": "a", "user": "a"}} for each in contexts]
    found = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "a", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "a", "user": {"token": secret_examples.jwt()}}],
        "contexts": entries,
        "current-context": contexts[0],
    }
    path = folder / "config"
    path.write_text(yaml.safe_dump(found))
    return path


def test_kept_clusters_are_those_of_this_folder_whose_names_begin_with_the_prefix() -> None:
    for name in ("mine-server", "mine-client", "server"):
        keep(name)
    (record_of("foreign").parent).mkdir()
    assert [each.name for each in kept_clusters("mine-")] == ["mine-client", "mine-server"]
    assert [each.context for each in kept_clusters("mine-")] == ["kind-mine-client", "kind-mine-server"]
    assert [each.kubeconfigs for each in kept_clusters("mine-s")] == [(record_of("mine-server").parent / "kubeconfig",)]
    assert len(kept_clusters("")) == 3
    with pytest.raises(CollectionError, match="begin with 'other-'; it has kept mine-client, mine-server, server: "):
        kept_clusters("other-")


def test_a_context_is_a_cluster_whose_name_can_be_a_files(folder: Path) -> None:
    arn = "arn:aws:eks:eu-central-1:111122223333:cluster/one"
    path = kubeconfig(folder, arn, "two")
    found = clusters_of_contexts([arn, "two"], str(path))
    assert [each.name for each in found] == ["arn-aws-eks-eu-central-1-111122223333-cluster-one", "two"]
    assert found[0] == CollectedCluster(found[0].name, arn, (path,))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "no run from this folder has kept clusters at all: give --context for others"),
        (["--context=three", "--kubeconfig=config"], "--context: config has no context three; it has one, two"),
        (["--context=one", "--context=one", "--kubeconfig=config"], "--context: two of one, one are the same"),
        (["--context=one", "--kubeconfig=none"], "--context: there is no kubeconfig none"),
        (["--kubeconfig=config"], "--kubeconfig says where the contexts of --context stand: give those too"),
        (["--context=one", "--cluster-prefix=x"], "--cluster-prefix is of kept clusters"),
        (["--context=one", "--kubeconfig=config", "--output=config"], "config exists already"),
    ],
)
def test_what_cannot_be_collected_is_refused_in_a_sentence(
    arguments: list[str], sentence: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kubeconfig(folder, "one", "two")
    before = sorted(folder.iterdir())
    assert main(["collect", *arguments]) == 2
    said = capsys.readouterr()
    assert (said.out, len(said.err.splitlines())) == ("", 1)
    assert said.err.startswith(f"collect: {sentence}")
    assert sorted(folder.iterdir()) == before


def test_clusters_that_do_not_answer_are_a_sentence_each_and_leave_nothing(
    folder: Path, closed_port: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "find", lambda name, _: program(folder / "bin", name, exported=folder / "config"))
    path = kubeconfig(folder, "one", "two", port=closed_port)
    assert main(["collect", "--context=one", "--context=two", f"--kubeconfig={path}"]) == 2
    said = capsys.readouterr()
    assert [line.partition(":")[0] for line in said.out.splitlines()] == [
        "one does not answer, and is left out",
        "two does not answer, and is left out",
    ]
    assert "refused" in said.out
    assert said.err == "collect: no cluster answers, and nothing was collected\n"
    assert sorted(each.name for each in folder.iterdir()) == ["bin", "config"]


def program(folder: Path, name: str, exported: Path) -> Path:
    """A kubectl that exports this kubeconfig and finds no object; a Helm that lists two releases."""
    folder.mkdir(exist_ok=True)
    (folder / "releases").write_text(RELEASES)
    (folder / "values").write_text(VALUES)
    cases = {
        "kubectl": f'case "$*" in *config*) cat {exported} ;; *json) echo \'{{"items": []}}\' ;; *) echo "$@" ;; esac',
        "helm": f'case "$*" in *json) cat {folder}/releases ;; *values*) cat {folder}/values ;; esac',
    }
    (folder / name).write_text(f"#!/bin/sh\n{cases[name]}\n")
    (folder / name).chmod(0o755)
    return folder / name


def test_what_is_found_goes_into_one_zip_which_says_why_spire_is_not_diagnosed_and_has_no_secret(
    folder: Path, api_server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "exported").write_text(api_server.kubeconfig())
    monkeypatch.setattr(programs, "find", lambda name, _: program(folder / "bin", name, exported=folder / "exported"))
    monkeypatch.setattr(Cluster, "kubernetes_version", lambda *_: "1.36.3")
    said: list[str] = []
    zipped = collect(
        [CollectedCluster("theirs", "a", (folder / "exported",))], folder / "to" / "evidence.zip", said.append
    )
    assert zipped == folder / "to" / "evidence.zip"
    why = "theirs: its SPIRE is not diagnosed: no spire-server is installed"
    assert [line for line in said if line.startswith(why)]
    with zipfile.ZipFile(zipped) as archive:
        texts = {each: archive.read(each).decode() for each in archive.namelist()}
    assert {each.partition("/")[0] for each in texts} == {"evidence"}
    assert texts["evidence/diagnosis.txt"].startswith(why)
    assert texts["evidence/theirs/pods.txt"].strip() == "get pods -A -o wide"
    assert "trustDomain: server.example" in texts["evidence/theirs/helm/spire-mgmt-spire-values.yaml"]
    assert not [each for each in texts if "extra" in each], "what somebody else has installed is left out"
    assert not [each for each, text in texts.items() if "correct-horse-1" in text]
    index = texts["evidence/index.txt"].splitlines()
    assert index[0].endswith("of theirs, without secrets")
    assert {line.partition("  ")[0] for line in index[2:]} == {
        each.removeprefix("evidence/") for each in texts if not each.endswith("index.txt")
    }
    assert sorted(each.name for each in folder.iterdir()) == ["bin", "exported", "to"]
