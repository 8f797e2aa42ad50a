"""A supply that cannot be made, and an upgrade that is none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from semver import Version

from fixtures.artifacts import selection
from fixtures.artifacts.selection import Choice, _check_upgrade
from fixtures.artifacts.supply import Supply, SupplyError
from fixtures.config import chart_source
from fixtures.config.chart_source import Source
from fixtures.config.settings import Settings
from fixtures.helm.release import Release
from fixtures.k8s.kind.images.registries import parse_mirror
from supply import readiness
from supply.host import Engine
from supply.plan import BuildError
from supply.readiness import Readiness
from tests.unit.config.test_chart_source import write_charts


def between(old: Source, new: Source | None) -> Settings:
    return cast(Settings, SimpleNamespace(source=old, upgrade_to=new))


@pytest.mark.parametrize(
    ("mirrored", "asked"),
    [
        ((), "https://ghcr.io/v2/"),
        (("http://10.89.0.1:5000",), "http://10.89.0.1:5000/v2/"),
        (("http://10.89.0.1:5000", "ghcr.io=https://h.example/v2/ghcr"), "https://h.example/v2/ghcr/"),
        (("docker.io=http://10.89.0.1:5000",), "https://ghcr.io/v2/"),
    ],
)
def test_auto_asks_the_mirror_that_has_the_registrys_images(
    monkeypatch: pytest.MonkeyPatch, mirrored: tuple[str, ...], asked: str
) -> None:
    monkeypatch.setattr(selection, "why_unreachable", lambda url, ca: "" if (url, ca) == (asked, "CA") else "refused")
    mirrors = [parse_mirror("--mirror", each) for each in mirrored]
    assert selection.decide("auto", mirrors, "CA") == Choice("published", f"{asked} answers")


@pytest.fixture
def auto(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Choice]:
    """What `auto` decides where the registry answers like this, and this is missing of the local supply."""

    def decided(answers: Sequence[str], missing: Sequence[str] = (), obstacles: Sequence[str] = ()) -> Choice:
        left = list(answers)

        def why_unreachable(url: str, ca: str, timeout: float = 3.0) -> str:
            assert (url, ca) == (selection.IMAGE_REGISTRY, "")
            assert timeout == (3.0 if len(left) == len(answers) else selection.SLOW_ANSWER_TIMEOUT)
            return left.pop(0)

        monkeypatch.setattr(selection, "why_unreachable", why_unreachable)
        monkeypatch.setattr(readiness, "look", lambda: Readiness(tuple(missing), 37, 590.0 if missing else 0.0))
        monkeypatch.setattr(readiness, "obstacles", lambda *_: list(obstacles))
        monkeypatch.setattr("os.cpu_count", lambda: 2)
        found = selection.decide("auto")
        assert not left
        return found

    return decided


@pytest.mark.parametrize("wanted", ["published", "local"])
def test_a_supply_that_is_asked_for_is_not_looked_for(monkeypatch: pytest.MonkeyPatch, wanted: str) -> None:
    monkeypatch.setattr(selection, "why_unreachable", lambda _: pytest.fail("it is asked"))
    assert str(selection.decide(wanted)) == f"{wanted} supply: --supply={wanted}"


def test_auto_takes_what_is_published_where_its_registry_answers(auto: Callable[..., Choice]) -> None:
    assert auto([""], missing=["node"]).which == "published"


def test_auto_takes_the_local_supply_at_once_where_it_is_built(auto: Callable[..., Choice]) -> None:
    found = auto(["timed out"])
    assert (found.which, "(timed out), and it is built; " in found.why) == ("local", True)


def test_a_slow_registry_gets_time_where_the_local_supply_is_still_to_be_built(auto: Callable[..., Choice]) -> None:
    assert auto(["timed out", ""], missing=["node"]) == Choice(
        "published", f"{selection.IMAGE_REGISTRY} answers, slowly"
    )


def test_a_build_that_auto_falls_into_is_announced_with_its_minutes(auto: Callable[..., Choice]) -> None:
    found = auto(["timed out", "timed out"], missing=["program-kubernetes", "program-spire-1.15.3", "node"])
    assert found.which == "local"
    assert "3 of 37 steps are to be built, about 10 minutes the first time; with --supply=published" in found.why


def test_auto_is_refused_where_neither_supply_is_available(auto: Callable[..., Choice]) -> None:
    with pytest.raises(SupplyError) as caught:
        auto(["refused", "refused"], missing=["node"], obstacles=["mmdebstrap needs root", "no Go"])
    assert str(caught.value) == (
        f"no supply: {selection.IMAGE_REGISTRY} cannot be reached (refused), and the local supply cannot be built "
        f"here: mmdebstrap needs root; no Go; {selection.AUTO_HINT}"
    )


def test_a_local_supply_that_cannot_be_built_says_why_it_was_to_be(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object) -> Supply:
        raise BuildError("step node: it failed")

    monkeypatch.setattr("fixtures.artifacts.local.make_supply", fail)
    settings: Any = SimpleNamespace(sources=(), upgrade_to=None, kind=None, kubectl=None)
    chosen = Choice("local", "ghcr.io cannot be reached")
    with pytest.raises(BuildError, match=r"^step node: it failed; it was to be built: ghcr\.io cannot be reached$"):
        selection.make_chosen(chosen, settings, Engine("docker"), tmp_path, tmp_path, lambda _: None)


@pytest.mark.parametrize(
    ("changed", "refused"),
    [({}, True), ({"values.yaml": "a: 1"}, False), ({"templates/service.yaml": ""}, False)],
    ids=["nothing", "its values", "a template"],
)
def test_an_upgrade_between_charts_that_were_pulled_is_refused_where_nothing_would_change(
    tmp_path: Path, changed: dict[str, str], refused: bool
) -> None:
    old, new = (write_charts(tmp_path / name) for name in ("old", "new"))
    for name, text in changed.items():
        (new / "spire" / name).parent.mkdir(exist_ok=True)
        (new / "spire" / name).write_text(text)
    releases, upgraded = ({"server": Release(each / "spire", each / "spire-crds", {})} for each in (old, new))
    made = cast(Supply, SimpleNamespace(releases=releases, upgraded=upgraded))
    mirror = chart_source.parse_oci_reference("--from", "oci://registry.example/mirror/spire:0.30.0")
    settings = between(Source(chart_version=Version.parse("0.30.0")), mirror)
    if refused:
        with pytest.raises(SupplyError, match=r"^from chart 0\.30\.0 to chart 0\.30\.0 of oci://.* are the same$"):
            _check_upgrade(settings, made)
    else:
        _check_upgrade(settings, made)


def test_a_run_that_upgrades_nothing_has_no_upgrade_to_refuse() -> None:
    made: Any = SimpleNamespace(releases={"server": None}, upgraded={})
    _check_upgrade(between(Source(), None), made)
