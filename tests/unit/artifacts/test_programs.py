"""Programs that are given, found on PATH, or downloaded: once, complete, and for this machine."""

from __future__ import annotations

import base64
import hashlib
import io
import platform
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fixtures.artifacts import programs
from fixtures.artifacts.chart_download import why_unreachable
from fixtures.artifacts.programs import Download, downloads, fetch, find_or_fetch
from fixtures.artifacts.supply import SupplyError
from fixtures.config.settings import Settings
from fixtures.core.concurrency import run_concurrently
from fixtures.core.urls.given_url import request

PROGRAM = b"#!/bin/sh\necho it runs\n" + b"#" * 100_000
DIGEST = hashlib.sha256(PROGRAM).hexdigest()


class Publisher(ThreadingHTTPServer):
    """A server of files on loopback.

    What it sends stops in the middle for `pause` seconds and until it may `go_on`; `/cut` ends there.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {"/kind": PROGRAM, "/cut": PROGRAM}
        self.pause = 0.0
        self.go_on = threading.Event()
        self.go_on.set()
        self.wants = ""  # as the header Authorization
        self.asked: list[str] = []

    def download(self, path: str = "/kind", sha256: str = DIGEST, member: str = "") -> Download:
        """A program that is published at a path."""
        return Download("kind", "v1.2.3", f"http://127.0.0.1:{self.server_port}{path}", sha256, member)


class Handler(BaseHTTPRequestHandler):
    server: Publisher

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.headers.get("Authorization", "") != self.server.wants:
            self.send_error(401)
            return
        content = self.server.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        half = len(content) // 2
        self.wfile.write(content[:half])
        self.wfile.flush()
        time.sleep(self.server.pause)
        self.server.go_on.wait(60)
        if self.path != "/cut":
            self.wfile.write(content[half:])

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with Publisher() as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def tools(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where downloaded programs are kept."""
    monkeypatch.setenv("SPIRE_FEDERATION_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tools"


def kept(tools: Path) -> list[str]:
    """The files that downloads have left, locks aside."""
    return [path.name for path in tools.rglob("*") if path.is_file() and path.suffix != ".lock"]


def unsaid(line: str) -> None:
    pytest.fail(f"nothing is to be said, and not: {line}")


def test_two_that_want_a_program_at_once_get_one_download_that_runs(publisher: Publisher, tools: Path) -> None:
    publisher.go_on.clear()
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        if "already" in line:  # not before: where it comes late, the program would be there
            publisher.go_on.set()

    wanted = publisher.download()
    first, second = run_concurrently(lambda: fetch(wanted, say), lambda: fetch(wanted, say))
    assert first == second
    assert subprocess.run([first], capture_output=True, text=True, check=True).stdout == "it runs\n"
    assert publisher.asked == ["/kind"]
    assert sorted(line.partition(" (")[0] for line in lines) == [
        "downloading kind v1.2.3",
        "kind is being downloaded already",
    ]
    assert kept(tools) == ["kind-v1.2.3"]
    assert fetch(wanted, unsaid) == first


def test_a_program_in_an_archive_is_taken_out_of_it(publisher: Publisher, tools: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in (("linux-amd64/LICENSE", b"free"), ("linux-amd64/helm", PROGRAM)):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    publisher.files["/packed"] = packed.getvalue()
    digest = hashlib.sha256(packed.getvalue()).hexdigest()
    found = fetch(publisher.download("/packed", digest, member="linux-amd64/helm"), lambda _: None)
    assert found.read_bytes() == PROGRAM
    assert found.stat().st_mode & 0o111
    assert kept(tools) == ["kind-v1.2.3"]


@pytest.mark.parametrize(
    ("path", "sha256", "why"),
    [
        (
            "/gone",
            DIGEST,
            r"^no kind that fits is on PATH, and none can be downloaded from http://\S+/gone: HTTP Error 404: \S+ ",
        ),
        ("/cut", DIGEST, rf"^http://\S+/cut is not what is pinned: its SHA-256 is \w{{64}}, not {DIGEST}$"),
        ("/kind", "0" * 64, rf"^http://\S+/kind is not what is pinned: its SHA-256 is {DIGEST}, not 0{{64}}$"),
        ("/kind", "", r"^no kind that fits is on PATH, and \S+/kind is not downloaded: its SHA-256 is not pinned in "),
    ],
)
def test_a_program_that_does_not_come_complete_is_refused_in_a_sentence_and_leaves_nothing(
    publisher: Publisher, tools: Path, path: str, sha256: str, why: str
) -> None:
    with pytest.raises(SupplyError, match=why) as caught:
        fetch(publisher.download(path, sha256), lambda _: None)
    assert "\n" not in str(caught.value)
    assert kept(tools) == []
    # And the next one tries again.
    assert fetch(publisher.download(), lambda _: None).exists()


@pytest.mark.parametrize("limit", ["ANSWER_TIMEOUT", "DOWNLOAD_TIMEOUT"])
def test_a_download_that_stops_or_takes_too_long_is_given_up(
    publisher: Publisher, tools: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    publisher.pause = 0.5
    monkeypatch.setattr(programs, limit, 0.1)
    with pytest.raises(SupplyError, match=r"can be downloaded from .*: (timed out|it did not come within 0\.1 s)$"):
        fetch(publisher.download(), lambda _: None)
    assert kept(tools) == []


def test_a_publisher_that_is_away_is_named(publisher: Publisher) -> None:
    wanted = publisher.download()
    publisher.shutdown()
    publisher.server_close()
    with pytest.raises(
        SupplyError, match=r"^no kind that fits is on PATH, and .*/kind: \[Errno 111\] Connection refused$"
    ):
        fetch(wanted, lambda _: None)


@pytest.mark.parametrize(
    ("system", "machine", "kind", "kubectl", "helm"),
    [
        ("Linux", "x86_64", "kind-linux-amd64", "bin/linux/amd64/kubectl", "-linux-amd64.tar.gz"),
        ("Linux", "aarch64", "kind-linux-arm64", "bin/linux/arm64/kubectl", "-linux-arm64.tar.gz"),
        ("Darwin", "arm64", "kind-darwin-arm64", "bin/darwin/arm64/kubectl", "-darwin-arm64.tar.gz"),
    ],
)
def test_programs_are_those_of_this_machines_system_and_architecture(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str, kind: str, kubectl: str, helm: str
) -> None:
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    found = downloads()
    assert found["kind"].url.endswith(f"/{found['kind'].version}/{kind}")
    assert found["kubectl"].url.endswith(f"/{found['kubectl'].version}/{kubectl}")
    assert found["helm"].url.endswith(f"/helm-{found['helm'].version}{helm}")
    assert found["helm"].member == f"{helm.removesuffix('.tar.gz')[1:]}/helm"
    assert len({each.sha256 for each in found.values() if len(each.sha256) == 64}) == 3


def test_a_mirror_of_a_projects_downloads_takes_the_place_of_its_own() -> None:
    own = downloads({})
    found = downloads({"KIND_DOWNLOAD_BASE": "https://mirror.example/kind/", "HELM_DOWNLOAD_BASE": "http://helm"})
    assert found["kind"].url == own["kind"].url.replace(
        "https://github.com/kubernetes-sigs/kind/releases/download", "https://mirror.example/kind"
    )
    assert found["kind"].sha256 == own["kind"].sha256
    assert found["helm"].url == own["helm"].url.replace("https://get.helm.sh", "http://helm")
    assert found["kubectl"] == own["kubectl"]
    assert downloads({"KIND_DOWNLOAD_BASE": ""}) == own


def test_a_mirror_of_downloads_gets_the_credentials_in_its_url(publisher: Publisher, tools: Path) -> None:
    publisher.wants = f"Basic {base64.b64encode(b'reader:Tr@ffic-7').decode()}"
    digest = hashlib.sha256(PROGRAM).hexdigest()
    base = f"http://reader:Tr%40ffic-7@127.0.0.1:{publisher.server_port}/kind#sha256={digest}"
    wanted = downloads({"KIND_DOWNLOAD_BASE": base})["kind"]
    assert "ffic" not in repr(wanted)
    path = wanted.url.removeprefix(f"http://127.0.0.1:{publisher.server_port}")
    publisher.files |= {path: PROGRAM}
    assert why_unreachable(request(wanted.url, wanted.authorization), is_file=True) == ""
    assert fetch(wanted, lambda _: None).read_bytes() == PROGRAM
    assert kept(tools) == [f"kind-{wanted.version}"]
    with pytest.raises(SupplyError, match=r"/kind/\S+: HTTP Error 401: ") as caught:
        fetch(replace(wanted, version="v1.2.3", authorization=""), lambda _: None)
    assert "ffic" not in str(caught.value)


@pytest.mark.parametrize("given", ["mirror.example/kind", "https://reader:Tr/ffic-7@mirror.example", "/srv/kind"])
def test_a_place_of_downloads_that_is_no_url_is_refused_by_its_variables_name(given: str) -> None:
    sentence = r"^\$KIND_DOWNLOAD_BASE: not an http:// or https:// URL of a server with downloads laid out as \S+ is$"
    with pytest.raises(SupplyError, match=sentence):
        downloads({"KIND_DOWNLOAD_BASE": given})


def test_a_mirror_that_has_other_builds_says_which() -> None:
    found = downloads({"HELM_DOWNLOAD_BASE": f"http://helm/#sha256={DIGEST}"})["helm"]
    assert (found.url.partition("/helm-")[0], found.sha256) == ("http://helm", DIGEST)


def test_nothing_is_pinned_of_a_program_for_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "s390x")
    assert {each.sha256 for each in downloads().values()} == {""}


def settings(**given: Path | None) -> Settings:
    return cast(Settings, SimpleNamespace(**({"kind": None, "kubectl": None, "ca": ""} | given)))


SAID = {
    "kind": "kind {} go1.26.8 linux/amd64",
    "kubectl": '{{"clientVersion": {{"gitVersion": "{}", "goVersion": "go1.26.8"}}, "kustomizeVersion": "v5.8.1"}}',
    "helm": "{}",
}


def program_of_version(folder: Path, name: str, version: str) -> Path:
    """A program that says its version, as the real one does to what it is asked."""
    program = folder / name
    asked = " ".join(programs.REQUIREMENTS[name].asked)
    program.write_text(f"#!/bin/sh\ntest \"$*\" = '{asked}' || exit 9\necho '{SAID[name].format(version)}'\n")
    program.chmod(0o755)
    return program


def test_what_is_given_goes_before_what_is_on_path_and_that_before_a_download(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    helm = program_of_version(tmp_path, "helm", "v3.13.0")
    kubectl = program_of_version(tmp_path, "kubectl", "v1.36.3")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    fetched: list[str] = []

    def fetch_nothing(download: Download, *_: object) -> Path:
        fetched.append(download.name)
        return tmp_path / "fetched"

    monkeypatch.setattr(programs, "fetch", fetch_nothing)
    found = find_or_fetch(settings(), unsaid)
    assert (found.kind, found.kubectl, found.helm) == (tmp_path / "fetched", kubectl, helm)
    assert fetched == ["kind"]
    given = tmp_path / "given"
    found = find_or_fetch(settings(kind=given, kubectl=given), unsaid)
    assert (found.kind, found.kubectl) == (given, given)
    assert fetched == ["kind"]


VERSIONS = [
    ("kind", "v0.26.0", False),
    ("kind", "v0.27.0", True),
    ("kind", "v0.34.0-alpha+1a2b3c", True),
    ("kubectl", "v1.30.14-eks-3abc", False),
    ("kubectl", "v1.31.0", True),
    ("helm", "v3.12.3", False),
    ("helm", "v3.13.0", True),
    ("helm", "v3.13.0+g1a2b3c", True),
    # Its --post-renderer takes a plugin's name.
    ("helm", "v4.0.1", False),
]


@pytest.mark.parametrize(("name", "version", "is_taken"), VERSIONS)
def test_a_program_on_path_whose_version_does_not_fit_is_passed_over_and_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, version: str, is_taken: bool
) -> None:
    program = program_of_version(tmp_path, name, version)
    monkeypatch.setattr(programs, "on_path", lambda wanted: program if wanted == name else None)
    monkeypatch.setattr(programs, "fetch", lambda download, *_: Path(f"fetched {download.name}"))
    lines: list[str] = []
    found = getattr(find_or_fetch(settings(), lines.append), name)
    assert found == (program if is_taken else Path(f"fetched {name}"))
    assert [line.partition(",")[0] for line in lines] == ([] if is_taken else [f"{program} is {name} {version[1:]}"])


@pytest.mark.parametrize(("name", "version", "fits"), [each for each in VERSIONS if each[0] != "helm"])
def test_a_program_that_is_given_is_refused_where_its_version_does_not_fit(
    tmp_path: Path, name: str, version: str, fits: bool
) -> None:
    given = settings(**{name: program_of_version(tmp_path, name, version)})
    if fits:
        programs.check_given(given)
        return
    with pytest.raises(
        SupplyError, match=rf"^--kind\S*-bin \S+ is {name} {version[1:]}: a version from \S+ on is needed "
    ):
        programs.check_given(given)


def test_a_helm_that_does_not_run_is_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "helm"
    program.write_text("#!/bin/sh\necho 'helm: exec format error' >&2\nexit 126\n")
    program.chmod(0o755)
    monkeypatch.setattr(programs, "on_path", lambda _: program)
    with pytest.raises(SupplyError, match="helm does not say its version: helm: exec format error"):
        find_or_fetch(settings(), unsaid)
