"""The command line: what is read from it, and what is refused before anything is started."""

from __future__ import annotations

import configparser
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml

from fixtures.artifacts.supply import Supply
from fixtures.config import cluster_values, command_line
from fixtures.config.cluster_values import FEDERATES_WITH, FEDERATION_OBJECTS, IDENTITIES, UMBRELLA, ClusterValues
from fixtures.config.command_line import BUNDLE_PORT, DEMO_PORT
from fixtures.core import redaction
from fixtures.core.project import PROJECT
from fixtures.core.redaction import redact
from fixtures.helm.values import at, merge
from fixtures.k8s.kind.configuration import NodeSettings
from fixtures.k8s.kind.engine_facts import EngineFacts
from fixtures.k8s.kind.given_configuration import KIND_API
from fixtures.k8s.workload_settings import WorkloadSettings
from fixtures.plugins import options
from fixtures.report.data.document import RUN_JSON, read_document
from fixtures.report.html.page import PAGE
from tests.federation import test_1_deployment

pytest_plugins = ["pytester"]

# What a run could start. Here each of them writes down that it was called, and fails.
PROGRAMS = ("docker", "podman", "kind", "kubectl", "helm", "go", "tar", "mmdebstrap")
Write = Callable[[dict[str, Any]], Path]
BOTH = ("--context=server=kind-a", "--context=client=kind-b")


def nested(path: str, value: object) -> dict[str, Any]:
    for part in reversed(path.split(".")):
        value = {part: value}
    assert isinstance(value, dict)
    return value


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a values file."""

    def one(values: dict[str, Any]) -> Path:
        path = tmp_path / f"values-{len(list(tmp_path.iterdir()))}.yaml"
        path.write_text(yaml.safe_dump(values))
        return path

    return one


@pytest.fixture
def free() -> int:
    """A port on which nothing listens, nor on the one after it."""
    for _ in range(50):
        with socket.socket() as first, socket.socket() as second:
            first.bind(("", 0))
            port = int(first.getsockname()[1])
            try:
                second.bind(("", port + 1))
            except (OSError, OverflowError):
                continue
            return port
    raise AssertionError("no two free ports side by side")


@pytest.fixture
def configured(pytester: pytest.Pytester, rootful_docker: EngineFacts) -> Callable[..., pytest.Config]:  # noqa: ARG001 - the engine
    """Parses a command line with the suite's options; the machine has an engine, which runs with root."""
    return lambda *arguments: pytester.parseconfig("-p", "fixtures.plugins.options", *arguments)


def test_without_values_of_ones_own_there_are_two_clusters_that_federate_with_each_other() -> None:
    server, client = cluster_values.read_clusters()
    assert (server.name, server.trust_domain, server.federates_with) == (
        "server",
        "server.example",
        ("client.example",),
    )
    assert (client.name, client.trust_domain, client.federates_with) == (
        "client",
        "client.example",
        ("server.example",),
    )


def test_the_overlays_are_part_of_every_clusters_values() -> None:
    for cluster in cluster_values.read_clusters():
        assert cluster.values["global"]["spire"]["recommendations"]["enabled"] is True


def test_a_values_file_for_all_clusters_that_makes_the_trust_domains_equal_is_refused(write: Write) -> None:
    path = write(nested("global.spire.trustDomain", "same.example"))
    with pytest.raises(ValueError, match=r"clusters server and client have the same trust domain same\.example"):
        cluster_values.read_clusters([str(path)])


def test_a_values_file_for_one_cluster_that_makes_the_trust_domains_equal_is_refused(write: Write) -> None:
    path = write(nested("global.spire.trustDomain", "server.example"))
    with pytest.raises(ValueError, match=r"clusters server and client have the same trust domain server\.example"):
        cluster_values.read_clusters([f"client={path}"])


def test_a_foreign_trust_domain_that_is_no_clusters_is_refused_with_those_there_are(write: Write) -> None:
    path = write(nested(FEDERATES_WITH, ["elsewhere.example"]))
    with pytest.raises(
        ValueError, match=r"cluster server federates with elsewhere\.example, .*server\.example, client"
    ) as caught:
        cluster_values.read_clusters([str(path)])
    assert "\n" not in str(caught.value)


def test_values_for_one_cluster_are_enough_where_they_name_a_trust_domain_of_their_own(write: Write) -> None:
    path = write(nested("global.spire.trustDomain", "mine.test"))
    server, client = cluster_values.read_clusters([f"server={path}"])
    assert (server.trust_domain, server.federates_with) == ("mine.test", ("client.example",))
    assert (client.trust_domain, client.federates_with) == ("client.example", ("mine.test",))
    assert at(client.values, FEDERATES_WITH) == ["mine.test"]
    # Whoever says with whom a cluster federates is taken at his word.
    named = write(nested(FEDERATES_WITH, ["server.example"]))
    with pytest.raises(ValueError, match=r"cluster client federates with server\.example, which is no cluster's trust"):
        cluster_values.read_clusters([f"server={path}", f"client={named}"])


def test_a_third_party_beside_the_runs_own_is_no_cluster_of_the_run(write: Write) -> None:
    path = write(nested(FEDERATES_WITH, ["client.example", "third.example"]))
    server, client = cluster_values.read_clusters([f"server={path}"])
    assert (server.federates_with, client.federates_with) == (("client.example",), ("server.example",))
    assert "third.example" in str(server.values), "it is installed with what the user gave"


def test_federation_objects_of_the_values_are_left_out_where_the_run_makes_its_own(write: Write) -> None:
    objects = {name: {"trustDomain": f"{name}.example"} for name in ("client", "third")}
    path = write(nested(FEDERATION_OBJECTS, objects))
    server, client = cluster_values.read_clusters([f"server={path}"])
    assert (server.left_out, client.left_out) == (("client",), ())
    assert at(server.values, FEDERATION_OBJECTS) == {"third": objects["third"]}
    assert at(server.values, FEDERATES_WITH) == ["client.example"], "what stands beside it is as it was"


def test_a_trust_domain_that_federates_with_itself_is_refused(write: Write) -> None:
    path = write(nested(FEDERATES_WITH, ["server.example", "client.example"]))
    with pytest.raises(ValueError, match=r"server\.example"):
        cluster_values.read_clusters([f"server={path}"])


@pytest.mark.parametrize("others", [[], None, "client.example", [{"name": "client.example"}], [7]])
def test_foreign_trust_domains_that_are_no_list_of_names_are_refused(write: Write, others: object) -> None:
    path = write(nested(FEDERATES_WITH, others))
    with pytest.raises(ValueError, match="cluster server"):
        cluster_values.read_clusters([f"server={path}"])


def test_without_the_default_identity_the_others_say_who_federates(write: Write) -> None:
    others = {
        "default": {"enabled": False},
        "mesh": {"federatesWith": ["client.example", "third.example"]},
        "off": {"enabled": False, "federatesWith": ["elsewhere.example"]},
        "alone": {},
    }
    server, _ = cluster_values.read_clusters([f"server={write(nested(IDENTITIES, others))}"])
    assert server.federates_with == ("client.example",)
    # What the default would federate with is of no meaning then.
    emptied = nested(IDENTITIES, {**others, "default": {"enabled": False, "federatesWith": []}})
    assert cluster_values.read_clusters([f"server={write(emptied)}"])[0].federates_with == ("client.example",)


@pytest.mark.parametrize(
    "others", [{}, {"keycloak": {}}, {"mesh": {"enabled": False, "federatesWith": ["client.example"]}}]
)
def test_values_without_an_identity_that_federates_are_refused(write: Write, others: dict[str, Any]) -> None:
    path = write(nested(IDENTITIES, {"default": {"enabled": False}, **others}))
    with pytest.raises(
        ValueError,
        match=r"cluster server federates with nobody: .*\.default\.enabled is false, .*: give .* --values=server=FILE$",
    ):
        cluster_values.read_clusters([f"server={path}"])


def test_a_switch_may_be_a_text_as_set_string_makes_it(write: Write) -> None:
    others = {"default": {"enabled": "false"}, "mesh": {"enabled": "true", "federatesWith": ["client.example"]}}
    both = merge(nested("spire-server.federation.enabled", "true"), nested(IDENTITIES, others))
    path = write(both)
    assert cluster_values.read_clusters([f"server={path}"])[0].federates_with == ("client.example",)


