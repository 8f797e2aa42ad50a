"""Values in the words of older charts."""

from __future__ import annotations

from pathlib import Path

import pytest
from semver import Version

from fixtures.core.project import PROJECT
from fixtures.helm.value_renames import in_words_of, left_out, load_rules, rename_values
from fixtures.helm.values import Values, at, load, nested

CHARTS_VALUES = PROJECT / "charts-values"
RULES = load_rules(CHARTS_VALUES / "versions.yaml")
RENAMES = tuple(rule for rule in RULES if rule.added is None)


def having(path: str, value: object) -> Values:
    return nested(path.split("."), value)


@pytest.mark.parametrize("version", ["0.17.0", "0.17.2"])
def test_charts_before_0_18_take_the_subject_from_the_server(version: str) -> None:
    translated = rename_values(load(CHARTS_VALUES / "server.yaml"), Version.parse(version), RULES)
    assert translated["spire-server"]["ca_subject"] == {
        "country": "US",
        "organization": "Federation tutorial",
        "common_name": "server.example",
    }
    assert "caSubject" not in translated["global"]["spire"]
    assert translated["spire-server"]["federation"] == {"enabled": True}


@pytest.mark.parametrize("version", ["0.18.0", "0.30.0", "0.31.2"])
def test_newer_charts_take_the_clusters_file_as_it_is(version: str) -> None:
    values = load(CHARTS_VALUES / "server.yaml")
    assert rename_values(values, Version.parse(version), RENAMES) == values


@pytest.mark.parametrize(("version", "kept"), [("0.17.0", False), ("0.24.2", False), ("0.24.3", True)])
def test_old_charts_write_the_agents_experimental_options_where_it_refuses_them(version: str, kept: bool) -> None:
    values = {"spire-agent": {"experimental": {"enabled": True, "syncInterval": "1s"}}}
    assert bool(at(rename_values(values, Version.parse(version), RULES), "spire-agent.experimental")) is kept


@pytest.mark.parametrize(
    ("version", "kept"), [("0.17.0", False), ("0.26.1", False), ("0.27.0", True), ("0.30.0", True)]
)
def test_old_charts_have_no_word_for_how_soon_the_controller_manager_tries_again(version: str, kept: bool) -> None:
    translated = rename_values(load(CHARTS_VALUES / "pace.yaml"), Version.parse(version), RULES)
    assert (at(translated, "spire-server.controllerManager.gcInterval") == 1_000_000_000) is kept


KUBECTL = {"registry": "registry.k8s.io", "repository": "kubectl"}


@pytest.mark.parametrize(("version", "added"), [("0.17.0", True), ("0.26.1", True), ("0.27.0", False)])
@pytest.mark.parametrize("chart", ["spire-server", "spiffe-oidc-discovery-provider"])
def test_old_charts_hooks_get_the_kubectl_that_kubernetes_publishes(version: str, added: bool, chart: str) -> None:
    found = rename_values({}, Version.parse(version), RULES)
    assert at(found, f"{chart}.tools.kubectl.image") == (KUBECTL if added else None)


def test_nothing_is_added_at_a_key_that_the_chart_lacks() -> None:
    found = rename_values({}, Version.parse("0.17.0"), RULES, lambda key: key[0] == "spire-server")
    assert found == having("spire-server.tools.kubectl.image", KUBECTL)


def test_a_kubectl_that_is_given_stays_what_it_is() -> None:
    given = having("spire-server.tools.kubectl.image", {"repository": "mirror/kubectl", "tag": "v1.30.0"})
    found = rename_values(given, Version.parse("0.17.0"), RULES)
    image = {"registry": "registry.k8s.io", "repository": "mirror/kubectl", "tag": "v1.30.0"}
    assert at(found, "spire-server.tools.kubectl.image") == image


def test_a_candidate_speaks_like_the_version_it_is_one_of() -> None:
    (rule,) = (each for each in RULES if each.source[-1:] == ("refreshHint",))
    assert not rule.applies_to(Version.parse("0.24.0-rc.1"))
    assert rule.applies_to(Version.parse("0.17.0-rc.1"))


