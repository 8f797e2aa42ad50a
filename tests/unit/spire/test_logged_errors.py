"""Errors in the logs of SPIRE's components: which are read, and which of them the table excuses, and when.

Recorded: what components of the project's own chart and of the hardened one logged in runs that were green, upgrades
among them; a line for each excuse, and two warnings. Of the last one, of a pod that is gone, the run kept no more.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from fixtures.k8s.connectivity.forward import Reopening
from fixtures.k8s.failures.container_logs import error_lines
from fixtures.spire.federation import Federation
from fixtures.spire.logged_errors.error_log import (
    RESTART_TIME,
    WARNING,
    ErrorLog,
    JudgedError,
    error_table,
    new_kinds,
)
from fixtures.spire.logged_errors.excuses import EXCUSES, RESTARTING, UNFEDERATED
from tests import checks
from tests.unit.kubernetes_objects import NOW, KubernetesObjects, container, exited, pod, running
from tests.unit.own_chart import LAYOUT

Read = Callable[[str], str]
SERVER, MANAGER = LAYOUT.server.container.name, LAYOUT.controller_manager.container.name
IN_SERVER, IN_MANAGER = f"spire-server-0/{SERVER}", f"spire-server-0/{MANAGER}"
NO_BUNDLE = (
    'level=error msg="Failed to create entry" error="rpc error: code = Unknown desc = unable to find federated bundle '
    '\\"spiffe://{}\\"" method=BatchCreateEntry subsystem_name=api'
)
UPDATE_FAILED = (
    'level=error msg="Error updating bundle" error="failed to fetch federated bundle from endpoint: failed to fetch '
    'bundle: {}" subsystem_name=bundle_client trust_domain={}'
)
REFUSED = 'Get \\"https://10.89.0.1:8440\\": dial tcp 10.89.0.1:8440: connect: connection refused'
LIST_CANCELED = 'level=error msg="Failed to list entries" error="datastore-sql: context canceled" method=ListEntries'
BROKEN = 'level=error msg="Failed to list entries" error="database disk image is malformed" request_id={}'
NOT_SCHEDULED = (
    '2026-11-23T09:59:00.000Z\tERROR\tentry-reconciler\tFailed to render entry\t{"error": "node  not found in cache"}'
)
# As seen of a role that named `clusterspiffeid/status`.
DENIED = (
    '2026-11-27T21:19:13.134Z\tERROR\tentry-reconciler\tFailed to update status\t{"clusterSPIFFEID": "/x", "error": '
    '"clusterspiffeids.spire.spiffe.io \\"default\\" is forbidden: User '
    '\\"system:serviceaccount:spire-server:spire-server\\" cannot update resource \\"clusterspiffeids/status\\" in API '
    'group \\"spire.spiffe.io\\" at the cluster scope"}'
)
SOME_NODE = NOT_SCHEDULED.replace("node  not", "node worker not")


def error_log(cluster: KubernetesObjects, folder: Path, since: float = NOW - 900) -> ErrorLog:
    """The errors since then, of a federation that was made 100 s ago, with a forward opened again 230 s ago."""
    clusters = {"server.example": cluster.cluster, "client.example": KubernetesObjects().cluster}
    common = {"layout": LAYOUT, "has_evicted_agents": False}
    spires = {name: SimpleNamespace(cluster=each, trust_domain=name, **common) for name, each in clusters.items()}
    forwards = {name: SimpleNamespace(reopenings=[]) for name in clusters}
    forwards["client.example"].reopenings.append(Reopening(NOW - 230, "lost connection to pod"))
    federation = SimpleNamespace(spires=spires, forwards=forwards, made_at=NOW - 100)
    return ErrorLog(cast(Federation, federation), since, folder)


def server_pod(cluster: KubernetesObjects, started: float = NOW - 600) -> None:
    pod(cluster, container(SERVER, running=running(started)), container(MANAGER, running=running(started)))


@pytest.fixture
def cluster() -> KubernetesObjects:
    """A cluster with a server's pod that has run for ten minutes."""
    made = KubernetesObjects()
    server_pod(made)
    return made


