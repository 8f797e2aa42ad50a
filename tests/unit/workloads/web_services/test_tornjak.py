"""Tornjak, asked by whichever API it has, beside what its server shows.

Recorded: the lists of Tornjak's backend 2.1.0 in the hardened chart, and those of its server.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fixtures.core.waiting import WaitError
from fixtures.spire import api_types
from fixtures.spire.installation import Spire
from fixtures.spire.layout import Service, Tornjak
from fixtures.workloads.demo import Demo
from fixtures.workloads.probe import Endpoint, Probe, ProbeError
from fixtures.workloads.web_services import tornjak
from fixtures.workloads.web_services.tornjak import PAGE_SETTINGS, Closed
from tests import checks
from tests.unit.own_chart import LAYOUT

Read = Callable[[str], str]
# Of 1.4.2, by its source; of 2.1.0, recorded.
NOT_FOUND = ProbeError('2026/11/26 11:50:00 the endpoint answered 404 Not Found: "404 page not found\\n"')
CRASHED = ProbeError('2026/11/26 11:45:48 unable to ask the endpoint: Get "http://x:10000/api/agent/list": EOF')
UNAUTHORIZED = ProbeError('2026/11/26 11:50:00 the endpoint answered 401 Unauthorized: "Error authorizing request"')
ONLY_HTTPS = ProbeError(
    '2026/11/26 11:50:00 the endpoint answered 400 Bad Request: "Client sent an HTTP request to an HTTPS server.\\n"'
)
AWAY = ProbeError(
    '2026/11/26 11:50:00 unable to ask the endpoint: Get "http://x": dial tcp: connect: connection refused'
)
BACKEND, PAGE = (
    "http://spire-tornjak-backend.spire-server.svc:10000",
    "http://spire-tornjak-frontend.spire-server.svc:3000",
)
NEW, OLD = ("/api/v1/spire/agents", "/api/v1/spire/entries"), ("/api/agent/list", "/api/entry/list")
ENV = 'window.env = {{"REACT_APP_API_SERVER_URI":"{}"}};'
HTML = '<!DOCTYPE html><html lang="en"><body><div id="root"></div></body></html>'


def part(name: str, port: int) -> Tornjak:
    workload = {each.name: getattr(LAYOUT.server, each.name) for each in dataclasses.fields(LAYOUT.server)}
    wanted = {each.name for each in dataclasses.fields(Tornjak)}
    fields = {key: value for key, value in workload.items() if key in wanted}
    container = dataclasses.replace(LAYOUT.server.container, name=name, image=f"ghcr.io:443/spiffe/{name}:v2.1.0")
    service = Service("spire-server", f"spire-{name}", port)
    return Tornjak(**{**fields, "container": container, "service": service})


class Server:
    """Stands in for a probe and its SPIRE: what is served by URL, an error where it is one, else 404."""

    def __init__(self, recorded: Read, served: dict[str, Any], *, backend: bool = True, frontend: bool = False) -> None:
        self.served = served
        self.recorded = recorded
        self.label = "server"
        self.cluster = self
        self.spire = self
        self.layout = dataclasses.replace(
            LAYOUT,
            tornjak_backend=part("tornjak-backend", 10000) if backend else None,
            tornjak_frontend=part("tornjak-frontend", 3000) if frontend else None,
        )

    def get(self, url: str, *, text: bool = False) -> Endpoint:  # noqa: ARG002 - as served
        found = self.served.get(url, NOT_FOUND)
        if isinstance(found, Exception):
            raise found
        return Endpoint("", found)

    def agents(self) -> list[api_types.AttestedAgent]:
        return api_types.agents(self.recorded("tornjak-server-agents.json"))

    def entries(self) -> list[api_types.RegistrationEntry]:
        return api_types.entries(self.recorded("tornjak-server-entries.json"))

    def check(self) -> list[str]:
        demo = SimpleNamespace(probes={"server.example": self})
        return checks.tornjak_shows_its_server(cast(Demo, demo), timeout=0.05)


def lists(recorded: Read, address: str = BACKEND, paths: tuple[str, str] = NEW) -> dict[str, Any]:
    files = ("tornjak-agents.json", "tornjak-entries.json")
    return {f"{address}{path}": json.loads(recorded(file)) for path, file in zip(paths, files, strict=True)}


@pytest.mark.parametrize("unknown", [NOT_FOUND, CRASHED])
@pytest.mark.parametrize("paths", [NEW, OLD])
def test_a_backend_lists_what_its_server_has_by_the_newer_or_the_older_api(
    recorded: Read, paths: tuple[str, str], unknown: ProbeError
) -> None:
    other = {f"{BACKEND}{path}": unknown for path in (*NEW, *OLD)}
    (line,) = Server(recorded, other | lists(recorded, paths=paths)).check()
    assert line == "server: Tornjak's backend v2.1.0 lists 1 agents and 3 entries as its server does"


def test_a_backend_of_https_is_asked_so(recorded: Read) -> None:
    served = lists(recorded, BACKEND.replace("http:", "https:")) | {f"{BACKEND}{NEW[0]}": ONLY_HTTPS}
    (line,) = Server(recorded, served).check()
    assert "3 entries" in line


@pytest.mark.parametrize("kind", ["agents", "entries"])
def test_a_backend_that_lists_less_is_red(recorded: Read, kind: str) -> None:
    served = lists(recorded)
    url = next(each for each in served if each.endswith(kind))
    # What is empty is left out.
    served[url] = {} if kind == "agents" else {kind: served[url][kind][1:]}
    with pytest.raises(WaitError, match=rf"server: agents and entries of Tornjak .*Tornjak: .*{kind}.*spire-server: "):
        Server(recorded, served).check()


def test_a_backend_that_is_away_is_red(recorded: Read) -> None:
    with pytest.raises(WaitError, match="connection refused"):
        Server(recorded, {f"{BACKEND}{NEW[0]}": AWAY}).check()


def test_a_backend_that_answers_only_its_users_is_said_to(recorded: Read) -> None:
    server = Server(recorded, {f"{BACKEND}{NEW[0]}": UNAUTHORIZED})
    assert isinstance(tornjak.ask(cast(Probe, server), BACKEND), Closed)
    (line,) = server.check()
    assert "answers only its users" in line


@pytest.mark.parametrize(
    ("uri", "address"),
    [
        ("http://localhost:10000/", BACKEND),
        ("http://127.0.0.1:3000/tornjak", f"{BACKEND}/tornjak"),
        ("http://spire-tornjak-backend.spire-server.svc:10000/", BACKEND),
        ("https://tornjak-backend.server.example", None),
    ],
)
def test_a_page_leads_to_its_backend_where_that_can_be_followed(recorded: Read, uri: str, address: str | None) -> None:
    server = Server(recorded, {}, frontend=True)
    assert tornjak.backend_of_page(cast(Spire, server), uri) == address


def test_a_page_alone_is_served_and_says_whom_it_asks(recorded: Read) -> None:
    served = {f"{PAGE}/": HTML, f"{PAGE}{PAGE_SETTINGS}": ENV.format("https://other.example")}
    (line,) = Server(recorded, served, backend=False, frontend=True).check()
    assert line == "server: Tornjak's frontend v2.1.0 asks https://other.example"


def test_a_page_whose_backend_is_not_where_it_asks_is_red(recorded: Read) -> None:
    page = {f"{PAGE}/": HTML, f"{PAGE}{PAGE_SETTINGS}": ENV.format("http://localhost:10000/elsewhere")}
    with pytest.raises(WaitError, match=r"elsewhere.* did not come .*404"):
        Server(recorded, lists(recorded) | page, frontend=True).check()
    page[f"{PAGE}{PAGE_SETTINGS}"] = ENV.format("http://localhost:10000")
    assert len(Server(recorded, lists(recorded) | page, frontend=True).check()) == 2


@pytest.mark.parametrize("script", ["", ENV.format("")])
def test_a_page_that_knows_no_backend_is_red(recorded: Read, script: str) -> None:
    served = {f"{PAGE}/": HTML, f"{PAGE}{PAGE_SETTINGS}": script}
    with pytest.raises(WaitError, match="REACT_APP_API_SERVER_URI: not given"):
        Server(recorded, served, backend=False, frontend=True).check()


def test_nothing_is_asked_where_nothing_is_installed(recorded: Read) -> None:
    assert Server(recorded, {}, backend=False).check() == []
