"""Nothing secret is left of what is written and shown, and what is no secret is left as it is.

Here it is judged by the secrets themselves, which these tests have made, and not by what they look like.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from fixtures.core import redaction
from fixtures.core.redaction import REDACTED, keep_secret, redact, without_secrets
from tests import known_secrets
from tests.unit.secret_examples import EXAMPLES, Example, password

pytest_plugins = ["pytester"]

AROUND: Mapping[str, Callable[[str], str]] = {
    "as it is": lambda text: text,
    "after other text": lambda text: f"level=error msg={text}",
    "as a value of JSON": lambda text: json.dumps({"data": {"a": text, "b": "kept"}}),
    "as a value of JSON in JSON": lambda text: json.dumps({"a": json.dumps({"b": text})}),
    "as a value of YAML": lambda text: yaml.safe_dump({"a": {"b": text, "c": "kept"}}),
    "indented": lambda text: "".join(f"    E  {line}\n" for line in text.splitlines()),
    "in base64": lambda text: f"conf: {base64.b64encode(text.encode()).decode()}",
}


def shown_of(secrets: tuple[str, ...], text: str) -> list[str]:
    """The secrets that stand in a text, plain, escaped, or all in base64."""
    forms = {
        secret: (secret, json.dumps(secret)[1:-1], base64.b64encode(secret.encode()).decode()) for secret in secrets
    }
    return [secret for secret, each in forms.items() if any(form in text for form in each)]


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("kind", EXAMPLES)
def test_no_secret_of_any_kind_is_left(kind: str, around: str) -> None:
    example = EXAMPLES[kind]()
    text = AROUND[around](example.text)
    assert around == "in base64" or shown_of(example.secrets, text), "the example shows them"
    assert shown_of(example.secrets, redact(text)) == []
    assert REDACTED in redact(text)
    assert redact(redact(text)) == redact(text)


@pytest.mark.parametrize("around", AROUND)
def test_a_secret_of_the_runs_own_is_hidden_wherever_it_stands(around: str) -> None:
    secret = password()
    keep_secret(secret)
    text = AROUND[around](f"dialling db as {secret}: refused, then as {secret}")
    assert shown_of((secret,), redact(text)) == []
    assert "conf: " in text or "dialling db as <redacted>: refused, then as <redacted>" in redact(text)


def test_a_secret_in_the_data_of_a_kubernetes_secret_is_hidden() -> None:
    secret = password()
    keep_secret(secret)
    encoded = base64.b64encode(secret.encode()).decode()
    within = base64.b64encode(f"host=db user=x options={secret} y".encode()).decode()
    binary = base64.b64encode(b"\xff\x00" + secret.encode() + b"\xfe").decode()
    text = f"data:\n  DBPW: {encoded}\n  conf: {within}\n  blob: {binary}\n"
    assert redact(text) == f"data:\n  DBPW: {REDACTED}\n  conf: {REDACTED}\n  blob: {REDACTED}\n"
    assert redact(f"{encoded} {encoded.rstrip('=')}") == f"{REDACTED} {REDACTED}"


def test_the_lines_of_a_secret_are_hidden_one_by_one() -> None:
    lines = [password() * 2 for _ in range(3)]
    keep_secret("\n".join(lines))
    assert shown_of(tuple(lines), redact("".join(f"  > {line}\n" for line in reversed(lines)))) == []


def test_a_secret_that_any_word_may_be_a_part_of_is_not_searched_for() -> None:
    keep_secret("", "spire")
    assert redact("spire-server of spire") == "spire-server of spire"


KEPT_AS_THEY_ARE = """\
keyManager: {disk: {enabled: true}, memory: {enabled: false}}
jwtKeyType: rsa-2048
caKeyType: ec-p256
tokenTTL: 1h
keyTTL: 24h
imagePullSecrets: [{name: registry-2024}]
tlsSecret: oidc-tls
volumes: [{secret: {secretName: spire-webhook-1}}]
existingSecret: spire-db
externalSecret: {enabled: true, name: spire-db, key: DBPW}
privateKey: {algorithm: ECDSA, size: 256, rotationPolicy: Always}
token: {audience: vault-2024-a, expiry: 7200}
tolerations: [{key: node-role.kubernetes.io/control-plane, operator: Exists}]
topologyKey: kubernetes.io/hostname
items: [{key: ca-bundle-2024.crt, path: ca.crt}]
secret: {create: true, name: spiffe-upstream-ca-1}
test-keys: {enabled: true, type: test-keys}
credentialComposer: {uniqueID: {enabled: false}}
password: ""
readOnly: {password: "${RODBPW}"}
certificate: "-----BEGIN CERTIFICATE-----\\nMIIB\\n-----END CERTIFICATE-----\\n"
keyFileArn: arn:aws:secretsmanager:eu-west-1:123456789012:secret
publicKey: MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
"""
VALUES: dict[str, Any] = {
    "dataStore": {"sql": {"username": "a", "password": "{}"}},
    "readOnly": {"DBPW": "{}"},
    "passwords": {"alice": "{}"},
    "apiKeys": ["{}"],
    "encryptionKey": "{}",
    "vault": {"token": "{}", "secretID": "{}"},
    "awsKMS": {"secretAccessKey": "{}"},
    "secrets": {"ssh": "{}"},
    "extraEnv": [{"name": "DB_PASSWORD", "value": "{}"}],
    "extraArgs": ["--x", "--db-password={}"],
    "conf": 'plugin { connection_string = "dbname=a password={} host=b" }',
    "url": "https://a:{}@b.example/",
}


@pytest.mark.parametrize("repeated", ["a", "ab-", "name: x_key\\\\n", "eyJ", "://a:", "a...", "token", "  \n", "a.b-"])
def test_a_long_text_takes_no_time(repeated: str) -> None:
    # An expression that is tried from each of its characters to its end takes minutes for this.
    keep_secret(*(EXAMPLES["PKCS #1"]().secrets))
    text = repeated * (200_000 // len(repeated))
    began = time.process_time()
    redact(text)
    assert time.process_time() - began < 5


def test_what_only_sounds_like_a_secret_is_shown() -> None:
    values = yaml.safe_load(KEPT_AS_THEY_ARE)
    found: list[str] = []
    assert without_secrets(values, found.append) == values
    assert found == []


def test_secrets_in_values_are_hidden_and_found_and_nothing_else_is() -> None:
    made: list[str] = []

    def filled(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: filled(below) for key, below in node.items()}
        if isinstance(node, list):
            return [filled(below) for below in node]
        if "{}" not in node:
            return node
        made.append(f"pw{len(made)}x9f3k2")
        return node.replace("{}", made[-1])

    found: list[str] = []
    shown = without_secrets(filled(VALUES), found.append)
    assert set(made) == {each for each in found if "dbname" not in each}
    assert shown.pop("conf") == f'plugin {{ connection_string = "{REDACTED}" }}'
    expected = {key: below for key, below in VALUES.items() if key != "conf"}
    assert shown == json.loads(json.dumps(expected).replace("{}", REDACTED))


def test_a_password_of_digits_is_hidden_and_other_numbers_are_not() -> None:
    values = {"password": 12345678, "port": 8443, "maxTokens": 100, "expirySeconds": 1234567}
    assert without_secrets(values) == {**values, "password": REDACTED}


def test_a_private_key_in_values_is_hidden_by_its_lines_too() -> None:
    example = EXAMPLES["PKCS #1"]()
    without_secrets(
        {"secret": {"data": {"key": example.text, "certificate": "-----BEGIN CERTIFICATE-----"}}}, keep_secret
    )
    assert redact("-----BEGIN CERTIFICATE-----") == "-----BEGIN CERTIFICATE-----"
    assert shown_of(example.secrets, redact(f"without its first line: {example.secrets[3]}")) == []


@pytest.mark.parametrize(
    "text",
    [
        'MountVolume.SetUp failed for volume "webhook-cert" : secret "spire-webhook-1" not found',
        "unable to get token: rpc error: code = Unavailable desc = connection refused",
        "failed SASL auth: password authentication failed for user spire",
        "Invalid or unsupported authorization header: no bearer token was given",
        "automountServiceAccountToken: false\nkind: Secret\ntype: kubernetes.io/service-account-token\n",
        "- effect: NoExecute\n  key: node.kubernetes.io/not-ready\n  operator: Exists\n",
        "https://10.89.0.1:8440, https://[::1]:8440/a@b",
        "sha256:0b1c2d3e4f5061728394a5b6c7d8e9f00b1c2d3e4f5061728394a5b6c7d8e9f0",
    ],
)
def test_what_a_person_must_read_is_left_as_it_is(text: str) -> None:
    assert redact(text) == text


def written(folder: Path, example: Example, number: int) -> None:
    redaction.write(folder / f"{number}.txt", example.text)
    redaction.append(folder / f"{number}.txt", AROUND["as a value of JSON"](example.text))


def test_a_run_folder_has_none_of_the_secrets_that_were_written_to_it(tmp_path: Path) -> None:
    examples = [make() for make in EXAMPLES.values()]
    for number, example in enumerate(examples):
        written(tmp_path, example, number)
    for path in tmp_path.iterdir():
        text = path.read_text()
        assert [secret for example in examples for secret in example.secrets if secret in text] == [], path.name
    assert known_secrets.keys_and_tokens(tmp_path) == []


@pytest.mark.parametrize("kind", ["PKCS #8", "SEC 1", "PKCS #1", "OpenSSH", "DER", "client key", "JWT"])
def test_a_run_folder_in_which_a_key_or_token_stands_is_found_out(kind: str, tmp_path: Path) -> None:
    clean = "spire-server-0 is ready, sha256:0b1c2d3e4f5061728394a5b6c7d8e9f0\n"
    # A file of a node, as the list of what is slow to be read has it: long enough to be a key, and no base64.
    clean += "/usr/share/ca-certificates/mozilla/NetLock_Arany_=Class_Gold=_Főtanúsítvány.crt" * 2
    (tmp_path / "clean.txt").write_text(clean)
    assert known_secrets.keys_and_tokens(tmp_path) == []
    (tmp_path / "evidence").mkdir()
    (tmp_path / "evidence" / "a.log").write_text(EXAMPLES[kind]().text)
    assert any(each.startswith("evidence/a.log: ") for each in known_secrets.keys_and_tokens(tmp_path))


def test_a_run_folder_in_which_a_known_secret_stands_is_found_out(tmp_path: Path) -> None:
    secret, key = password(), EXAMPLES["PKCS #8"]().text
    known = {"a password": secret, "a key": key}
    (tmp_path / "clean.txt").write_text("nothing")
    assert known_secrets.revealed(tmp_path, known) == []
    (tmp_path / "plain.txt").write_text(f"x={secret}")
    (tmp_path / "encoded.txt").write_text(base64.b64encode(secret.encode()).decode())
    (tmp_path / "key.txt").write_text(max(key.splitlines(), key=len))
    assert known_secrets.revealed(tmp_path, known) == [
        "encoded.txt: a password",
        "key.txt: a key",
        "plain.txt: a password",
    ]


CONFTEST = """
import pathlib

