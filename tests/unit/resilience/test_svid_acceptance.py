"""Authorities, minted SVIDs and forged tokens; and the two servers in the run that show SVIDs and relay connections."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import time
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from fixtures.k8s.cluster import ClusterError
from fixtures.resilience.jwt_signing import SigningKey, add_authority
from fixtures.resilience.slow_link import SlowLink
from fixtures.resilience.svid_server import SVIDServer
from fixtures.spire import api_types, authorities, server_cli
from fixtures.spire.server_cli import X509SVID

Read = Callable[[str], str]
SPIFFE_ID = "spiffe://server.example/credential"


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def minted() -> str:
    """What `x509 mint -output json` prints, with a certificate of this test's own."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([]), datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(minutes=1))
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(SPIFFE_ID)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    der = serialization.Encoding.DER
    private = key.private_bytes(der, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    leaf = base64.b64encode(certificate.public_bytes(der)).decode()
    return json.dumps({"x509_svid": [leaf], "private_key": base64.b64encode(private).decode(), "root_cas": [leaf]})


def test_the_active_authority_is_read_by_its_id(recorded: Read) -> None:
    assert authorities.active(recorded("localauthority-x509-show.json")) == "0da8c4a622221921dc0ddbed0a89e62863826059"


@pytest.mark.parametrize("text", ["", "{}", "Error: could not get X.509 authorities"])
def test_what_shows_no_authority_raises(text: str) -> None:
    with pytest.raises((ValueError, KeyError)):
        authorities.active(text)


@pytest.mark.parametrize(
    ("said", "offered"),
    [
        ("", True),
        ("ended with 127: Usage: spire-server [--version] [--help] <command>\n\nAvailable commands are:", False),
        ("rpc error: code = Unimplemented desc = unknown service spire.api.server.localauthority.v1", False),
    ],
)
def test_a_server_of_before_1_11_offers_no_rotation(recorded: Read, said: str, offered: bool) -> None:
    def server(*_: str) -> str:
        if said:
            raise ClusterError(said)
        return recorded("localauthority-x509-show.json")

    spire = cast(Any, SimpleNamespace(server=server, trust_domain="server.example"))
    assert authorities.Authorities(spire, "x509").are_offered is offered


@pytest.mark.parametrize(
    "said", ["connection refused", "rpc error: code = Unimplemented desc = JWT functionality is disabled"]
)
def test_a_server_that_does_not_answer_or_signs_no_jwt_is_not_taken_for_an_old_one(said: str) -> None:
    def server(*_: str) -> str:
        raise ClusterError(f"server: {said}")

    spire = cast(Any, SimpleNamespace(server=server, trust_domain="server.example"))
    with pytest.raises(ClusterError):
        _ = authorities.Authorities(spire, "x509").are_offered


def test_a_minted_x509_svid_is_its_chain_and_its_key_and_keeps_the_key_to_itself() -> None:
    svid = server_cli.x509_svid(minted())
    assert x509.load_pem_x509_certificate(svid.chain.encode()).serial_number == 7
    assert serialization.load_pem_private_key(svid.key.encode(), None)
    assert "PRIVATE KEY" not in repr(svid)


def test_a_token_is_signed_by_the_key_that_the_bundle_has_then(recorded: Read) -> None:
    key = SigningKey("of-the-test")
    header, claims, signature = key.sign(sub=SPIFFE_ID, exp=None, aud=["a"]).split(".")
    assert json.loads(decoded(header)) == {"alg": "ES256", "kid": "of-the-test", "typ": "JWT"}
    assert json.loads(decoded(claims)) == {"sub": SPIFFE_ID, "aud": ["a"]}, "what is None is left out"

    document = add_authority(recorded("bundle-show.json"), key)
    before, after = api_types.bundle(recorded("bundle-show.json")), api_types.bundle(document)
    assert after.jwt_authorities - before.jwt_authorities == {"of-the-test"}
    assert after.x509_authorities == before.x509_authorities
    jwk = next(each for each in json.loads(document)["keys"] if each.get("kid") == "of-the-test")
    x, y = (int.from_bytes(decoded(jwk[name]), "big") for name in "xy")
    raw = decoded(signature)
    r, s = (int.from_bytes(raw[half : half + 32], "big") for half in (0, 32))
    public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    public.verify(encode_dss_signature(r, s), f"{header}.{claims}".encode(), ec.ECDSA(hashes.SHA256()))


@pytest.fixture
def svid() -> X509SVID:
    return server_cli.x509_svid(minted())


def test_a_stand_in_shows_its_svid_and_answers_as_the_demos_server_does(svid: X509SVID) -> None:
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    with SVIDServer("127.0.0.1", svid) as server:
        with urllib.request.urlopen(server.url, context=trusting, timeout=60) as answer:  # noqa: S310 - of this test
            assert answer.read() == b"Success!!!"
        port = int(server.url.rpartition(":")[2])
        shown = ssl.get_server_certificate(("127.0.0.1", port), timeout=60)
    assert x509.load_pem_x509_certificate(shown.encode()).serial_number == 7
    assert server.refused == []


def test_a_stand_in_keeps_what_its_callers_refuse_it_for(svid: X509SVID) -> None:
    with SVIDServer("127.0.0.1", svid) as server:
        with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
            urllib.request.urlopen(server.url, context=ssl.create_default_context(), timeout=60)  # noqa: S310 - of this test
        deadline = time.monotonic() + 60
        while not server.refused and time.monotonic() < deadline:
            time.sleep(0.01)
    assert "alert" in server.refused[0].lower()


def test_a_relay_passes_everything_on_and_late() -> None:
    with socket.create_server(("127.0.0.1", 0)) as target, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        with SlowLink("127.0.0.1", port, target.getsockname()[1], 0.1):
            began = time.monotonic()
            with socket.create_connection(("127.0.0.1", port), timeout=60) as caller:
                called, _ = target.accept()
                with called:
                    caller.sendall(b"there")
                    assert called.recv(100) == b"there"
                    called.sendall(b"and back")
                    assert caller.recv(100) == b"and back"
            assert time.monotonic() - began >= 0.2
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", port), timeout=60)
