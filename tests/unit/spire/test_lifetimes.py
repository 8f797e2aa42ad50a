"""Lifetimes that fit and those that do not, on both sides of every border."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fixtures.config.cluster_values import OVERLAYS, read_clusters
from fixtures.config.command_line import BREAKING_OVERLAY
from fixtures.helm.charts.helm_command import render
from fixtures.helm.manifests import rendered_objects
from fixtures.spire import lifetimes
from fixtures.spire.lifetimes import RULES, Lifetimes, lifetime_warnings
from supply.chart import CHART

Change = dict[str, Any]
Changed = Callable[..., list[dict[str, Any]]]
DAY = 86400.0

RELOADED: Change = {"file_sync_interval": "27m4s"}

# Rule; settings at the border on which they fit; one beyond it; what the warning advises, which fits again.
BORDERS: list[tuple[str, Change, Change, Change]] = [
    ("polls_before_use", {"refresh_hint": "8h"}, {"refresh_hint": "8h1s"}, {"refresh_hint": "2h40m"}),
    ("polls_before_use", {"ca_ttl": "15m"}, {"ca_ttl": "14m59s"}, {"refresh_hint": "1m39s"}),
    (
        "polls_before_use",
        {"refresh_hint": "1s", "ca_ttl": "3m"},
        {"refresh_hint": "1s", "ca_ttl": "179s"},
        {"ca_ttl": "9m"},
    ),
    (
        "polls_before_use",
        {"ca_ttl": "9m", "refresh_hint": "3m"},
        {"ca_ttl": "9m", "refresh_hint": "181s"},
        {"refresh_hint": "1m"},
    ),
    # A CA of more than 42 days gives way a week before its end, and one of more than 60 has its successor at 30.
    (
        "polls_before_use",
        {"ca_ttl": "1080h", "refresh_hint": "372h"},
        {"ca_ttl": "1080h", "refresh_hint": "372h1s"},
        {"refresh_hint": "124h"},
    ),
    (
        "polls_before_use",
        {"ca_ttl": "2400h", "refresh_hint": "552h"},
        {"ca_ttl": "2400h", "refresh_hint": "552h1s"},
        {"refresh_hint": "184h"},
    ),
    ("polls_after_revocation", {"refresh_hint": "23h59m59s"}, {"refresh_hint": "24h"}, {"refresh_hint": "5m"}),
    (
        "synchronisation_before_use",
        {"ca_ttl": "93s", "sync_interval": "19s"},
        {"ca_ttl": "93s", "sync_interval": "20s"},
        {"ca_ttl": "1m36s"},
    ),
    ("svids_cut_short", {"default_x509_svid_ttl": "4h"}, {"default_x509_svid_ttl": "4h1s"}, {"ca_ttl": "24h6s"}),
    (
        "svids_cut_short",
        {"ca_ttl": "1008h", "default_x509_svid_ttl": "168h"},
        {"ca_ttl": "1007h", "default_x509_svid_ttl": "168h"},
        {"ca_ttl": "1008h"},
    ),
    ("svids_cut_short", {"default_jwt_svid_ttl": "4h"}, {"default_jwt_svid_ttl": "5h"}, {"default_jwt_svid_ttl": "4h"}),
    ("svids_cut_short", {"agent_ttl": "4h"}, {"agent_ttl": "4h1s"}, {"agent_ttl": "4h"}),
    ("svids_cut_short", {"ttl": "4h"}, {"ttl": "4h1s"}, {"ttl": "4h"}),
    ("svids_cut_short", {"jwtTtl": "4h"}, {"jwtTtl": "4h1s"}, {"jwtTtl": "4h"}),
    (
        "svids_cut_short",
        {"ca_ttl": "9000h", "default_x509_svid_ttl": "168h"},
        {"ca_ttl": "9000h", "default_x509_svid_ttl": "168h1s"},
        {"default_x509_svid_ttl": "168h"},
    ),
    (
        "renewal_before_end",
        {"sync_interval": "45m", "default_x509_svid_ttl": "6591s"},
        {"sync_interval": "45m", "default_x509_svid_ttl": "6589s"},
        {"default_x509_svid_ttl": "1h49m50s"},
    ),
    (
        "renewal_before_end",
        {"sync_interval": "5s", "default_x509_svid_ttl": "5500ms"},
        {"sync_interval": "5s", "default_x509_svid_ttl": "5s"},
        {"sync_interval": "4s"},
    ),
    # An X.509-SVID of an hour is valid for 10 s more, and renewed with at least 45 % of that left.
    ("certificate_read_before_end", {"file_sync_interval": "1624s"}, {"file_sync_interval": "1625s"}, RELOADED),
    (
        "certificate_read_before_end",
        {"file_sync_interval": "24h", "default_x509_svid_ttl": "54h"},
        {"file_sync_interval": "24h"},
        RELOADED,
    ),
    ("renewal_before_end", {"agent_ttl": "5500ms"}, {"agent_ttl": "5s"}, {"agent_ttl": "6s"}),
    ("renewal_before_end", {"sync_interval": "5s", "ttl": "6s"}, {"sync_interval": "5s", "ttl": "5s"}, {"ttl": "6s"}),
    (
        "availability_target_kept",
        {"availability_target": "24h", "default_x509_svid_ttl": "35h59m51s"},
        {"availability_target": "24h", "default_x509_svid_ttl": "35h59m50s"},
        {"default_x509_svid_ttl": "36h"},
    ),
    (
        "availability_target_kept",
        {"availability_target": "24h", "default_x509_svid_ttl": "36h", "agent_ttl": "36h"},
        {"availability_target": "24h", "default_x509_svid_ttl": "36h", "agent_ttl": "35h"},
        {"agent_ttl": "36h"},
    ),
]


@pytest.fixture
def changed(recorded: Callable[[str], str]) -> Changed:
    """The manifests of the project's own chart, with settings changed where they belong; None takes one away."""

    def change(**settings: Any) -> list[dict[str, Any]]:
        manifests = rendered_objects(recorded("own-chart-manifests.yaml"))
        by_name = {(each["kind"], each["metadata"]["name"]): each for each in manifests}
        server_data, agent_data = (by_name["ConfigMap", name]["data"] for name in ("spire-server", "spire-agent"))
        server, agent = json.loads(server_data["server.conf"]), json.loads(agent_data["agent.conf"])
        entry = by_name["ClusterSPIFFEID", "spire-mgmt-spire-default"]["spec"]
        places: dict[str, dict[str, Any]] = {
            "refresh_hint": server["server"]["federation"]["bundle_endpoint"],
            "bundle_endpoint": server["server"]["federation"],
            "plugins": server,
            "sync_interval": agent["agent"]["experimental"],
            "availability_target": agent["agent"],
            "ttl": entry,
            "jwtTtl": entry,
            "file_sync_interval": (served := {"cert_file_path": "/certs/tls.crt"}),
        }
        for key, value in settings.items():
            place = places.get(key, server["server"])
            place[key] = value
            if value is None:
                del place[key]
        server_data["server.conf"], agent_data["agent.conf"] = json.dumps(server), json.dumps(agent)
        provider = {"oidc-discovery-provider.conf": json.dumps({"serving_cert_file": served})}
        manifests.append({"kind": "ConfigMap", "metadata": {"name": "oidc"}, "data": provider})
        return manifests

    return change