@pytest.mark.parametrize("value", [False, None, "yes", "false"])
def test_a_cluster_whose_federation_is_not_enabled_is_refused(write: Write, value: object) -> None:
    path = write(nested("spire-server.federation.enabled", value))
    with pytest.raises(ValueError, match=r"cluster server: spire-server\.federation\.enabled is not true"):
        cluster_values.read_clusters([str(path)])


@pytest.mark.parametrize(
    "name", ["Server.example", "server example", "spiffe://server.example", "", 7, "x" * 256, None]
)
def test_a_trust_domain_that_has_no_valid_name_is_refused_with_its_cluster(write: Write, name: object) -> None:
    path = write(nested("global.spire.trustDomain", name))
    with pytest.raises(ValueError, match=r"cluster client: global\.spire\.trustDomain is"):
        cluster_values.read_clusters([f"client={path}"])


def test_a_file_named_for_a_cluster_changes_that_cluster_alone(write: Write) -> None:
    path = write(nested("global.spire.clusterName", "other"))
    server, client = cluster_values.read_clusters([f"client={path}"])
    assert (server.values["global"]["spire"]["clusterName"], client.values["global"]["spire"]["clusterName"]) == (
        "server",
        "other",
    )


def test_a_file_named_for_no_cluster_changes_all(write: Write) -> None:
    path = write(nested("global.spire.jwtIssuer", "oidc.example"))
    assert [each.values["global"]["spire"]["jwtIssuer"] for each in cluster_values.read_clusters([str(path)])] == [
        "oidc.example",
        "oidc.example",
    ]


def test_an_equals_sign_in_a_files_name_names_no_cluster(tmp_path: Path) -> None:
    path = tmp_path / "a=b.yaml"
    path.write_text(yaml.safe_dump(nested("global.spire.jwtIssuer", "oidc.example")))
    assert cluster_values.read_clusters([str(path)])[0].values["global"]["spire"]["jwtIssuer"] == "oidc.example"


def test_later_files_win_over_earlier_ones(write: Write) -> None:
    first, second = (str(write(nested("global.spire.jwtIssuer", name))) for name in ("first", "second"))
    for cluster in cluster_values.read_clusters([first, second]):
        assert cluster.values["global"]["spire"]["jwtIssuer"] == "second"


def test_the_values_of_an_umbrella_chart_are_refused_with_a_hint(write: Write) -> None:
    path = write({"oidcHost": "oidc.example", UMBRELLA: {"spire-server": {"caKeyType": "rsa-2048"}}})
    with pytest.raises(ValueError, match=r"^cluster client: the values have keys below spire:, as"):
        cluster_values.read_clusters([f"client={path}"])


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({UMBRELLA: {"enabled": True, "values": {"spire-agent": {"logLevel": "debug"}}}}, "spire.values"),
        ({"identity": {"global": {"spire": {"jwtIssuer": "oidc.example"}}}}, "identity"),
        ({"identity": {"version": "1", "values": {"spire-server": {}}}}, "identity.values"),
    ],
)
def test_values_that_stand_below_a_key_of_another_chart_are_refused_with_their_place(
    given: dict[str, Any], place: str, write: Write
) -> None:
    with pytest.raises(ValueError, match=rf"keys below {place}:, .* give it what stands below {place}: as a values"):
        cluster_values.read_clusters([f"client={write(given)}"])


@pytest.mark.parametrize(
    ("kind", "spec", "own"),
    [
        ("HelmRelease", {"values": {"spire-server": {}}}, r"; .* give it what stands below spec\.values:"),
        (
            "Application",
            {"source": {"helm": {"values": "a: 1"}}},
            r"; .* give it what stands below spec\.source\.helm\.values:",
        ),
        (
            "Application",
            {"sources": [{"ref": "values"}, "x", {"helm": {"valuesObject": {}}}]},
            r"; .* give it what stands below spec\.sources\[2\]\.helm\.valuesObject:",
        ),
        ("ClusterSPIFFEID", {"hint": "a"}, r", and none of the chart's: objects are given by --apply$"),
    ],
)
def test_an_object_in_place_of_values_is_refused_with_the_place_of_these(
    kind: str, spec: dict[str, Any], own: str, write: Write
) -> None:
    path = write({"apiVersion": "example.com/v1", "kind": kind, "metadata": {"name": "spire"}, "spec": spec})
    with pytest.raises(ValueError, match=rf"^cluster server: the values are an object .* {kind}{own}"):
        cluster_values.read_clusters([str(path)])


@pytest.mark.parametrize(
    ("given", "is_strict"),
    [
        ({"trustDomain": "example.org"}, False),
        ({"clusterName": "example-cluster", "strictMode": True}, False),  # it asks for it where the charts look first
        ({"trustDomain": "example.org", "recommendations": {"enabled": True}}, True),
        ({"bundleConfigMap": "trust"}, True),
    ],
)
def test_names_of_the_users_are_not_checked_more_strictly_than_by_their_own_values(
    given: dict[str, Any], is_strict: bool, write: Write
) -> None:
    federates = {"default": {"federatesWith": [given.get("trustDomain", "client.example")]}}
    client = nested("spire-server.controllerManager.identities.clusterSPIFFEIDs", federates)
    files = [f"server={write(nested('global.spire', given))}"]
    files += [f"client={write(client)}"] if "trustDomain" in given else []
    server, other = cluster_values.read_clusters(files)
    found = [at(each.values, "global.spire.recommendations") for each in (server, other)]
    assert [each.get("strictMode", True) for each in found] == [is_strict, True]
    assert all(each["enabled"] for each in found)


@pytest.mark.parametrize(
    ("key", "of_all"),
    [("spire-server.trustDomain", "client.example"), ("spire-agent.clusterName", "client")],
)
def test_a_components_own_name_that_the_charts_do_not_read_is_refused_with_the_key_that_they_do(
    key: str, of_all: str, write: Write
) -> None:
    path = f"global.spire.{key.rpartition('.')[2]}"
    words = f"cluster client: {key} is other, and the charts go by {path}, which is {of_all}: give it as {path}"
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        cluster_values.read_clusters([f"client={write(nested(key, 'other'))}"])
    assert cluster_values.read_clusters([f"client={write(nested(key, of_all))}"])


def test_a_strict_mode_that_is_not_there_is_not_switched_off(write: Write) -> None:
    given = nested("global.spire", {"trustDomain": "mine.example", "recommendations": None})
    server, _ = cluster_values.read_clusters([f"server={write(given)}"])
    assert at(server.values, "global.spire.recommendations") is None


def test_values_that_helm_has_computed_are_taken_with_the_charts_defaults_and_global_values(write: Write) -> None:
    names = {"trustDomain": "example.org", "clusterName": "example-cluster"}
    own = {"global": {"spire": {"trustDomain": "mine.example"}}}
    computed = {**own, "spire-server": names, "spire-agent": {**names, **own}, "spike-keeper": own, "spire-lib": own}
    server, _ = cluster_values.read_clusters([f"server={write(computed)}"])
    assert server.trust_domain == "mine.example"


def test_the_servers_own_subject_is_not_hidden_by_that_of_the_suite(write: Write) -> None:
    path = write(nested("spire-server.caSubject", {"country": "NO", "commonName": "mine"}))
    _, client = cluster_values.read_clusters([f"client={path}"])
    assert at(client.values, "global.spire.caSubject") == {"organization": "Federation tutorial"}
    for_all = write(nested("global.spire.caSubject.country", "SE"))
    _, client = cluster_values.read_clusters([f"client={path}", f"client={for_all}"])
    assert at(client.values, "global.spire.caSubject.country") == "SE"


def test_values_of_components_that_the_suite_does_not_know_are_no_umbrellas(write: Write) -> None:
    given = {"other": {"spire": {"a": 1}, "values": {"b": 2}}, "spire-server": {"kind": "deployment"}, "kind": "x"}
    assert cluster_values.read_clusters([f"client={write(given)}"])


def test_a_values_file_that_is_not_there_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.yaml cannot be read"):
        cluster_values.read_clusters([f"client={tmp_path / 'none.yaml'}"])


def test_default_ports_are_not_refused_for_being_taken(taken: int) -> None:
    assert command_line._ports("--demo-port", None, taken, 1) == (taken,)


def test_a_named_port_that_is_taken_is_refused(taken: int) -> None:
    with pytest.raises(ValueError, match=rf"--demo-port {taken}: port {taken} cannot be used: Address already in use"):
        command_line._ports("--demo-port", taken, DEMO_PORT, 1)


