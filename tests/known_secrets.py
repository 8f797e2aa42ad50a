"""Secrets in a run's folder, found without the expressions that remove them (`fixtures.core.redaction`).

The known ones are the Secrets of the run's clusters and the kubeconfigs' credentials; others load as a private key, or
as a token.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import yaml
from cryptography.hazmat.primitives.serialization import load_der_private_key

from fixtures.core.concurrency import map_concurrently
from fixtures.k8s.cluster import Cluster

SECRET_TYPES = ("Opaque", "kubernetes.io/tls", "kubernetes.io/service-account-token")
PUBLIC = ("ca.crt", "tls.crt", "namespace")
CREDENTIALS = ("client-key-data", "token", "password")
SHORTEST_SEARCHED = 8  # characters
SHORTEST_SEARCHED_DER = 32  # bytes


def of_cluster(cluster: Cluster) -> dict[str, str]:
    """What is secret in a cluster of the suite's own, and its kubeconfig's credentials; by where it is."""
    found = {}
    for secret in cluster.core.list_secret_for_all_namespaces().items:
        for key, value in (secret.data or {}).items() if secret.type in SECRET_TYPES else ():
            plain = base64.b64decode(value).decode(errors="replace")
            if key not in PUBLIC and len(plain) >= SHORTEST_SEARCHED and not plain.startswith("-----BEGIN CERT"):
                where = f"{cluster.label}: Secret {secret.metadata.namespace}/{secret.metadata.name}, {key}"
                found[where] = plain
    for user in yaml.safe_load(cluster.kubeconfig_path.read_text())["users"]:
        for name in CREDENTIALS:
            if name in user["user"]:
                found[f"{cluster.label}: the kubeconfig's {name}"] = user["user"][name]
    return found


def revealed(folder: Path, secrets: Mapping[str, str]) -> list[str]:
    """The files below a folder in which a secret stands, plain or in base64, with the secret's name."""
    found = []
    for path, text in _files(folder):
        for where, secret in secrets.items():
            # Of a key in PEM, what is between its first and last line.
            lines = [line for line in secret.splitlines() if not line.startswith("-----")]
            longest = max(lines, key=len, default=secret).strip()
            encoded = base64.b64encode(secret.encode()).decode().rstrip("=")
            if longest in text or encoded in text:
                found.append(f"{path}: {where}")
    return found


def keys_and_tokens(folder: Path) -> list[str]:
    """The files below a folder in which a private key or a JSON Web Token stands, with its first characters."""
    found = []
    for path, text in _files(folder):
        found += [f"{path}: {line[:40]}" for line in text.splitlines() if "PRIVATE KEY-----" in line]
        found += [f"{path}: {word[:24]}…" for word in _words(text) if _is_token(word) or _is_key(word)]
    return found


def _files(folder: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()):
        yield path.relative_to(folder), path.read_text(errors="replace")


def _words(text: str) -> Iterable[str]:
    return (word for word in set(re.split(r"[^\w.+/=-]+", text)) if len(word) >= SHORTEST_SEARCHED)


def _decoded(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text.replace("+", "-").replace("/", "_").rstrip("=") + "==")
    except ValueError:  # no base64, or not even ASCII
        return b""


def _is_token(word: str) -> bool:
    """Whether a word is a signed JSON Web Token (RFC 7519): two parts in JSON, the first of which has an algorithm."""
    parts = word.split(".")
    try:
        header, claims = (json.loads(_decoded(part)) for part in parts[:2])
    except ValueError:
        return False
    return len(parts) == 3 and "alg" in header and isinstance(claims, dict)


def _is_key(word: str) -> bool:
    """Whether a word is a private key, in base64 of DER or of PEM."""
    decoded = _decoded(word)
    if b"PRIVATE KEY-----" in decoded:
        return True
    if len(decoded) < SHORTEST_SEARCHED_DER or decoded[:1] != b"0":  # an ASN.1 sequence
        return False
    try:
        load_der_private_key(decoded, None)
    except Exception:  # of whatever is no key, or one of a kind that the library does not know
        return False
    return True


def assert_none_is_revealed(folder: Path, clusters: Iterable[Cluster]) -> None:
    """No file below the folder has a key or token in it, nor a secret of these clusters.

    Clusters that are not the suite's own are left out: what a Secret of somebody else's holds may well be no secret.
    """
    assert keys_and_tokens(folder) == []
    ours = [cluster for cluster in clusters if not cluster.is_external]
    for known in map_concurrently(of_cluster, ours):
        assert known, "a Kind cluster's kubeconfig has a key at least"
        assert revealed(folder, known) == []