def broken(rule: str, manifests: list[dict[str, Any]]) -> list[str]:
    """The warnings of one rule."""
    return list(getattr(lifetimes, rule)(Lifetimes.of(manifests)))


def test_the_own_charts_lifetimes_are_read_from_its_manifests(changed: Changed) -> None:
    found = Lifetimes.of(changed())
    assert (found.ca, found.refresh_hint, found.sync_interval, found.availability_target) == (DAY, 300.0, 0.5, 0.0)
    assert (found.poll, found.overlap, found.activation) == (75.0, 28800.0, 14400.0)
    assert found.rotated == "CA and JWT key"
    assert {svid.setting: svid.seconds for svid in found.svids} == {
        "default_x509_svid_ttl": 3600.0,
        "default_jwt_svid_ttl": 300.0,
    }


def test_what_is_not_set_has_spires_defaults(changed: Changed) -> None:
    unset = ("ca_ttl", "refresh_hint", "default_x509_svid_ttl", "default_jwt_svid_ttl", "sync_interval")
    bare = Lifetimes.of(changed(**dict.fromkeys(unset)))
    assert (bare.ca, bare.refresh_hint, bare.sync_interval) == (DAY, 300.0, 5.0)
    assert [svid.seconds for svid in bare.svids] == [3600.0, 300.0]
    assert Lifetimes.of(changed(**dict.fromkeys(unset, ""))) == bare
    zero = dict.fromkeys(set(unset) - {"refresh_hint"}, "0s")
    assert Lifetimes.of(changed(refresh_hint=None, **zero)) == bare


