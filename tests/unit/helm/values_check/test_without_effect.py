"""Keys of values that change nothing: by what a chart's templates read, and by what Helm makes of the values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fixtures.helm.charts.folder import ChartError
from fixtures.helm.values import Values, at, merge
from fixtures.helm.values_check.without_effect import WithoutEffect, keys_without_effect
from tests.unit.helm.values_check.test_ignored_keys import write_chart

DEFAULTS: dict[str, Any] = {
    "server": {"port": 443, "tls": {"enabled": False, "secret": ""}},
    "metrics": {"enabled": False, "port": 9100, "monitor": {"enabled": False, "namespace": ""}},
    "endpoint": {"refreshHint": "5m"},
}
Render = Callable[[Values], str]


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    template = "{{ .Values.server.port }} {{ .Values.endpoint.refreshHint }}\n"
    return write_chart(tmp_path / "chart", DEFAULTS, {"all.yaml": template})


def rendered(values: Values) -> str:
    """What a chart with these defaults makes: of `metrics`, a monitor too without its own switch; `odd` is read."""
    # Helm keeps a mapping whatever else is given.
    found = merge(DEFAULTS, {key: value for key, value in values.items() if isinstance(value, dict)})
    shown = [at(found, "server.port"), at(found, "endpoint.refreshHint"), at(found, "odd.thing")]
    shown += [at(found, "server.tls.secret")] if at(found, "server.tls.enabled") else []
    shown += [at(found, "metrics.port")] if at(found, "metrics.enabled") else []
    shown += [at(found, "metrics.monitor.namespace")] if at(found, "metrics.monitor.enabled") else []
    return repr(shown)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, WithoutEffect()),
        ({"server": {"port": 8081}, "endpoint": {"refreshHint": "1m"}}, WithoutEffect()),
        (
            {"endpoint": {"refresh_hint": "1m"}},
            WithoutEffect(misspelt=("endpoint.refresh_hint, which resembles endpoint.refreshHint",)),
        ),
        ({"endpoint": "1m"}, WithoutEffect(misspelt=("endpoint, which is a mapping in the chart",))),
        ({"server": {"resources": {"cpu": 1}}}, WithoutEffect(unread=("server.resources",))),
        # In the wrong place: where the name is read says what was meant.
        ({"secret": "x"}, WithoutEffect(unread=("secret (it reads server.tls.secret)",))),
        # No template names it, and it is read all the same.
        ({"odd": {"thing": 1}}, WithoutEffect()),
        # Beside a switch that is off.
        (
            {"server": {"tls": {"secret": "x"}}},
            WithoutEffect(switched_off=("server.tls.secret has no effect while server.tls.enabled is not true",)),
        ),
        ({"server": {"tls": {"enabled": True, "secret": "x"}}}, WithoutEffect()),
        ({"server": {"tls": {"enabled": False, "secret": "x"}}}, WithoutEffect()),  # said, so meant
        ({"server": {"tls": {"secret": ""}}}, WithoutEffect()),  # the default, as in a copy of all of them
        # A switch that is off, and something below it that does not ask it.
        ({"metrics": {"monitor": {"enabled": True, "namespace": "x"}}}, WithoutEffect()),
        (
            {"metrics": {"port": 1, "monitor": {"namespace": "x"}}},
            WithoutEffect(
                switched_off=("metrics.port, metrics.monitor have no effect while metrics.enabled is not true",)
            ),
        ),
    ],
)
def test_what_changes_nothing_is_found_and_nothing_else(chart: Path, values: Values, expected: WithoutEffect) -> None:
    assert keys_without_effect(values, chart, rendered) == expected


def test_of_several_keys_those_are_found_that_change_nothing(chart: Path) -> None:
    values = {"odd": {"thing": 1}, "endpoint": {"refreshHin": "1m"}, "metrics": {"port": 1}}
    found = keys_without_effect(values, chart, rendered)
    assert found.misspelt == ("endpoint.refreshHin, which resembles endpoint.refreshHint",)
    assert found.unread == ()
    assert found.switched_off == ("metrics.port has no effect while metrics.enabled is not true",)


def test_nothing_is_rendered_where_every_key_is_read(chart: Path) -> None:
    def never(_values: Values) -> str:
        raise AssertionError

    assert keys_without_effect({"server": {"port": 1}}, chart, never) == WithoutEffect()


def fails(_values: Values) -> str:
    raise ChartError("the chart does not render: endpoint.refreshHint must be set")


def changing() -> Render:
    """A chart that makes a key of its own each time."""
    numbers = iter(range(100))
    return lambda _values: str(next(numbers))


@pytest.mark.parametrize("render", [fails, changing()])
def test_the_templates_decide_where_manifests_say_nothing(chart: Path, render: Render) -> None:
    values = {"endpoint": {"refreshHin": "1m"}, "metrics": {"port": 1}, "odd": {"thing": 1}}
    found = keys_without_effect(values, chart, render)
    assert found == WithoutEffect(
        misspelt=("endpoint.refreshHin, which resembles endpoint.refreshHint",), unread=("odd",)
    )


def test_a_key_without_which_the_chart_does_not_render_is_read(chart: Path) -> None:
    def needs_odd(values: Values) -> str:
        return rendered(values) if at(values, "odd.thing") else fails(values)

    assert keys_without_effect({"odd": {"thing": 1}}, chart, needs_odd) == WithoutEffect()


HANDED_ON = {
    "all.yaml": '{{ include "image" (dict "image" .Values.image) }}\n',
    "_image.tpl": '{{ define "image" }}{{ .image.registry }} {{ .other.tag }} {{ .image.digest }}{{ end }}',
}


def of_image(values: Values) -> str:
    """What such a chart makes: of `image` it reads the digest, and a tag only if there is none."""
    image = merge({"registry": ""}, at(values, "image") or {})
    return repr([image["registry"], image.get("digest") or "none"])


@pytest.mark.parametrize(
    ("values", "unread"),
    [
        ({"image": {"tag": "1.9"}}, ("image.tag",)),
        ({"image": {"digest": "sha256:1"}}, ()),
        # What is given as it is by itself is read all the same.
        ({"image": {"digest": "none"}}, ()),
        ({"image": {"digest": "none", "tag": "1.9"}}, ("image.tag",)),
        ({"image": {"tag": True}}, ("image.tag",)),
        ({"image": {"tag": ["1.9"]}}, ()),  # of which no other value is known
        ({"image": {"enabled": False, "tag": "1.9"}}, ()),
    ],
)
def test_a_key_of_a_mapping_that_is_handed_on_is_tried_with_another_value(
    tmp_path: Path, values: Values, unread: tuple[str, ...]
) -> None:
    chart = write_chart(tmp_path / "chart", {"image": {"registry": "", "enabled": True}}, HANDED_ON)
    assert keys_without_effect(values, chart, of_image) == WithoutEffect(unread=unread)
