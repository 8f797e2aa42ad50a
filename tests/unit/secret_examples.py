"""Secrets of the kinds that stand in values, logs and objects, made for the tests that must not see them again."""

from __future__ import annotations

import base64
import json
import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

PKCS8 = serialization.PrivateFormat.PKCS8
TRADITIONAL = serialization.PrivateFormat.TraditionalOpenSSL
OPENSSH = serialization.PrivateFormat.OpenSSH
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True)
class Example:
    """A text in which secrets stand, and those secrets: nothing of them may be left of it."""

    text: str
    secrets: tuple[str, ...]


def password() -> str:
    """A password such as a person makes up: with a digit, and a sign that is escaped in some places."""
    return f"hunter{secrets.randbelow(10**6)}&{secrets.token_hex(4)}"


def encoded(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def jwt() -> str:
    """A JWT-SVID as SPIRE issues it."""
    header = {"alg": "ES256", "kid": "7hbXGNCN4EUdSf7CfAH6NgKGkJiPbhIi", "typ": "JWT"}
    claims = {
        "aud": ["spiffe://server.example/ns/demo/sa/default"],
        "exp": 1795496171,
        "sub": "spiffe://client.example/a",
    }
    signed = f"{encoded(json.dumps(header).encode())}.{encoded(json.dumps(claims).encode())}"
    signature = ec.generate_private_key(ec.SECP256R1()).sign(signed.encode(), ec.ECDSA(hashes.SHA256()))
    return f"{signed}.{encoded(signature)}"


def pem(key: Key, form: serialization.PrivateFormat, passphrase: bytes = b"") -> str:
    """A private key in PEM."""
    encryption = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, encryption).decode()


def _key(key: Key, form: serialization.PrivateFormat) -> Example:
    text = pem(key, form)
    return Example(text, tuple(line for line in text.splitlines() if not line.startswith("-----")))


def _client_key() -> Example:
    text = pem(rsa.generate_private_key(65537, 2048), TRADITIONAL)
    data = base64.b64encode(text.encode()).decode()
    return Example(f"users:\n- name: a\n  user:\n    client-key-data: {data}\n", (data[60:],))


def _der() -> Example:
    key = ec.generate_private_key(ec.SECP256R1())
    der = key.private_bytes(serialization.Encoding.DER, PKCS8, serialization.NoEncryption())
    data = base64.b64encode(der).decode()
    return Example(json.dumps({"x509_svid": [], "private_key": data}), (data[40:],))


def _join_token() -> Example:
    token = str(uuid.uuid4())
    return Example(f"Token: {token}\nparent ID spiffe://a.example/spire/agent/join_token/{token}\n", (token,))


def _data_source() -> Example:
    one, two, three = password(), password(), password()
    return Example(
        f'connection_string = "dbname=spire user=spire password={one} host=db"\n'
        f"opening root:{two}@tcp(db:3306)/spire failed\n"
        f"postgres://spire:{three}@db.example:5432/spire?sslmode=disable\n",
        (one, two, three),
    )


def _url() -> Example:
    secret = secrets.token_hex(8)
    return Example(f"GET https://robot:{secret}@registry.example/v2/ 401", (secret,))


def _aws() -> Example:
    identity, key = f"AKIA{secrets.token_hex(8).upper()}", secrets.token_urlsafe(30)
    return Example(f"{identity}\naws_secret_access_key = {key}\nAWS_SECRET_ACCESS_KEY={key}\n", (identity, key))


def _bearer() -> Example:
    token, basic = secrets.token_hex(20), base64.b64encode(b"robot:" + secrets.token_bytes(9)).decode()
    return Example(f"> Authorization: Bearer {token}\n> authorization: basic {basic}\n", (token, basic))


def _values() -> Example:
    secret = password()
    return Example(f"spire-server:\n  dataStore:\n    sql:\n      password: {secret}\n      username: a\n", (secret,))


def _variable() -> Example:
    secret = secrets.token_hex(8)
    listed = [{"name": "DB_PASSWORD", "value": secret}]
    applied = json.dumps({"last-applied-configuration": json.dumps({"env": listed})})
    return Example(f"env:\n- name: DB_PASSWORD\n  value: {secret}\n{json.dumps(listed)}\n{applied}\n", (secret,))


EXAMPLES: dict[str, Callable[[], Example]] = {
    "PKCS #8": lambda: _key(ec.generate_private_key(ec.SECP256R1()), PKCS8),
    "SEC 1": lambda: _key(ec.generate_private_key(ec.SECP256R1()), TRADITIONAL),
    "PKCS #1": lambda: _key(rsa.generate_private_key(65537, 2048), TRADITIONAL),
    "OpenSSH": lambda: _key(ed25519.Ed25519PrivateKey.generate(), OPENSSH),
    "DER": _der,
    "client key": _client_key,
    "JWT": lambda: Example(f"fetched {(token := jwt())}", (token.rpartition(".")[2],)),
    "join token": _join_token,
    "data source": _data_source,
    "URL": _url,
    "AWS": _aws,
    "header": _bearer,
    "values": _values,
    "variable": _variable,
}
