"""A reverse proxy before a registry, which answers as a registry does that is busy, limited, private or slow.

Status codes and bodies are those of the OCI distribution specification ("Error Codes"), tokens those of CNCF
Distribution's "Token Authentication Specification".
"""

from __future__ import annotations

import ipaddress
import itertools
import json
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

PIECE = 1 << 16  # bytes
TOKEN = "stand-in"  # noqa: S105 - no secret: whoever asks gets it, as of public images
PASSED_ON = ("accept", "range", "user-agent")
PASSED_BACK = ("content-type", "content-length", "content-range", "docker-content-digest", "etag", "location")


@dataclass(frozen=True)
class RegistryAnswer:
    """An answer in the registry's place: status, an error code of the specification, its message, further headers."""

    status: int
    code: str
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        """The errors as the specification has them."""
        return json.dumps({"errors": [{"code": self.code, "message": self.message}]}).encode()


# What to answer to a request, from its path, its headers and the number of requests for manifests so far: None, to pass
# it on.
Behaviour = Callable[[str, Mapping[str, str], int], RegistryAnswer | None]


def unavailable(times: int) -> Behaviour:
    """503 the first so many times that a manifest is asked for."""

    def answer(path: str, _: Mapping[str, str], count: int) -> RegistryAnswer | None:
        if "/manifests/" in path and count <= times:
            return RegistryAnswer(503, "UNAVAILABLE", "service unavailable: try again later")
        return None

    return answer


def rate_limited(path: str, _headers: Mapping[str, str], _count: int) -> RegistryAnswer | None:
    """429 for every manifest, in the words of Docker Hub."""
    message = "You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit"
    return RegistryAnswer(429, "TOOMANYREQUESTS", message) if "/manifests/" in path else None


def with_tokens(path: str, headers: Mapping[str, str], _count: int) -> RegistryAnswer | None:
    """401 with the place of a token for whoever has none; anyone gets one."""
    return _challenge(headers) if path.startswith("/v2/") and not _has_token(headers) else None


def denied(path: str, headers: Mapping[str, str], count: int) -> RegistryAnswer | None:
    """The same, but the token is not enough for manifests: the image is private."""
    if "/manifests/" in path and _has_token(headers):
        return RegistryAnswer(403, "DENIED", "requested access to the resource is denied")
    return with_tokens(path, headers, count)


def _has_token(headers: Mapping[str, str]) -> bool:
    return headers.get("authorization") == f"Bearer {TOKEN}"


def _challenge(headers: Mapping[str, str]) -> RegistryAnswer:
    place = f'Bearer realm="http://{headers["host"]}/token",service="stand-in"'
    return RegistryAnswer(401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": place})


class Line:
    """A line of so many bytes a second, for all who send on it."""

    def __init__(self, bytes_per_second: float) -> None:
        self._rate = bytes_per_second
        self._lock = threading.Lock()
        self._free = time.monotonic()  # when all has been sent that was to be so far
        self.sent = 0  # bytes

    def send(self, count: int) -> None:
        """Wait as long as it takes until these bytes, and all before them, are sent."""
        with self._lock:
            self.sent += count
            self._free = max(self._free, time.monotonic()) + count / self._rate
            wait = self._free - time.monotonic()
        time.sleep(max(0.0, wait))


class FaultyRegistry(ThreadingHTTPServer):
    """The proxy, at `url`, listening on `address`: the registry is at `upstream` (`http://HOST:PORT`).

    `bytes_per_second` limits all connections together, as a slow line does. With `authority` it speaks TLS, by a
    certificate of that CA.
    """

    daemon_threads = True

    def __init__(
        self,
        address: str,
        upstream: str,
        behaviour: Behaviour | None = None,
        *,
        bytes_per_second: float | None = None,
        authority: Authority | None = None,
    ) -> None:
        super().__init__((address, 0), _Proxy)
        self.upstream = urlsplit(upstream)
        self.behaviour = behaviour
        self.line = Line(bytes_per_second) if bytes_per_second else None
        self.url = f"{'https' if authority else 'http'}://{address}:{self.server_port}"
        self._manifests = itertools.count(1)  # of all threads
        self.manifests = 0
        if authority:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(authority.certificate_for(address))
            # The handshake is the handler's thread's, not the one's that accepts.
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def count(self, path: str) -> int:
        """The number of requests for manifests so far, this one included where it is one."""
        if "/manifests/" in path:
            self.manifests = next(self._manifests)
        return self.manifests

    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever goes away, or trusts no such certificate, is no error of this server's."""


class _Proxy(BaseHTTPRequestHandler):
    server: FaultyRegistry
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/token":
            self._send(200, {"Content-Type": "application/json"}, json.dumps({"token": TOKEN}).encode())
            return
        # Podman sends a line for each media type that it accepts.
        headers = {name.lower(): ", ".join(self.headers.get_all(name) or ()) for name in self.headers}
        count = self.server.count(path)
        answer = self.server.behaviour(path, headers, count) if self.server.behaviour else None
        if answer:
            self._send(answer.status, {"Content-Type": "application/json", **answer.headers}, answer.body)
            return
        self._pass_on(headers)

    do_HEAD = do_GET  # noqa: N815 - http.server's names

    def _pass_on(self, headers: Mapping[str, str]) -> None:
        upstream = HTTPConnection(self.server.upstream.hostname or "", self.server.upstream.port, timeout=60)
        try:
            kept = {name: value for name, value in headers.items() if name in PASSED_ON}
            upstream.request(self.command, self.path, headers=kept)
            answer = upstream.getresponse()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() in PASSED_BACK:
                    self.send_header(name, value)
            self.end_headers()
            while piece := answer.read(PIECE):
                if self.server.line:
                    self.server.line.send(len(piece))
                self.wfile.write(piece)
        finally:
            upstream.close()

    def _send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Authority:
    """A private CA; `certificate` is its own, in PEM, and `folder` is for those that it issues."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stand-in CA")])
        made = self._sign(self._name, self._key.public_key(), x509.BasicConstraints(ca=True, path_length=0))
        self.certificate = made.public_bytes(Encoding.PEM).decode()

    def certificate_for(self, address: str) -> Path:
        """A file with a key and a certificate for an IP address."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stand-in registry")])
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        made = self._sign(subject, key.public_key(), x509.BasicConstraints(ca=False, path_length=None), names)
        file = self._folder / f"{address}.pem"
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        file.touch(0o600)
        file.write_bytes(secret + made.public_bytes(Encoding.PEM))
        return file

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *extensions: x509.ExtensionType
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(self._name, subject, key, x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))
        for each in extensions:
            builder = builder.add_extension(each, critical=isinstance(each, x509.BasicConstraints))
        return builder.sign(self._key, hashes.SHA256())