def test_a_named_first_port_is_refused_when_one_that_follows_is_taken(free: int) -> None:
    # The first one is free: of a port that is merely taken, the one before it may be as well, and be named instead.
    with socket.socket() as listener:
        listener.bind(("", free + 1))
        listener.listen()
        with pytest.raises(ValueError, match=rf"--bundle-port {free}: port {free + 1} cannot be used"):
            command_line._ports("--bundle-port", free, BUNDLE_PORT, 2)


def test_a_named_port_that_is_free_stays_free(free: int) -> None:
    assert command_line._ports("--bundle-port", free, BUNDLE_PORT, 2) == (free, free + 1)
    assert command_line._ports("--bundle-port", free, BUNDLE_PORT, 2) == (free, free + 1)


def test_a_named_port_whose_last_connection_has_just_been_closed_is_free() -> None:
    # The side that closes first keeps the port in TIME_WAIT for a minute: a rerun with the same port comes sooner.
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as kubectl does
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as connection:
            accepted, _ = listener.accept()
            accepted.close()
            assert connection.recv(1) == b""
    assert command_line._ports("--demo-port", port, DEMO_PORT, 1) == (port,)


@pytest.mark.parametrize(("port", "count"), [(0, 1), (-1, 1), (65536, 1), (65535, 2), (10**9, 1)])
def test_a_number_that_is_no_port_is_refused(port: int, count: int) -> None:
    with pytest.raises(ValueError, match=rf"--bundle-port {port}: not a port"):
        command_line._ports("--bundle-port", port, BUNDLE_PORT, count)


def test_a_demo_port_that_a_bundle_endpoint_is_to_have_is_refused(
    configured: Callable[..., pytest.Config], free: int
) -> None:
    with pytest.raises(ValueError, match=str(free + 1)):
        command_line.read_settings(configured("--bundle-port", str(free), "--demo-port", str(free + 1)))


def test_the_command_line_is_read_as_it_stands(
    configured: Callable[..., pytest.Config], tmp_path: Path, free: int
) -> None:
    kind = tmp_path / "kind"
    kind.touch(0o755)
    found = command_line.read_settings(
        configured(
            *("--supply", "local", "--cluster-prefix", "ci-1.", "--keep-clusters", "--bundle-port", str(free)),
            *("--kind-bin", str(kind), "--kind-image", "node:v1", "--run-folder", str(tmp_path / "run")),
        )
    )
    assert (found.supply, found.prefix, found.keep_clusters) == ("local", "ci-1.", "always")
    assert (found.bundle_ports, found.demo_port) == ((free, free + 1), DEMO_PORT)
    assert (found.kind, found.kubectl, found.node_image) == (kind, None, "node:v1")
    assert found.run_folder == tmp_path / "run"
    assert not (tmp_path / "run").exists()
    assert [cluster.name for cluster in found.clusters] == ["server", "client"]


@pytest.mark.parametrize(
    "argument",
    [
        "--set=spire-server.dataStore.sql.password=hunter2secret",
        "--set=a.b=1,spire-server.dataStore.sql.password=hunter2secret",
        "--set-string=spire-server.dataStore.sql.password=hunter2secret",
        '--set-json=spire-server.dataStore={"sql":{"password":"hunter2secret"}}',
        '--set-json={"spire-server":{"dataStore":{"sql":{"password":"hunter2secret"}}}}',
        "--from-set=spire-server.dataStore.sql.password=hunter2secret",
        "--to-set=spire-server.dataStore.sql.password=hunter2secret",
    ],
)
def test_a_secret_of_the_command_line_is_hidden_from_then_on(
    configured: Callable[..., pytest.Config], argument: str
) -> None:
    found = command_line.read_settings(configured("-m", "upgrade", argument))
    assert redact("dialling as hunter2secret") == "dialling as <redacted>"
    assert "hunter2secret" not in repr(found)


@pytest.mark.parametrize("option", ["--values", "--from-values", "--to-values"])
def test_a_secret_in_a_values_file_is_hidden_from_then_on(
    configured: Callable[..., pytest.Config], write: Write, option: str
) -> None:
    path = write(nested("spire-server.dataStore.sql.password", "hunter2secret"))
    command_line.read_settings(configured("-m", "upgrade", f"{option}=client={path}"))
    assert redact("dialling as hunter2secret") == "dialling as <redacted>"


def test_no_value_of_the_suites_own_is_taken_for_a_secret(configured: Callable[..., pytest.Config]) -> None:
    command_line.read_settings(configured())
    assert not redaction._kept.forms


def files_of(cluster: ClusterValues) -> list[str]:
    return [path.name for path in cluster.files]


def test_at_the_charts_own_pace_no_overlay_makes_spire_quicker(configured: Callable[..., pytest.Config]) -> None:
    for arguments, pace, files in (
        ([], "fast", ["production.yaml", "pace.yaml"]),
        (["--pace=fast"], "fast", ["production.yaml", "pace.yaml"]),
        (["--pace=chart"], "chart", ["production.yaml"]),
        # What is broken is to be seen sooner, whatever the pace: a run says so, and its scenarios need it.
        (["--pace=chart", "-m", "resilience"], "chart", ["production.yaml", "breaking.yaml"]),
    ):
        found = command_line.read_settings(configured(*arguments))
        assert found.pace == pace
        assert [files_of(cluster) for cluster in found.clusters] == [
            ["server.yaml", *files],
            ["client.yaml", *files],
        ]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--pace=chart"], "SPIRE's pace: chart, the chart's own defaults"),
        ([], "SPIRE's pace: fast, by charts-values/pace.yaml"),
    ],
)
def test_a_runs_header_says_which_pace_it_is(
    configured: Callable[..., pytest.Config], arguments: list[str], line: str
) -> None:
    config = configured(*arguments)
    assert options.pytest_report_header(config) == []
    config.stash[options.SETTINGS] = command_line.read_settings(config)
    assert options.pytest_report_header(config)[:1] == [line]


def test_each_side_of_an_upgrade_has_its_own_values_on_top_of_those_of_both(
    configured: Callable[..., pytest.Config], write: Write
) -> None:
    both, old, new = (write(nested("global.spire.jwtIssuer", name)) for name in ("both", "old", "new"))
    found = command_line.read_settings(
        configured(
            *("-m", "upgrade", f"--values={both}", "--set=a=both", "--set-json=b=1"),
            *(f"--from-values=client={old}", "--from-set=a=old", f"--to-values={new}", "--to-set=a=new"),
        )
    )
    shared = ["production.yaml", "pace.yaml", both.name]
    assert [files_of(each) for each in found.clusters] == [
        ["server.yaml", *shared],
        ["client.yaml", *shared, old.name],
    ]
    assert [files_of(each) for each in found.upgraded_clusters] == [
        ["server.yaml", *shared, new.name],
        ["client.yaml", *shared, new.name],
    ]
    for cluster, side in zip((*found.clusters, *found.upgraded_clusters), ("from", "from", "to", "to"), strict=True):
        common, (own,) = cluster.stages
        assert [(each.helm_option, each.text) for each in common] == [("--set", "a=both"), ("--set-json", "b=1")]
        assert (own.option, own.helm_option) == (f"--{side}-set", "--set")


def test_without_an_upgrade_there_is_nothing_to_upgrade_to(configured: Callable[..., pytest.Config]) -> None:
    assert command_line.read_settings(configured("--set=a=1")).upgraded_clusters == ()


@pytest.mark.parametrize("option", ["--from-values", "--from-set", "--to-values", "--to-set"])
def test_values_for_one_side_are_refused_without_an_upgrade(
    configured: Callable[..., pytest.Config], option: str
) -> None:
    with pytest.raises(ValueError, match=r"^--from-values, .* and --to-set are for -m upgrade$"):
        command_line.read_settings(configured("-m", "federation", f"{option}=a=b"))


def test_an_upgrade_to_the_same_charts_is_one_where_its_values_are_others(
    configured: Callable[..., pytest.Config],
) -> None:
    same = ("-m", "upgrade", "--from=0.30.0", "--to=0.30.0")
    with pytest.raises(ValueError, match="is no upgrade"):
        command_line.read_settings(configured(*same))
    found = command_line.read_settings(configured(*same, "--to-set=a=b"))
    assert len({*found.sources}) == 2
    assert str(found.source) == str(found.upgrade_to) == "chart 0.30.0"