def verdicts(found: list[JudgedError]) -> list[tuple[str, bool]]:
    return [(each.error.component, each.is_excused) for each in found]


def test_the_table_is_of_lines_that_were_seen_and_no_line_that_was_seen_is_missing_in_it(recorded: Read) -> None:
    seen = [line.partition("\t")[::2] for line in recorded("component-errors.log").splitlines()]
    errors = [(component, found.line) for component, text in seen for found in error_lines(text)]
    assert len(errors) == len(seen)
    fitting = [
        [each for each in EXCUSES if each.component == component and re.search(each.pattern, line)]
        for component, line in errors
        if not WARNING.search(line)
    ]
    assert all(fitting)
    assert {id(each) for excuses in fitting for each in excuses} == {id(each) for each in EXCUSES}


def test_what_no_table_excuses_is_a_warning_and_red_with_strict_in_its_words(
    cluster: KubernetesObjects, tmp_path: Path
) -> None:
    cluster.log(IN_SERVER, BROKEN.format(1), 'level=warning msg="Slow" error="x"', 'level=info msg="Fine"')
    cluster.log(IN_SERVER, BROKEN.format(2))
    cluster.log(IN_MANAGER, NOT_SCHEDULED, SOME_NODE)
    found = error_log(cluster, tmp_path).read()
    assert sorted(verdicts(found)) == [
        ("controller manager", False),
        ("controller manager", True),
        ("server", False),
        ("server", False),
    ]
    warnings: list[str] = []
    checks.logged_errors_are_excused(found, warnings.append, strict=False)
    assert [each.partition(" (")[0] for each in warnings] == [
        "logged, and no table excuses it: server: server",
        "logged, and no table excuses it: server: controller manager",
    ], "what is logged twice is one warning"
    with pytest.raises(AssertionError, match="database disk image is malformed") as red:
        checks.logged_errors_are_excused(found, warnings.append, strict=True)
    assert str(red.value).count("malformed") == 1, "what is logged twice is one line"
    assert "2  server" in str(red.value)
    assert "no node has been chosen" not in str(red.value)
    assert "no node has been chosen" in (tmp_path / "logged-errors.txt").read_text()
    checks.logged_errors_are_excused([each for each in found if each.is_excused], pytest.fail, strict=True)


def test_in_a_cluster_that_is_not_the_suites_own_such_an_error_is_a_warning(
    cluster: KubernetesObjects, tmp_path: Path
) -> None:
    cluster.is_external = True
    cluster.log(IN_SERVER, BROKEN.format(1))
    warnings: list[str] = []
    checks.logged_errors_are_excused(error_log(cluster, tmp_path).read(), warnings.append, strict=True)
    assert len(warnings) == 1
    assert "server: server (spire-server-0/spire-server): Failed to list entries" in warnings[0]


@pytest.mark.parametrize(("seconds", "is_excused"), [(-5.0, True), (4.0, True), (6.0, False), (60.0, False)])
def test_a_missing_bundle_is_excused_only_until_the_federation_is_made(
    cluster: KubernetesObjects, tmp_path: Path, seconds: float, is_excused: bool
) -> None:
    cluster.log(IN_SERVER, NO_BUNDLE.format("client.example"), at=NOW - 100 + seconds)
    (found,) = error_log(cluster, tmp_path).read()
    assert found.is_excused is is_excused
    assert found.reason.startswith("an entry" if is_excused else f"excused only {UNFEDERATED}")


def test_a_line_of_json_has_its_fields_sorted_and_is_excused_as_that_of_text_is(
    cluster: KubernetesObjects, tmp_path: Path
) -> None:
    fields = {
        "error": 'rpc error: code = Unknown desc = unable to find federated bundle "spiffe://client.example"',
        "level": "error",
        "method": "BatchCreateEntry",
        "msg": "Failed to create entry",
        "subsystem_name": "api",
    }
    cluster.log(IN_SERVER, json.dumps(fields), at=NOW - 105)
    cluster.log(IN_SERVER, json.dumps({**fields, "msg": "Failed to update entry"}), at=NOW - 105)
    assert [each.is_excused for each in error_log(cluster, tmp_path).read()] == [True, False]