import pytest

from fixtures.core.redaction import keep_secret
from fixtures.plugins.reporting import REPORT, start_report
from fixtures.report.terminal import Terminal

SECRET = pathlib.Path("secret").read_text()


def pytest_configure(config):
    keep_secret(SECRET)
    folder = pathlib.Path("run")
    folder.mkdir()
    config.option.xmlpath = str(folder / "junit.xml")
    start_report(config, folder.resolve(), Terminal(open("terminal.txt", "w")))


@pytest.fixture
def secret():
    return SECRET


@pytest.fixture
def report(pytestconfig):
    return pytestconfig.stash[REPORT]
"""
TESTS = """
import sys
import threading

import pytest


def test_compared(secret):
    values = {"spire-server": {"dataStore": {"sql": {"password": secret}}}}
    assert values == {}, f"values {secret}"


def test_printed(secret):
    print("out", secret)
    print("err", secret, file=sys.stderr)
    raise RuntimeError(f"first {secret}") from ValueError(f"cause {secret}")


@pytest.fixture
def broken(secret):
    raise RuntimeError(f"helm upgrade ended with 1: {secret}")


def test_set_up(broken):
    pass


def test_skipped(secret):
    pytest.skip(f"without {secret}")


def test_printed_key():
    raise RuntimeError("-----BEGIN PRIVATE KEY-----\\nMIIEvgIBADANBgkqhkiG\\n-----END PRIVATE KEY-----")


