"""The keys that a chart would ignore, and those that it would not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from fixtures.helm.values import nested
from fixtures.helm.values_check.ignored_keys import ignored_keys


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
        {"name": "wheels", "version": "1.0.0", "tags": ["on-road"]},
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


@pytest.mark.parametrize(
    "key",
    [
        "owner.name",  # has a default
        "engine.on",  # is a dependency's condition
        "engine.oil.interval",  # has no default, is read
        "spare-engine.oil.grade",  # by alias
        "engine.cylinders.fifth.volume",  # one of a map of named things
        "engine.extras.turbo.pressure",  # read by dig
        "engine.free.anything.at.all",  # written out with all that it has
        "engine.labels.anything",  # a default of {} takes anything
        "engine.power.anything",  # and so does null
        "engine.belt.length",  # read by the template it is handed to
        "engine.horn.tone",  # read by a library
        "global.colour",
        "global.rims.size",  # read by one dependency
        "tags.on-road",  # switches a dependency
    ],
)
def test_a_key_that_is_read_is_not_reported(chart: Path, key: str) -> None:
    assert ignored_keys(nested(key.split("."), "x"), chart) == []


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
        ("tags.off-road", "tags.off-road"),  # of another chart's dependencies
        ("tags", "tags"),  # text
    ],
)
def test_a_key_that_nothing_reads_is_reported(chart: Path, key: str, reported: str) -> None:
    assert [str(each) for each in ignored_keys(nested(key.split("."), "x"), chart)] == [reported]


@pytest.mark.parametrize(
    ("key", "resembled"),
    [
        ("owner.nam", "owner.name"),
        ("owner.nmae", "owner.name"),
        ("owner.NAME", "owner.name"),
        ("engine.oil.gradient", ""),
        ("engine.oil.grad", "engine.oil.grade"),
        ("engine.oil.upgrade", ""),
        ("engine.oil.intervall", "engine.oil.interval"),
        ("engine.oil.intreval_", "engine.oil.interval"),
        ("engine.bodylabels", ""),  # another key than `labels`, of a newer chart
        ("engine.oil.change_interval", ""),
        ("engine.oil.intervals", "engine.oil.interval"),  # has no default, is read
        ("engin.oil", "engine"),  # a dependency
        ("spare_engine.oil", "spare-engine"),
        ("globals.colour", "global"),
        ("tags.onroad", "tags.on-road"),
        ("global.rims.sizes", "global.rims.size"),
        ("engine.oil", ""),  # is spelt right, and no mapping
        ("nonsense", ""),
    ],
)
def test_a_misspelt_key_resembles_the_one_that_is_read_beside_it(chart: Path, key: str, resembled: str) -> None:
    (ignored,) = ignored_keys(nested(key.split("."), "x"), chart)
    assert ignored.resembles == resembled


def test_of_two_spellings_of_a_key_the_one_with_a_default_is_meant(chart: Path) -> None:
    # As a chart does that has renamed a key, and refuses the old name.
    template = chart / "templates" / "refused.yaml"
    template.write_text('{{ if hasKey .Values.owner "full_name" }}{{ fail .Values.owner.full_name }}{{ end }}')
    defaults = chart / "values.yaml"
    defaults.write_text(yaml.safe_dump({**yaml.safe_load(defaults.read_text()), "owner": {"fullName": "nobody"}}))
    (ignored,) = ignored_keys({"owner": {"fullname": "x"}}, chart)
    assert ignored.resembles == "owner.fullName"


def test_a_missing_dependency_is_named(chart: Path) -> None:
    (chart / "charts" / "wheels").rename(chart.parent / "moved-away")
    with pytest.raises(ValueError, match="lacks its dependency wheels"):
        ignored_keys({}, chart)


def test_a_folder_that_is_no_chart_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a chart"):
        ignored_keys({}, tmp_path)
