"""What an upgrade changes of ConfigMaps and Secrets, and that nothing secret is shown of it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from fixtures.upgrade.diff import difference
from fixtures.upgrade.diff.changes import counts, render_changes
from tests.unit.release_examples import Manifest, config_map, manifest, only, text

PRIVATE_KEY = "-----BEGIN PRIVATE KEY-----\nbm90IGEga2V5\nYXQgYWxs\n-----END PRIVATE KEY-----\n"


def test_json_and_yaml_in_a_config_map_are_compared_by_keys() -> None:
    old = config_map(
        server_conf=json.dumps({"server": {"trust_domain": "a.example", "ca_key_type": "rsa-2048", "old": 1}})
    )
    new = config_map(
        server_conf="# now YAML\nserver:\n  ca_key_type: ec-p256\n  trust_domain: a.example\n"
        "  jwt:\n    disabled: true\n"
    )
    # The type of a key is none, though its name has the word.
    assert only(old, new, "configuration") == (
        "server.conf.server.ca_key_type: rsa-2048 → ec-p256",
        "server.conf.server.jwt.disabled: (none) → true",
        "server.conf.server.old: 1 → (none)",
    )


def test_another_layout_of_the_same_settings_changes_nothing() -> None:
    old = config_map(server_conf='{"a": {"b": [1, 2]}, "c": null}')
    new = config_map(server_conf="c: null\na:\n  # a remark\n  b: [1, 2]\n")
    assert difference(text(old), text(new)) == []


def test_other_text_is_compared_by_lines() -> None:
    old = 'server {\n  trust_domain = "a"\n  log_level = "INFO"\n}\n'
    detail = only(config_map(server_conf=old), config_map(server_conf=old.replace("INFO", "DEBUG")), "configuration")
    assert len(detail) == 1, "one key, however many lines"
    assert detail[0].startswith("server.conf:\n")
    assert '-  log_level = "INFO"' in detail[0].splitlines()
    assert '+  log_level = "DEBUG"' in detail[0].splitlines()


def test_short_text_is_shown_in_a_line() -> None:
    assert only(config_map(level="info"), config_map(level="debug"), "configuration") == ("level: info → debug",)


def test_keys_that_are_added_and_removed_are_listed() -> None:
    old, new = config_map(gone="x: 1\ny: 2\n"), config_map(come="x: 1\ny: 2\n")
    assert only(old, new, "configuration") == ("come: added", "gone: removed")


def secret(**fields: Any) -> Manifest:
    return manifest("Secret", "credentials", **fields)


def encoded(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def test_no_value_of_a_secret_is_shown() -> None:
    old = secret(data={"user": encoded("alice-of-old"), "gone": encoded("was-here")})
    new = secret(
        data={"user": encoded("bob-the-new")},
        stringData={"come": "is-here"},
        metadata={"annotations": {"note": "hush-hush"}},
    )
    assert only(old, new, "configuration") == (
        "come: added",
        "gone: removed",
        "user: <redacted> → <redacted> (another value)",
        "metadata.annotations.note: (none) → <redacted>",
    )
    shown = render_changes(difference(text(old), text(new)))
    for value in ("alice-of-old", "bob-the-new", "was-here", "is-here", "hush-hush"):
        assert value not in shown
        assert encoded(value) not in shown


def test_a_secret_written_another_way_is_the_same() -> None:
    assert difference(text(secret(data={"user": encoded("alice")})), text(secret(stringData={"user": "alice"}))) == []


@pytest.mark.parametrize(
    "settings",
    [
        {"datastore": {"connection_string": "dbname=x password={}"}},
        {"datastore": {"dsn": "user=x password={} host=db"}},
        {"datastore": {"options": "user=x password={} host=db"}},
        {"upstream": {"vault": {"token": "{}"}}},
        {"auth": {"passwords": {"alice": "{}"}}},
        {"apiKeys": ["{}", "b"]},
        {"url": "https://user:{}@example.com/"},
    ],
)
@pytest.mark.parametrize("form", ["json", "hcl"])
def test_configuration_does_not_give_secrets_away(settings: Manifest, form: str) -> None:
    def written(value: str) -> str:
        plain = json.dumps(settings, indent=1).replace("{}", value)
        # Not YAML any more: as lines.
        return plain if form == "json" else f"settings = {plain}\n"

    found = difference(text(config_map(a_conf=written("hush-1"))), text(config_map(a_conf=written("hush-2"))))
    assert "hush" not in render_changes(found)
    assert counts(found)["configuration"] == 1, "that something changed is reported"


@pytest.mark.parametrize(
    "written",
    [
        "token = <<EOF\nhush-{}\nEOF\nx = 1\n}}",
        "a {{\n  token: |\n    hush-{}\n}}",
        "secret {{\n  x = {{ y = hush-{} }}\n}}\nx = 1",
    ],
)
def test_text_of_several_lines_does_not_give_secrets_away(written: str) -> None:
    # The brackets make each of them no YAML.
    old, new = (config_map(a_conf=f"conf {{\n{written.format(number)}\n}}\n") for number in (1, 2))
    (detail,) = only(old, new, "configuration")
    assert detail.startswith("a.conf: another value of what is not shown")


def test_a_private_key_is_not_shown_by_its_lines() -> None:
    # Compared by lines, its middle would stand there without the words that tell what it is.
    old, new = (f"key {{\n{PRIVATE_KEY.replace('YXQg', part)}}}\n" for part in ("YXQg", "QVQg"))
    (detail,) = only(config_map(a_conf=old), config_map(a_conf=new), "configuration")
    assert "YXQg" not in detail
    assert "QVQg" not in detail
    assert detail.startswith("a.conf: another value of what is not shown")
