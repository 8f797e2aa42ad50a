"""Values as the command line gives them, merged by the real Helm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from fixtures.config.chart_source import Source
from fixtures.config.cluster_values import (
    FEDERATES_WITH,
    ClusterValues,
    given_clusters,
    merge_clusters,
    read_clusters,
)
from fixtures.config.given.values import SET_OPTIONS, SetArgument, merge_by_helm, set_destination
from fixtures.config.settings import Settings
from fixtures.core.redaction import redact
from fixtures.helm.charts.helm_command import render, run_helm
from fixtures.helm.release import install_options
from fixtures.helm.values import Values, at, nested
from supply import plan, programs, versions

HELM = plan.folders([programs.step(versions.load().programs["helm"])], plan.cache_folder())["program-helm"] / "helm"
needs_helm = pytest.mark.skipif(not HELM.exists(), reason="`python -m supply build` has made no helm here")
DEFAULTS = """
global: {inherited: default, deleted: default}
below: {overridden: default}
a: {deleted: default, kept: default, list: [first, second], map: {x: 1}}
null_in_file: default
"""
WRITTEN = "found: {{ .Values | toJson | quote }}\n"
BELOW = "deleted: default\nkept: default\noverridden: below\n"


def argument(option: str, text: str) -> SetArgument:
    return SetArgument(option, option, text)


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    """A chart with defaults and a dependency, which both write out their values."""
    folder = tmp_path / "chart"
    for place, name, defaults in ((folder, "chart", DEFAULTS), (folder / "charts" / "below", "below", BELOW)):
        (place / "templates").mkdir(parents=True)
        (place / "Chart.yaml").write_text(f"apiVersion: v2\nname: {name}\nversion: 1.0.0\n")
        (place / "values.yaml").write_text(defaults)
        (place / "templates" / "found.yaml").write_text(WRITTEN)
    return folder


def values_in(rendered: str) -> tuple[Values, Values]:
    """The values that the dependency got, and those that the chart got."""
    below, chart = (yaml.safe_load(each["found"]) for each in yaml.safe_load_all(rendered))
    return below, chart


FILE = """
a: {from_file: yes, list: [x, y, z]}
null_in_file: null
number: 1e3
text: "1e3"
date: 2024-01-01
time: 12:30:45
kind: Job
metadata: not a mapping
"""
ARGUMENTS = {
    "a list": [("--set", "l={x,2}")],
    "an empty value": [("--set", "l=,e={}")],
    "an index": [("--set", "a.list[1]=changed")],
    "an index of a mapping": [("--set", "new[1].name=n,new[0].name=m")],
    "a null that deletes a default": [("--set", "a.deleted=null")],
    "a null for a dependency": [("--set", "below.deleted=null,below.overridden=null,global.deleted=null")],
    "a mapping that is deleted": [("--set", "a.map=null")],
    "escapes": [("--set", r"a\.b.c=v\,w"), ("--set", r"q=x=y\\z")],
    "types": [("--set", "i=1,z=01,f=1.5,t=true,n=null,w=yes")],
    "several": [("--set", "b.c=1,b.d=2"), ("--set", "b.c=3")],
    "a text": [("--set-string", "s=1,t=true,u=null")],
    "a text over a value": [("--set-string", "o=1"), ("--set", "o=2")],
    "JSON": [("--set-json", 'j={"x":null,"y":[1,{"z":"<&>"}]}')],
    "a file": [("--set-file", "x.y=FILE,z=FILE")],
    "no key": [("--set", "=1")],
}


@needs_helm
@pytest.mark.parametrize("given", ARGUMENTS.values(), ids=ARGUMENTS.keys())
def test_a_chart_gets_the_values_that_helm_would_give_it(
    chart: Path, tmp_path: Path, given: list[tuple[str, str]]
) -> None:
    file = tmp_path / "a,b.yaml"
    file.write_text(FILE)
    arguments = [(option, text.replace("FILE", str(tmp_path / "text"))) for option, text in given]
    (tmp_path / "text").write_text("line 1\nline: {2}\n")
    (tmp_path / "values.yaml").write_text(FILE)
    places = ("template", "x", str(chart), f"--values={tmp_path / 'values.yaml'}", *install_options({}))
    by_helm = values_in(run_helm(HELM, *places, *(f"{option}={text}" for option, text in arguments)))
    merged = merge_by_helm(HELM, [file], [argument(option, text) for option, text in arguments])
    assert values_in(render(chart, [merged], HELM)) == by_helm
    below, found = by_helm
    assert (at(found, "a.kept"), below["kept"]) == ("default", "default")
    assert "null_in_file" not in found
    assert (found["text"], found["number"], found["date"], found["time"]) == (
        "1e3",
        1000,
        "2024-01-01",
        "12:30:45",
    )


@needs_helm
def test_a_key_that_is_set_to_null_is_still_there(tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text("in: {file: null}\n")
    assert merge_by_helm(HELM, [file], [argument("--set", "in.argument=null")]) == {
        "in": {"file": None, "argument": None}
    }


@needs_helm
def test_arguments_of_a_later_stage_win_whatever_helms_order_of_its_options_is() -> None:
    stages = [argument("--set-string", "a.b=1"), argument("--set-json", "c=1")], [argument("--set", "a.b=2,d=null")]
    assert merge_by_helm(HELM, [], *stages) == {"a": {"b": 2}, "c": 1, "d": None}
    assert merge_by_helm(HELM, [], [], [argument("--set", "a=1")], []) == {"a": 1}
    assert merge_by_helm(HELM, []) == {}


REFUSED = {
    ("--set", "a"): '--set a=…: failed parsing --set data: key "a" has no value',
    ("--set", "password=hush,hush"): '--set password=…: failed parsing --set data: key "<redacted>" has no value',
    ("--set", "a[x]=hush"): '--set a[x]=…: failed parsing --set data: error parsing index: strconv.Atoi: parsing "x": '
    "invalid syntax",
    ("--set", "a[-1]=hush"): "--set a[-1]=…: failed parsing --set data: negative -1 index not allowed",
    ("--set", "a={hush"): "--set a=…: failed parsing --set data: list must terminate with '}'",
    ("--set-string", "a..b=hush"): '--set-string a..b=…: failed parsing --set-string data: key map "a" has no value',
    ("--set-json", "a={hush"): "--set-json a=…: failed parsing --set-json data",
    ("--set-json", '{"a":hush}'): "--set-json: failed parsing --set-json data",
    ("--set-file", "a=/no/file"): "--set-file a=…: failed parsing --set-file data: open /no/file: no such file or "
    "directory",
}


@needs_helm
@pytest.mark.parametrize(("given", "said"), REFUSED.items(), ids=" ".join)
def test_what_helm_refuses_is_said_in_its_own_words_without_the_value(given: tuple[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        merge_by_helm(HELM, [], [argument("--set", "fine=1"), argument(*given)])
    assert str(caught.value) == said
    with pytest.raises(ValueError, match=r".") as of_side:
        merge_by_helm(HELM, [], [argument("--set", "fine=1")], [replace(argument(*given), option="--to-set")])
    assert str(of_side.value) == said.replace(given[0], "--to-set", 1)


@needs_helm
@pytest.mark.parametrize("text", ["a: b: hush", "- hush", "a: !!int hush", "a: [hush"])
def test_a_file_that_helm_cannot_read_is_named_without_its_values(tmp_path: Path, text: str) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad,one.yaml"
    good.touch()
    bad.write_text(text)
    with pytest.raises(ValueError, match=r"^Helm cannot read the values: failed to parse .*bad,one\.yaml: ") as caught:
        merge_by_helm(HELM, [good, bad], [argument("--set", "a=1")])
    assert str(bad) in str(caught.value)
    assert "hush" not in str(caught.value)
    assert "\n" not in str(caught.value)


@needs_helm
def test_the_clusters_are_those_that_helm_makes_of_the_arguments() -> None:
    given = given_clusters([], [argument("--set", f"{FEDERATES_WITH}[0]=client.example,global.spire.jwtIssuer=x")])
    with pytest.raises(ValueError, match=r"^cluster client federates client\.example with itself$"):
        merge_clusters(given, HELM)
    server, client = merge_clusters(given_clusters([], [argument("--set", "global.spire.jwtIssuer=x")]), HELM)
    assert (server.trust_domain, server.federates_with) == ("server.example", ("client.example",))
    assert [at(each.values, "global.spire.jwtIssuer") for each in (server, client)] == ["x", "x"]


@needs_helm
def test_without_arguments_helm_reads_of_the_suites_files_what_the_suite_does() -> None:
    assert merge_clusters(given_clusters([]), HELM) == read_clusters()


@needs_helm
@pytest.mark.parametrize(
    ("option", "key", "secret"),
    [
        ("--set-file", "spire-server.dataStore.sql.password", "hunter2secret"),
        (
            "--set-file",
            "spire-server.upstreamAuthority.disk.secret.data.key",
            "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49\n-----END PRIVATE KEY-----\n",
        ),
    ],
)
def test_a_secret_that_helm_reads_from_a_file_is_hidden(tmp_path: Path, option: str, key: str, secret: str) -> None:
    file = tmp_path / "file"
    file.write_text(secret)
    server, _ = merge_clusters(given_clusters([], [argument(option, f"{key}={file}")]), HELM)
    assert at(server.values, key) == secret
    line = max(secret.split("\n"), key=len)
    assert line not in redact(f"dialling as {line}")


def upgrading(old: tuple[ClusterValues, ...], new: tuple[ClusterValues, ...]) -> Settings:
    blank = cast("dict[str, Any]", dict.fromkeys(Settings.__dataclass_fields__))
    source = Source(spire_version="1.15.3")
    sides = {"source": source, "upgrade_to": replace(source, is_upgrade=True)}
    return Settings(**{**blank, **sides, "clusters": old, "upgraded_clusters": new})


@needs_helm
def test_both_sides_of_an_upgrade_get_their_values() -> None:
    issuers = (argument("--set", f"global.spire.jwtIssuer={name}") for name in ("old", "new"))
    old, new = (given_clusters([], [], [issuer]) for issuer in issuers)
    settings = upgrading(old, new)
    merged = settings.merge_values(HELM)
    assert [at(each.values, "global.spire.jwtIssuer") for source in settings.sources for each in merged[source]] == [
        "old",
        "old",
        "new",
        "new",
    ]


@needs_helm
def test_an_upgrade_to_another_trust_domain_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("global: {spire: {trustDomain: other.example}}\n")
    with_it = tmp_path / "with.yaml"
    with_it.write_text(yaml.safe_dump(nested(FEDERATES_WITH.split("."), ["other.example"])))
    new = given_clusters([f"server={other}", f"client={with_it}"])
    with pytest.raises(ValueError, match=r"^cluster server: .* trust domain server\.example to other\.example,"):
        upgrading(given_clusters([]), new).merge_values(HELM)


@pytest.mark.parametrize("option", SET_OPTIONS)
def test_every_option_of_helms_is_one_of_the_suites(pytestconfig: pytest.Config, option: str) -> None:
    assert pytestconfig.getoption(set_destination(option)) == []


def test_values_that_need_helm_are_not_read_before_there_is_one(write_values: Callable[[str], str]) -> None:
    # The file alone would be refused: the argument may be what makes it right.
    file = write_values("global: {spire: {trustDomain: same.example}}")
    with pytest.raises(ValueError, match="have the same trust domain"):
        given_clusters([file])
    assert given_clusters([file], [argument("--set", "a=b")])


@pytest.fixture
def write_values(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        (tmp_path / "written.yaml").write_text(text)
        return str(tmp_path / "written.yaml")

    return write
