"""A chart repository of somebody else's: its URL, what is trusted, and the release before another."""

from __future__ import annotations

import base64
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from semver import Version

from fixtures.artifacts.chart_download import check_reachable
from fixtures.artifacts.supply import SupplyError
from fixtures.config import chart_source
from fixtures.config.chart_repository import CHART_REPOSITORY, ChartRepository, parse_repository
from fixtures.config.chart_source import Source
from fixtures.config.trust import read_ca, write_bundle
from fixtures.core.redaction import redact
from tests.unit.config.test_chart_source import write_charts

RELEASED = ("0.30.0", "0.29.0", "0.30.0-rc.1", "0.29.1", "0.16.0")
INDEX = yaml.safe_dump({"apiVersion": "v1", "entries": {"spire": [{"version": each} for each in RELEASED]}})
CREDENTIALS = base64.b64encode(b"reader:Tr@ffic-7").decode()


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        asked = self.headers.get("Authorization")
        status = 404 if self.path != "/charts/index.yaml" else 401 if asked != f"Basic {CREDENTIALS}" else 200
        self.send_response(status)
        self.end_headers()
        if status == 200:
            self.wfile.write(INDEX.encode())

    def log_message(self, *_: object) -> None:
        pass


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of this machine's loopback address that nobody has signed, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a company's CA")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoding, private = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "ca.crt").write_bytes(made.public_bytes(encoding))
    (folder / "ca.key").write_bytes(key.private_bytes(encoding, private, serialization.NoEncryption()))
    return folder / "ca.crt", folder / "ca.key"


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    return certificate(tmp_path)[0]