EXISTING = ("--kubeconfig={0}/kubeconfig", *BOTH)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--charts=https://me:Tr4ffic-7@a.test"], "--charts: the URL of a chart repository is given by --chart-repo"),
        (["--values=server="], "--values server=: it names no file"),
        (["--values={0}/none"], "--values {0}/none: there is no such file"),
        (["--values={0}"], "--values {0}: it is a folder"),
        (
            ["--values=other={0}/ok"],
            "--values other={0}/ok: there is no such file, and other is no cluster (server, client)",
        ),
        (["--values={0}/list"], "--values: the values file {0}/list holds no mapping of keys"),
        (["-m", "upgrade", "--to-values={0}/none"], "--to-values {0}/none: there is no such file"),
        (
            ["-m", "upgrade", "--from-values=client={0}/list"],
            "--from-values: the values file {0}/list holds no mapping",
        ),
        (["--apply=client={0}/none"], "--apply client={0}/none: there is no such file"),
        (["--apply={0}"], "--apply {0}: it is a folder"),
        (["--set=a"], "--set …: wanted KEY=VALUE"),
        (["--set==Tr4ffic-7"], "--set …: wanted KEY=VALUE"),
        (["--set-json=[1]"], "--set-json …: wanted KEY=VALUE"),
        (["--set-file=a"], "--set-file …: wanted KEY=FILE"),
        (["-m", "upgrade", "--from-set=a"], "--from-set …: wanted KEY=VALUE"),
        (["--image-archive={0}/none"], "--image-archive: the image archive {0}/none cannot be read: No such file"),
        (["--image-archive={0}/list"], "--image-archive: {0}/list is no image archive"),
        (["--mirror==https://a.test"], "--mirror =…: '' is no registry's name"),
        (["--kind-bin={0}"], "--kind-bin {0}: it is a folder"),
        (["--kind-kubectl-bin={0}/ok"], "--kind-kubectl-bin {0}/ok: it is no program that this user may run"),
        (["--kind-image="], "--kind-image: it is given without a value"),
        (["--kind-image=A B"], "--kind-image A B: not an image's name"),
        ([*EXISTING, "--kind-image=a:1"], "--kind-image: with --context for both clusters, no node is made here"),
        (["--kubeconfig="], "--kubeconfig: it is given without a value"),
        (["--kubeconfig={0}", BOTH[0]], "--kubeconfig {0}: it is a folder"),
        ([*EXISTING, "--context=server=kind-b"], "--context server=kind-b: cluster server has another one already"),
        (["--kubeconfig={0}/list", BOTH[0]], "--context: the kubeconfig {0}/list holds no mapping of keys"),
        (
            ["--kubeconfig={0}/numbers", BOTH[0]],
            "--context: the kubeconfig {0}/numbers has something else than contexts",
        ),
        (["--kubeconfig={0}/nameless", BOTH[0]], "--context: the kubeconfig {0}/nameless has something else than cont"),
        (
            ["--run-folder={0}/ok/below"],
            "{0}/ok is no folder, where the run's artefacts would go: give --run-folder=DIR",
        ),
        (
            ["-m", "upgrade", "--chart-repository=https://a.test", "--from=1.14.5", "--to=1.15.3"],
            "--chart-repository: neither --from nor --to is a version of a chart that would be pulled there",
        ),
        (
            ["--connectivity=given", "--endpoint=server=https://a.test", "--endpoint=server=https://b.test"],
            "--endpoint server=https://b.test: cluster server has another one already",
        ),
        (["--demo-namespace=My_Demo"], "--demo-namespace My_Demo: wanted the name of a namespace, as Kubernetes"),
        (["--demo-namespace=kube-system"], "--demo-namespace kube-system: that namespace is not for workloads"),
        (["--demo-namespace=default"], "--demo-namespace default: that namespace is not for workloads"),
    ],
)
def test_a_bad_value_is_refused_in_a_sentence_that_names_its_option(
    configured: Callable[..., pytest.Config], kubeconfig: Path, options: list[str], said: str
) -> None:
    folder = kubeconfig.parent
    for name, text in (
        ("ok", "a: 1"),
        ("list", "[a]"),
        ("numbers", "contexts: [7]"),
        ("nameless", "contexts: [{context: {}}]"),
    ):
        (folder / name).write_text(text)
    with pytest.raises(ValueError, match="^" + re.escape(said.format(folder))) as refused:
        command_line.read_settings(configured(*(each.format(folder) for each in options)))
    assert "\n" not in str(refused.value)
    assert "Tr4ffic-7" not in str(refused.value)


def test_the_cache_that_is_a_file_is_refused(
    configured: Callable[..., pytest.Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SPIRE_FEDERATION_CACHE", str(tmp_path / "file"))
    with pytest.raises(
        ValueError, match=r"file is no folder, where what is downloaded and built would go: set SPIRE_FED"
    ):
        command_line.read_settings(configured())


def kind_file(folder: Path, **given: Any) -> Path:
    path = folder / "kind-given.yaml"
    path.write_text(yaml.safe_dump({**KIND_API, **given}))
    return path


def test_what_is_given_of_nodes_registries_and_objects_is_read(
    configured: Callable[..., pytest.Config], tmp_path: Path
) -> None:
    pull = tmp_path / "pull.yaml"
    pull.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pull"}}))
    found = command_line.read_settings(
        configured(
            f"--kind-config={kind_file(tmp_path, featureGates={'A': True})}",
            *("--mirror=http://10.89.0.1:5000", "--mirror=ghcr.io=https://mirror.example/v2/ghcr"),
            f"--apply=client={pull}",
            "--chart-repository=https://reader:Tr4ffic-key@charts.example/stable",
        )
    )
    assert found.nodes.kind_config["featureGates"] == {"A": True}
    assert [each.registry for each in found.nodes.mirrors] == ["", "ghcr.io"]
    assert list(found.objects) == ["client"]
    assert str(found.source) == "chart (the newest) of https://charts.example/stable/"
    assert "Tr4ffic-key" not in repr(found)
    nothing = command_line.read_settings(configured())
    assert (nothing.nodes, nothing.ca, nothing.objects) == (NodeSettings(), "", {})


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--ca-file=missing"], "--ca-file missing: No such file or directory"),
        (["--kind-config=missing"], "--kind-config missing: it cannot be read: No such file or directory"),
        (["--mirror=mirror.example"], "the mirror is no http:// or https:// URL"),
        (["--apply=missing"], "--apply missing: there is no such file"),
        (["--chart-repository=oci://a/b"], "an oci:// reference goes to --charts"),
        (["--chart-repository=https://a.example", "--charts=oci://a/b"], "are two places of the charts: give one"),
        (["--no-install", "--apply=a", "--mirror=http://a"], "--apply, --mirror would say how to install it"),
    ],
)
def test_registries_and_objects_that_cannot_be_are_refused_in_a_sentence(
    configured: Callable[..., pytest.Config], arguments: list[str], why: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(why)) as caught:
        command_line.read_settings(configured(*arguments))
    assert "\n" not in str(caught.value)