def called(password):
    raise RuntimeError("not by what it says")


def test_argument():
    called("another-" + "of-the-users-1")


def test_reported(report, secret):
    thread = threading.Thread(target=exec, args=(f"raise RuntimeError('in a thread {secret}')",))
    thread.start()
    thread.join()
    report.say(f"say {secret}")
    report.table("a table", [f"row {secret}"])
    report.set_diagnosis([f"broken link: a (b): {secret}"])
    with report.phase(f"phase {secret}"):
        report.refused = ""
"""


@pytest.mark.parametrize("options", [[], ["--showlocals", "-vv"], ["--tb=short"], ["--tb=native"]], ids=" ".join)
def test_a_secret_stands_neither_in_junit_xml_nor_on_the_terminal_nor_in_any_other_file_of_a_run(
    pytester: pytest.Pytester, options: list[str]
) -> None:
    secret = password()
    (pytester.path / "secret").write_text(secret)
    pytester.makeconftest(CONFTEST)
    pytester.makeini(
        "[pytest]\naddopts = -ra -p fixtures.plugins.options -p fixtures.plugins.reporting "
        "-p fixtures.plugins.recording\njunit_logging = all\n"
    )
    pytester.makepyfile(TESTS)
    pytester.makepyfile(test_collected="import pathlib\nraise RuntimeError(pathlib.Path('secret').read_text())\n")
    done = pytester.runpytest_inprocess("--continue-on-collection-errors", *options)
    done.assert_outcomes(passed=1, failed=4, errors=2, skipped=1)
    shown = {path.name: path.read_text() for path in (pytester.path / "run").iterdir()}
    shown |= {
        "terminal.txt": (pytester.path / "terminal.txt").read_text(),
        "output": done.stdout.str() + done.stderr.str(),
    }
    printed = {"terminal.txt", "output"}
    assert {"junit.xml", "diagnosis.txt", "timings.txt", "run.json", "report.html", *printed} <= set(shown)
    for name, text in shown.items():
        assert REDACTED.replace("<", "&lt;" if name in ("junit.xml", "report.html") else "<").rstrip(">") in text, name
        # The end of it, where a representation was cut short
        for each in (
            secret,
            secret.replace("&", "&amp;"),
            secret[-8:],
            "MIIEvgIBADANBgkqhkiG",
            "another-of-the-users-1",
        ):
            assert each not in text, name


def test_an_error_in_a_plugin_is_shown_without_secrets(pytester: pytest.Pytester) -> None:
    secret = password()
    (pytester.path / "secret").write_text(secret)
    pytester.makeconftest(
        CONFTEST + "\n\ndef pytest_runtest_protocol(item):\n    raise RuntimeError(f'plugin {SECRET}')\n"
    )
    pytester.makeini("[pytest]\naddopts = -p fixtures.plugins.options -p fixtures.plugins.reporting\n")
    pytester.makepyfile("def test_one(): pass")
    done = pytester.runpytest_inprocess()
    assert done.ret == pytest.ExitCode.INTERNAL_ERROR
    done.stdout.fnmatch_lines(["INTERNALERROR>*plugin <redacted>"])
    for text in (done.stdout.str(), (pytester.path / "run" / "junit.xml").read_text()):
        assert secret not in text