@pytest.fixture
def repository(tmp_path: Path, ca: Path) -> Iterator[str]:
    """The URL of a repository over HTTPS that wants credentials."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca, tmp_path / "ca.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"https://reader:Tr%40ffic-7@127.0.0.1:{server.server_port}/charts"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_repository_behind_a_private_ca_and_a_password_says_its_releases(repository: str, ca: Path) -> None:
    found = parse_repository("--chart-repository", repository, read_ca("--ca-file", ca))
    assert "ffic" not in repr(found)
    assert "ffic" not in found.url
    assert "ffic" not in redact(f"asked {repository} and {CREDENTIALS} and Tr@ffic-7")
    assert list(map(str, found.versions("spire"))) == ["0.30.0", "0.29.1", "0.29.0", "0.16.0"]
    with pytest.raises(ValueError, match=r"its index\.yaml has no versions of the chart other"):
        found.versions("other")


@pytest.mark.parametrize(("to", "before"), [("0.30.0", "0.29.1"), ("0.30.1", "0.30.0"), ("0.30.0-rc.2", "0.29.1")])
def test_the_release_before_is_the_newest_that_is_older(repository: str, ca: Path, to: str, before: str) -> None:
    place = parse_repository("--chart-repository", repository, ca.read_text())
    found = chart_source.previous("--from", Source(chart_version=Version.parse(to), repository=place))
    assert found == Source(chart_version=Version.parse(before), repository=place)


def test_a_folder_is_upgraded_to_from_the_release_before_its_version(repository: str, ca: Path, tmp_path: Path) -> None:
    place = parse_repository("--chart-repository", repository, ca.read_text())
    folder = Source(charts=write_charts(tmp_path / "charts"), repository=place)
    assert str(chart_source.previous("--from", folder).chart_version) == "0.29.1"


def test_where_there_is_no_release_before_or_none_that_is_known_the_run_is_refused(repository: str, ca: Path) -> None:
    place = parse_repository("--chart-repository", repository, ca.read_text())
    oldest = Source(chart_version=Version.parse("0.17.0"), repository=place)
    with pytest.raises(ValueError, match=r"^--from previous, which is 0\.16\.0: the oldest chart this suite knows is"):
        chart_source.previous("--from", oldest)
    with pytest.raises(ValueError, match=r"index\.yaml has no release before 0\.16\.0$"):
        chart_source.previous("--from", Source(chart_version=Version.parse("0.16.0"), repository=place))
    untrusted = parse_repository("--chart-repository", repository)
    unknown = Source(chart_version=Version.parse("0.30.0"), repository=untrusted)
    with pytest.raises(ValueError, match=r"^--from previous: it cannot be looked up at https://127.*VERIFY_FAILED"):
        chart_source.previous("--from", unknown)
    anonymous = parse_repository("--chart-repository", place.url, place.ca)
    refused = Source(chart_version=Version.parse("0.30.0"), repository=anonymous)
    with pytest.raises(ValueError, match=r"^--from previous: it cannot be looked up at https://127.*Unauthorized"):
        chart_source.previous("--from", refused)
    registry = chart_source.parse_oci_reference("--to", "oci://registry.example/charts/spire:0.30.0")
    with pytest.raises(ValueError, match=r"^--from previous: of chart 0\.30\.0 of oci://.*: a registry lists no rel"):
        chart_source.previous("--from", registry)


def test_a_repository_that_refuses_its_index_is_refused_with_its_answer(repository: str, ca: Path) -> None:
    wrong = parse_repository("--chart-repository", repository.replace("ffic", "xxxx"), ca.read_text())
    with pytest.raises(SupplyError, match=r"^chart \(the newest\) of https://\S+ is not .*\(HTTP Error 401: Unaut"):
        check_reachable(Source(repository=wrong))
    check_reachable(Source(repository=parse_repository("--chart-repository", repository, ca.read_text())))
    elsewhere = parse_repository("--chart-repository", f"{repository}/stable", ca.read_text())
    with pytest.raises(SupplyError, match=r"\(HTTP Error 404: Not Found\)"):
        check_reachable(Source(repository=elsewhere))


def test_of_the_local_supply_it_is_the_older_spire_that_can_be_built() -> None:
    assert chart_source.previous("--from", Source(spire_version="1.15.3")) == Source(spire_version="1.14.5")
    assert chart_source.previous("--from", Source(spire_version="1.14.5")) == Source(spire_version="1.8.7")
    with pytest.raises(ValueError, match=r"^--from previous: supply/versions\.toml has no SPIRE before 1\.8\.7$"):
        chart_source.previous("--from", Source(spire_version="1.8.7"))


def test_without_one_it_is_the_hardened_charts_own() -> None:
    assert parse_repository("--chart-repository", None) == ChartRepository()
    assert ChartRepository().index_url == f"{CHART_REPOSITORY}index.yaml"
    assert not Source().is_published
    elsewhere = Source(repository=parse_repository("--chart-repository", "http://127.0.0.1:8080"))
    assert elsewhere.is_published
    assert str(elsewhere) == "chart (the newest) of http://127.0.0.1:8080/"
    assert not Source(spire_version="1.15.3", repository=elsewhere.repository).is_published


@pytest.mark.parametrize(
    "given",
    ["charts.example", "ftp://charts.example", "https://", "https://a:b", "https://a/?q=1", "https://a b", "/srv"],
)
def test_what_is_no_url_of_a_repository_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match=r"^--chart-repository: not an http:// or https:// URL of a chart repository$"):
        parse_repository("--chart-repository", given)


@pytest.mark.parametrize("half", ["Tr%40ffic-7", ":Tr%40ffic-7", "reader:"])
def test_half_of_the_credentials_is_refused_as_helm_would_send_none(half: str) -> None:
    sentence = r"^--chart-repository https://charts\.example/a: Helm sends credentials only where the URL has both, "
    with pytest.raises(ValueError, match=sentence) as no:
        parse_repository("--chart-repository", f"https://{half}@charts.example/a")
    assert redact(str(no.value)) == str(no.value), "nothing of the sentence looks like a secret"


def test_an_oci_reference_is_led_to_where_it_belongs() -> None:
    with pytest.raises(ValueError, match="an oci:// reference goes to --charts"):
        parse_repository("--chart-repository", "oci://registry.example/charts")


def test_programs_that_trust_a_file_alone_get_this_machines_cas_too(ca: Path, tmp_path: Path) -> None:
    bundle = write_bundle(ca.read_text(), tmp_path).read_text()
    own = len(ssl.create_default_context().get_ca_certs())
    assert bundle.count("BEGIN CERTIFICATE") == own + 1
    assert "".join(ca.read_text().split()) in "".join(bundle.split())


@pytest.mark.parametrize(
    "text", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_file_without_a_certificate_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "ca").write_text(text)
    with pytest.raises(ValueError, match=rf"^--ca-file {tmp_path}/ca: it has no certificate in PEM$"):
        read_ca("--ca-file", tmp_path / "ca")
    with pytest.raises(ValueError, match=r"^--ca-file missing: No such file or directory$"):
        read_ca("--ca-file", Path("missing"))
