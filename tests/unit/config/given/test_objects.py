"""Objects of the user's: which cluster gets which, what is hidden of them, and what is refused."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from fixtures.config.given.objects import given_objects
from fixtures.core.redaction import REDACTED, redact

NAMES = ("server", "client")
HIDDEN = "Tr4ffic-key"
AUTH = base64.b64encode(f"pull:{HIDDEN}".encode()).decode()
PULL = json.dumps({"auths": {"registry.example": {"username": "pull", "auth": AUTH}}})


def made(kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **more}


def write(folder: Path, *objects: object, name: str = "objects.yaml") -> str:
    path = folder / name
    path.write_text(yaml.safe_dump_all(objects))
    return str(path)


def names(found: dict[str, Any]) -> dict[str, list[str]]:
    return {cluster: [each["metadata"]["name"] for each in objects] for cluster, objects in found.items()}


def test_a_file_is_for_one_cluster_or_for_all_and_namespaces_come_first(tmp_path: Path) -> None:
    several = {"apiVersion": "v1", "kind": "List", "items": [made("Secret", "in-a-list"), made("Namespace", "late")]}
    for_all = write(tmp_path, made("ConfigMap", "first"), None, several)
    for_one = write(tmp_path, made("Namespace", "alone"), name="one.yaml")
    found = given_objects([for_all, f"client={for_one}"], NAMES)
    assert names(found) == {
        "server": ["late", "first", "in-a-list"],
        "client": ["late", "alone", "first", "in-a-list"],
    }
    assert names(given_objects([f"client={for_one}"], NAMES)) == {"client": ["alone"]}
    assert given_objects([], NAMES) == {}


@pytest.mark.parametrize(
    "given",
    [
        {"stringData": {".dockerconfigjson": PULL}},
        {"data": {".dockerconfigjson": base64.b64encode(PULL.encode()).decode()}},
        {"stringData": {"anything": HIDDEN}},
        {"data": {"anything": base64.b64encode(HIDDEN.encode()).decode()}},
    ],
)
def test_what_is_in_a_secret_is_hidden_in_every_form(tmp_path: Path, given: dict[str, Any]) -> None:
    given_objects([write(tmp_path, made("Secret", "pull", **given))], NAMES)
    encoded = base64.b64encode(HIDDEN.encode()).decode()
    for shown in (HIDDEN, encoded, *(given.get("data") or given["stringData"]).values()):
        assert redact(f"said {shown}.") == f"said {REDACTED}."
    if "anything" not in str(given):
        assert redact(f"sent {AUTH}.") == f"sent {REDACTED}."


def test_a_binary_secret_is_hidden_by_its_base64(tmp_path: Path) -> None:
    encoded = base64.b64encode(bytes(range(200, 230))).decode()
    given_objects([write(tmp_path, made("Secret", "keystore", data={"jks": encoded, "wrong": "no base64!"}))], NAMES)
    assert redact(f"a {encoded} b") == f"a {REDACTED} b"


@pytest.mark.parametrize(
    ("objects", "why"),
    [
        ((), "there is no object in it"),
        ((None,), "there is no object in it"),
        (("text",), "object 1 lacks apiVersion, kind or metadata.name"),
        ((made("Secret", "a"), {"kind": "Secret", "metadata": {"name": "b"}}), "object 2 lacks"),
        (({"apiVersion": "v1", "kind": "Secret", "metadata": {"generateName": "b"}},), "object 1 lacks"),
        (({"apiVersion": "v1", "kind": "Secret"},), "object 1 lacks"),
    ],
)
def test_what_is_no_object_is_refused(tmp_path: Path, objects: tuple[object, ...], why: str) -> None:
    with pytest.raises(ValueError, match=rf"^--apply {tmp_path}/objects\.yaml: {why}") as caught:
        given_objects([write(tmp_path, *objects)], NAMES)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_refused_without_what_is_in_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^--apply missing\.yaml: there is no such file$"):
        given_objects(["missing.yaml"], NAMES)
    path = tmp_path / "broken.yaml"
    path.write_text(f"a: [{HIDDEN}\nb")
    with pytest.raises(ValueError, match=r"^--apply .*broken\.yaml: it is no YAML$"):
        given_objects([str(path)], NAMES)