def test_the_projects_own_chart_takes_todays_words() -> None:
    values = load(CHARTS_VALUES / "server.yaml")
    assert rename_values(values, Version.parse("0.1.0"), RULES) == values


@pytest.mark.parametrize(
    ("version", "key"), [("0.17.0", "refresh_hint"), ("0.23.0", "refresh_hint"), ("0.24.0", "refreshHint")]
)
def test_the_refresh_hint_keeps_its_value(version: str, key: str) -> None:
    translated = rename_values(
        having("spire-server.federation.bundleEndpoint.refreshHint", "1m"), Version.parse(version), RENAMES
    )
    assert translated == {"spire-server": {"federation": {"bundleEndpoint": {key: "1m"}}}}


def test_kubelet_verification_was_a_switch() -> None:
    key = "spire-agent.workloadAttestors.k8s"
    assert rename_values(having(f"{key}.verification.type", "skip"), Version.parse("0.22.0"), RENAMES) == having(
        f"{key}.skipKubeletVerification", True
    )
    assert rename_values(having(f"{key}.verification.type", "hostCert"), Version.parse("0.22.0"), RENAMES) == having(
        f"{key}.skipKubeletVerification", False
    )
    assert rename_values(having(f"{key}.verification.type", "skip"), Version.parse("0.23.0"), RENAMES) == having(
        f"{key}.verification.type", "skip"
    )


@pytest.mark.parametrize("value", ["perhaps", ["skip"]])
def test_a_value_that_cannot_be_said_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"chart 0\.22\.0 cannot express spire-agent.*: .*(perhaps|skip)"):
        rename_values(
            having("spire-agent.workloadAttestors.k8s.verification.type", value), Version.parse("0.22.0"), RULES
        )


def test_what_is_given_in_the_charts_own_words_stays() -> None:
    given = {
        "global": {"spire": {"caSubject": {"country": "US", "organization": "Federation tutorial"}}},
        "spire-server": {"ca_subject": {"country": "DE"}},
    }
    translated = rename_values(given, Version.parse("0.17.0"), RENAMES)
    assert translated == {"spire-server": {"ca_subject": {"country": "DE", "organization": "Federation tutorial"}}}


@pytest.mark.parametrize(("version", "spelling"), [("0.17.0", "k8sPsat"), ("0.23.0", "k8sPsat"), ("0.24.0", "k8sPSAT")])
def test_sentences_name_keys_as_the_chart_has_them(version: str, spelling: str) -> None:
    values = {"spire-server": {"nodeAttestor": {"k8sPSAT": {"audience": ["x"]}}}}
    assert at(rename_values(values, Version.parse(version), RENAMES), f"spire-server.nodeAttestor.{spelling}.audience")
    said = "see spire-server.nodeAttestor.{0} and spire-server.nodeAttestor.{0}.audience, not k8sPSAT"
    assert in_words_of(Version.parse(version), said.format("k8sPSAT"), RULES) == said.format(spelling)


def test_a_key_without_counterpart_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("- {since: 1.0.0, until: 2.0.0, from: a.b, drop: true, why: it came with 2}\n")
    assert rename_values({"a": {"b": 1}, "c": 2}, Version.parse("1.5.0"), load_rules(path)) == {"c": 2}


def test_what_a_user_gives_and_a_chart_has_no_word_for_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("- {since: 1.0.0, until: 2.0.0, from: a.b, drop: true, why: it came with 2}\n")
    rules, version = load_rules(path), Version.parse("1.5.0")
    own = {"a": {"b": {"c": 1}}}
    assert left_out({"a": {"b": {"c": 2}}}, own, version, rules) == ["a.b (it came with 2)"]
    assert left_out(own, own, version, rules) == left_out({"a": {}}, own, version, rules) == []
    assert left_out({"a": {"b": 0}}, {}, Version.parse("2.0.0"), rules) == []


def test_what_is_no_rule_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(
        "- {since: 1.0.0, until: 2.0.0, from: a.b, drop: true, why: it came with 2}\n- {since: 1.0.0, from: a}\n"
    )
    with pytest.raises(ValueError, match=r"rule 2 of .* is not one"):
        load_rules(path)