@pytest.mark.parametrize(
    ("seconds", "is_external", "is_red"), [(10.0, False, True), (9.0, False, False), (10.0, True, False)]
)
def test_a_right_that_a_component_lacks_all_the_time_is_red(
    cluster: KubernetesObjects, tmp_path: Path, seconds: float, *, is_external: bool, is_red: bool
) -> None:
    cluster.is_external = is_external
    for at in (NOW - 60, NOW - 60 + seconds):
        cluster.log(IN_MANAGER, DENIED, at=at)
    cluster.log(IN_SERVER, BROKEN.format(1), at=NOW - 90)
    cluster.log(IN_SERVER, BROKEN.format(1), at=NOW - 5)
    found = error_log(cluster, tmp_path).read()
    if not is_red:
        checks.logged_errors_are_excused(found, lambda _: None, strict=False)
        return
    with pytest.raises(AssertionError, match=r"lacks a right, see the chart's roles .*clusterspiffeids/status") as red:
        checks.logged_errors_are_excused(found, lambda _: None, strict=False)
    assert str(red.value).count("Failed to update status") == 1
    assert "malformed" not in str(red.value)


@pytest.mark.parametrize(("seconds", "is_excused"), [(RESTART_TIME - 1, True), (RESTART_TIME + 1, False)])
@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("restart", [400, 230])
def test_what_ends_with_a_restart_is_excused_only_around_one_of_a_container_or_a_forward(
    cluster: KubernetesObjects, tmp_path: Path, seconds: float, side: int, restart: int, *, is_excused: bool
) -> None:
    cluster.remove("Pod")
    restarted = NOW - restart
    server_pod(cluster, NOW - 400 if restart == 400 else NOW - 900)
    cluster.log(IN_SERVER, LIST_CANCELED, at=restarted + side * seconds)
    (found,) = error_log(cluster, tmp_path).read()
    assert found.is_excused is is_excused
    assert is_excused or f"excused only {RESTARTING}" in found.reason


NOT_ATTESTED = "authorization denied for method /spire.api.server.entry.v1.Entry/SyncAuthorizedEntries"
UNAUTHENTICATED = 'level=error msg="Failed to authenticate caller" error="rpc error: code = PermissionDenied desc = {}"'


@pytest.mark.parametrize(
    ("line", "evicted", "at", "is_excused"),
    [
        ('level=error msg="Agent is not attested"', "server.example", NOW - 610, True),
        (UNAUTHENTICATED.format(NOT_ATTESTED), "server.example", NOW - 610, True),
        (UNAUTHENTICATED.format(NOT_ATTESTED), "server.example", NOW - 500, False),
        (UNAUTHENTICATED.format(NOT_ATTESTED), "client.example", NOW - 610, False),
        (UNAUTHENTICATED.format(NOT_ATTESTED), "", NOW - 610, False),
        (UNAUTHENTICATED.format("caller does not have an X509-SVID"), "server.example", NOW - 610, False),
    ],
)
def test_an_agent_that_is_refused_is_excused_only_where_this_run_has_evicted_it_and_around_a_restart(
    cluster: KubernetesObjects, tmp_path: Path, line: str, evicted: str, at: float, *, is_excused: bool
) -> None:
    cluster.log(IN_SERVER, line, at=at)
    log = error_log(cluster, tmp_path)
    for name, spire in log.federation.spires.items():
        spire.cluster.label = name
        spire.has_evicted_agents = name == evicted
    (found,) = log.read()
    assert found.is_excused is is_excused


def test_an_endpoint_that_is_away_is_excused_until_the_federation_is_made_and_around_a_restart(
    cluster: KubernetesObjects, tmp_path: Path
) -> None:
    for at in (NOW - 400, NOW - 20):
        cluster.log(IN_SERVER, UPDATE_FAILED.format(REFUSED, "client.example"), at=at)
    early, late = error_log(cluster, tmp_path).read()
    assert (early.is_excused, late.is_excused) == (True, False)
    assert late.reason == f"excused only {RESTARTING} or {UNFEDERATED}"