def test_of_two_clusters_one_alone_that_is_made_may_have_a_port(
    configured: Callable[..., pytest.Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = f"--kind-config={kind_file(tmp_path, networking={'apiServerPort': 6443})}"
    with pytest.raises(ValueError, match="2 clusters are made"):
        command_line.read_settings(configured(given))
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump({"contexts": [{"name": "a"}, {"name": "b"}]}))
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    assert command_line.read_settings(configured(given, "--context=client=a")).nodes.kind_config
    with pytest.raises(ValueError, match=r"^--kind-config: with --context for both clusters, no node is made here$"):
        command_line.read_settings(configured(given, "--context=client=a", "--context=server=b"))


def test_the_release_before_is_looked_up_for_the_side_that_is_upgraded_to(
    configured: Callable[..., pytest.Config],
) -> None:
    found = command_line.read_settings(configured("-m", "upgrade", "--from=previous", "--to=1.15.3"))
    assert [str(each) for each in found.sources] == ["SPIRE 1.14.5", "SPIRE 1.15.3"]
    with pytest.raises(ValueError, match="takes both --from and --to, or neither"):
        command_line.read_settings(configured("-m", "upgrade", "--from=previous"))
    unreachable = ("--chart-repository=http://127.0.0.1:9", "--to=0.30.0")
    with pytest.raises(ValueError, match=r"^--from previous: it cannot be looked up at http://127\.0\.0\.1:9/index"):
        command_line.read_settings(configured("-m", "upgrade", "--from=previous", *unreachable))


def test_an_empty_command_line_has_the_defaults(configured: Callable[..., pytest.Config]) -> None:
    found = command_line.read_settings(configured())
    assert (found.supply, found.prefix, found.keep_clusters, found.demo_images) == ("auto", "", "", "built")
    assert (found.bundle_ports, found.demo_port) == ((BUNDLE_PORT, BUNDLE_PORT + 1), DEMO_PORT)
    assert (found.run_folder, found.kind, found.kubectl, found.node_image, found.upgrade_to) == (None,) * 5


def test_pytest_kinds_own_option_keeps_the_clusters_too(configured: Callable[..., pytest.Config]) -> None:
    assert command_line.read_settings(configured("--keep-cluster")).keep_clusters == "always"


@pytest.mark.parametrize("prefix", ["-ci", ".ci", "CI-", "ci_", "ci ", "../"])
def test_a_prefix_that_kind_would_not_take_is_refused(configured: Callable[..., pytest.Config], prefix: str) -> None:
    with pytest.raises(ValueError, match=r"--cluster-prefix .*: Kind's names begin with"):
        command_line.read_settings(configured(f"--cluster-prefix={prefix}"))


@pytest.mark.parametrize(
    ("dist", "tx", "refused"), [("load", ["popen"] * 2, True), ("no", [], False), ("load", [], False)]
)
def test_workers_of_pytest_xdist_are_refused(
    configured: Callable[..., pytest.Config], dist: str, tx: list[str], refused: bool
) -> None:
    config = configured()
    # As xdist sets them in `pytest_cmdline_main`, for -n2, for -n0, and for --dist alone.
    config.option.dist, config.option.tx = dist, tx
    if not refused:
        assert command_line.read_settings(config)
        return
    with pytest.raises(ValueError, match=r"^pytest-xdist \(-n, .*: give -n0$"):
        command_line.read_settings(config)


@pytest.mark.parametrize(
    ("given", "environment", "said"),
    [
        ({"reruns": 2}, "", "^pytest-rerunfailures .*: give --reruns=0$"),
        ({"timeout": 30.0}, "", r"^pytest-timeout \(30 s for a test, .*: give --timeout=0$"),
        ({"timeout": None}, "60", r"^pytest-timeout \(60 s"),
        ({"timeout": 0.0}, "60", ""),
        ({"timeout": 3600.0, "reruns": 0}, "", ""),
        ({"timeout": 3600.0, "timeout_scale": 5.0}, "", r"^pytest-timeout \(3600 s"),
    ],
)
def test_plugins_that_repeat_or_end_a_test_are_refused(
    configured: Callable[..., pytest.Config],
    monkeypatch: pytest.MonkeyPatch,
    given: dict[str, float],
    environment: str,
    said: str,
) -> None:
    config = configured()
    config.pluginmanager.register(object(), "timeout")
    monkeypatch.setenv("PYTEST_TIMEOUT", environment)
    vars(config.option).update(given)
    if not said:
        assert command_line.read_settings(config)
        return
    with pytest.raises(ValueError, match=said):
        command_line.read_settings(config)


@pytest.mark.parametrize("given", ["0.5", "0", "-2", "101", "inf", "nan"])
def test_a_scale_that_makes_time_limits_too_short_or_endless_is_refused(
    configured: Callable[..., pytest.Config], given: str
) -> None:
    config = configured(f"--timeout-scale={given}")
    with pytest.raises(ValueError, match=rf"^--timeout-scale {given}: wanted a number from 1 to 100$"):
        command_line.read_settings(config)


def test_what_namespaces_and_pods_of_the_suite_get_is_read(configured: Callable[..., pytest.Config]) -> None:
    config = configured("--timeout-scale=2", "--namespace-label=a=b", "--node-selector=c=d", "--toleration=e:NoExecute")
    settings = command_line.read_settings(config)
    toleration = {"key": "e", "operator": "Exists", "effect": "NoExecute"}
    assert settings.timeout_scale == 2.0
    assert settings.workloads == WorkloadSettings({"a": "b"}, {"c": "d"}, (toleration,))


def test_a_folder_that_cannot_be_written_is_refused_with_what_to_give(
    configured: Callable[..., pytest.Config], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    locked, access = tmp_path / "locked", os.access
    locked.mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != locked and access(path, mode))
    with pytest.raises(
        ValueError, match=rf"^{locked} cannot be written, where the run's artefacts .* --run-folder=DIR"
    ):
        command_line.read_settings(configured("--run-folder", str(locked / "runs" / "1")))
    # Without that option, the place that runs really have.
    monkeypatch.setattr(command_line, "RUNS", locked / "runs")
    with pytest.raises(ValueError, match=rf"^{locked} cannot be written, where the run's artefacts "):
        command_line.read_settings(configured())
    monkeypatch.setenv("SPIRE_FEDERATION_CACHE", str(locked))
    with pytest.raises(ValueError, match=rf"^{locked} cannot be written, .*: set SPIRE_FEDERATION_CACHE$"):
        command_line.read_settings(configured("--run-folder", str(tmp_path / "run")))
    monkeypatch.chdir(locked)
    monkeypatch.delenv("SPIRE_FEDERATION_CACHE")
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) not in (locked, Path()) and access(path, mode))
    with pytest.raises(ValueError, match=r"cannot be written, .*: run it from another working folder"):
        command_line.read_settings(configured("--run-folder", str(tmp_path / "run")))


def test_a_prefix_is_refused_with_which_a_nodes_name_would_be_too_long(
    configured: Callable[..., pytest.Config],
) -> None:
    longest = "feature-branch-of-a-name-that-goes-on-and-."
    assert len(f"{longest}server-control-plane") == 63
    assert command_line.read_settings(configured(f"--cluster-prefix={longest}")).prefix == longest
    with pytest.raises(ValueError, match=r"^--cluster-prefix \S+ has 44 characters: it may have 43, since a node's"):
        command_line.read_settings(configured(f"--cluster-prefix={longest}-"))


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    """A kubeconfig with two contexts."""
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump({"contexts": [{"name": "kind-a"}, {"name": "kind-b"}]}))
    return path


def test_contexts_are_read_for_the_clusters_that_they_name(
    configured: Callable[..., pytest.Config], kubeconfig: Path
) -> None:
    found = command_line.read_settings(
        configured(f"--kubeconfig={kubeconfig}", "--context=server=kind-a", "--context=client=kind-b")
    )
    assert (found.contexts, found.kubeconfigs) == ({"server": "kind-a", "client": "kind-b"}, (kubeconfig,))