@pytest.mark.parametrize(("hint", "read"), [("1s", 60.0), ("59s", 60.0), ("61500ms", 61.0), ("0", 8640.0)])
def test_the_hint_is_the_one_that_peers_go_by(changed: Changed, hint: str, read: float) -> None:
    assert Lifetimes.of(changed(refresh_hint=hint)).refresh_hint == read


def test_a_hint_of_zero_is_a_minute_with_a_short_lived_ca(changed: Changed) -> None:
    assert Lifetimes.of(changed(refresh_hint="0s", ca_ttl="5m")).refresh_hint == 60.0


def test_a_block_may_be_written_as_a_list(changed: Changed) -> None:
    # As the charts wrote the endpoint up to 0.23.
    endpoint = [{"address": "0.0.0.0", "port": 8443}, {"refresh_hint": "10h"}]  # noqa: S104
    assert Lifetimes.of(changed(bundle_endpoint=endpoint)).refresh_hint == 36000.0


def test_the_lifetimes_of_entries_are_read_from_their_objects(changed: Changed) -> None:
    static = {
        "kind": "ClusterStaticEntry",
        "metadata": {"name": "fixed"},
        "spec": {"x509SVIDTTL": "2h", "jwtSVIDTTL": "3h"},
    }
    found = Lifetimes.of([*changed(ttl="1h30m", jwtTtl="10m", agent_ttl="2h"), static]).svids
    assert [(svid.kind, svid.setting, svid.seconds) for svid in found] == [
        (lifetimes.X509, "default_x509_svid_ttl", 3600.0),
        (lifetimes.AGENT, "agent_ttl", 7200.0),
        (lifetimes.JWT, "default_jwt_svid_ttl", 300.0),
        (lifetimes.X509, "ttl of ClusterSPIFFEID spire-mgmt-spire-default", 5400.0),
        (lifetimes.JWT, "jwtTtl of ClusterSPIFFEID spire-mgmt-spire-default", 600.0),
        (lifetimes.X509, "x509SVIDTTL of ClusterStaticEntry fixed", 7200.0),
        (lifetimes.JWT, "jwtSVIDTTL of ClusterStaticEntry fixed", 10800.0),
    ]


def test_what_is_not_rotated_needs_no_time(changed: Changed) -> None:
    # With an upstream authority the bundle has that one's certificates.
    upstream: Change = {"UpstreamAuthority": {"disk": {"plugin_data": {}}}}
    off = {"UpstreamAuthority": {"disk": {"enabled": False}}}
    assert Lifetimes.of(changed(plugins=off)).rotated == "CA and JWT key"
    unfit = changed(plugins=upstream, refresh_hint="20h", sync_interval="9h")
    assert "between publication and use of a new JWT key (ca_ttl 24h)" in broken("polls_before_use", unfit)[0]
    assert "of a new JWT key " in broken("synchronisation_before_use", unfit)[0]
    fitting = changed(plugins=upstream, refresh_hint="20h", sync_interval="9h", disable_jwt_svids=True)
    assert broken("polls_before_use", fitting) == broken("synchronisation_before_use", fitting) == []


