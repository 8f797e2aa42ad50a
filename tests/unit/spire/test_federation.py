"""What federating leaves in clusters that are not the suite's own."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fixtures.spire.federation import RESOURCE, Federation, federated_trust_domain
from tests.unit.own_chart import LAYOUT


class Recorder:
    """A cluster that notes what it is asked to do, in order."""

    label = "server"

    def __init__(self) -> None:
        self.done: list[tuple[str, str]] = []

    def record_before(self, manifest: dict[str, Any]) -> None:
        self.done.append(("record", manifest["metadata"]["name"]))

    def kubectl(self, verb: str, resource: str, name: str, *_: str) -> None:
        assert resource == RESOURCE
        self.done.append((verb, name))

    def apply(self, manifest: dict[str, Any]) -> None:
        self.done.append(("apply", manifest["metadata"]["name"]))


def test_what_there_was_of_a_federation_object_is_recorded_before_it_is_deleted(tmp_path: Path) -> None:
    cluster = Recorder()
    listed = iter([[], [SimpleNamespace(trust_domain="client.example")]])
    peer: Any = SimpleNamespace(
        trust_domain="client.example", server_id="spiffe://client.example/spire/server", bundle_document=lambda: "{}"
    )
    spire: Any = SimpleNamespace(
        layout=LAYOUT,
        trust_domain="server.example",
        federates_with=("client.example",),
        cluster=cluster,
        relationships=lambda: next(listed),
    )
    made = Federation([spire, peer], "127.0.0.1", (8440, 8441), tmp_path)
    made.forwards["client.example"] = SimpleNamespace(port=8441)  # type: ignore[assignment]
    made.seed_bundle(spire, peer)
    name = federated_trust_domain(peer.trust_domain, "", "", "")["metadata"]["name"]
    assert cluster.done[:2] == [("record", name), ("delete", name)]
    assert cluster.done[-1] == ("apply", name)