def test_contexts_may_be_in_any_of_several_kubeconfigs_as_for_kubectl(
    configured: Callable[..., pytest.Config], kubeconfig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, missing = tmp_path / "other", tmp_path / "missing"
    other.write_text(yaml.safe_dump({"contexts": [{"name": "eks-c"}]}))
    monkeypatch.setenv("KUBECONFIG", f"{missing}:{other}::{kubeconfig}")
    found = command_line.read_settings(configured("--context=server=kind-a", "--context=client=eks-c"))
    assert found.kubeconfigs == (missing, other, kubeconfig)
    with pytest.raises(ValueError, match=r"missing, .*/other, .*/kubeconfig has no context x; it has eks-c, kind-a"):
        command_line.read_settings(configured("--context=server=x"))


@pytest.mark.parametrize("given", ["kind-a", "other=kind-a", "server=", "=kind-a"])
def test_a_context_that_is_not_given_for_a_cluster_is_refused(
    configured: Callable[..., pytest.Config], kubeconfig: Path, given: str
) -> None:
    with pytest.raises(
        ValueError, match=r"--context .*: wanted CLUSTER=CONTEXT, where CLUSTER is one of server, client"
    ):
        command_line.read_settings(configured(f"--kubeconfig={kubeconfig}", f"--context={given}"))


def test_a_context_that_there_is_not_is_refused_with_those_there_are(
    configured: Callable[..., pytest.Config], kubeconfig: Path
) -> None:
    with pytest.raises(ValueError, match=r"kubeconfig has no context kind-c; it has kind-a, kind-b"):
        command_line.read_settings(configured(f"--kubeconfig={kubeconfig}", "--context=server=kind-c"))


def test_a_kubeconfig_of_which_no_context_is_wanted_is_refused(
    configured: Callable[..., pytest.Config], kubeconfig: Path
) -> None:
    with pytest.raises(ValueError, match=r"--kubeconfig says where the contexts of --context stand"):
        command_line.read_settings(configured(f"--kubeconfig={kubeconfig}"))


@pytest.mark.parametrize("option", ["--kubeconfig", "--kind-bin", "--kind-kubectl-bin"])
def test_a_file_that_is_not_there_is_refused_with_its_option(
    configured: Callable[..., pytest.Config], option: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=rf"{option} {tmp_path}/none: there is no such file"):
        command_line.read_settings(configured(option, f"{tmp_path}/none"))


def test_a_run_folder_that_is_a_file_is_refused(configured: Callable[..., pytest.Config], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"--run-folder .*file is not a folder"):
        command_line.read_settings(configured("--run-folder", str(tmp_path / "file")))


@pytest.mark.parametrize(
    ("options", "user", "installer", "refused"),
    [
        (("--install",), 0, "/usr/bin/apt-get", ""),
        ((), 0, "/usr/bin/apt-get", "start one, or give --install, which installs Podman by apt-get"),
        (("--install",), 0, None, "none can be installed here"),
        (("--install",), 1000, "/usr/bin/apt-get", "none can be installed here"),
    ],
    ids=["root with apt-get", "unasked", "root without", "not root"],
)
def test_a_machine_with_no_engine_is_refused_unless_one_is_to_be_installed(
    configured: Callable[..., pytest.Config],
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    user: int,
    installer: str | None,
    refused: str,
) -> None:
    config = configured(*options)
    monkeypatch.setattr("fixtures.config.command_line.host.engine", lambda: None)
    monkeypatch.setattr("fixtures.config.command_line.os.geteuid", lambda: user)
    monkeypatch.setattr("fixtures.config.command_line.shutil.which", lambda _: installer)
    if not refused:
        assert command_line.read_settings(config).install
        return
    with pytest.raises(ValueError, match=rf"^no container engine answers .*{refused}"):
        command_line.read_settings(config)


@pytest.mark.parametrize("marker", command_line.CLUSTER_MARKERS)
def test_what_the_readme_says_to_type_installs_what_is_missing(marker: str) -> None:
    environments = configparser.ConfigParser(interpolation=None)
    environments.read(PROJECT / "tox.ini")
    assert f"-m {marker} --install " in environments[f"testenv:{marker}"]["commands"]


@pytest.mark.parametrize(("user", "own", "refused"), [(1000, 2, True), (1000, 0, False), (0, 2, False)])
def test_an_engine_that_can_start_no_node_is_refused_where_one_is_to_be(
    configured: Callable[..., pytest.Config],
    monkeypatch: pytest.MonkeyPatch,
    rootful_docker: EngineFacts,
    kubeconfig: Path,
    user: int,
    own: int,
    refused: bool,
) -> None:
    config = configured(*(() if own else (f"--kubeconfig={kubeconfig}", *BOTH, "--connectivity=port-forward")))
    monkeypatch.setattr("fixtures.config.command_line.os.geteuid", lambda: user)
    monkeypatch.setattr(command_line, "engine_facts", lambda _: replace(rootful_docker, rootless=True))
    if not refused:
        assert command_line.read_settings(config).needs_engine
        return
    with pytest.raises(ValueError, match=r"^docker: it is rootless, for which Kind needs cgroup version 2: run as"):
        command_line.read_settings(config)


def test_an_engine_that_answers_is_enough_for_a_user_who_may_install_nothing(
    configured: Callable[..., pytest.Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fixtures.config.command_line.os.geteuid", lambda: 1000)
    assert command_line.read_settings(configured())


@pytest.mark.parametrize(
    ("expression", "marker", "matches"),
    [
        ("federation", "federation", True),
        ("federation", "upgrade", False),
        ("federation or upgrade", "upgrade", True),
        ("federation and not upgrade", "federation", True),
        ("federation and not upgrade", "upgrade", False),
        ("not federation", "federation", False),
        ("not (federation or upgrade)", "upgrade", False),
        ("slow", "federation", False),
        ("federation and", "federation", False),
        ("federation(scope=1)", "federation", False),
        ("__import__('os')", "federation", False),
        ("federations", "federation", False),
        ("of-today or federation", "federation", True),
        ("federation and not slow(level=3)", "federation", True),
    ],
)
def test_a_marker_expression_is_understood_as_pytest_does(expression: str, marker: str, matches: bool) -> None:
    assert command_line.marker_matches(expression, marker) is matches


NO_SUITE = " and ".join(f"not {marker}" for marker in command_line.CLUSTER_MARKERS)


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ([], False),
        (["-m", "federation"], True),
        (["-m", "upgrade"], True),
        (["-m", NO_SUITE], False),
        (["-m", "slow"], False),
        (["tests/federation/test_1_deployment.py"], True),
        (["tests/federation/test_1_deployment.py::test_every_node_is_ready"], True),
        (["tests/unit/config/test_settings.py"], False),
        (["tests/federation"], True),
        (["tests"], False),
        (
            ["tests/federation/test_1_deployment.py", "-m", NO_SUITE],
            False,
        ),
    ],
)
def test_clusters_are_wanted_by_a_marker_or_by_one_of_their_files(
    configured: Callable[..., pytest.Config], arguments: list[str], wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(PROJECT)
    assert options.wants_clusters(configured("--rootdir", str(PROJECT), *arguments)) is wanted


def test_a_warning_is_red_with_strict_alone(configured: Callable[..., pytest.Config]) -> None:
    lenient, strict = command_line.read_settings(configured()), command_line.read_settings(configured("--strict"))
    test_1_deployment.test_lifetimes_fit(["server: too long"], lenient)
    test_1_deployment.test_lifetimes_fit([], strict)
    with pytest.raises(pytest.fail.Exception, match="server: too long"):
        test_1_deployment.test_lifetimes_fit(["server: too long"], strict)
    read, unread = (cast(Supply, SimpleNamespace(unread_values=found)) for found in ((), ("chart 1 ignores x",)))
    test_1_deployment.test_the_charts_read_every_value(unread, lenient)
    test_1_deployment.test_the_charts_read_every_value(read, strict)
    with pytest.raises(pytest.fail.Exception, match="ignores x"):
        test_1_deployment.test_the_charts_read_every_value(unread, strict)


@dataclass
class Run:
    """A run of the real project on a machine where nothing can be started; `started` is what it tried to.

    Paths go with their options as `--option=path`: a separate argument that exists as a file moves pytest's root folder
    there.
    """

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pytest", f"--run-folder={self.folder / 'run'}", *arguments]
        return subprocess.run(
            command, cwd=PROJECT, env=self.environment, capture_output=True, text=True, timeout=180, check=False
        )

    @property
    def started(self) -> list[str]:
        """The calls of programs that a run could start something with."""
        log = self.folder / "started"
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def run(tmp_path: Path) -> Run:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in PROGRAMS:
        (programs / name).write_text(f'#!/bin/sh\necho "{name} $*" >> "{tmp_path}/started"\nexit 1\n')
        (programs / name).chmod(0o755)
    kept = {key: value for key, value in os.environ.items() if key in ("LANG", "LC_ALL", "VIRTUAL_ENV", "PYTHONPATH")}
    places = {"HOME": str(tmp_path), "SPIRE_FEDERATION_CACHE": str(tmp_path / "cache"), "PATH": str(programs)}
    return Run(tmp_path, {**kept, **places, "PYTHONDONTWRITEBYTECODE": "1"})


def refusal(run: Run, *arguments: str, chosen: Sequence[str] = ("-m", "federation")) -> str:
    """The one sentence with which the real project refuses a command line, which is all that is left in its folder.

    Nothing is started.
    """
    done = run(*chosen, *arguments)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR, done.stdout + done.stderr
    assert done.stdout.strip() == ""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert run.started == []
    assert not (run.folder / "cache").exists()
    said = lines[0].removeprefix("ERROR: ")
    assert {path.name for path in (run.folder / "run").iterdir()} == {RUN_JSON, PAGE}
    assert read_document(run.folder / "run")["verdict"]["sentence"] == said
    return said


def test_a_run_with_an_unknown_chart_folder_is_refused(run: Run) -> None:
    said = refusal(run, f"--charts={run.folder}")
    assert said.startswith(f"--charts: {run.folder} is no folder of charts: it has neither spire/Chart.yaml nor")


def test_a_run_with_a_bad_version_is_refused(run: Run) -> None:
    assert refusal(run, "--chart-version", "newest") == "--chart-version 'newest' is not a version such as 0.30.0"


@pytest.mark.parametrize(
    ("crds", "why"),
    [("0.5.0", "has spire-crds 0.5.0, and spire 0.30.0 needs 0.6"), (None, "has no spire-crds/Chart.yaml")],
)
def test_a_run_with_crds_of_another_time_is_refused(run: Run, crds: str | None, why: str) -> None:
    for name, version in (("spire", "0.30.0"), ("spire-crds", crds)):
        if version:
            (run.folder / "charts" / name).mkdir(parents=True)
            (run.folder / "charts" / name / "Chart.yaml").write_text(f"name: {name}\nversion: {version}\n")
    assert why in refusal(run, f"--charts={run.folder}")


def test_a_run_with_an_oci_reference_that_is_none_is_refused(run: Run) -> None:
    assert refusal(run, "--charts=oci://") == "--charts oci://: not of the form oci://HOST/FOLDER/spire:VERSION"


def test_a_run_with_an_image_archive_that_is_none_is_refused(run: Run) -> None:
    (run.folder / "notes.txt").write_text("no archive")
    said = refusal(run, f"--image-archive={run.folder}/notes.txt")
    assert said.startswith(f"--image-archive: {run.folder}/notes.txt is no image archive, as `docker save` writes it")


def test_a_run_with_two_versions_of_the_chart_is_refused(run: Run) -> None:
    said = refusal(run, "--charts=oci://registry.example/charts/spire:0.30.0", "--chart-version=0.29.0")
    assert said.endswith("names a version, and so does --chart-version: give one")


def test_a_run_with_an_engine_that_does_not_answer_is_refused(run: Run) -> None:
    run.environment["KIND_EXPERIMENTAL_PROVIDER"] = "nerdctl"
    assert refusal(run) == "KIND_EXPERIMENTAL_PROVIDER asks for nerdctl, and `nerdctl ps` does not succeed"


def test_a_run_with_a_port_that_is_taken_is_refused(run: Run) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        said = refusal(run, "--demo-port", str(port))
    assert said == f"--demo-port {port}: port {port} cannot be used: Address already in use"


def test_a_run_with_equal_trust_domains_is_refused(run: Run, write: Write) -> None:
    said = refusal(run, f"--values={write(nested('global.spire.trustDomain', 'same.example'))}")
    assert said.startswith("clusters server and client have the same trust domain same.example")
    assert said.endswith(
        "give the values that name it for one of them alone (--values=server=FILE), or name another in a file given by "
        "--values=client=FILE, as global.spire.trustDomain"
    )


def test_a_run_with_values_of_one_side_and_no_upgrade_is_refused(run: Run) -> None:
    said = refusal(run, "--to-set=a=b")
    assert said == "--from-values, --from-set, --to-values and --to-set are for -m upgrade"


def test_a_run_with_an_umbrellas_values_is_refused_with_a_hint(run: Run, write: Write) -> None:
    said = refusal(run, f"--values={write({UMBRELLA: {'spire-server': {}}})}")
    assert said.endswith("give it what stands below spire: as a values file of its own")


def test_a_run_with_a_kubeconfig_that_is_missing_is_refused(run: Run) -> None:
    assert refusal(run, f"--kubeconfig={run.folder}/none") == f"--kubeconfig {run.folder}/none: there is no such file"


DISRUPTIVE = [
    ["-m", "resilience"],
    ["-m", "selftest"],
    ["-m", "federation or selftest"],
    ["tests/resilience/test_4_outage.py"],
    ["tests/selftest/test_1_faults.py::test_other_ports_are_no_fault"],
]


@pytest.mark.parametrize("chosen", DISRUPTIVE, ids=" ".join)
def test_disruptive_tests_are_refused_on_clusters_that_are_not_the_suites_own(
    run: Run, kubeconfig: Path, chosen: list[str]
) -> None:
    said = refusal(run, f"--kubeconfig={kubeconfig}", "--context=server=kind-a", chosen=chosen)
    assert said.startswith("--context: -m resilience and -m selftest take servers, agents and networks away")
    assert said.endswith("give --allow-disruption where that may be")


@pytest.mark.parametrize("suite", ["field", "published"])
@pytest.mark.parametrize("both", [True, False])
def test_clusters_that_exist_are_refused_where_a_suite_makes_its_own(
    configured: Callable[..., pytest.Config],
    monkeypatch: pytest.MonkeyPatch,
    kubeconfig: Path,
    suite: str,
    both: bool,
) -> None:
    config = configured("-m", suite, f"--kubeconfig={kubeconfig}", *(BOTH if both else BOTH[:1]))
    monkeypatch.setattr("fixtures.config.command_line.host.engine", lambda: None)
    with pytest.raises(ValueError, match=rf"^--context: -m {suite} makes clusters of its own.*: leave it out$") as no:
        command_line.read_settings(config)
    assert "\n" not in str(no.value)


@pytest.mark.parametrize("chosen", [*DISRUPTIVE, ["-m", "federation"], ["-m", "upgrade"]], ids=" ".join)
def test_what_takes_nothing_away_or_is_allowed_to_is_not_refused(
    configured: Callable[..., pytest.Config], monkeypatch: pytest.MonkeyPatch, kubeconfig: Path, chosen: list[str]
) -> None:
    monkeypatch.chdir(PROJECT)
    allowed = ["--allow-disruption"] if chosen in DISRUPTIVE else []
    found = command_line.read_settings(
        configured(f"--kubeconfig={kubeconfig}", "--context=server=kind-a", *allowed, *chosen)
    )
    assert found.contexts == {"server": "kind-a"}


NOT_INSTALLED = [
    ((), BOTH[:1], "SPIRE is to be on both clusters already, and there is no --context for client"),
    ((), (), "SPIRE is to be on both clusters already, and there is no --context for server, client"),
    (("-m", "upgrade"), BOTH, "--no-install leaves SPIRE as it is, and -m upgrade upgrades SPIRE"),
    (("-m", "federation or upgrade"), BOTH, "--no-install leaves SPIRE as it is, and -m upgrade upgrades SPIRE"),
    (("-m", "selftest", "--allow-disruption"), BOTH, "and -m selftest installs broken releases of SPIRE"),
    (("-m", "field"), BOTH, "and -m field installs SPIRE once for each of its cases"),
    (("--charts=/charts",), BOTH, "SPIRE is there already, and --charts would say how to install it"),
    (("--values=a.yaml", "--set=a=b"), BOTH, "and --values, --set would say how to install it"),
    (("--set-json=a=1", "--pace=chart"), BOTH, "and --set-json, --pace would say how to install it"),
]


@pytest.mark.parametrize(("options", "contexts", "said"), NOT_INSTALLED)
def test_what_would_install_is_refused_where_spire_is_there_already(
    run: Run, kubeconfig: Path, options: tuple[str, ...], contexts: tuple[str, ...], said: str
) -> None:
    given = [f"--kubeconfig={kubeconfig}"] if contexts else []
    chosen = () if "-m" in options else ("-m", "federation")
    assert refusal(run, "--no-install", *given, *contexts, *options, chosen=chosen).endswith(said)


WAYS = {
    "node-port": (),
    "load-balancer": (),
    "given": (
        "--endpoint=server=https://[fd00::1]",
        "--endpoint=client=https://b.test:8443",
        "--demo-url=https://c.test",
    ),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("-m", "resilience"), "-m resilience and -m selftest cut, delay and redirect forwards on this machine"),
        (("-m", "federation or selftest"), "they need port-forward"),
        (("--bundle-port=8500",), "--bundle-port is a port of this machine, and --connectivity={way} takes none"),
        (("--demo-port=8500",), "--demo-port is a port of this machine, and --connectivity={way} takes none"),
    ],
)
def test_what_has_no_meaning_without_forwards_is_refused(
    configured: Callable[..., pytest.Config], way: str, options: tuple[str, ...], said: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(said.format(way=way))):
        command_line.read_settings(configured(f"--connectivity={way}", *WAYS[way], *options))