def test_lifetimes_of_jwt_svids_do_not_matter_where_there_are_none(changed: Changed) -> None:
    unfit = {"default_jwt_svid_ttl": "5h", "jwtTtl": "5h"}
    assert len(lifetime_warnings(changed(**unfit))) == 2
    assert lifetime_warnings(changed(**unfit, disable_jwt_svids=True)) == []
    assert "a new CA (ca_ttl" in lifetime_warnings(changed(refresh_hint="9h", disable_jwt_svids=True))[0]


def test_without_a_bundle_endpoint_nobody_polls(changed: Changed) -> None:
    found = Lifetimes.of(changed(bundle_endpoint=None, ca_ttl="1m"))
    assert found.refresh_hint is None
    assert list(lifetimes.polls_before_use(found)) == list(lifetimes.polls_after_revocation(found)) == []


def test_every_rule_has_a_border() -> None:
    assert {rule for rule, *_ in BORDERS} == {rule.__name__ for rule in RULES}


@pytest.mark.parametrize(("rule", "fitting", "unfit", "advised"), BORDERS)
def test_a_rule_warns_on_one_side_of_its_border_and_advises_what_fits(
    changed: Changed, rule: str, fitting: Change, unfit: Change, advised: Change
) -> None:
    assert broken(rule, changed(**fitting)) == []
    (warning,) = broken(rule, changed(**unfit))
    assert warning in lifetime_warnings(changed(**unfit))
    ((_, advice),) = advised.items()
    assert re.search(rf"\b{re.escape(advice)}\b", warning.partition("; set ")[2])
    assert broken(rule, changed(**{**unfit, **advised})) == []


def test_a_hint_of_a_day_does_not_fit_the_default_lifetime_of_the_ca(changed: Changed) -> None:
    assert lifetime_warnings(changed(refresh_hint="24h")) == [
        "peers poll the bundle every 6h (refresh hint 24h / 4), and 8h pass between publication and use of a new CA "
        "and JWT key (ca_ttl 24h): only 1 poll is sure to be in time, and where none succeeds, the first rotation "
        "cuts the federation; set spire-server.federation.bundleEndpoint.refreshHint to at most 2h40m",
        "the refresh hint is 24h: peers accept what a revoked authority has signed for up to 6h more; set "
        "spire-server.federation.bundleEndpoint.refreshHint to less than 24h, such as 5m",
    ]


@pytest.mark.parametrize(
    ("hint", "consequence"),
    [
        ("9h", "only 3 polls are sure to be in time"),
        ("16h", "only 1 poll is sure to be in time"),  # 4 h apart, and a rotation may be looked for 10 s late
        ("31h", "only 1 poll is sure to be in time"),
        ("32h", "the first rotation can fall between two polls"),
    ],
)
def test_the_polls_that_are_sure_to_be_in_time_are_counted(changed: Changed, hint: str, consequence: str) -> None:
    assert consequence in lifetime_warnings(changed(refresh_hint=hint))[0]