@pytest.mark.parametrize(("at", "is_excused"), [(NOW - 230, True), (NOW - 20, False)])
def test_a_refresh_that_is_asked_for_while_the_endpoint_is_away_is_excused(
    cluster: KubernetesObjects, tmp_path: Path, at: float, is_excused: bool
) -> None:
    failed = UPDATE_FAILED.replace("Error updating bundle", "Failed to refresh bundle")
    cluster.log(IN_SERVER, failed.format('Get \\"https://10.89.0.1:8441\\": EOF', "client.example"), at=at)
    (found,) = error_log(cluster, tmp_path).read()
    assert found.is_excused is is_excused


def test_an_endpoint_that_answers_wrongly_is_not_excused(cluster: KubernetesObjects, tmp_path: Path) -> None:
    cluster.log(IN_SERVER, UPDATE_FAILED.format("unexpected ID", "client.example"), at=NOW - 590)
    (found,) = error_log(cluster, tmp_path).read()
    assert (found.is_excused, found.reason) == (False, "not excused")


def test_what_is_logged_of_a_trust_domain_that_is_not_the_runs_is_not_the_runs_failure(
    cluster: KubernetesObjects, tmp_path: Path
) -> None:
    cluster.log(IN_SERVER, NO_BUNDLE.format("third.example"), UPDATE_FAILED.format(REFUSED, "third.example"))
    cluster.log(IN_SERVER, NO_BUNDLE.format("client.example"), UPDATE_FAILED.format(REFUSED, "client.example"))
    assert [each.is_excused for each in error_log(cluster, tmp_path).read()] == [True, True, False, False]


def test_what_was_logged_before_the_run_is_not_its_own(cluster: KubernetesObjects, tmp_path: Path) -> None:
    cluster.log(IN_SERVER, BROKEN.format(1), at=NOW - 50)
    cluster.log(IN_SERVER, BROKEN.format(2), at=NOW - 30)
    found = error_log(cluster, tmp_path, since=NOW - 40).read()
    assert [each.error.line for each in found] == [BROKEN.format(2)]


def test_the_instance_before_counts_and_so_does_a_pod_that_was_replaced(
    cluster: KubernetesObjects, tmp_path: Path
) -> None:
    cluster.log(IN_SERVER, BROKEN.format(1))
    log = error_log(cluster, tmp_path)
    assert len(log.read()) == 1
    cluster.remove("Pod")
    cluster.logs.clear()
    restarted = container(SERVER, 1, {"terminated": exited(1)}, running=running(NOW - 10))
    pod(cluster, restarted, container(MANAGER, running=running(NOW - 10)))
    cluster.log(IN_SERVER, BROKEN.format(2), previous=True)
    cluster.log(IN_SERVER, BROKEN.format(3))
    assert sorted(each.error.line for each in log.read()) == [BROKEN.format(number) for number in (1, 2, 3)]


def test_of_an_upgrade_only_kinds_of_errors_are_new_that_the_old_release_did_not_log(
    cluster: KubernetesObjects, tmp_path: Path
) -> None:
    cluster.log(IN_SERVER, BROKEN.format(1))
    cluster.log(IN_MANAGER, NOT_SCHEDULED)
    log = error_log(cluster, tmp_path)
    before = log.read()
    cluster.log(IN_SERVER, BROKEN.format(22), BROKEN.replace("malformed", "full").format(3), at=NOW - 4)
    cluster.log(IN_MANAGER, NOT_SCHEDULED.replace("09:59:00", "09:59:59"), at=NOW - 4)
    new = new_kinds(before, log.read())
    assert [each.error.line for each in new] == [BROKEN.replace("malformed", "full").format(3)]
    header, row = error_table(new)
    assert header.split() == ["times", "cluster", "component", "reason", "the", "last", "one"]
    assert "database disk image is full" in row