GIVEN = "--connectivity=given"
SERVER, CLIENT, DEMO = WAYS["given"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((SERVER,), "--endpoint and --demo-url are for --connectivity=given"),
        (("--connectivity=node-port", DEMO), "--endpoint and --demo-url are for --connectivity=given"),
        ((GIVEN,), f"{GIVEN}: no --endpoint says where the bundle endpoint of server, client is"),
        ((GIVEN, SERVER, DEMO), f"{GIVEN}: no --endpoint says where the bundle endpoint of client is"),
        ((GIVEN, SERVER, CLIENT), f"{GIVEN}: no --demo-url says where the demo's server is"),
        (
            (GIVEN, "--endpoint=https://a.test"),
            "--endpoint https://a.test: wanted CLUSTER=https://HOST:PORT, where CLUSTER is one of server, client",
        ),
        ((GIVEN, "--endpoint=server=a.test:8443"), "--endpoint server=a.test:8443: it is not https://HOST:PORT"),
        ((GIVEN, "--endpoint=server=http://a.test"), "--endpoint server=http://a.test: it is not https://HOST:PORT"),
        (
            (GIVEN, "--endpoint=server=https://u@a.test"),
            "--endpoint server=https://u@a.test: it is not https://HOST:PORT",
        ),
        (
            (GIVEN, SERVER, CLIENT, "--demo-url=https://c.test/a"),
            "--demo-url https://c.test/a: it has more than a host",
        ),
        (
            (GIVEN, SERVER, CLIENT, "--demo-url=https://c.test:99999"),
            "--demo-url https://c.test:99999: it is not https://HOST:PORT",
        ),
        (
            (GIVEN, SERVER, CLIENT, "--demo-url=https://[fd00::1"),
            "--demo-url https://[fd00::1: it is not https://HOST:PORT",
        ),
    ],
)
def test_addresses_that_cannot_be_dialled_or_are_given_by_half_are_refused(
    run: Run, options: tuple[str, ...], said: str
) -> None:
    assert refusal(run, *options).startswith(said)


