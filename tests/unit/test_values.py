"""Values: merging, `--set`, the words of older charts, and the keys that a chart would ignore."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.version import Version

from fixtures.values import ignored_keys, load, load_rules, merge, set_argument, translate

CHARTS_VALUES = Path(__file__).parents[2] / "charts-values"
RULES = load_rules(CHARTS_VALUES / "versions.yaml")
CLUSTERS = ("server", "client")


def write_chart(folder: Path, values: dict[str, Any], templates: dict[str, str], **described: Any) -> Path:
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text(
        yaml.safe_dump({"apiVersion": "v2", "name": folder.name, "version": "1.0.0", **described})
    )
    (folder / "values.yaml").write_text(yaml.safe_dump(values))
    for name, text in templates.items():
        (folder / "templates" / name).write_text(text)
    return folder


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    """An umbrella with two dependencies, one of them twice, and a library."""
    dependencies = [
        {"name": "engine", "version": "1.0.0", "condition": "engine.on"},
        {"name": "engine", "version": "1.0.0", "alias": "spare-engine"},
        {"name": "wheels", "version": "1.0.0"},
        {"name": "tools", "version": "1.0.0"},
    ]
    top = write_chart(
        tmp_path / "car",
        {"global": {"colour": "red"}, "engine": {"oil": {"grade": "5W"}}, "owner": {"name": "nobody"}},
        {"car.yaml": "owner: {{ .Values.owner.name }}\n"},
        dependencies=dependencies,
    )
    engine_template = (
        '{{- include "tools.noise" . }}\n'
        "{{- with .Values.oil }}\noil: {{ .grade }}\nchange: {{ .interval }}\n{{- end }}\n"
        "{{- range $name, $cylinder := .Values.cylinders }}\n{{ $name }}: {{ $cylinder.volume }}\n{{- end }}\n"
        'turbo: {{ dig "turbo" "pressure" 1 .Values.extras }}\n'
        "free: {{ toYaml .Values.free | nindent 2 }}\n"
        '{{- include "engine.part" (dict "part" .Values.belt) }}\n'
        "{{- /* .Values.forgotten is only spoken of */}}\n"
    )
    write_chart(
        top / "charts" / "engine",
        {
            "cylinders": {"first": {"volume": 1}},
            "extras": {"known": 1},
            "free": {"a": 1},
            "labels": {},
            "belt": {"width": 2},
            "power": None,
            "oil": {"grade": ""},
        },
        {"engine.yaml": engine_template, "_part.tpl": '{{ define "engine.part" }}{{ .part.length }}{{ end }}'},
    )
    write_chart(top / "charts" / "wheels", {"count": 4}, {"wheels.yaml": "{{ .Values.global.rims.size }}"})
    write_chart(
        top / "charts" / "tools",
        {},
        {"_tools.tpl": '{{ define "tools.noise" }}{{ .Values.horn.tone }}{{ end }}'},
        type="library",
    )
    return top


class TestIgnoredKeys:
    @pytest.mark.parametrize(
        "key",
        [
            "owner.name",  # has a default
            "engine.on",  # is a dependency's condition
            "engine.oil.interval",  # has no default, is read
            "spare-engine.oil.grade",  # by alias
            "engine.cylinders.fifth.volume",  # one of a map of named things
            "engine.extras.turbo.pressure",  # read by dig
            "engine.free.anything.at.all",  # written out as a whole
            "engine.labels.anything",  # a default of {} takes anything
            "engine.power.anything",  # and so does null
            "engine.belt.length",  # read by the template it is handed to
            "engine.horn.tone",  # read by a library
            "global.colour",
            "global.rims.size",  # read by one dependency
        ],
    )
    def test_a_key_that_is_read_is_not_reported(self, chart: Path, key: str) -> None:
        assert ignored_keys(set_argument(f"{key}=x"), chart) == []

    @pytest.mark.parametrize(
        ("key", "reported"),
        [
            ("nonsense", "nonsense"),
            ("owner.nam", "owner.nam"),
            ("engine.oil.colour", "engine.oil.colour"),
            ("engine.oil", "engine.oil"),  # text where a mapping is: Helm warns and keeps the mapping
            ("engine.cylinders.first.volum", "engine.cylinders.first.volum"),
            ("engine.extras.turbo.pressur", "engine.extras.turbo.pressur"),
            ("engine.belt.thickness", "engine.belt.thickness"),
            ("engine.forgotten", "engine.forgotten"),  # only in a comment
            ("wheels.oil.grade", "wheels.oil"),  # known to another dependency only
            ("global.rims.colour", "global.rims.colour"),
            ("global.color.code", "global.color"),
        ],
    )
    def test_a_key_that_nothing_reads_is_reported(self, chart: Path, key: str, reported: str) -> None:
        assert ignored_keys(set_argument(f"{key}=x"), chart) == [reported]

    def test_a_packaged_dependency_counts_like_a_folder(self, chart: Path) -> None:
        engine = chart / "charts" / "engine"
        with tarfile.open(chart / "charts" / "engine-1.0.0.tgz", "w:gz") as archive:
            archive.add(engine, "engine")
        engine.rename(chart.parent / "moved-away")
        assert ignored_keys(set_argument("engine.oil.interval=x,engine.oil.colour=x"), chart) == ["engine.oil.colour"]

    def test_a_missing_dependency_is_named(self, chart: Path) -> None:
        (chart / "charts" / "wheels").rename(chart.parent / "moved-away")
        with pytest.raises(ValueError, match="lacks its dependency wheels"):
            ignored_keys({}, chart)

    def test_a_folder_that_is_no_chart_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="is not a chart"):
            ignored_keys({}, tmp_path)


class TestMerge:
    def test_later_wins_key_by_key_and_lists_are_replaced(self) -> None:
        assert merge({"a": {"b": 1, "c": [1, 2]}}, {"a": {"c": [3]}}, {"d": None}) == {
            "a": {"b": 1, "c": [3]},
            "d": None,
        }

    def test_what_is_merged_is_not_changed(self) -> None:
        first = {"a": {"b": [1]}}
        merge(first, {"a": {"c": 1}})["a"]["b"].append(2)
        assert first == {"a": {"b": [1]}}


class TestSetArgument:
    @pytest.mark.parametrize(
        ("argument", "meaning"),
        [
            ("a.b.c=text", {"a": {"b": {"c": "text"}}}),
            ("a=1,b=true,c=null,d=01,e=1.5", {"a": 1, "b": True, "c": None, "d": "01", "e": "1.5"}),
            ("a={x,2}", {"a": ["x", 2]}),
            ("a={}", {"a": []}),
            ("a={},b=1", {"a": [], "b": 1}),
            (r"a\.b.c=v\,w", {"a.b": {"c": "v,w"}}),
            ("a=b=c", {"a": "b=c"}),
            ("a=", {"a": ""}),
            ("a.b=1,a.c=2", {"a": {"b": 1, "c": 2}}),
        ],
    )
    def test_it_means_what_helm_means(self, argument: str, meaning: dict[str, Any]) -> None:
        assert set_argument(argument) == meaning

    @pytest.mark.parametrize("argument", ["a", "=1", "a..b=1", "a[0]=1", "a=1,b"])
    def test_anything_else_is_refused(self, argument: str) -> None:
        with pytest.raises(ValueError, match=r"--set .* is not of the form"):
            set_argument(argument)


class TestTranslate:
    @pytest.mark.parametrize("version", ["0.17.0", "0.17.2"])
    def test_charts_before_0_18_take_the_subject_from_the_server(self, version: str) -> None:
        translated = translate(load(CHARTS_VALUES / "server.yaml"), Version(version), RULES)
        assert translated["spire-server"]["ca_subject"] == {
            "country": "US",
            "organization": "Federation tutorial",
            "common_name": "server.example",
        }
        assert "caSubject" not in translated["global"]["spire"]
        assert translated["spire-server"]["federation"] == {"enabled": True}

    @pytest.mark.parametrize("version", ["0.18.0", "0.30.0", "0.31.2"])
    def test_newer_charts_take_the_clusters_file_as_it_is(self, version: str) -> None:
        values = load(CHARTS_VALUES / "server.yaml")
        assert translate(values, Version(version), RULES) == values

    def test_the_projects_own_chart_takes_todays_words(self) -> None:
        values = load(CHARTS_VALUES / "server.yaml")
        assert translate(values, Version("0.1.0"), RULES) == values

    @pytest.mark.parametrize(
        ("version", "key"), [("0.17.0", "refresh_hint"), ("0.23.0", "refresh_hint"), ("0.24.0", "refreshHint")]
    )
    def test_the_refresh_hint_keeps_its_value(self, version: str, key: str) -> None:
        translated = translate(
            set_argument("spire-server.federation.bundleEndpoint.refreshHint=1m"), Version(version), RULES
        )
        assert translated == {"spire-server": {"federation": {"bundleEndpoint": {key: "1m"}}}}

    def test_kubelet_verification_was_a_switch(self) -> None:
        key = "spire-agent.workloadAttestors.k8s"
        assert translate(set_argument(f"{key}.verification.type=skip"), Version("0.22.0"), RULES) == set_argument(
            f"{key}.skipKubeletVerification=true"
        )
        assert translate(set_argument(f"{key}.verification.type=hostCert"), Version("0.22.0"), RULES) == set_argument(
            f"{key}.skipKubeletVerification=false"
        )
        assert translate(set_argument(f"{key}.verification.type=skip"), Version("0.23.0"), RULES) == set_argument(
            f"{key}.verification.type=skip"
        )

    def test_a_value_that_cannot_be_said_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"chart 0\.22\.0 cannot express spire-agent.*: perhaps"):
            translate(
                set_argument("spire-agent.workloadAttestors.k8s.verification.type=perhaps"), Version("0.22.0"), RULES
            )

    def test_a_key_without_counterpart_is_dropped(self, tmp_path: Path) -> None:
        path = tmp_path / "rules.yaml"
        path.write_text("- {since: 1.0.0, until: 2.0.0, from: a.b, drop: true, why: it came with 2}\n")
        assert translate({"a": {"b": 1}, "c": 2}, Version("1.5.0"), load_rules(path)) == {"c": 2}

    def test_what_is_no_rule_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "rules.yaml"
        path.write_text(
            "- {since: 1.0.0, until: 2.0.0, from: a.b, drop: true, why: it came with 2}\n- {since: 1.0.0, from: a}\n"
        )
        with pytest.raises(ValueError, match=r"rule 2 of .* is not one"):
            load_rules(path)
