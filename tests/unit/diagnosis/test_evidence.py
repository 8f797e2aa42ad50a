"""What is gathered, without secrets: keys and tokens here are made for the test that removes them."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from fixtures.core.redaction import REDACTED, redact
from fixtures.diagnosis import evidence
from tests.unit.secret_examples import PKCS8, TRADITIONAL, jwt, pem

Read = Callable[[str], str]
KEYS: dict[str, Callable[[], str]] = {
    "PRIVATE KEY": lambda: pem(ec.generate_private_key(ec.SECP256R1()), PKCS8),
    "EC PRIVATE KEY": lambda: pem(ec.generate_private_key(ec.SECP256R1()), TRADITIONAL),
    "RSA PRIVATE KEY": lambda: pem(rsa.generate_private_key(65537, 2048), TRADITIONAL),
    "ENCRYPTED PRIVATE KEY": lambda: pem(ec.generate_private_key(ec.SECP256R1()), PKCS8, b"passphrase"),
}


@pytest.mark.parametrize("kind", KEYS)
def test_a_private_key_is_removed_and_what_stands_around_it_is_not(kind: str) -> None:
    key = KEYS[kind]()
    assert key.startswith(f"-----BEGIN {kind}-----")
    assert redact(f"before\n{key}after\n") == f"before\n{REDACTED}\nafter\n"


def test_a_private_key_inside_json_is_removed_and_the_rest_is_json_still() -> None:
    key = KEYS["PRIVATE KEY"]()
    assert json.loads(redact(json.dumps({"tls.key": key, "other": "kept"}))) == {
        "tls.key": f"{REDACTED}\\n".encode().decode("unicode_escape"),
        "other": "kept",
    }


def test_a_private_key_whose_end_was_cut_off_is_removed_to_the_end_of_the_text() -> None:
    key = KEYS["PRIVATE KEY"]()
    assert redact(f"before\n{key[:120]}") == f"before\n{REDACTED}"


def test_every_private_key_is_removed_and_a_certificate_between_two_stays() -> None:
    certificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    keys = [KEYS[kind]() for kind in ("PRIVATE KEY", "EC PRIVATE KEY")]
    assert redact(f"{keys[0]}{certificate}{keys[1]}") == f"{REDACTED}\n{certificate}{REDACTED}\n"


@pytest.mark.parametrize("around", ["{}", "Authorization: Bearer {}", '{{"token":"{}"}}', "token={} next", "'{}',"])
def test_a_json_web_token_is_removed_wherever_it_stands(around: str) -> None:
    assert redact(around.format(jwt())) == around.format(REDACTED)


def test_a_join_token_is_removed_as_spire_prints_it() -> None:
    token = str(uuid.uuid4())
    assert redact(f"Token: {token}\n\n") == f"Token: {REDACTED}\n\n"


def test_a_password_is_removed_as_a_chart_prints_it() -> None:
    assert redact("user: root\npassword: hunter2\nPassword: hunter2\n") == (
        f"user: root\npassword: {REDACTED}\nPassword: {REDACTED}\n"
    )


@pytest.mark.parametrize(
    "name",
    [
        "agent-list.json",
        "bundle-list.txt",
        "bundle-show.json",
        "demo-server.log",
        "entry-show.json",
        "federation-list.json",
        "job-client-client-fail.log",
        "podman-network.json",
        "spire-server.log",
    ],
)
def test_bundles_entries_and_logs_are_left_as_they_are(recorded: Read, name: str) -> None:
    assert redact(recorded(name)) == recorded(name)


def test_certificates_and_public_keys_are_left_as_they_are(recorded: Read) -> None:
    der = json.loads(recorded("bundle-show.json"))["keys"][0]["x5c"][0]
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    public = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    text = f"-----BEGIN CERTIFICATE-----\n{der}\n-----END CERTIFICATE-----\n{public}"
    assert redact(text) == text


def test_what_is_kept_has_its_secrets_removed_before_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "server" / "logs" / "agent.log"
    evidence._keep(path, lambda: f"fetched {jwt()}\n")
    assert path.read_text() == f"fetched {REDACTED}\n"


def test_evidence_that_is_not_available_is_reported_in_its_own_file(tmp_path: Path) -> None:
    def ask() -> str:
        raise ConnectionError("the API refuses connections")

    evidence._keep(tmp_path / "server" / "pods.txt", ask)
    assert (tmp_path / "server" / "pods.txt").read_text() == "not available: the API refuses connections\n"


def test_the_reason_why_evidence_is_not_available_has_no_secrets(tmp_path: Path) -> None:
    token = jwt()

    def ask() -> str:
        raise RuntimeError(f"401 for Bearer {token}")

    evidence._keep(tmp_path / "pods.txt", ask)
    assert (tmp_path / "pods.txt").read_text() == f"not available: 401 for Bearer {REDACTED}\n"


def test_a_release_is_kept_without_secrets_and_without_what_its_secrets_hold(tmp_path: Path) -> None:
    password, plain, part = (f"hunter{uuid.uuid4().int}" for _ in range(3))
    held = base64.b64encode(plain.encode()).decode()
    secret = f"kind: Secret\ndata:\n  any: {held}\n  tls.crt: \nstringData:\n  file: a spire-server with {part}\n"
    other = f"kind: Pod\nspec:\n  name: spire-server\n  args: [one, {plain}]\n"
    values = (
        f"spire-server:\n  key: value\n  name: spire-server\n  vault:\n    password:\n      db: {password}\n"
        f"  plain: {plain}\n  part: {part}\n  empty: ''\n"
    )
    printed = {"manifest": f"---\n{secret}---\n{other}", "values": values, "history": "REVISION\n1\n"}

    def helm(*arguments: str) -> str:
        asked, where = arguments[1] if arguments[0] == "get" else arguments[0], arguments[-3:]
        assert where == ("-n", "spire-mgmt", "spire")
        return printed[asked]

    for name, ask in evidence.of_release(helm, "spire-mgmt", "spire", "helm").items():
        evidence._keep(tmp_path / name, ask)
    shown = {name: (tmp_path / f"helm-{name}").read_text() for name in ("values.yaml", "manifests.yaml", "history.txt")}
    assert yaml.safe_load(shown["values.yaml"])["spire-server"] == {
        "key": "value",
        "name": "spire-server",
        "vault": {"password": {"db": REDACTED}},
        "plain": REDACTED,
        "part": REDACTED,
        "empty": "",
    }
    hidden = {"data": {"any": REDACTED, "tls.crt": REDACTED}, "stringData": {"file": REDACTED}}
    assert list(yaml.safe_load_all(shown["manifests.yaml"])) == [
        {"kind": "Secret", **hidden},
        {"kind": "Pod", "spec": {"name": "spire-server", "args": ["one", REDACTED]}},
    ]
    assert shown["history.txt"] == printed["history"]
    assert not [text for text in shown.values() if any(each in text for each in (password, plain, part, held))]


@pytest.mark.parametrize(
    ("is_external", "files"),
    [(False, {"objects.yaml": "-A"}), (True, {"objects-identity.yaml": "-n=identity", "objects-demo.yaml": "-n=demo"})],
)
def test_of_a_cluster_that_is_not_the_suites_own_the_objects_of_its_own_namespaces_are_kept_alone(
    is_external: bool, files: dict[str, str]
) -> None:
    core = SimpleNamespace(list_namespaced_pod=lambda *_, **__: SimpleNamespace(items=[]))
    cluster: Any = SimpleNamespace(is_external=is_external, core=core, kubectl=lambda *asked: " ".join(asked))
    wanted = evidence._of_cluster(cluster, ("identity", "demo"))
    kept = {name: ask() for name, ask in wanted.items() if name.startswith("objects")}
    assert kept == {name: f"get {evidence.OBJECTS} {place} -o yaml" for name, place in files.items()}


def test_what_is_gathered_has_no_secrets_among_its_objects() -> None:
    kinds = {kind for listed in (evidence.OBJECTS, evidence.CUSTOM) for kind in listed.split(",")}
    assert not {kind for kind in kinds if "secret" in kind}