def test_how_clusters_are_reached_is_left_to_the_run_or_chosen(
    configured: Callable[..., pytest.Config], kubeconfig: Path
) -> None:
    assert command_line.read_settings(configured()).connectivity == "auto"
    assert command_line.read_settings(configured("--connectivity=node-port")).connectivity == "node-port"
    found = command_line.read_settings(configured(GIVEN, *WAYS["given"]))
    assert found.endpoints == {"server": "https://[fd00::1]", "client": "https://b.test:8443"}
    assert found.demo_url == "https://c.test"
    theirs = (f"--kubeconfig={kubeconfig}", *BOTH, "--no-install", "--federate=existing")
    assert command_line.read_settings(configured(GIVEN, DEMO, *theirs)).endpoints == {}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--demo-image-server=a.test/s:1",), "--demo-image-server: give --demo-image-client too"),
        (("--demo-image-client=a.test/c:1",), "--demo-image-client: give --demo-image-server too"),
        (
            ("--demo-images=published", "--demo-image-server=a.test/s:1"),
            "--demo-images=published has a server of its own",
        ),
        (("--demo-image-server=a b", "--demo-image-client=c"), "--demo-image-server a b: not an image"),
        (("--demo-image-server=a", "--demo-image-client=c:"), "--demo-image-client c:: not an image"),
    ],
)
def test_images_of_the_demo_are_refused_where_they_are_none_or_by_half(
    run: Run, options: tuple[str, ...], said: str
) -> None:
    assert refusal(run, *options).startswith(said)


@pytest.mark.parametrize(
    "image", ["busybox", "localhost:5000/a/b:v0", "ghcr.io/a/b_c@sha256:" + "0" * 64, "a.test/b:1@sha256:" + "1" * 64]
)
def test_an_image_of_the_demo_is_named_as_in_a_manifest(configured: Callable[..., pytest.Config], image: str) -> None:
    found = command_line.read_settings(configured(f"--demo-image-server={image}", f"--demo-image-client={image}"))
    assert (found.demo_image_server, found.demo_image_client) == (image, image)


@pytest.mark.parametrize(
    ("options", "needed"),
    [((), False), (BOTH[:1], True), (("--connectivity=port-forward",), True), (("--connectivity=node-port",), False)],
)
def test_no_engine_is_asked_for_where_both_clusters_exist_and_nothing_is_forwarded(
    configured: Callable[..., pytest.Config],
    monkeypatch: pytest.MonkeyPatch,
    kubeconfig: Path,
    options: tuple[str, ...],
    needed: bool,
) -> None:
    contexts = options if options == BOTH[:1] else (*BOTH, *options)
    config = configured(f"--kubeconfig={kubeconfig}", *contexts)
    monkeypatch.setattr("fixtures.config.command_line.host.engine", lambda: None)
    monkeypatch.setattr("fixtures.config.command_line.os.geteuid", lambda: 1000)
    if needed:
        with pytest.raises(ValueError, match="no container engine answers"):
            command_line.read_settings(config)
    else:
        assert not command_line.read_settings(config).needs_engine


def test_how_to_federate_is_refused_where_this_suite_installs(run: Run) -> None:
    assert refusal(run, "--federate=make").startswith("--federate is for --no-install: ")


def test_with_spire_that_is_there_nothing_is_installed(
    configured: Callable[..., pytest.Config], kubeconfig: Path
) -> None:
    given = (f"--kubeconfig={kubeconfig}", *BOTH, "--no-install")
    found = command_line.read_settings(configured(*given))
    assert (found.no_install, found.federate, found.sources) == (True, "", ())
    assert command_line.read_settings(configured(*given, "--federate=existing")).federate == "existing"
    resilience = configured(*given, "-m", "resilience", "--allow-disruption")
    assert command_line.read_settings(resilience).no_install
    config = configured(*given)
    config.stash[options.SETTINGS] = found
    assert options.pytest_report_header(config)[:1] == ["SPIRE's pace: that of what is installed"]


def test_a_run_on_a_machine_without_an_engine_is_refused(run: Run) -> None:
    (run.folder / "none").mkdir()
    run.environment["PATH"] = str(run.folder / "none")
    assert refusal(run).startswith("no container engine answers (`docker ps`, `podman ps`)")


def collected(run: Run, *arguments: str) -> set[str]:
    """The tests that the real project would run, as `file::function`, unit tests left out."""
    done = run("--collect-only", "-q", "--ignore=tests/unit", *arguments)
    assert done.returncode in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED), done.stdout + done.stderr
    assert run.started == []
    assert not (run.folder / "run").exists()
    return {line.split("[")[0] for line in done.stdout.splitlines() if "::" in line}


def declared(suite: str) -> set[str]:
    """The test functions in a suite's folder, without collecting them."""
    return {
        f"tests/{suite}/{path.name}::{name}"
        for path in (PROJECT / "tests" / suite).glob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
    }


# What every run that brings clusters up asks first.
OF_EVERY_SUITE = {
    f"tests/federation/test_1_deployment.py::test_{name}" for name in ("lifetimes_fit", "the_charts_read_every_value")
}


def test_plain_pytest_selects_no_test_that_needs_clusters(run: Run) -> None:
    assert len(declared("federation")) >= 15
    assert collected(run) == set()


@pytest.mark.parametrize("suite", command_line.CLUSTER_MARKERS)
def test_a_suites_marker_selects_every_test_in_its_folder_and_no_other(run: Run, suite: str) -> None:
    # What they make are runs of the federation, each of which has those tests.
    shared = set() if suite in ("field", "published", "docs") else OF_EVERY_SUITE
    assert collected(run, "-m", suite) == declared(suite) | shared != shared


def test_every_test_outside_the_unit_tests_is_in_the_folder_of_a_suite() -> None:
    folders = {path.parent for path in (PROJECT / "tests").rglob("test_*.py")}
    outside = {
        folder.relative_to(PROJECT / "tests").parts[0] if folder != PROJECT / "tests" else "" for folder in folders
    }
    assert outside == {*command_line.CLUSTER_MARKERS, "unit"}


EXPERIMENTAL = "spire-agent.experimental"


@pytest.mark.parametrize(
    ("given", "merged"),
    [
        ({}, {"enabled": True, "syncInterval": "500ms"}),
        # The charts read none of it without the switch: nor does a run.
        ({"featureFlags": ["x"]}, {"featureFlags": ["x"]}),
        ({"syncInterval": "1m"}, {"syncInterval": "1m"}),
        ({"enabled": False}, {"enabled": False}),
        ({"enabled": True, "featureFlags": ["x"]}, {"enabled": True, "featureFlags": ["x"], "syncInterval": "500ms"}),
        ({"enabled": "true", "syncInterval": "1m"}, {"enabled": "true", "syncInterval": "1m"}),
    ],
)
def test_the_quick_pace_switches_nothing_on_that_the_users_values_leave_off(
    write: Write, given: dict[str, Any], merged: dict[str, Any]
) -> None:
    files = [str(write(nested(EXPERIMENTAL, given)))] if given else []
    for cluster in cluster_values.read_clusters(files):
        assert at(cluster.values, EXPERIMENTAL) == merged
        assert at(cluster.values, "spire-server.experimental.enabled") is True
    if given:
        for cluster in cluster_values.read_clusters(files, overlays=()):
            assert at(cluster.values, EXPERIMENTAL) == given