def test_other_warnings_name_what_does_not_fit_and_what_to_change(changed: Changed) -> None:
    assert lifetime_warnings(changed(default_x509_svid_ttl="12h")) == [
        "default_x509_svid_ttl is 12h, and an SVID that is signed just before a rotation lives for 4h (ca_ttl 24h / 6, "
        "at most a week); set spire-server.defaultX509SvidTTL to at most 4h, or spire-server.caTTL to at least 72h"
    ]
    assert lifetime_warnings(changed(sync_interval="45m")) == [
        "default_x509_svid_ttl is 1h, and an agent looks every 45m for what is to be renewed: an SVID can end before; "
        "set spire-server.defaultX509SvidTTL to at least 1h49m50s, "
        "or spire-agent.experimental.syncInterval to at most 24m36s"
    ]
    assert lifetime_warnings(changed(availability_target="24h")) == [
        "default_x509_svid_ttl is 1h, and an agent ignores its availability_target (24h) for what does not live for "
        "12h more; set spire-server.defaultX509SvidTTL to at least 36h, or no spire-agent.availabilityTarget"
    ]
    (warning,) = broken("synchronisation_before_use", changed(sync_interval="8h"))
    assert warning == (
        "agents synchronise every 8h, and 8h pass between publication and use of a new CA and JWT key (ca_ttl 24h): "
        "until an agent does, its workloads refuse what is newly signed; set spire-server.caTTL to at least 26h24m30s, "
        "or spire-agent.experimental.syncInterval to less"
    )


def test_a_duration_that_spire_does_not_read_is_a_warning(changed: Changed) -> None:
    assert lifetime_warnings(changed(ca_ttl="1d")) == [
        "the lifetimes cannot be checked: ca_ttl '1d' is not a duration of Go's, such as 24h or 1h30m: "
        "SPIRE does not start with it; see spire-server.caTTL"
    ]


def test_an_entrys_lifetime_that_nobody_reads_is_said_to_be_its_objects(changed: Changed) -> None:
    (warning,) = lifetime_warnings(changed(ttl="30d"))
    assert re.search(r"ttl '30d' is not .*: ClusterSPIFFEID \S+ is refused, or gives nobody an entry$", warning)


def test_a_configuration_that_is_not_json_is_a_warning(changed: Changed) -> None:
    manifests = changed()
    manifests[0]["data"]["server.conf"] = 'server { ca_ttl = "24h" }'
    (warning,) = lifetime_warnings(manifests)
    assert warning.startswith(
        "the lifetimes cannot be checked: server.conf in ConfigMap spire-server is not JSON: Expecting value"
    )


def test_another_programs_file_of_the_same_name_is_passed_over(changed: Changed) -> None:
    # As Tornjak's, in every published chart with it.
    tornjak = {"kind": "ConfigMap", "metadata": {"name": "spire-tornjak-config"}, "data": {"server.conf": "server {"}}
    manifests = changed(refresh_hint="24h")
    assert lifetime_warnings([tornjak, *manifests]) == lifetime_warnings(manifests) != []


def test_a_release_without_a_configuration_is_a_warning() -> None:
    without = [{"kind": "ConfigMap", "metadata": {"name": "empty"}}, {"kind": "Pod", "data": {"server.conf": "{}"}}]
    assert lifetime_warnings(without) == [
        "the lifetimes cannot be checked: no ConfigMap has a server.conf with a section server"
    ]


@pytest.mark.skipif(shutil.which("helm") is None, reason="no helm on PATH")
@pytest.mark.parametrize("overlays", [OVERLAYS, (*OVERLAYS, BREAKING_OVERLAY)], ids=["usual", "breaking"])
def test_the_suites_own_values_fit(overlays: tuple[str, ...]) -> None:
    helm = Path(str(shutil.which("helm")))
    for cluster in read_clusters(overlays=overlays):
        rendered = rendered_objects(render(CHART / "spire", [cluster.values], helm))
        assert Lifetimes.of(rendered).refresh_hint == (60.0 if BREAKING_OVERLAY in overlays else 300.0)
        assert lifetime_warnings(rendered) == []


def test_of_nested_servers_it_is_the_one_that_serves_the_bundle(changed: Changed) -> None:
    config = json.dumps({"server": {"trust_domain": "one.example", "ca_ttl": "96h"}})
    root = {"kind": "ConfigMap", "metadata": {"name": "root"}, "data": {"server.conf": config}}
    found = Lifetimes.of([root, *changed()])
    assert (found.ca, found.refresh_hint) == (DAY, 300.0)


def test_the_recorded_manifests_of_the_own_chart_fit(changed: Changed) -> None:
    assert lifetime_warnings(changed()) == []
