"""Jobs run to their end: an earlier one of the same name, the log that is kept, and whose pod it is of."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from kubernetes.client import ApiException

from fixtures.k8s.cluster import Cluster, ClusterError
from fixtures.k8s.server_side_apply import LABELS
from fixtures.workloads.jobs import JobOutcome, newest_pod_log, run_job

BEGAN = datetime(2026, 11, 24, tzinfo=UTC)
MANIFEST = {"kind": "Job", "metadata": {"name": "client", "namespace": "demo"}}


def pod(name: str, age: int, code: int | None = None) -> Any:
    """A pod, so many seconds old, whose container has ended with this code or runs."""
    ended = None if code is None else SimpleNamespace(exit_code=code)
    state = SimpleNamespace(terminated=ended, waiting=None)
    return SimpleNamespace(
        metadata=SimpleNamespace(
            name=name, creation_timestamp=BEGAN - timedelta(seconds=age), owner_references=None
        ),
        spec=SimpleNamespace(init_containers=None, containers=[SimpleNamespace(name="client")]),
        status=SimpleNamespace(
            init_container_statuses=None, container_statuses=[SimpleNamespace(name="client", state=state)]
        ),
    )


class Jobs:
    """A cluster with Jobs; `steps` are what was asked of it, in order."""

    label = "client"
    is_external = False

    def __init__(self, existing: tuple[str, ...] = (), code: int = 0, status: str = "Complete") -> None:
        self.is_external = False
        self.steps: list[str] = []
        self.labels: dict[str, str] | None = None
        self.code = code
        self.logs = {"client-new": "first\nlast\n", "client-old": "of another\n"}
        self.refusal: HTTPStatus | None = None
        conditions = [SimpleNamespace(type=status, status="True")]
        self.batch = SimpleNamespace(
            list_namespaced_job=lambda _: SimpleNamespace(
                items=[SimpleNamespace(metadata=SimpleNamespace(name=name, labels=self.labels)) for name in existing]
            ),
            create_namespaced_job=self._create,
            read_namespaced_job=lambda *_: SimpleNamespace(status=SimpleNamespace(conditions=conditions)),
        )
        self.core = SimpleNamespace(list_namespaced_pod=self._list, read_namespaced_pod_log=self._log)

    def kubectl(self, *arguments: str) -> None:
        self.steps.append(" ".join(arguments[:2]))

    def record_before(self, manifest: Any) -> None:
        assert manifest is MANIFEST
        self.steps.append("recorded")

    def _create(self, namespace: str, manifest: Any) -> Any:
        assert (namespace, manifest) == ("demo", MANIFEST)
        self.steps.append("created")
        return SimpleNamespace(metadata=SimpleNamespace(uid="of-this-job"))

    def _list(self, namespace: str, *, label_selector: str) -> Any:
        assert (namespace, label_selector) == ("demo", "controller-uid=of-this-job")
        return SimpleNamespace(items=[pod("client-new", 1, self.code), pod("client-old", 2, self.code)])

    def _log(self, name: str, namespace: str, **_: object) -> Any:
        if self.refusal:
            raise ApiException(self.refusal)
        assert namespace == "demo"
        return SimpleNamespace(data=self.logs[name].encode())


def run(jobs: Jobs, folder: Path, *, wait_for_job: bool = False) -> JobOutcome:
    return run_job(
        cast(Cluster, jobs),
        MANIFEST,
        folder,
        wait_for_job=wait_for_job,
        pod_ended=lambda: jobs.steps.append("pod ended"),
    )


@pytest.mark.parametrize(("code", "ended"), [(0, "Complete"), (1, "Failed")])
def test_a_job_ends_with_its_pod_and_leaves_its_log(tmp_path: Path, code: int, ended: str) -> None:
    jobs = Jobs(("other",), code)
    assert run(jobs, tmp_path) == JobOutcome("client", ended, ("first", "last"))
    assert jobs.steps == ["recorded", "created", "pod ended"]
    assert (tmp_path / "job-client-client.log").read_text() == "first\nlast\n"


def test_an_earlier_job_of_the_name_is_deleted_first(tmp_path: Path) -> None:
    jobs = Jobs(("client",))
    run(jobs, tmp_path)
    assert jobs.steps == ["delete job", "created", "pod ended"]


@pytest.mark.parametrize(("labels", "deleted"), [(None, False), ({"app": "client"}, False), (LABELS, True)])
def test_somebody_elses_job_of_the_name_is_not_deleted(
    tmp_path: Path, labels: dict[str, str] | None, deleted: bool
) -> None:
    jobs = Jobs(("client",))
    jobs.is_external, jobs.labels = True, labels
    said = r"^client: the Job demo/client is there, and was not made by this suite$"
    with nullcontext() if deleted else pytest.raises(ClusterError, match=said):
        run(jobs, tmp_path)
    assert ("delete job" in jobs.steps) is deleted


def test_a_job_that_is_waited_for_ends_as_it_says_itself(tmp_path: Path) -> None:
    outcome = run(Jobs(code=0, status="Failed"), tmp_path, wait_for_job=True)
    assert (outcome.ended, outcome.log) == ("Failed", "first\nlast")


def test_a_pod_that_waits_to_start_has_no_log_and_another_refusal_is_raised() -> None:
    jobs = Jobs()
    jobs.refusal = HTTPStatus.BAD_REQUEST
    selector = "controller-uid=of-this-job"
    assert newest_pod_log(cast(Cluster, jobs), "demo", selector) == []
    jobs.refusal = HTTPStatus.FORBIDDEN
    with pytest.raises(ApiException):
        newest_pod_log(cast(Cluster, jobs), "demo", selector)
    jobs.core.list_namespaced_pod = lambda *_, **__: SimpleNamespace(items=[])
    assert newest_pod_log(cast(Cluster, jobs), "demo", selector) == []
